/**
 * Chooses tokens so that what is written is a JSON object: the likeliest one that may come, or one drawn among those that may.
 *
 * A token is drawn as it would be without the constraint, and drawn again without it where it may not come: that is the distribution on
 * the condition that it may, after temperature, `top_p` and all else. Where none of those may come that `top_p` and the like leave, they
 * are applied anew to those that may. Most tokens are right at once, so a vocabulary is not gone through at every step; after a few
 * that were not, all that may come are looked for, by their first bytes.
 */
import { RuntimeError } from "../../errors.ts";
import {
  createChance,
  drawByChance,
  indexOfLargest,
  warpScores,
} from "../model/generation-choice.ts";
import type { GenerationSettings } from "../model/generation-settings.ts";
import { createJsonAutomaton } from "./json-automaton.ts";
import type { TokenBytes } from "./json-tokens.ts";

/** So many wrong tokens, and all right ones are looked for: to draw once more takes about as long as that. */
const MOST_TRIES = 3;

export interface JsonChoice {
  /** Whether the object is whole: nothing more is to be written. */
  readonly isComplete: boolean;
  /**
   * Chooses the next token, and goes on from it.
   *
   * @param scores `[V]` after penalties; changed.
   * @throws `NOT_SUPPORTED` where no token may come.
   */
  readonly choose: (scores: Float32Array) => number;
}

export function createJsonChoice(
  tokens: TokenBytes,
  { sampling, seed }: Pick<GenerationSettings, "sampling" | "seed">,
): JsonChoice {
  const automaton = createJsonAutomaton();
  const { bytes, starts, size } = tokens;
  const chance = sampling && createChance(seed);
  const pick = (scores: Float32Array): number =>
    chance ? drawByChance(scores, chance()) : indexOfLargest(scores);

  function mayCome(id: number): boolean {
    if (id >= size) return false;
    const [start = 0, end = 0] = [starts[id], starts[id + 1]];
    return end > start && automaton.accepts(bytes, start, end);
  }

  /** The first of a few that may come; those that may not are marked so. */
  function pickAtOnce(scores: Float32Array): number | undefined {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const id = pick(scores);
      if (scores[id] === -Infinity) return undefined;
      if (mayCome(id)) return id;
      scores[id] = -Infinity;
    }
    return undefined;
  }

  /** The scores of those that may come; `undefined` where all of them are out of the question. */
  function onlyRight(scores: Float32Array): Float32Array | undefined {
    const right = new Float32Array(scores.length).fill(-Infinity);
    const first = new Uint8Array(1);
    let isAny = false;
    for (const [byte, ids] of tokens.byFirst.entries()) {
      first[0] = byte;
      if (ids.length === 0 || !automaton.accepts(first)) continue;
      for (const id of ids) {
        const score = scores[id] ?? -Infinity;
        if (score === -Infinity || !mayCome(id)) continue;
        right[id] = score;
        isAny = true;
      }
    }
    return isAny ? right : undefined;
  }

  function find(scores: Float32Array): number {
    if (sampling === undefined) {
      const id = pickAtOnce(scores);
      if (id !== undefined) return id;
    } else {
      const before = scores.slice();
      warpScores(scores, sampling, 1);
      const id = pickAtOnce(scores);
      if (id !== undefined) return id;
      const left = onlyRight(scores);
      if (left !== undefined) return pick(left);
      scores.set(before);
    }
    const right = onlyRight(scores);
    if (right === undefined) throw stuck();
    if (sampling !== undefined) warpScores(right, sampling, 1);
    return pick(right);
  }

  return {
    get isComplete() {
      return automaton.isComplete;
    },
    choose(scores) {
      const id = find(scores);
      automaton.take(bytes, starts[id], starts[id + 1]);
      return id;
    },
  };
}

function stuck(): RuntimeError {
  return new RuntimeError(
    "NOT_SUPPORTED",
    "Cannot go on writing JSON: the model has no token that may come next, wanted one; its vocabulary may lack it, or a parameter may forbid it",
  );
}
