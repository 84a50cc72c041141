import assert from "node:assert/strict";
import { test } from "node:test";

import {
  parseHandlerSettings,
  readHandlerSettings,
  settingsFor,
} from "../../../runtime/handler/model/handler-settings.ts";
import type { JsonValue } from "../../../runtime/inference.ts";
import { variantOf } from "../../support/goldens.ts";

const FILE = "model-config.yaml";

const parse = (keys: Readonly<Record<string, JsonValue>>) =>
  parseHandlerSettings(FILE, keys, "handler.");

/** TorchServe's own `model-config.yaml` of the example, as YAML gives it. */
const EXAMPLE = {
  model_name: "bert-base-uncased",
  mode: "sequence_classification",
  do_lower_case: true,
  num_labels: 2,
  save_mode: "pretrained",
  max_length: 150,
  captum_explanation: true,
  embedding_name: "bert",
  BetterTransformer: false,
  model_parallel: false,
};

/** The same in the words of its older `setup_config.json`. */
const OLDER_EXAMPLE = {
  ...EXAMPLE,
  do_lower_case: "True",
  num_labels: "2",
  max_length: "150",
  FasterTransformer: false,
};

const READ = {
  file: FILE,
  mode: "sequence_classification",
  modelName: "bert-base-uncased",
  lowerCase: true,
  numLabels: 2,
  saveMode: "pretrained",
  maxLength: 150,
  explains: true,
  embeddingName: "bert",
  generation: undefined,
};

test("parseHandlerSettings() reads TorchServe's example and says which keys it uses", () => {
  const { settings, notes } = parse(EXAMPLE);
  assert.deepEqual(settings, READ);
  assert.deepEqual(notes, [
    {
      level: "info",
      text:
        "Using the handler section of model-config.yaml: mode, model_name, do_lower_case, num_labels, save_mode, " +
        "max_length, captum_explanation, embedding_name, BetterTransformer, model_parallel",
    },
  ]);
});

test("parseHandlerSettings() takes numbers and booleans as strings, too", () => {
  assert.deepEqual(parse(OLDER_EXAMPLE).settings, READ);
  assert.equal(parse({ captum_explanation: "False" }).settings.explains, false);
});

for (const mode of [
  "sequence classification",
  "sequence_classification ",
  "Sequence-Classification",
]) {
  test(`parseHandlerSettings() reads the mode ${JSON.stringify(mode)} as it was meant`, () => {
    assert.equal(parse({ mode }).settings.mode, "sequence_classification");
  });
}

test("parseHandlerSettings() gives text_generation the handler's sampling and as many new tokens as max_length", () => {
  assert.deepEqual(parse({ mode: "text_generation", max_length: "50" }).settings.generation, {
    do_sample: true,
    top_p: 0.95,
    top_k: 60,
    max_new_tokens: 50,
  });
  const { generation } = parse({ mode: "text_generation" }).settings;
  assert.deepEqual(generation, { do_sample: true, top_p: 0.95, top_k: 60 });
});

test("settingsFor() keeps a mode's generation to the mode's own task", () => {
  const { settings } = parse({ mode: "text_generation", max_length: 50 });
  assert.deepEqual(settingsFor("text-generation", settings), settings);
  assert.deepEqual(settingsFor("summarization", settings), { ...settings, generation: undefined });
});

test("parseHandlerSettings() says why a key changes nothing, where it asks for something", () => {
  const { notes } = parse({
    BetterTransformer: "true",
    FasterTransformer: true,
    model_parallel: true,
    hardware: "neuron",
    batch_size: 4,
    save_mode: "torchscript",
  });
  assert.deepEqual(
    notes.slice(1).map(({ level, text }) => [level, text]),
    [
      "BetterTransformer in model-config.yaml changes nothing here: onnxruntime optimizes the graph when it loads it",
      "FasterTransformer in model-config.yaml changes nothing here: onnxruntime optimizes the graph when it loads it",
      "model_parallel in model-config.yaml changes nothing here: each worker holds the whole model, and --workers says how many there are",
      "hardware in model-config.yaml changes nothing here: it was for tracing a model for AWS Neuron",
      "batch_size in model-config.yaml changes nothing here: it was for tracing a model for AWS Neuron; batchSize bounds the batches",
      'save_mode "torchscript" in model-config.yaml changes nothing here: the ONNX weights are served',
    ].map((text) => ["info", text]),
  );
});

