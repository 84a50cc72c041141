import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import { loadDefaultHandler } from "../../runtime/handler/default.ts";
import type { LoadOptions } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { ask, configOf, EMBEDDED, Labels, modelPath, variantOf } from "../support/goldens.ts";

const MLM = modelPath("tiny-bert-mlm");
const MINILM = modelPath("minilm-embed");
const TWO_WAY = modelPath("seqcls-bert-2way");
const SCARED = { inputs: "I'm scared of the dark" };

function load(options: LoadOptions) {
  return loadDefaultHandler(options, silentLog());
}

test("the embedded model is served from model/, in int8, and says so", async () => {
  const handler = await load({ repository: EMBEDDED });
  const { signature, schemas, ...description } = handler.description;
  assert.equal(signature?.outputs[0]?.name, "logits");
  assert.deepEqual(Object.keys(schemas ?? {}), ["inputs", "parameters"]);
  assert.deepEqual(description, {
    handler: "default",
    task: "text-classification",
    dtype: "q8",
    modelType: "distilbert",
    example: { inputs: "I am quite excited how this will turn out" },
    notes: [
      {
        level: "info",
        text: "Serving text-classification, which the architecture DistilBertForSequenceClassification is for",
      },
      {
        level: "info",
        text: "Using the int8 weights model/onnx/model_quantized.onnx (fp32 is here too: choose it with --dtype fp32)",
      },
    ],
  });
  assert.equal(Labels.parse(await ask(handler, SCARED))[0]?.label, "fear");
  await handler.dispose();
});

test("each task of the shelf is found without being named", async () => {
  const tasks = {
    [MLM]: "fill-mask",
    [MINILM]: "feature-extraction",
    [TWO_WAY]: "text-classification",
  };
  for (const [repository, task] of Object.entries(tasks)) {
    const handler = await load({ repository });
    assert.equal(handler.description.task, task);
    await handler.dispose();
  }
});

test("an alias is served under the task's own name", async () => {
  const handler = await load({ repository: EMBEDDED, task: "sentiment-analysis" });
  assert.equal(handler.description.task, "text-classification");
  await handler.dispose();
});

test("weights at the repository's root, under a name of their own, are served", async () => {
  await using repository = await variantOf(undefined, {});
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json"]) {
    await copyFile(join(TWO_WAY, name), join(repository.path, name));
  }
  await copyFile(join(TWO_WAY, "onnx/model.onnx"), join(repository.path, "model-optimized.onnx"));
  const handler = await load({ repository: repository.path });
  assert.equal(handler.description.notes[1]?.text, "Using the fp32 weights model-optimized.onnx");
  const answer = await ask(handler, { inputs: "The bank rejected my application." });
  assert.equal(Labels.parse(answer)[0]?.label, "Not Accepted");
  await handler.dispose();
});

test("a model type that transformers.js does not know is run as a plain encoder", async () => {
  const changes = { "config.json": configOf(TWO_WAY, { model_type: "brand-new-bert" }) };
  await using repository = await variantOf(TWO_WAY, changes);
  const handler = await load({ repository: repository.path });
  const answer = await ask(handler, { inputs: "The bank rejected my application." });
  assert.equal(Labels.parse(answer)[0]?.label, "Not Accepted");
  await handler.dispose();
});

test("what config.json says to transformers.js about files and devices is passed over", async () => {
  const library = { use_external_data_format: true, device: "webgpu", dtype: "q4" };
  const changes = { "config.json": configOf(TWO_WAY, { "transformers.js_config": library }) };
  await using repository = await variantOf(TWO_WAY, changes);
  const handler = await load({ repository: repository.path });
  assert.equal(handler.description.dtype, "q8");
  await ask(handler, SCARED);
  await handler.dispose();
});

