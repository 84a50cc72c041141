import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  Labels,
  modelPath,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { filesOf, fixedGraph, SHAPES, WIDE } from "../../support/images.ts";
import { askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const VIT = modelPath("tiny-vit");
const vit = await loadDefaultHandler({ repository: VIT, dtype: "fp32" }, silentLog());
after(() => vit.dispose());

const { cases } = readGolden(
  "tiny-vit",
  z.object({
    cases: z.array(z.object({ image: z.string(), logits: z.array(z.number()), top: Labels })),
  }),
);
const [first, second] = SHAPES.map((name) => imageText(name));

for (const { dtype, tolerance } of [
  { dtype: "fp32", tolerance: 1e-4 },
  { dtype: "q8", tolerance: 0.05 },
]) {
  test(`tiny-vit in ${dtype} answers as PyTorch does, one by one and as a list`, async () => {
    const handler = await loadDefaultHandler({ repository: VIT, dtype }, silentLog());
    const inputs = cases.map(({ image }) => imageText(image));
    const list = Labels.array().parse(await ask(handler, { inputs }));
    for (const [index, { image, top }] of cases.entries()) {
      const single = Labels.parse(await ask(handler, { inputs: imageText(image) }));
      for (const answer of [single, list[index] ?? []]) {
        assert.deepEqual(
          answer.map(({ label }) => label),
          top.map(({ label }) => label),
        );
        assertNear(
          answer.map(({ score }) => score),
          top.map(({ score }) => score),
          tolerance,
        );
      }
    }
    await handler.dispose();
  });
}

test("an image is the same as base64, as a data URL, and as the body", async () => {
  const expected = await ask(vit, { inputs: first });
  assert.deepEqual(await ask(vit, { inputs: `data:image/png;base64,${first}` }), expected);
  const file = imageFile(SHAPES[0]);
  assert.deepEqual(await askWithFile(vit, file), expected);
  const nameless = { ...file, contentType: "application/octet-stream" };
  assert.deepEqual(await askWithFile(vit, nameless), expected);
  assert.deepEqual(await ask(vit, { inputs: file }), expected, "a form's file");
});

test("top_k bounds the labels; more than there are gives all, null the default", async () => {
  const count = async (top_k: unknown) =>
    Labels.parse(await ask(vit, { inputs: first, parameters: { top_k } })).length;
  assert.equal(await count(1), 1);
  assert.equal(await count(3), 3);
  assert.equal(await count(99), 4);
  assert.equal(await count(null), 4);
});

test("without top_k there are five labels, the best first; labels without a name are numbered", async () => {
  const graph = fixedGraph([{ name: "logits", shape: [7], values: [1, 7, 2, 6, 3, 5, 4] }]);
  await using repository = await variantOf(VIT, {
    ...filesOf(graph),
    "config.json": configOf(VIT, { id2label: null }),
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const answer = Labels.parse(await ask(handler, { inputs: first }));
  assert.deepEqual(
    answer.map(({ label }) => label),
    ["LABEL_1", "LABEL_3", "LABEL_5", "LABEL_6", "LABEL_4"],
  );
  await handler.dispose();
});

test("function_to_apply makes the scores, whatever the model would do", async () => {
  const { logits = [], image = "" } = cases[0] ?? {};
  const descending = logits.toSorted((a, b) => b - a);
  const scoresWith = async (name: string | null) => {
    const data = { inputs: imageText(image), parameters: { function_to_apply: name } };
    return Labels.parse(await ask(vit, data)).map(({ score }) => score);
  };
  assertNear(await scoresWith("none"), descending, 1e-4);
  assertNear(
    await scoresWith("sigmoid"),
    descending.map((x) => 1 / (1 + Math.exp(-x))),
    1e-4,
  );
  assert.deepEqual(await scoresWith("softmax"), await scoresWith("default"));
  assert.deepEqual(await scoresWith("softmax"), await scoresWith(null));
});

test("a model of several labels at once gives sigmoids", async () => {
  const { logits = [], image = "" } = cases[0] ?? {};
  const changes = { problem_type: "multi_label_classification" };
  await using repository = await variantOf(VIT, { "config.json": configOf(VIT, changes) });
  const handler = await loadDefaultHandler(
    { repository: repository.path, dtype: "fp32" },
    silentLog(),
  );
  const answer = Labels.parse(await ask(handler, { inputs: imageText(image) }));
  assertNear(
    answer.map(({ score }) => score),
    logits.map((x) => 1 / (1 + Math.exp(-x))).sort((a, b) => b - a),
    1e-4,
  );
  await handler.dispose();
});

test("a list keeps its order and its shape, also of one, of none, and of images of several sizes", async () => {
  const wide = imageText(WIDE);
  const singles = [];
  for (const inputs of [wide, first, second]) singles.push(await ask(vit, { inputs }));
  assert.deepEqual(await ask(vit, { inputs: [wide, first, second] }), singles);
  assert.deepEqual(await ask(vit, { inputs: [wide] }), singles.slice(0, 1));
  assert.deepEqual(await ask(vit, { inputs: [] }), []);
});

test("a graph for one image at a time still answers lists", async () => {
  const outputs = [{ name: "logits", shape: [4], values: [1, 2, 3, 4] }];
  const parameters = { function_to_apply: "none" };
  const answers = [];
  for (const batch of [1, "batch"]) {
    const graph = fixedGraph(outputs, { batch, slope: 1 });
    await using repository = await variantOf(VIT, filesOf(graph));
    const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
    answers.push(await ask(handler, { inputs: [first, second, first], parameters }));
    await handler.dispose();
  }
  assert.deepEqual(answers[0], answers[1]);
  const [a, b, c] = Labels.array().parse(answers[0]);
  assert.deepEqual(a, c);
  assert.notDeepEqual(a, b);
});

test("a network that answers something else is refused at the start", async () => {
  const graph = fixedGraph([{ name: "logits", shape: [4, 2, 2], values: Array(16).fill(0) }]);
  await using repository = await variantOf(VIT, filesOf(graph));
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: `Cannot serve image-classification with onnx/model.onnx: its outputs are "logits" of 4 dimensions, wanted "logits" of 2`,
  });
});

test("a model without an image processor is refused at the start", async () => {
  await using repository = await variantOf(VIT, { "preprocessor_config.json": null });
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /^Cannot load the image processor: preprocessor_config\.json is missing/,
  });
});

