import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { decodeImage } from "../../../runtime/handler/media/image.ts";
import {
  loadVisionGenerator,
  writingItem,
  type VisionGenerator,
} from "../../../runtime/handler/model/vision-generation.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { fixtureModel, plainSettings } from "../../support/generation.ts";
import { askTogether, askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const MODEL = modelPath("tiny-vit-gpt2");
const TASK = "image-to-text";
const { cases } = readGolden(
  "tiny-vit-gpt2",
  z.object({
    cases: z.array(
      z.object({
        image: z.string(),
        max_new_tokens: z.number(),
        new_ids: z.array(z.number()),
        text: z.string(),
      }),
    ),
  }),
);
const Captions = z.tuple([z.strictObject({ generated_text: z.string() })]);

const captioner = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
after(() => captioner.dispose());

const FILE = cases[0]?.image ?? "";
const first = imageText(FILE);

async function caption(parameters?: unknown, inputs: string = first): Promise<string> {
  const data = { inputs, ...(parameters !== undefined && { parameters }) };
  return Captions.parse(await ask(captioner, data))[0].generated_text;
}

test("writes what Python's greedy search writes, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const parameters = { max_new_tokens: 16 };
  const list = z.array(Captions).parse(await ask(captioner, { inputs, parameters }));
  for (const [index, { text }] of cases.entries()) {
    assert.equal(await caption(parameters, inputs[index]), text);
    assert.deepEqual(list[index], [{ generated_text: text }]);
  }
});

/** What a generation reads of a golden's image. */
async function itemOf(generator: VisionGenerator, image: string, maxNewTokens: number) {
  const names = { action: "test", name: "inputs" };
  const pixels = await generator.images.read(await decodeImage(imageFile(image), names), names);
  return writingItem(
    pixels,
    [generator.startId ?? -1],
    plainSettings({ maxNewTokens, endIds: [0] }),
  );
}

test("both images are written about together, token for token as in Python", async () => {
  const generator = await loadVisionGenerator(await fixtureModel("tiny-vit-gpt2"), TASK);
  const items = await Promise.all(cases.map(({ image }) => itemOf(generator, image, 16)));
  assert.equal(new Set(items.map(({ group }) => group)).size, 1, "one group");
  const results = await generator.generate(items, new AbortController().signal);
  assert.deepEqual(
    results.map(({ ids }) => ids),
    cases.map(({ new_ids }) => new_ids),
  );
  await generator.dispose();
});

test("int8 weights write the first caption alike", async () => {
  // Weights are random and logits near each other: the second caption parts from fp32 at its second token.
  const handler = await loadDefaultHandler({ repository: MODEL, dtype: "q8" }, silentLog());
  const data = { inputs: first, parameters: { max_new_tokens: 16 } };
  assert.deepEqual(await ask(handler, data), [{ generated_text: cases[0]?.text }]);
  await handler.dispose();
});

test("requests for captions of one length are answered together", async () => {
  const parameters = { max_new_tokens: 16 };
  const bodies = cases.map(({ image }) => ({ inputs: imageText(image), parameters }));
  const other = { inputs: first, parameters: { max_new_tokens: 2 } };
  const { answers, passes } = await askTogether(captioner, [...bodies, other]);
  assert.deepEqual(passes, [2, 1]);
  const texts = cases.map(({ text }) => [{ generated_text: text }]);
  assert.deepEqual(answers.slice(0, 2), texts);
});

test("an image may be the body", async () => {
  const parameters = { max_new_tokens: 4 };
  const expected = [{ generated_text: await caption(parameters) }];
  assert.deepEqual(await askWithFile(captioner, imageFile(FILE), { parameters }), expected);
});

test("generation parameters may be nested under each of their names", async () => {
  const expected = await caption({ max_new_tokens: 5 });
  assert.ok(cases[0]?.text.startsWith(expected));
  for (const name of ["generate_kwargs", "generation_parameters", "generate_parameters"]) {
    assert.equal(await caption({ [name]: { max_new_tokens: 5 } }), expected);
  }
  assert.equal(await caption({ max_length: 6 }), expected, "the start counts");
});

test("generation parameters are honoured", async () => {
  const greedy = await caption({ max_new_tokens: 12 });
  assert.notEqual(await caption({ max_new_tokens: 12, no_repeat_ngram_size: 1 }), greedy);
  assert.notEqual(await caption({ max_new_tokens: 12, repetition_penalty: 5 }), greedy);
  assert.notEqual(await caption({ max_new_tokens: 12, num_beams: 4 }), greedy);
  const chance = { max_new_tokens: 12, do_sample: true, temperature: 3, seed: 1 };
  assert.notEqual(await caption(chance), greedy);
  assert.equal(await caption(chance), await caption(chance), "a seed gives one answer");
});