test("parseHandlerSettings() names the keys it does not know in one warning, with what was meant", () => {
  const { settings, notes } = parse({ mdoe: "token_classification", profile: { on: true } });
  assert.equal(settings.mode, undefined);
  assert.deepEqual(notes, [
    {
      level: "warn",
      text: 'Ignoring "mdoe" (did you mean "mode"), "profile" in model-config.yaml: the default handler has no such key',
    },
  ]);
});

const REFUSED: readonly [keys: Record<string, JsonValue>, sentence: string][] = [
  [
    { mode: "summarization" },
    'handler.mode: found "summarization", wanted one of sequence_classification, token_classification, question_answering, text_generation',
  ],
  [{ mode: null }, "handler.mode: found null, wanted one of sequence_classification, "],
  [{ do_lower_case: "maybe" }, 'handler.do_lower_case: found "maybe", wanted true or false'],
  [{ captum_explanation: 1 }, "handler.captum_explanation: found 1, wanted true or false"],
  [{ max_length: 0 }, "handler.max_length: found 0, wanted a whole number of at least 1"],
  [{ max_length: "" }, 'handler.max_length: found "", wanted a whole number of at least 1'],
  [{ max_length: "1e1000" }, 'handler.max_length: found "1e1000", wanted a whole number'],
  [{ max_length: [150] }, "handler.max_length: found [150], wanted a whole number of at least 1"],
  [{ num_labels: -1 }, "handler.num_labels: found -1, wanted a whole number of at least 0"],
  [{ num_labels: 2.5 }, "handler.num_labels: found 2.5, wanted a whole number of at least 0"],
  [{ save_mode: "onnx" }, 'handler.save_mode: found "onnx", wanted one of pretrained, torchscript'],
  [{ embedding_name: 7 }, "handler.embedding_name: found 7, wanted a name"],
  [
    { model_name: ["x".repeat(100)] },
    `handler.model_name: found ["${"x".repeat(58)}…, wanted a name`,
  ],
];

for (const [keys, sentence] of REFUSED) {
  test(`parseHandlerSettings() refuses ${JSON.stringify(keys).slice(0, 50)}`, () => {
    assert.throws(
      () => parse(keys),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "MODEL_INVALID");
        assert.ok(
          error.message.startsWith(`Cannot read model-config.yaml: ${sentence}`),
          error.message,
        );
        return true;
      },
    );
  });
}

/** What is read of a repository with these files. */
async function read(
  files: Readonly<Record<string, string | object>>,
  given?: Parameters<typeof readHandlerSettings>[1],
  prefix: "" | "model/" = "",
) {
  await using repository = await variantOf(undefined, files);
  const folder = { repository: repository.path, files: Object.keys(files), prefix };
  return await readHandlerSettings(folder, given);
}

test("readHandlerSettings() finds setup_config.json at the root or beside the model", async () => {
  const root = await read({ "setup_config.json": OLDER_EXAMPLE });
  assert.deepEqual(root.settings, { ...READ, file: "setup_config.json" });
  assert.match(root.notes[0]?.text ?? "", /^Using setup_config\.json: mode, /);
  const beside = await read({ "model/setup_config.json": OLDER_EXAMPLE }, undefined, "model/");
  assert.equal(beside.settings?.file, "model/setup_config.json");
});

test("readHandlerSettings() prefers model-config.yaml, and says so", async () => {
  const { settings, notes } = await read(
    { "setup_config.json": OLDER_EXAMPLE },
    { file: FILE, keys: { mode: "text_generation" } },
  );
  assert.equal(settings?.mode, "text_generation");
  assert.equal(settings?.maxLength, undefined);
  assert.deepEqual(notes.at(-1), {
    level: "info",
    text: "Found model-config.yaml and setup_config.json: the handler section of model-config.yaml is used",
  });
});

test("readHandlerSettings() finds nothing where there is nothing", async () => {
  assert.deepEqual(await read({ "config.json": {} }), { notes: [] });
});

test("readHandlerSettings() names the file, the key, and what was found and wanted", async () => {
  await assert.rejects(read({ "setup_config.json": { max_length: "long" } }), {
    code: "MODEL_INVALID",
    message:
      'Cannot read setup_config.json: max_length: found "long", wanted a whole number of at least 1',
  });
  await assert.rejects(read({ "setup_config.json": "{" }), {
    code: "MODEL_INVALID",
    message: /^Cannot read setup_config\.json: .*JSON/,
  });
  await assert.rejects(read({ "setup_config.json": "[1]" }), {
    code: "MODEL_INVALID",
    message: "Cannot read setup_config.json: it is not what was wanted (wanted an object)",
  });
});
