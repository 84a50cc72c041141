/**
 * The modes and settings of TorchServe's generalized transformer handler, from the repository's files to the answer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { z } from "zod";

import type { LoadedHandler, MemberOutcome } from "../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../runtime/handler/default.ts";
import type { JsonValue, LoadOptions } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { ask, configOf, Labels, modelPath, quietLog, variantOf } from "../support/goldens.ts";

const TWO_WAY = modelPath("seqcls-bert-2way");
const NER = modelPath("ner-bert");
const REJECTED = "The bank rejected my application.";

/** A handler over `files` laid on a model, in fp32. */
async function load(
  files: Readonly<Record<string, object | string | null>>,
  more: Partial<LoadOptions> = {},
  { lines = [], base = TWO_WAY }: { lines?: string[]; base?: string } = {},
): Promise<LoadedHandler & AsyncDisposable> {
  const repository = await variantOf(base, files);
  const options = { repository: repository.path, dtype: "fp32", ...more };
  const handler = await loadDefaultHandler(options, quietLog(lines)).catch(async (error) => {
    await repository[Symbol.asyncDispose]();
    throw error;
  });
  return {
    ...handler,
    async [Symbol.asyncDispose]() {
      await handler.dispose();
      await repository[Symbol.asyncDispose]();
    },
  };
}

function given(keys: Readonly<Record<string, JsonValue>>): Partial<LoadOptions> {
  return { handlerSettings: { file: "model-config.yaml", keys } };
}

/** The answer with its warnings. */
async function askWithWarnings(
  handler: LoadedHandler,
  data: Readonly<Record<string, unknown>>,
): Promise<MemberOutcome | undefined> {
  let outcome: MemberOutcome | undefined;
  const context = {
    signal: new AbortController().signal,
    requestId: "test",
    log: silentLog(),
    headers: {},
  };
  const request = { id: "test", kind: "predict" as const, data, headers: {} };
  await handler.callBatch?.([{ request, context }], {
    onOutcome: (_index, what) => void (outcome = what),
    onPass: () => undefined,
    maxPaddedTokens: 512,
  });
  if (outcome === undefined || !("value" in outcome)) return outcome;
  const { stages: _, ...answer } = outcome; // how long it took
  return answer;
}

test("mode chooses the task before the card does, and the user before the mode", async () => {
  const files = { "README.md": "---\npipeline_tag: fill-mask\n---\n" };
  const settings = given({ mode: "sequence_classification" });
  await using byMode = await load(files, settings);
  assert.equal(byMode.description.task, "text-classification");
  assert.equal(
    byMode.description.notes[0]?.text,
    'Serving text-classification, as the mode "sequence_classification" of model-config.yaml says',
  );
  const byUser = load(files, { ...settings, task: "feature-extraction" });
  await assert.rejects(
    byUser,
    /^RuntimeError: Cannot serve feature-extraction with onnx\/model\.onnx: /,
  );
});

test("setup_config.json alone chooses the task, too", async () => {
  const files = { "setup_config.json": { mode: "sequence classification", max_length: "150" } };
  await using handler = await load(files);
  assert.equal(handler.description.task, "text-classification");
  assert.deepEqual(handler.description.notes[2], {
    level: "info",
    text: "Using setup_config.json: mode, max_length",
  });
});

test("a text is cut to max_length where the request does not say, with a warning", async () => {
  await using short = await load({}, given({ max_length: 6 }));
  await using plain = await load({});
  const cut = await askWithWarnings(short, { inputs: REJECTED });
  const wanted = await askWithWarnings(plain, {
    inputs: REJECTED,
    parameters: { max_length: 6 },
  });
  assert.deepEqual(cut, wanted);
  assert.ok(cut !== undefined && "value" in cut);
  assert.deepEqual(cut.warnings, ['"inputs" was cut from 8 to 6 tokens']);

  const asked = await askWithWarnings(short, {
    inputs: REJECTED,
    parameters: { max_length: 100 },
  });
  assert.deepEqual(asked, await askWithWarnings(plain, { inputs: REJECTED }));
  assert.notDeepEqual(asked, cut);
});

test("max_length cuts the texts of other tasks, too", async () => {
  const MINILM = modelPath("minilm-embed");
  await using short = await load({}, given({ max_length: 4 }), { base: MINILM });
  await using plain = await load({}, {}, { base: MINILM });
  const inputs = "The bank rejected my application.";
  const cut = await ask(plain, { inputs, parameters: { max_length: 4 } });
  assert.deepEqual(await ask(short, { inputs }), cut);
  assert.notDeepEqual(await ask(plain, { inputs }), cut);
});

