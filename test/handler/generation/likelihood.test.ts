import assert from "node:assert/strict";
import { test } from "node:test";

import { array, assert as check, double, float, property } from "fast-check";

import { likeliest, logSumExp } from "../../../runtime/handler/generation/likelihood.ts";
import { chooseLimits } from "../../../runtime/handler/generation/limits.ts";
import { warpScores } from "../../../runtime/handler/model/generation-choice.ts";

const logits = array(float({ min: -60, max: 60, noNaN: true }), { minLength: 2, maxLength: 300 });

test("the sum of exponentials is exact to float32's digits", () => {
  check(
    property(logits, (values) => {
      const scores = Float32Array.from(values);
      const largest = Math.max(...scores);
      const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
      assert.ok(Math.abs(logSumExp(scores) - largest - Math.log(sum)) < 1e-7);
    }),
  );
  assert.equal(logSumExp(Float32Array.of(-Infinity, 2)), 2);
});

test("the likeliest come best first, as shares of the whole", () => {
  const scores = Float32Array.of(0, Math.log(3), 0);
  const best = likeliest(scores, 2, logSumExp(scores));
  assert.deepEqual(
    best.map(({ id }) => id),
    [1, 0],
  );
  assert.ok(Math.abs((best[0]?.logprob ?? 0) - Math.log(3 / 5)) < 1e-6);
});

test("the likeliest part of a vocabulary is found without sorting all of it", () => {
  check(
    property(logits, double({ min: 0, max: 0.999, noNaN: true }), (values, topP) => {
      const scores = Float32Array.from(values);
      // As Python: sorted, and as many as make up the mass.
      const largest = Math.max(...scores);
      const total = scores.reduce((sum, score) => sum + Math.exp(score - largest), 0);
      const order = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
      const expected = new Set<number>();
      let sum = 0;
      for (const id of order) {
        if (sum >= topP * total && expected.size > 0) break;
        expected.add(id);
        sum += Math.exp((scores[id] ?? 0) - largest);
      }
      const all = { temperature: 1, topK: 0, minP: 0, typicalP: 1, epsilonCutoff: 0, etaCutoff: 0 };
      warpScores(scores, { ...all, topP }, 1);
      const kept = [...scores.keys()].filter((id) => scores[id] !== -Infinity);
      assert.deepEqual(new Set(kept), expected);
    }),
  );
});

test("the room for tokens follows from the memory, and is at least one text's", () => {
  const model = { bytesPerToken: 1000, maxTokens: 1024 };
  assert.deepEqual(chooseLimits(undefined, { ...model, freeBytes: 2.5e7 }), {
    maxSequences: 32,
    maxTotalTokens: 4000,
    maxWaiting: 128,
  });
  const plenty = chooseLimits({ maxSequences: 4 }, { ...model, freeBytes: 1e12 });
  assert.equal(plenty.maxTotalTokens, 4096);
  assert.equal(chooseLimits({ workers: 4 }, { ...model, freeBytes: 2.5e7 }).maxTotalTokens, 1000);
  assert.equal(chooseLimits(undefined, { ...model, freeBytes: 1 }).maxTotalTokens, 512);
  assert.equal(chooseLimits({ maxTotalTokens: 99 }, { ...model, freeBytes: 1 }).maxTotalTokens, 99);
});