test("the number of threads changes no answer", async () => {
  const one = await load({ repository: TWO_WAY, dtype: "fp32", intraOpThreads: 1 });
  const two = await load({ repository: TWO_WAY, dtype: "fp32", intraOpThreads: 2 });
  const data = { inputs: "The bank rejected my application." };
  assert.deepEqual(await ask(one, data), await ask(two, data));
  await one.dispose();
  await two.dispose();
});

test("requests may overlap", async () => {
  const handler = await load({ repository: EMBEDDED, dtype: "fp32" });
  const texts = [
    "I'm scared of the dark",
    "I love my little sister",
    "that really made me furious",
  ];
  const answers = await Promise.all(texts.map((inputs) => ask(handler, { inputs })));
  const labels = answers.map((answer) => Labels.parse(answer)[0]?.label);
  assert.deepEqual(labels, ["fear", "love", "anger"]);
  await handler.dispose();
});

test("a request that nobody waits for stops before its next forward pass", async () => {
  const handler = await load({ repository: EMBEDDED });
  const left = AbortSignal.abort();
  await assert.rejects(ask(handler, SCARED, { signal: left }), {
    code: "CANCELLED",
    message: "Cannot finish the prediction: nobody waits for it any more",
  });
  const late = new RuntimeError("DEADLINE_EXCEEDED", "Cannot answer in time");
  await assert.rejects(ask(handler, SCARED, { signal: AbortSignal.abort(late) }), late);

  // Aborted while the first group runs: two groups are needed for texts so unlike in length.
  const controller = new AbortController();
  const inputs = ["a", "love ".repeat(100)];
  const answer = ask(handler, { inputs }, { signal: controller.signal });
  controller.abort();
  await assert.rejects(answer, { code: "CANCELLED" });
  await handler.dispose();
});

test("a task without explanations says which tasks have them", async () => {
  const handler = await load({ repository: modelPath("tiny-bert-mlm") });
  const context = {
    signal: new AbortController().signal,
    requestId: "1",
    log: silentLog(),
    headers: {},
  };
  const data = { inputs: "a [MASK]" };
  const request = { id: "1", kind: "explain", data, headers: {} } as const;
  await assert.rejects(handler.call(request, context), {
    code: "NOT_SUPPORTED",
    message:
      "Cannot explain the prediction: this task has no explanations; text-classification, token-classification, question-answering and text-generation have",
  });
  await assert.rejects(ask(handler, { ...data, parameters: { explain: true } }), {
    code: "NOT_SUPPORTED",
  });
  await handler.dispose();
});

test("a disposed model answers no more", async () => {
  const handler = await load({ repository: TWO_WAY });
  await handler.dispose();
  await assert.rejects(ask(handler, SCARED), {
    code: "HANDLER_FAILED",
    message: /^Cannot run the model: /,
  });
});

test("clients' texts are printed by nobody, whatever fails", async (context) => {
  const printed = (["log", "warn", "error"] as const).map((name) =>
    context.mock.method(console, name, () => undefined),
  );
  const handler = await load({ repository: TWO_WAY });
  await handler.dispose();
  await assert.rejects(ask(handler, { inputs: "a secret" }));
  for (const method of printed) assert.equal(method.mock.callCount(), 0);
});

