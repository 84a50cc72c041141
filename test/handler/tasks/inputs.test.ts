import assert from "node:assert/strict";
import { test } from "node:test";

import { z } from "zod";

import {
  MaxLengthParameter,
  readInputs,
  readParameters,
  TruncationParameter,
} from "../../../runtime/handler/tasks/inputs.ts";
import type { InferenceRequest } from "../../../runtime/inference.ts";

const One = z.union(
  [z.string(), z.object({ text: z.string("a string") }, "an object")],
  `a string or {"text"}`,
);
const Inputs = z.union([One, z.array(One)], "a text or a list of texts");

function requestWith(inputs: unknown): InferenceRequest {
  return { id: "1", kind: "predict", data: { inputs }, headers: {} };
}

test("readInputs() says what was found where, and what was wanted", () => {
  const cases: readonly (readonly [inputs: unknown, sentence: string])[] = [
    [undefined, `"inputs" is missing, wanted a text or a list of texts`],
    [null, `"inputs" is null, wanted a text or a list of texts`],
    [5, `"inputs" is a number, wanted a text or a list of texts`],
    [true, `"inputs" is a boolean, wanted a text or a list of texts`],
    [["a", 5], `"inputs[1]" is a number, wanted a string or {"text"}`],
    [["a", []], `"inputs[1]" is an empty list, wanted a string or {"text"}`],
    [[{}], `"inputs[0].text" is missing, wanted a string`],
    [{ text: ["secret"] }, `"inputs.text" is a list, wanted a string`],
  ];
  for (const [inputs, sentence] of cases) {
    assert.throws(() => readInputs(Inputs, requestWith(inputs), "test it"), {
      code: "INVALID_INPUT",
      message: `Cannot test it: ${sentence}`,
    });
  }
});

test("readInputs() speaks for schemas that bring no words of their own", () => {
  assert.throws(() => readInputs(z.array(z.number()), requestWith(["a"]), "test it"), {
    message: `Cannot test it: "inputs[0]" is a string, wanted number`,
  });
});

test("readInputs() refuses a binary body where JSON is wanted", () => {
  const media = { bytes: new Uint8Array(), contentType: "image/png" };
  const request = { ...requestWith(undefined), media };
  assert.throws(() => readInputs(Inputs, request, "test it"), {
    code: "INVALID_INPUT",
    message: `Cannot test it: the body is image/png, wanted JSON with "inputs"`,
  });
});

const Parameters = z.object({
  top_k: z.int("a whole number").nullish(),
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
  nested: z.object({ deep: z.string("a string") }).optional(),
});

test("readParameters() takes nothing, null and what changes nothing here", () => {
  for (const value of [undefined, null, {}, { padding: true, device: 0, return_tensors: "pt" }]) {
    const parameters = readParameters(Parameters, value, { action: "test it" });
    assert.equal(parameters.top_k, undefined);
  }
});

test("readParameters() lets `parameters` win over what lies elsewhere", () => {
  const elsewhere = { top_k: 1, max_length: 9 };
  const parameters = readParameters(Parameters, { top_k: 2 }, { action: "test it", elsewhere });
  assert.deepEqual([parameters.top_k, parameters.max_length], [2, 9]);
});

test("readParameters() refuses with one sentence", () => {
  const cases: readonly (readonly [value: unknown, sentence: string])[] = [
    [[1], `"parameters" is a list, wanted an object`],
    ["x", `"parameters" is a string, wanted an object`],
    [{ top_k: "2" }, `"top_k" is "2", wanted a whole number`],
    [{ top_k: "x".repeat(50) }, `"top_k" is a string, wanted a whole number`],
    [{ top_k: {} }, `"top_k" is an object, wanted a whole number`],
    [{ max_length: 0 }, `"max_length" is 0, wanted a whole number of at least 1`],
    [{ max_length: 1.5 }, `"max_length" is 1.5, wanted a whole number of at least 1`],
    [{ nested: { deep: 1 } }, `"nested.deep" is 1, wanted a string`],
    [
      { topk: 2 },
      `there is no parameter "topk", perhaps you mean "top_k"; known are top_k, truncation, max_length, nested`,
    ],
    [
      JSON.parse(`{"__proto__": {"top_k": 1}}`),
      `there is no parameter "__proto__"; known are top_k, truncation, max_length, nested`,
    ],
  ];
  for (const [value, sentence] of cases) {
    assert.throws(() => readParameters(Parameters, value, { action: "test it" }), {
      code: "INVALID_INPUT",
      message: `Cannot test it: ${sentence}`,
    });
  }
});

test("TruncationParameter knows Python's spellings", () => {
  const cases: readonly (readonly [given: unknown, truncation: string | undefined])[] = [
    [undefined, undefined],
    [null, undefined],
    [true, "longest_first"],
    [false, "none"],
    ["do_not_truncate", "none"],
    ["only_second", "only_second"],
  ];
  for (const [given, truncation] of cases) {
    assert.equal(TruncationParameter.parse(given), truncation, String(given));
  }
});