test("do_lower_case sets the tokenizer, whatever tokenizer.json says", async () => {
  // The vocabulary has no capitals: a word with one is unknown once capitals are kept.
  await using kept = await load({}, given({ do_lower_case: "False" }));
  await using plain = await load({});
  const words = { inputs: "Rejected" };
  assert.deepEqual(await ask(kept, words), await ask(plain, { inputs: "[UNK]" }));
  assert.notDeepEqual(await ask(kept, words), await ask(plain, words));
  assert.deepEqual(await ask(kept, { inputs: "rejected" }), await ask(plain, words));
  assert.deepEqual(kept.description.notes.at(-1), {
    level: "warn",
    text: "Texts keep their capitals, as do_lower_case in model-config.yaml says, though tokenizer.json drops capitals",
  });

  await using same = await load({}, given({ do_lower_case: true }));
  assert.deepEqual(await ask(same, words), await ask(plain, words));
  assert.equal(same.description.notes.length, 3);
});

test("index_to_name.json names the labels of the answers", async () => {
  const names = { label_list: "[B-NEIN, B-JA]" };
  await using handler = await load({ "index_to_name.json": names });
  const [first] = Labels.parse(await ask(handler, { inputs: REJECTED }));
  assert.equal(first?.label, "B-NEIN");
  assert.ok(Math.abs((first?.score ?? 0) - 0.9857492) < 1e-4, "PyTorch's score, to 1e-4");
  const repository = load({ "index_to_name.json": { "0": "only" } });
  await assert.rejects(repository, /found 1 label, wanted 2, /);
});

const Entities = z.array(
  z.object({
    entity: z.string(),
    word: z.string(),
    start: z.number(),
    end: z.number(),
  }),
);

test("TorchServe's own index_to_name.json names the labels of tokens", async () => {
  const labels = "[O, B-MISC, I-MISC, B-PER, I-PER, B-ORG, I-ORG, B-LOC, I-LOC]";
  const changes = {
    "config.json": configOf(NER, { id2label: null }),
    "index_to_name.json": { label_list: labels },
  };
  const settings = given({ mode: "token_classification", num_labels: 9 });
  await using handler = await load(changes, settings, { base: NER });
  await using own = await load({}, settings, { base: NER });
  const data = { inputs: "Angela lives in New York." };
  const entities = Entities.parse(await ask(handler, data));
  assert.deepEqual(
    entities.map(({ entity, word }) => [entity, word]),
    [
      ["B-PER", "Angela"],
      ["B-LOC", "New"],
      ["I-LOC", "York"],
    ],
  );
  assert.deepEqual(entities, Entities.parse(await ask(own, data)));
});

test("offsets are those of the text as it was sent, when do_lower_case changes what is read of it", async () => {
  const settings = given({ mode: "token_classification", do_lower_case: true });
  await using lower = await load({}, settings, { base: NER });
  await using plain = await load({}, {}, { base: NER });
  const all = { parameters: { ignore_labels: [] } };
  const text = "Éva lives in Oslo.";
  const read = Entities.parse(await ask(lower, { inputs: text, ...all }));
  const same = Entities.parse(await ask(plain, { inputs: "eva lives in oslo.", ...all }));
  assert.deepEqual(read, same);
  const characters = Array.from(text);
  const words = read.map(({ start, end }) => characters.slice(start, end).join(""));
  assert.equal(words.join(""), text.replaceAll(" ", ""));
});

test("max_length is the window of question answering: nothing of a long context is lost", async () => {
  const settings = given({ mode: "question_answering", max_length: 32 });
  await using handler = await load({}, settings, { base: modelPath("qa-bert") });
  const context = `${"It is a beautiful day. ".repeat(20)}Anna Miller is the CEO of Acme.`;
  const outcome = await askWithWarnings(handler, {
    inputs: { question: "Who is the CEO of Acme?", context },
  });
  assert.ok(outcome !== undefined && "value" in outcome);
  const { answer, start } = z
    .object({ answer: z.string(), start: z.number() })
    .parse(outcome.value);
  assert.equal(answer, "Anna Miller");
  assert.equal(start, 20 * "It is a beautiful day. ".length);
  assert.equal(outcome.warnings, undefined);
});

