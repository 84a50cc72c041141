import assert from "node:assert/strict";
import { test } from "node:test";

import { cosine, normalize, pool, type Pooling } from "../../../runtime/handler/tasks/pooling.ts";
import { assertNear } from "../../support/goldens.ts";

test("pool() reads the text's tokens and never the padding", () => {
  // Three tokens of two dimensions, and a row of padding that would spoil every result.
  const hidden = Float32Array.from([1, 2, 3, 8, 5, -4, 999, 999]);
  const expected: Readonly<Record<Pooling, number[]>> = {
    cls: [1, 2],
    last_token: [5, -4],
    max: [5, 8],
    mean: [3, 2],
    mean_sqrt_len: [9 / Math.sqrt(3), 6 / Math.sqrt(3)],
    weighted_mean: [(1 + 2 * 3 + 3 * 5) / 6, (2 + 2 * 8 - 3 * 4) / 6],
  };
  for (const [name, vector] of Object.entries(expected)) {
    assertNear([...pool(hidden, 3, 2, name as Pooling)], vector, 1e-12);
  }
});

test("normalize() gives length 1, and leaves a zero vector alone", () => {
  assert.deepEqual(normalize([3, 4]), [0.6, 0.8]);
  assert.deepEqual(normalize([0, 0]), [0, 0]);
});

test("cosine() compares directions, and is 0 where there is none", () => {
  assertNear(
    [cosine([1, 0], [5, 0]), cosine([1, 0], [0, 2]), cosine([1, 1], [-2, -2])],
    [1, 0, -1],
    1e-12,
  );
  assert.equal(cosine([0, 0], [1, 1]), 0);
});
