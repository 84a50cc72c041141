/**
 * What may be drawn of a vocabulary of GPT-2's size, beside PyTorch's answers: whole distributions, with many equal scores.
 *
 * The scores are made here as `scripts/models/sampling_goldens.py` makes them.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { z } from "zod";

import {
  createDraw,
  processScores,
  warpScores,
} from "../../../runtime/handler/model/generation-choice.ts";
import type { Sampling } from "../../../runtime/handler/model/generation-settings.ts";
import { plainSettings } from "../../support/generation.ts";

const number = z.number().optional();
const Golden = z.object({
  vocabulary: z.number(),
  previous: z.array(z.number()),
  cases: z.array(
    z.object({
      scores: z.string(),
      power: z.number(),
      parameters: z.object({
        temperature: number,
        top_k: number,
        top_p: number,
        min_p: number,
        typical_p: number,
        epsilon_cutoff: number,
        eta_cutoff: number,
        repetition_penalty: number,
      }),
      kept: z.number(),
      /** Probabilities, the largest first. */
      largest: z.array(z.number()),
      smallest: z.number(),
      /** The sum of all squared probabilities. */
      squares: z.number(),
      /** The sum of the ids that are kept, where no equal score is cut: which of them is cut is nobody's promise. */
      ids: number,
    }),
  ),
});
const { vocabulary, previous, cases } = Golden.parse(
  JSON.parse(readFileSync(new URL("../../fixtures/sampling.json", import.meta.url), "utf8")),
);

function makeScores(power: number): Float32Array {
  let state = 2026;
  return Float32Array.from({ length: vocabulary }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const base = state >>> 16;
    let value = base;
    for (let time = 1; time < power; time++) value = Math.floor((value * base) / 65536);
    return Math.floor(value / 512) / 8 - 4;
  });
}

function toSampling({ temperature, ...given }: (typeof cases)[number]["parameters"]): Sampling {
  return {
    temperature: temperature ?? 1,
    topK: given.top_k ?? 0,
    topP: given.top_p ?? 1,
    minP: given.min_p ?? 0,
    typicalP: given.typical_p ?? 1,
    epsilonCutoff: given.epsilon_cutoff ?? 0,
    etaCutoff: given.eta_cutoff ?? 0,
  };
}

/** A share of the number: scores are float32 here after the temperature, probabilities float64 there. */
function assertClose(actual: number | undefined, expected: number, what: string): void {
  const difference = Math.abs((actual ?? Number.NaN) - expected);
  assert.ok(difference <= 1e-5 * expected, `${what} is ${actual}, wanted ${expected}`);
}

for (const { scores: name, power, parameters, ...expected } of cases) {
  test(`of ${name} scores ${JSON.stringify(parameters)} leaves what PyTorch leaves`, () => {
    const scores = makeScores(power);
    const repetitionPenalty = parameters.repetition_penalty ?? 1;
    const row = { ids: previous, generated: previous.length };
    processScores(scores, row, plainSettings({ repetitionPenalty }));
    warpScores(scores, toSampling(parameters), 1);
    const kept = [...scores.keys()].filter((id) => scores[id] !== -Infinity);
    const most = kept.reduce((largest, id) => Math.max(largest, scores[id] ?? 0), -Infinity);
    const weights = kept.map((id) => Math.exp((scores[id] ?? 0) - most));
    const sum = weights.reduce((a, b) => a + b, 0);
    const descending = weights.map((weight) => weight / sum).sort((a, b) => b - a);
    assert.equal(kept.length, expected.kept);
    if (expected.ids !== undefined)
      assert.equal(
        kept.reduce((a, b) => a + b, 0),
        expected.ids,
      );
    for (const [place, probability] of expected.largest.entries())
      assertClose(descending[place], probability, `the probability at place ${place}`);
    assertClose(descending.at(-1), expected.smallest, "the smallest probability");
    const squares = descending.reduce((total, probability) => total + probability ** 2, 0);
    assertClose(squares, expected.squares, "the sum of the squares");
  });
}

test("tokens are drawn from what is left as often as they are likely, in groups of equal scores", () => {
  const sampling = toSampling({ temperature: 0.5, top_k: 200, top_p: 0.8 });
  const scores = makeScores(24);
  const left = scores.slice();
  warpScores(left, sampling, 1);
  const weights = new Map<number, number>();
  for (const score of left)
    if (score !== -Infinity) weights.set(score, (weights.get(score) ?? 0) + Math.exp(score));
  const sum = [...weights.values()].reduce((a, b) => a + b, 0);
  const rounds = 600;
  const counts = new Map<number, number>();
  const draw = createDraw(plainSettings({ sampling, seed: 5 }));
  for (let round = 0; round < rounds; round++) {
    const id = draw(scores.slice());
    const score = left[id] ?? -Infinity;
    assert.notEqual(score, -Infinity, "what was cut is never drawn");
    counts.set(score, (counts.get(score) ?? 0) + 1);
  }
  for (const [score, weight] of weights) {
    const share = weight / sum;
    // Four standard deviations; the seed is fixed, so it holds or it does not.
    const most = 4 * Math.sqrt((share * (1 - share)) / rounds);
    assert.ok(Math.abs((counts.get(score) ?? 0) / rounds - share) <= most, `score ${score}`);
  }
});