test("without a length it writes until its end, or until the decoder is full", async () => {
  // 64 positions: the start and 63 more; no end comes earlier.
  assert.equal(await caption(), await caption({ max_new_tokens: 63 }));
  await using repository = await variantOf(MODEL, {
    "generation_config.json": { decoder_start_token_id: 0, eos_token_id: 0, max_length: 6 },
    "onnx/encoder_model_quantized.onnx": null,
    "onnx/decoder_model_merged_quantized.onnx": null,
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const expected = [{ generated_text: await caption({ max_new_tokens: 5 }) }];
  assert.deepEqual(await ask(handler, { inputs: first }), expected, "the model's own max_length");
  await handler.dispose();
});

test("the text ends before the token that ends it, wherever the configuration names that", async () => {
  const ids = cases[0]?.new_ids ?? [];
  const expected = await caption({ max_new_tokens: 13 });
  const decoder = { n_positions: 64, decoder_start_token_id: 0, eos_token_id: ids[13] };
  for (const changes of [
    { "generation_config.json": { decoder_start_token_id: 0, eos_token_id: [7, ids[13]] } },
    {
      "generation_config.json": null,
      "config.json": withoutIds(decoder),
    },
  ]) {
    await using repository = await variantOf(MODEL, changes);
    const handler = await loadDefaultHandler(
      { repository: repository.path, dtype: "fp32" },
      silentLog(),
    );
    assert.deepEqual(await ask(handler, { inputs: first }), [{ generated_text: expected }]);
    await handler.dispose();
  }
});

/** A configuration whose token ids stand with the decoder alone. */
function withoutIds(decoder: object): object {
  const own = z.looseObject({ decoder: z.looseObject({}) }).parse(configOf(MODEL, {}));
  return configOf(MODEL, {
    decoder: { ...own.decoder, ...decoder },
    decoder_start_token_id: null,
    pad_token_id: null,
    eos_token_id: null,
  });
}

test("parameters without effect are named", async () => {
  const lines: string[] = [];
  const parameters = { max_new_tokens: 2, timeout: 5, temperature: 0.5, length_penalty: 2 };
  await ask(captioner, { inputs: first, parameters }, { log: quietLog(lines) });
  assert.equal(lines.length, 3);
  assert.match(lines.join("\n"), /"timeout" has no effect[^]*"temperature"[^]*"length_penalty"/);
});

test("an aborted generation stops, and says why", async () => {
  const generator = await loadVisionGenerator(await fixtureModel("tiny-vit-gpt2"), TASK);
  const item = await itemOf(generator, FILE, 60);
  const gone = new Error("the client is gone");
  const aborter = new AbortController();
  const running = generator.generate([item], aborter.signal);
  setImmediate(() => aborter.abort(gone));
  await assert.rejects(running, gone);
  await generator.dispose();
});

test("a model that does not say how a text begins is refused at the start", async () => {
  await using repository = await variantOf(MODEL, {
    "generation_config.json": null,
    "config.json": withoutIds({ bos_token_id: null }),
  });
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message:
      "Cannot serve image-to-text: neither generation_config.json nor config.json names the token that a text begins with, wanted decoder_start_token_id",
  });
});

test("models of other kinds are refused at the start", async () => {
  await assert.rejects(
    loadDefaultHandler({ repository: modelPath("tiny-clip"), task: TASK }, silentLog()),
    {
      code: "MODEL_INVALID",
      message: `Cannot serve ${TASK} with the model type "clip": wanted "vision-encoder-decoder", an encoder of images before a decoder of words`,
    },
  );
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: RegExp])[] = [
  [{}, /^"inputs" is missing, wanted an image in base64, or a list of them$/],
  [{ inputs: "bm8gaW1hZ2U=" }, /^"inputs" is not an image that can be decoded$/],
  [{ inputs: [first, 5] }, /^"inputs\[1\]" is not a string, wanted an image in base64$/],
  [
    { inputs: first, parameters: { prompt: "a photo of" } },
    /^"prompt" is "a photo of", wanted none, as this model writes without a prompt$/,
  ],
  [
    { inputs: first, parameters: { max_new_tokens: 0 } },
    /^"max_new_tokens" is 0, wanted a whole number of at least 1$/,
  ],
  [
    { inputs: first, parameters: { max_new_tokens: 64 } },
    /^"max_new_tokens" is 64\b.*, wanted at most 63\b.*, as the sequence begins with 1 and the model holds 64$/,
  ],
  [
    { inputs: first, parameters: { generate_kwargs: 5 } },
    /^"generate_kwargs" is a number, wanted an object$/,
  ],
  [
    { inputs: first, parameters: { max_tokens: 5 } },
    /^there is no parameter "max_tokens"; known are max_new_tokens, /,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence.source}`, async () => {
    await assert.rejects(ask(captioner, data), (error: { code: string; message: string }) => {
      assert.equal(error.code, "INVALID_INPUT");
      const [action, ...problem] = error.message.split(": ");
      assert.equal(action, "Cannot describe the image");
      assert.match(problem.join(": "), sentence);
      return true;
    });
  });
}
