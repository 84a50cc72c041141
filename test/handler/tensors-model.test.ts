/** Repositories that are a graph and nothing else. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { loadDefaultHandler } from "../../runtime/handler/default.ts";
import type { LoadOptions } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { ask, modelPath, variantOf } from "../support/goldens.ts";
import { encodeGraph } from "../support/onnx-graph.ts";
import { floatsOf, fp32, runTensors, tokens } from "../support/tensors.ts";

/** `y = x + [10, 20]`, `x` of `[batch, 2]`. */
const ADDING = encodeGraph({
  inputs: [{ name: "x", element: "float", shape: ["batch", 2] }],
  outputs: [{ name: "y", element: "float", shape: ["batch", 2] }],
  nodes: [{ op: "Add", inputs: ["x", "c"], outputs: ["y"] }],
  constants: [{ name: "c", element: "float", shape: [2], values: [10, 20] }],
});

function load(options: LoadOptions) {
  return loadDefaultHandler(options, silentLog());
}

for (const file of [
  "model.onnx",
  "onnx/model.onnx",
  "model/model.onnx",
  "model/onnx/scaler.onnx",
]) {
  test(`a folder with nothing but ${file} is served as the graph it is`, async () => {
    await using repository = await variantOf(undefined, { [file]: ADDING });
    const handler = await load({ repository: repository.path });
    assert.deepEqual(handler.description, {
      handler: "default",
      dtype: "fp32",
      signature: {
        inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
        outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
      },
      notes: [
        {
          level: "info",
          text: "Serving the graph itself, as there is no config.json that says a task: x FP32 [-1,2] → y FP32 [-1,2]",
        },
        { level: "info", text: `Using the fp32 weights ${file}` },
      ],
    });
    const [y] = await runTensors(handler, [fp32("x", [2, 2], [1, 2, 3, 4])]);
    assert.deepEqual([...floatsOf(y)], [11, 22, 13, 24]);
    await handler.dispose();
  });
}

test("who asks it anything else is told what to send, and where", async () => {
  await using repository = await variantOf(undefined, { "model.onnx": ADDING });
  const handler = await load({ repository: repository.path });
  await assert.rejects(ask(handler, { inputs: "hello" }), {
    code: "NOT_SUPPORTED",
    message:
      "Cannot predict: this model is a graph without a task; send it tensors, x FP32 [-1,2], at POST /v2/models/<model>/infer",
  });
  await handler.dispose();
});

/** The same with its constant in a file of its own. */
const IN_TWO_FILES = encodeGraph({
  inputs: [{ name: "x", element: "float", shape: ["batch", 2] }],
  outputs: [{ name: "y", element: "float", shape: ["batch", 2] }],
  nodes: [{ op: "Add", inputs: ["x", "c"], outputs: ["y"] }],
  constants: [{ name: "c", element: "float", shape: [2], values: [], file: "model.onnx_data" }],
});
const DATA = new Uint8Array(Float32Array.of(10, 20).buffer);

test("weights beside the graph are found", async () => {
  const files = { "onnx/model.onnx": IN_TWO_FILES, "onnx/model.onnx_data": DATA };
  await using repository = await variantOf(undefined, files);
  const handler = await load({ repository: repository.path });
  const [y] = await runTensors(handler, [fp32("x", [1, 2], [1, 2])]);
  assert.deepEqual([...floatsOf(y)], [11, 22]);
  await handler.dispose();
});

test("weights that are missing beside the graph are named, without the folder", async () => {
  await using repository = await variantOf(undefined, { "onnx/model.onnx": IN_TWO_FILES });
  await assert.rejects(load({ repository: repository.path }), (error: Error) => {
    assert.match(error.message, /^Cannot load model\.onnx: .*model\.onnx_data/);
    assert.ok(!error.message.includes(repository.path), error.message);
    return true;
  });
});

test("--task tensors serves the graph of a model whose task is known", async () => {
  const repository = modelPath("seqcls-bert-2way");
  const handler = await load({ repository, task: "Tensors", dtype: "fp32" });
  assert.equal(handler.description.task, undefined);
  assert.match(handler.description.notes[0]?.text ?? "", /^Serving the graph itself, as you named/);
  const [logits] = await runTensors(handler, [tokens([2, 357, 3])]);
  assert.deepEqual(logits?.shape, [1, 2]);
  await assert.rejects(ask(handler, { inputs: "hello" }), { code: "NOT_SUPPORTED" });
  await handler.dispose();
});

test("a chosen dtype holds for graphs, too", async () => {
  const files = { "model.onnx": ADDING, "model_quantized.onnx": ADDING };
  await using repository = await variantOf(undefined, files);
  const handler = await load({ repository: repository.path, dtype: "fp32" });
  assert.equal(handler.description.dtype, "fp32");
  await handler.dispose();
  const quantized = await load({ repository: repository.path });
  assert.equal(quantized.description.notes[1]?.text.includes("model_quantized.onnx"), true);
  await quantized.dispose();
});

for (const [what, files, options, code, message] of [
  [
    "the model card names a task",
    { "model.onnx": ADDING, "README.md": "---\npipeline_tag: text-classification\n---\n" },
    {},
    "MODEL_INVALID",
    /^Cannot read the model: wanted config\.json in /,
  ],
  [
    "the user names a task",
    { "model.onnx": ADDING },
    { task: "text-classification" },
    "MODEL_INVALID",
    /wanted config\.json/,
  ],
  [
    "TorchServe's settings name a mode",
    { "model.onnx": ADDING, "setup_config.json": { mode: "sequence_classification" } },
    {},
    "MODEL_INVALID",
    /wanted config\.json/,
  ],
  [
    "config.json names an architecture that nobody knows",
    { "model.onnx": ADDING, "config.json": { architectures: ["Strange"] } },
    {},
    "TASK_UNKNOWN",
    /; name one with --task or HF_TASK, have the graph itself served with --task tensors, or write/,
  ],
  [
    "there are several graphs",
    { "encoder.onnx": ADDING, "decoder.onnx": ADDING },
    {},
    "MODEL_INVALID",
    /^Cannot serve the tensors of several graphs, decoder, encoder: wanted model\.onnx, or one graph alone$/,
  ],
  [
    "there is no graph",
    { "model.safetensors": "x" },
    { task: "tensors" },
    "WEIGHTS_NOT_FOUND",
    /^Cannot find ONNX weights: .*model\.safetensors/,
  ],
  [
    "the graph cannot be read",
    { "model.onnx": "no graph" },
    {},
    "MODEL_INVALID",
    /^Cannot load model\.onnx: /,
  ],
] as const) {
  test(`does not start as tensors where ${what}`, async () => {
    await using repository = await variantOf(undefined, files);
    await assert.rejects(load({ repository: repository.path, ...options }), (error: Error) => {
      assert.match(error.message, message);
      assert.equal("code" in error && error.code, code);
      return true;
    });
  });
}
