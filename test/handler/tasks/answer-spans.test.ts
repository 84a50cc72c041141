import assert from "node:assert/strict";
import { test } from "node:test";

import { bestSpans, type Span } from "../../../runtime/handler/tasks/answer-spans.ts";

/** Every span, sorted: what Python does. */
function allSpans(starts: Float64Array, ends: Float64Array, maxLength: number): Span[] {
  const spans: Span[] = [];
  for (const [first, start] of starts.entries())
    for (const [last, end] of ends.entries())
      if (last >= first && last - first < maxLength)
        spans.push({ first, last, score: start * end });
  return spans.sort((a, b) => b.score - a.score || a.first - b.first || a.last - b.last);
}

/** Numbers that look random and are the same in every run, some of them equal. */
function numbers(count: number, seed: number): Float64Array {
  return Float64Array.from(
    { length: count },
    (_, i) => Math.round(Math.abs(Math.sin(seed + i * i) * 50)) / 50,
  );
}

for (const { maxLength, count } of [
  { maxLength: 15, count: 12 },
  { maxLength: 1, count: 3 },
  { maxLength: 1000, count: 1 },
  { maxLength: 4, count: 10_000 },
]) {
  test(`the best ${count} of at most ${maxLength} tokens are those of the whole product`, () => {
    for (let seed = 0; seed < 30; seed++) {
      const [starts, ends] = [numbers(60, seed), numbers(60, seed + 0.5)];
      const found = bestSpans(starts, ends, { from: 0, to: 60, maxLength, count });
      assert.deepEqual(found, allSpans(starts, ends, maxLength).slice(0, count));
    }
  });
}

test("tokens outside are in no span", () => {
  const sure = new Float64Array(10).fill(1);
  const spans = bestSpans(sure, sure, { from: 4, to: 6, maxLength: 15, count: 99 });
  assert.deepEqual(
    spans.map(({ first, last }) => [first, last]),
    [
      [4, 4],
      [4, 5],
      [5, 5],
    ],
  );
  assert.deepEqual(bestSpans(sure, sure, { from: 4, to: 4, maxLength: 15, count: 9 }), []);
});

test("a long window is searched in no time, however long an answer may be", () => {
  const T = 20_000;
  const starts = Float64Array.from({ length: T }, (_, t) => (t === 77 ? 0.9 : 0.1 / T));
  const ends = Float64Array.from({ length: T }, (_, t) => (t === 79 ? 0.9 : 0.1 / T));
  const startedAtMs = performance.now();
  const [best] = bestSpans(starts, ends, { from: 0, to: T, maxLength: 15, count: 12 });
  assert.deepEqual([best?.first, best?.last], [77, 79]);
  // Milliseconds here; the whole product would have 400 million numbers.
  assert.ok(performance.now() - startedAtMs < 2_000);
});
