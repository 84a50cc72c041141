import assert from "node:assert/strict";
import { test } from "node:test";

import { joinParts } from "../../runtime/engine/list-parts.ts";
import type { InferenceResult } from "../../runtime/inference.ts";

function part(value: string, tokens?: number): InferenceResult {
  return {
    output: { kind: "json", value: [value] },
    timings: { queueMs: 1, inferenceMs: 2 },
    ...(tokens !== undefined && { tokens }),
  };
}

test("a list has read the tokens of all its parts", () => {
  const { output, tokens } = joinParts([part("a", 3), part("b", 0), part("c", 5)], 10);
  assert.deepEqual(output, { kind: "json", value: ["a", "b", "c"] });
  assert.equal(tokens, 8);
});

test("where a part's tokens are not counted the list's are not known", () => {
  assert.equal(joinParts([part("a", 3), part("b")], 10).tokens, undefined);
});
