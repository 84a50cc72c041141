import assert from "node:assert/strict";
import { test } from "node:test";

import { sigmoid, softmax, topIndices } from "../../../runtime/handler/tasks/scores.ts";
import { assertNear } from "../../support/goldens.ts";

test("softmax() sums to one and does not overflow", () => {
  assertNear([...softmax([0, 0])], [0.5, 0.5], 0);
  // exp(1)/(exp(1)+exp(2)+exp(3)) and so on
  assertNear(
    [...softmax([1, 2, 3])],
    [0.09003057317038046, 0.24472847105479767, 0.6652409557748219],
    1e-15,
  );
  assertNear([...softmax([1000, 0])], [1, 0], 1e-15);
  assertNear([...softmax([-1000, -1000])], [0.5, 0.5], 0);
});

test("sigmoid() maps each value on its own", () => {
  assertNear([...sigmoid([0, 2, -800])], [0.5, 0.8807970779778823, 0], 1e-15);
});

test("topIndices() gives the largest first, and of equal ones the earlier", () => {
  const cases: readonly (readonly [values: number[], count: number, indices: number[]])[] = [
    [[1, 3, 2], 1, [1]],
    [[1, 3, 2], 2, [1, 2]],
    [[1, 3, 2], Infinity, [1, 2, 0]],
    [[5, 5, 5], 2, [0, 1]],
    [[], 3, []],
  ];
  for (const [values, count, indices] of cases) {
    assert.deepEqual(topIndices(values, count), indices, `${count} of ${values.join(", ")}`);
  }
});

test("topIndices() agrees with sorting everything", () => {
  const values = Float64Array.from({ length: 2000 }, (_, i) => (i * 7919) % 401); // with many ties
  const sorted = [...values.keys()].sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0));
  for (const count of [1, 5, 100, 499, 500, 2000]) {
    assert.deepEqual(topIndices(values, count), sorted.slice(0, count), `top ${count}`);
  }
});
