import assert from "node:assert/strict";
import { test } from "node:test";

import {
  createDraw,
  indexOfLargest,
  processScores,
  warpScores,
} from "../../../runtime/handler/model/generation-choice.ts";
import type {
  GenerationSettings,
  Sampling,
} from "../../../runtime/handler/model/generation-settings.ts";
import { plainSettings } from "../../support/generation.ts";

const _ = -Infinity;

function processed(
  scores: readonly number[],
  row: { readonly ids: readonly number[]; readonly generated: number },
  changes: Partial<GenerationSettings>,
): number[] {
  const own = Float32Array.from(scores);
  processScores(own, row, plainSettings(changes));
  return [...own];
}

test("a repeated token is penalized once, towards less likely on both sides of 0", () => {
  const row = { ids: [0, 1, 1], generated: 1 };
  assert.deepEqual(processed([2, -2, 3], row, { repetitionPenalty: 2 }), [1, -4, 3]);
});

test("no run of tokens is completed a second time", () => {
  const ngrams = (ids: readonly number[], noRepeatNgramSize: number) =>
    processed([0, 0, 0, 0], { ids, generated: ids.length }, { noRepeatNgramSize });
  assert.deepEqual(ngrams([1, 2, 3, 1, 2], 3), [0, 0, 0, _]);
  assert.deepEqual(ngrams([1, 2, 1, 3, 1], 2), [0, 0, _, _]);
  assert.deepEqual(ngrams([1, 2], 1), [0, _, _, 0]);
  assert.deepEqual(ngrams([1, 2], 4), [0, 0, 0, 0]);
});

test("forbidden words are forbidden at their last token, behind their first", () => {
  const words = { badWordsIds: [[2], [1, 3], [0]], endIds: [0] };
  assert.deepEqual(processed([0, 0, 0, 0], { ids: [1], generated: 1 }, words), [0, 0, _, _]);
  // The token that ends a sequence is no word: Python leaves it out of the list.
  assert.deepEqual(processed([0, 0, 0, 0], { ids: [2], generated: 1 }, words), [0, 0, _, 0]);
});

test("nothing ends a sequence before its time, and tokens are forced at both ends", () => {
  const changes = {
    endIds: [0],
    minNewTokens: 2,
    forcedFirstId: 3,
    forcedLastIds: [0],
    maxNewTokens: 4,
  };
  const at = (generated: number) =>
    processed([5, 1, 1, 1], { ids: [9, ...Array(generated).fill(1)], generated }, changes);
  assert.deepEqual(at(0), [_, _, _, 0]);
  assert.deepEqual(at(1), [_, 1, 1, 1]);
  assert.deepEqual(at(2), [5, 1, 1, 1]);
  assert.deepEqual(at(3), [0, _, _, _]);
});

test("suppressed tokens never come, those of the beginning only later", () => {
  const changes = { suppressTokens: [1], beginSuppressTokens: [2] };
  const at = (generated: number, more = {}) =>
    processed(
      [0, 0, 0],
      { ids: [9, ...Array(generated).fill(0)], generated },
      { ...changes, ...more },
    );
  assert.deepEqual(at(0), [0, _, _]);
  assert.deepEqual(at(1), [0, _, 0]);
  // Where the first token is forced, the beginning is the second.
  assert.deepEqual(at(1, { forcedFirstId: 0 }), [0, _, _]);
});

const OFF: Sampling = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  typicalP: 1,
  epsilonCutoff: 0,
  etaCutoff: 0,
};

/** Which tokens may be drawn, when their probabilities are these. */
function drawable(probabilities: readonly number[], changes: Partial<Sampling>, atLeast = 1) {
  const scores = Float32Array.from(probabilities, Math.log);
  warpScores(scores, { ...OFF, ...changes }, atLeast);
  return [...scores.keys()].filter((index) => scores[index] !== _);
}

// Sets worked out by hand from the definitions in `generation/logits_process.py`.
const PROBABILITIES = [0.05, 0.4, 0.25, 0.2, 0.1];

const RULES: readonly (readonly [changes: Partial<Sampling>, kept: number[]])[] = [
  [{}, [0, 1, 2, 3, 4]],
  [{ topK: 2 }, [1, 2]],
  [{ topK: 9 }, [0, 1, 2, 3, 4]],
  [{ topP: 0.6 }, [1, 2]],
  [{ topP: 0.7 }, [1, 2, 3]],
  [{ topP: 0 }, [1]],
  [{ topK: 3, topP: 0.5 }, [1, 2]], // of three, 0.4 makes up 0.47
  [{ minP: 0.45 }, [1, 2, 3]],
  [{ minP: 0.6 }, [1, 2]],
  [{ epsilonCutoff: 0.15 }, [1, 2, 3]],
  [{ epsilonCutoff: 0.9 }, [1]],
  // The entropy is 1.415; surprises are 3.00, 0.92, 1.39, 1.61, 2.30: 2 is nearest, then 3, 1, 4, 0.
  [{ typicalP: 0.2 }, [2]],
  [{ typicalP: 0.4 }, [2, 3]],
  [{ typicalP: 0.5 }, [1, 2, 3]],
  // min(0.2, sqrt(0.2) · exp(-1.415)) = 0.109
  [{ etaCutoff: 0.2 }, [1, 2, 3]],
];

for (const [changes, kept] of RULES) {
  test(`drawable with ${JSON.stringify(changes)}: ${kept.join(", ")}`, () => {
    assert.deepEqual(drawable(PROBABILITIES, changes), kept);
  });
}

test("beams keep as many tokens as they need, whatever the rules", () => {
  assert.deepEqual(drawable(PROBABILITIES, { topP: 0.1 }, 3), [1, 2, 3]);
  assert.deepEqual(drawable(PROBABILITIES, { topK: 1 }, 2), [1, 2]);
});

test("the temperature divides", () => {
  const scores = Float32Array.from([1, 2, 3]);
  warpScores(scores, { ...OFF, temperature: 0.5 }, 1);
  assert.deepEqual([...scores], [2, 4, 6]);
});

test("tokens are drawn as often as their probabilities say, and again with the same seed", () => {
  const count = (seed: number): number[] => {
    const draw = createDraw(plainSettings({ sampling: OFF, seed }));
    const counts = PROBABILITIES.map(() => 0);
    for (let round = 0; round < 20_000; round++) {
      const id = draw(Float32Array.from(PROBABILITIES, Math.log));
      counts[id] = (counts[id] ?? 0) + 1;
    }
    return counts;
  };
  const counts = count(11);
  assert.deepEqual(count(11), counts);
  assert.notDeepEqual(count(12), counts);
  for (const [index, probability] of PROBABILITIES.entries()) {
    // Five standard deviations of a count of 20 000; the seed is fixed, so it holds or it does not.
    const spread = 5 * Math.sqrt(probability * (1 - probability) * 20_000);
    assert.ok(Math.abs((counts[index] ?? 0) - probability * 20_000) < spread);
  }
});

test("of equally likely tokens the first is taken", () => {
  assert.equal(indexOfLargest([1, 3, 3, 2]), 1);
});
