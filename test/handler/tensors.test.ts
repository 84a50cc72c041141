/** Requests of kind "tensors" to models that serve a task: the numbers are the task's own. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoImageProcessor, RawImage } from "@huggingface/transformers";
import { z } from "zod";

import { loadDefaultHandler } from "../../runtime/handler/default.ts";
import type { LoadedHandler } from "../../runtime/handler/contract.ts";
import type { LoadOptions, NamedTensor } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { ask, assertNear, Labels, modelPath, readGolden } from "../support/goldens.ts";
import {
  answerOf,
  floatsOf,
  fp32,
  int64,
  memberOf,
  messageIn,
  noise,
  runBatch,
  runTensors,
  tensorRequest,
  tokens,
} from "../support/tensors.ts";

const TWO_WAY = modelPath("seqcls-bert-2way");
const TextGolden = z.object({
  cases: z.array(
    z.object({ input: z.string(), input_ids: z.array(z.number()), logits: z.array(z.number()) }),
  ),
});

async function load(options: LoadOptions): Promise<LoadedHandler & AsyncDisposable> {
  const handler = await loadDefaultHandler({ dtype: "fp32", ...options }, silentLog());
  return { ...handler, [Symbol.asyncDispose]: () => handler.dispose() };
}

function softmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const exps = values.map((value) => Math.exp(value - most));
  const sum = exps.reduce((total, each) => total + each, 0);
  return exps.map((each) => each / sum);
}

test("a text classifier says what its graph takes and gives", async () => {
  await using handler = await load({ repository: TWO_WAY });
  const ids = (name: string) => ({ name, datatype: "INT64", shape: [-1, -1] });
  assert.deepEqual(handler.description.signature, {
    inputs: [ids("input_ids"), ids("attention_mask"), ids("token_type_ids")],
    outputs: [{ name: "logits", datatype: "FP32", shape: [-1, 2] }],
  });
});

test("logits are Python's, and their softmax is what the task answers", async () => {
  await using handler = await load({ repository: TWO_WAY });
  const { cases } = readGolden("seqcls-bert-2way", TextGolden);
  for (const { input, input_ids, logits } of cases) {
    const ones = input_ids.map(() => 1);
    const zeros = input_ids.map(() => 0);
    const shape = [1, input_ids.length];
    const [answer, ...others] = await runTensors(handler, [
      int64("token_type_ids", shape, zeros), // in whatever order
      int64("input_ids", shape, input_ids),
      int64("attention_mask", shape, ones),
    ]);
    assert.deepEqual(others, []);
    assert.equal(answer?.name, "logits");
    assert.deepEqual(answer.shape, [1, 2]);
    assertNear(floatsOf(answer), logits, 1e-4);
    const scores = softmax(floatsOf(answer));
    const labels = Labels.parse(await ask(handler, { inputs: input, parameters: { top_k: null } }));
    assertNear(
      labels.map(({ score }) => score),
      scores.sort((a, b) => b - a),
      1e-6,
    );
  }
});

test("a mask of ones and types of zeros may be left out", async () => {
  await using handler = await load({ repository: TWO_WAY });
  const row = [2, 357, 131, 196, 3];
  const whole = await runTensors(handler, [
    tokens(row),
    int64("attention_mask", [1, 5], [1, 1, 1, 1, 1]),
    int64("token_type_ids", [1, 5], [0, 0, 0, 0, 0]),
  ]);
  assert.deepEqual(await runTensors(handler, [tokens(row)]), whole);
  const masked = await runTensors(handler, [
    tokens(row),
    int64("attention_mask", [1, 5], [1, 1, 0, 0, 0]),
  ]);
  assert.notDeepEqual(masked, whole); // what is given counts
});

test("a text's mean vector is the embedding that the task answers", async () => {
  await using handler = await load({ repository: modelPath("minilm-embed") });
  const golden = readGolden(
    "minilm-embed",
    z.object({
      cases: z.array(
        z.object({
          input_ids: z.array(z.number()),
          mean_pooled_not_normalised: z.array(z.number()),
        }),
      ),
    }),
  );
  for (const { input_ids, mean_pooled_not_normalised } of golden.cases) {
    const [hidden] = await runTensors(handler, [tokens(input_ids)]);
    const [B, T = 0, H = 0] = hidden?.shape ?? [];
    assert.deepEqual([B, T, H], [1, input_ids.length, mean_pooled_not_normalised.length]);
    const values = floatsOf(hidden);
    const mean = Array.from({ length: H }, (_, h) => {
      let sum = 0;
      for (let t = 0; t < T; t++) sum += values[t * H + h] ?? NaN;
      return sum / T;
    });
    assertNear(mean, mean_pooled_not_normalised, 1e-4);
  }
});

test("an image classifier reads pixel values of its fixed size", async () => {
  await using handler = await load({ repository: modelPath("tiny-vit") });
  assert.deepEqual(handler.description.signature?.inputs, [
    { name: "pixel_values", datatype: "FP32", shape: [-1, 3, 64, 64] },
  ]);
  const processor = await AutoImageProcessor.from_pretrained(modelPath("tiny-vit"));
  const golden = readGolden(
    "tiny-vit",
    z.object({ cases: z.array(z.object({ image: z.string(), logits: z.array(z.number()) })) }),
  );
  for (const { image, logits } of golden.cases) {
    const { pixel_values } = await processor(await RawImage.read(modelPath(`_expected/${image}`)));
    const data = Float32Array.from(pixel_values.data as Float32Array);
    const pixels: NamedTensor = {
      name: "pixel_values",
      datatype: "FP32",
      shape: [1, 3, 64, 64],
      data,
    };
    const [answer] = await runTensors(handler, [pixels]);
    assertNear(floatsOf(answer), logits, 1e-3);
  }
  await assert.rejects(
    runTensors(handler, [noise("pixel_values", [1, 3, 32, 32])]),
    /^RuntimeError: Cannot run the graph: it was given "pixel_values" as \[1,3,32,32\], wanted FP32 \[-1,3,64,64\]$/,
  );
});

const GenerationGolden = z.object({
  cases: z.array(
    z.object({
      input_ids: z.array(z.number()),
      last_logits: z.array(z.number()),
      new_ids: z.array(z.number()),
    }),
  ),
});

test("a decoder reads a prompt without a past, and goes on from what it gave", async () => {
  await using handler = await load({ repository: modelPath("tiny-gpt2") });
  const { cases } = readGolden("tiny-gpt2", GenerationGolden);
  for (const { input_ids, last_logits, new_ids } of cases) {
    const outputs = await runTensors(handler, [tokens(input_ids)]);
    const [logits] = outputs;
    const vocabulary = last_logits.length;
    assert.deepEqual(logits?.shape, [1, input_ids.length, vocabulary]);
    assertNear(floatsOf(logits).subarray(-vocabulary), last_logits, 1e-3);

    const past = outputs
      .slice(1)
      .map((tensor) => ({ ...tensor, name: tensor.name.replace("present", "past_key_values") }));
    const [first = 0, second = 0] = new_ids;
    const [next] = await runTensors(handler, [tokens([first]), ...past], ["logits"]);
    const scores = floatsOf(next);
    assert.equal(scores.indexOf(Math.max(...scores)), second, "the greedy second token");
  }
});

test("only the outputs that are asked for come back, in that order", async () => {
  await using handler = await load({ repository: modelPath("tiny-gpt2") });
  const wanted = ["present.1.value", "logits", "present.1.value"];
  const names = (await runTensors(handler, [tokens([5, 6])], wanted)).map(({ name }) => name);
  assert.deepEqual(names, ["present.1.value", "logits"]);
});

test("a model of several graphs says nothing of tensors, and refuses them", async () => {
  await using handler = await load({ repository: modelPath("tiny-t5") });
  assert.equal(handler.description.signature, undefined);
  await assert.rejects(runTensors(handler, [tokens([1])]), {
    code: "NOT_SUPPORTED",
    message:
      "Cannot run the graph: this model is not one graph that tensors can be sent to; ask its task instead, at POST /",
  });
});

const REFUSALS: readonly (readonly [
  what: string,
  inputs: readonly NamedTensor[],
  outputs: readonly string[] | undefined,
  message: string,
])[] = [
  [
    "an input that the graph does not have",
    [tokens([1]), int64("labels", [1], [1])],
    undefined,
    'it has no input "labels", wanted input_ids INT64 [-1,-1], attention_mask INT64 [-1,-1], token_type_ids INT64 [-1,-1]',
  ],
  [
    "an input given twice",
    [tokens([1]), tokens([1])],
    undefined,
    'it was given the input "input_ids" twice',
  ],
  [
    "another datatype",
    [fp32("input_ids", [1, 1], [1])],
    undefined,
    'it was given "input_ids" as FP32, wanted INT64 [-1,-1]',
  ],
  [
    "another rank",
    [int64("input_ids", [2], [1, 2])],
    undefined,
    'it was given "input_ids" as [2], wanted INT64 [-1,-1]',
  ],
  [
    "a negative size",
    [int64("input_ids", [-1, 2], [1, 2])],
    undefined,
    'it was given "input_ids" as [-1,2], wanted sizes that are whole numbers of at least 0',
  ],
  [
    "too few elements",
    [int64("input_ids", [2, 2], [1, 2, 3])],
    undefined,
    'it was given 3 elements in "input_ids", wanted the 4 of its shape [2,2]',
  ],
  ["nothing at all", [], undefined, 'it was not given the input "input_ids", wanted INT64 [-1,-1]'],
  [
    "an output that the graph does not have",
    [tokens([1])],
    ["logits", "hidden"],
    'it has no output "hidden", wanted logits FP32 [-1,2]',
  ],
  [
    "a token beyond the vocabulary",
    [tokens([1, 999_999])],
    undefined,
    "its operator Gather refused: indices element out of data bounds, idx=999999 must be within the inclusive range ",
  ],
  [
    "inputs of different lengths",
    [tokens([1, 2, 3]), int64("attention_mask", [1, 2], [1, 1])],
    undefined,
    "it was given input_ids INT64 [1,3], attention_mask INT64 [1,2], token_type_ids INT64 [1,3]",
  ],
];

test("what the graph does not take is refused with what was found and wanted", async (t) => {
  await using handler = await load({ repository: TWO_WAY });
  for (const [what, inputs, outputs, message] of REFUSALS) {
    await t.test(what, async () => {
      await assert.rejects(runTensors(handler, inputs, outputs), (error: Error) => {
        assert.ok(error.message.startsWith("Cannot run the graph: "), error.message);
        assert.ok(error.message.includes(message), error.message);
        assert.doesNotMatch(error.message, /onnxruntime|\.(?:h|cc):\d|\/\w+\//);
        assert.equal("code" in error && error.code, "INVALID_INPUT");
        return true;
      });
    });
  }
});

test("a text without tokens and a batch without texts have answers without elements", async () => {
  await using handler = await load({ repository: modelPath("minilm-embed") });
  for (const shape of [
    [0, 4],
    [2, 0],
  ]) {
    const [hidden] = await runTensors(handler, [int64("input_ids", shape, [])]);
    assert.deepEqual(hidden?.shape, [...shape, 96]);
    assert.equal(hidden.data.length, 0);
  }
  // Sizes are a client's words: those of what was left out must not be believed without bound.
  const vast = runTensors(handler, [
    int64("input_ids", [0, 2 ** 40], []),
    int64("attention_mask", [2 ** 40, 0], []),
  ]);
  await assert.rejects(vast, { code: "INVALID_INPUT" });
});

test("one of a batch fails alone, beside predictions and explanations", async () => {
  await using handler = await load({ repository: TWO_WAY });
  const row = [2, 357, 131, 3];
  const left = new AbortController();
  left.abort();
  const predict = { id: "p", kind: "predict", headers: {}, data: { inputs: "I like it" } } as const;
  const { outcomes, passes } = await runBatch(handler, [
    memberOf(tensorRequest([tokens(row)])),
    memberOf(predict),
    memberOf(tensorRequest([fp32("input_ids", [1, 1], [1])])),
    memberOf(tensorRequest([tokens([2, 999_999, 131, 3])])), // shares the run of the first, and fails it
    memberOf(tensorRequest([tokens(row)]), left.signal),
    memberOf({ ...predict, kind: "explain" }),
    memberOf(tensorRequest([tokens(row)])),
  ]);
  const [alone] = await runTensors(handler, [tokens(row)]);
  for (const index of [0, 6])
    assertNear(floatsOf(answerOf(outcomes[index])[0]), floatsOf(alone), 1e-5);
  assert.ok(outcomes[1] && "value" in outcomes[1]);
  Labels.parse(outcomes[1].value);
  assert.match(messageIn(outcomes[2]), /as FP32, wanted INT64/);
  assert.match(messageIn(outcomes[3]), /idx=999999 must be within/);
  assert.match(messageIn(outcomes[4]), /nobody waits for it any more/);
  assert.ok(outcomes[5] && "value" in outcomes[5]);
  assert.equal(
    passes.length,
    1,
    "only the prediction's run teaches the engine what predictions cost",
  );
});
