import assert from "node:assert/strict";
import { test } from "node:test";

import type { InferenceKind } from "../runtime/inference.ts";
import { passesOf } from "../runtime/text-length.ts";

function request(kind: InferenceKind, parameters?: unknown) {
  return { id: "1", kind, headers: {}, data: { inputs: "a", parameters } } as const;
}

test("an explanation costs a pass forward and one back at each point and at both ends, a prediction one pass", () => {
  assert.equal(passesOf(request("predict")), 1);
  assert.equal(passesOf(request("predict", { explain: false, n_steps: 9 })), 1);
  assert.equal(passesOf(request("explain")), 104);
  assert.equal(passesOf(request("explain", { n_steps: 10 })), 24);
  assert.equal(passesOf(request("predict", { explain: true, n_steps: 10 })), 25);
});

test("what will be refused is not predicted to last forever", () => {
  for (const n_steps of [1e12, -1, Number.NaN, "many", null])
    assert.ok(passesOf(request("explain", { n_steps })) <= 1004, String(n_steps));
});