const Generated = z.array(z.object({ generated_text: z.string() }));

test("text_generation draws by chance, max_length tokens and no more, over what the model says", async () => {
  const GPT2 = modelPath("tiny-gpt2");
  const settings = given({ mode: "text_generation", max_length: "12" });
  const greedy = { do_sample: false, max_new_tokens: 3, max_length: 60 };
  const says = { "text-generation": { do_sample: false, max_length: 50 } };
  const files = {
    "generation_config.json": greedy,
    "config.json": configOf(GPT2, { task_specific_params: says }),
  };
  await using handler = await load(files, settings, { base: GPT2 });
  await using plain = await load({}, {}, { base: GPT2 });
  const prompt = "Once upon a time";
  const generate = async (which: LoadedHandler, parameters: object) => {
    const answer = await ask(which, { inputs: prompt, parameters });
    return Generated.parse(answer)[0]?.generated_text;
  };
  const chance = { do_sample: true, top_p: 0.95, top_k: 60, max_new_tokens: 12 };
  for (const seed of [1, 2, 3]) {
    const text = await generate(handler, { seed });
    assert.equal(text, await generate(plain, { seed, ...chance }));
  }
  const texts = await Promise.all([1, 2, 3, 4].map((seed) => generate(handler, { seed })));
  assert.ok(new Set(texts).size > 1, "chance is at work");
  const asked = { do_sample: false, max_new_tokens: 5 };
  assert.equal(await generate(handler, asked), await generate(plain, asked));
});

test("text_generation keeps the end of a prompt that is longer than max_length", async () => {
  const GPT2 = modelPath("tiny-gpt2");
  const settings = given({ mode: "text_generation", max_length: 8 });
  await using handler = await load({}, settings, { base: GPT2 });
  await using plain = await load({}, {}, { base: GPT2 });
  const inputs = `${"It was a cold day. ".repeat(5)}Once upon a time`;
  const parameters = { do_sample: false, max_new_tokens: 6 };
  const cut = await askWithWarnings(handler, { inputs, parameters });
  const wanted = await askWithWarnings(plain, {
    inputs,
    parameters: { ...parameters, truncate: 8 },
  });
  assert.deepEqual(cut, wanted);
  assert.ok(cut !== undefined && "value" in cut);
  assert.match(cut.warnings?.[0] ?? "", /^"inputs" was cut from \d+ to 8 tokens$/);
  const whole = { inputs, parameters: { ...parameters, truncation: false } };
  assert.deepEqual(await ask(handler, whole), await ask(plain, whole));
});

test("the sampling of text_generation reaches no other task", async () => {
  const T5 = modelPath("tiny-t5");
  const task = { task: "text2text-generation" };
  await using handler = await load(
    {},
    { ...given({ mode: "text_generation", max_length: 7 }), ...task },
    { base: T5 },
  );
  await using plain = await load({}, task, { base: T5 });
  const data = { inputs: "Tom" };
  assert.deepEqual(await ask(handler, data), await ask(plain, data));
});

test("TorchScript is refused with how to export, and passed over where ONNX lies beside it", async () => {
  const settings = given({
    mode: "sequence_classification",
    save_mode: "torchscript",
    model_name: "bert-base-uncased",
  });
  await using both = await load({ "traced_model.pt": "" }, settings);
  assert.equal(Labels.parse(await ask(both, { inputs: REJECTED }))[0]?.label, "Not Accepted");
  const alone = load(
    { "traced_model.pt": "", "onnx/model.onnx": null, "onnx/model_quantized.onnx": null },
    settings,
  );
  await assert.rejects(alone, {
    code: "WEIGHTS_NOT_FOUND",
    message:
      "Cannot serve TorchScript, the save_mode of model-config.yaml: hubserve runs ONNX; export the model that was " +
      "traced with `optimum-cli export onnx --model bert-base-uncased --task text-classification <folder>`",
  });
});

test("a misspelt key is named where the start fails for want of it", async () => {
  const lines: string[] = [];
  const files = { "config.json": { model_type: "bert" } };
  const pending = load(files, given({ mdoe: "sequence_classification" }), { lines });
  await assert.rejects(pending, { code: "TASK_UNKNOWN" });
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /WARN.*Ignoring "mdoe" \(did you mean "mode"\) in model-config\.yaml/,
  );
});