/** Starts that fail, each with the sentence a person reads. */
const FAILURES: readonly {
  readonly name: string;
  readonly base: string | undefined;
  readonly changes?: Parameters<typeof variantOf>[1];
  readonly options?: Partial<LoadOptions>;
  readonly code: string;
  readonly message: RegExp;
}[] = [
  {
    name: "an empty repository",
    base: undefined,
    code: "MODEL_INVALID",
    message: /^Cannot read the model: wanted config\.json in .*, found no file at all$/,
  },
  {
    name: "weights of another framework only",
    base: TWO_WAY,
    changes: {
      "onnx/model.onnx": null,
      "onnx/model_quantized.onnx": null,
      "model.safetensors": "",
    },
    code: "WEIGHTS_NOT_FOUND",
    message:
      /^Cannot find ONNX weights: .*, found model\.safetensors; make them with `optimum-cli export onnx /,
  },
  {
    name: "a dtype that is not there",
    base: TWO_WAY,
    options: { dtype: "q4" },
    code: "WEIGHTS_NOT_FOUND",
    message: /^Cannot use the dtype "q4": the repository has q8, fp32; /,
  },
  {
    name: "a task that is not served",
    base: TWO_WAY,
    options: { task: "text-to-image" },
    code: "TASK_UNKNOWN",
    message:
      /^Cannot serve the task "text-to-image": hubserve serves .*feature-extraction, fill-mask, /,
  },
  {
    name: "a task that the graph cannot do",
    base: TWO_WAY,
    options: { task: "fill-mask" },
    code: "MODEL_INVALID",
    message:
      /^Cannot serve fill-mask with onnx\/model_quantized\.onnx: its outputs are "logits" of 2 dimensions, wanted "logits" of 3$/,
  },
  {
    name: "vectors of a graph that has only logits",
    base: MLM,
    options: { task: "feature-extraction" },
    code: "MODEL_INVALID",
    message: /: its outputs are "logits" of 3 dimensions, wanted "last_hidden_state" of 3$/,
  },
  {
    name: "no tokenizer.json",
    base: TWO_WAY,
    changes: { "tokenizer.json": null },
    code: "MODEL_INVALID",
    message: /^Cannot load the tokenizer: tokenizer\.json is missing; /,
  },
  {
    name: "no tokenizer_config.json",
    base: TWO_WAY,
    changes: { "tokenizer_config.json": null },
    code: "MODEL_INVALID",
    message: /^Cannot load the tokenizer: tokenizer_config\.json is missing; /,
  },
  {
    name: "a broken tokenizer",
    base: TWO_WAY,
    changes: { "tokenizer.json": "{" },
    code: "MODEL_INVALID",
    message: /^Cannot load the tokenizer: .*JSON/,
  },
  {
    name: "a broken graph",
    base: TWO_WAY,
    changes: { "onnx/model_quantized.onnx": "not a graph" },
    code: "MODEL_INVALID",
    message: /^Cannot load onnx\/model_quantized\.onnx: /,
  },
  {
    name: "a broken config.json",
    base: TWO_WAY,
    changes: { "config.json": "no" },
    code: "MODEL_INVALID",
    message: /^Cannot read config\.json: /,
  },
  {
    name: "a broken pooling configuration",
    base: MINILM,
    changes: { "1_Pooling/config.json": { pooling_mode_cls_token: "yes" } },
    code: "MODEL_INVALID",
    message:
      /^Cannot read 1_Pooling\/config\.json: "pooling_mode_cls_token" is not what was wanted/,
  },
];

for (const { name, base, changes = {}, options = {}, code, message } of FAILURES) {
  test(`does not start with ${name}`, async () => {
    await using repository = await variantOf(base, changes);
    await assert.rejects(load({ repository: repository.path, ...options }), (error: Error) => {
      assert.match(error.message, message);
      assert.deepEqual("code" in error && error.code, code);
      if (base !== undefined) assert.ok(!error.message.includes(repository.path), error.message);
      return true;
    });
  });
}

test("a repository whose card cannot be read is served with a warning", async () => {
  await using repository = await variantOf(TWO_WAY, { "README.md": "---\n{[\n---\n" });
  const handler = await load({ repository: repository.path });
  assert.deepEqual(handler.description.notes.at(-1), {
    level: "warn",
    text: "Ignoring the front matter of README.md: it is not the YAML of a model card",
  });
  await handler.dispose();
});

test("nothing is written into the repository", async () => {
  await using repository = await variantOf(TWO_WAY, {});
  const before = readdirSync(repository.path, { recursive: true });
  const handler = await load({ repository: repository.path });
  await ask(handler, SCARED);
  await handler.dispose();
  assert.deepEqual(readdirSync(repository.path, { recursive: true }), before);
});