const KNOWN = "known are top_k, function_to_apply";
const WANTED_TOP_K = "wanted a whole number of at least 1, or null for five labels";

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted an image in base64, or a list of them`],
  [{ inputs: null }, `"inputs" is missing, wanted an image in base64, or a list of them`],
  [{ inputs: 5 }, `"inputs" is not a string, wanted an image in base64`],
  [{ inputs: [first, {}] }, `"inputs[1]" is not a string, wanted an image in base64`],
  [{ inputs: "/etc/passwd" }, `"inputs" is not an image that can be decoded`],
  [{ inputs: "../photo.png" }, `"inputs" is not base64, wanted an image in base64`],
  [{ inputs: "https://example.com/a.png" }, `"inputs" is a URL, which this server does not fetch`],
  [{ inputs: "aGVsbG8=" }, `"inputs" is not an image that can be decoded`],
  [{ inputs: first, parameters: { top_k: 0 } }, `"top_k" is 0, ${WANTED_TOP_K}`],
  [{ inputs: first, parameters: { top_k: "all" } }, `"top_k" is "all", ${WANTED_TOP_K}`],
  [
    { inputs: first, parameters: { function_to_apply: "relu" } },
    `"function_to_apply" is "relu", wanted "sigmoid", "softmax", "none" or "default"`,
  ],
  [
    { inputs: first, parameters: { topk: 1 } },
    `there is no parameter "topk", perhaps you mean "top_k"; ${KNOWN}`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses ${JSON.stringify(data).slice(0, 60)}: ${sentence}`, async () => {
    await assert.rejects(ask(vit, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the image: ${sentence}`,
    });
  });
}

test("a body that is no image is refused by its own name", async () => {
  const noise = { bytes: new Uint8Array(20), contentType: "audio/wav" };
  await assert.rejects(askWithFile(vit, noise), {
    code: "INVALID_INPUT",
    message: "Cannot classify the image: the body is not an image that can be decoded",
  });
});
