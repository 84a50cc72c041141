import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { z } from "zod";

import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { chooseModelWeights } from "../../../runtime/handler/model/weights.ts";
import { openWhisper } from "../../../runtime/handler/tasks/asr-whisper.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { askWithBody, sound } from "../../support/sounds.ts";

const CTC = modelPath("tiny-wav2vec2-ctc");
const WHISPER = modelPath("tiny-whisper");
const load = (repository: string) => loadDefaultHandler({ repository, dtype: "fp32" }, silentLog());
const ctc = await load(CTC);
const whisper = await load(WHISPER);
after(() => Promise.all([ctc.dispose(), whisper.dispose()]));

const Answer = z.object({
  text: z.string(),
  chunks: z
    .array(
      z.object({
        text: z.string(),
        timestamp: z.array(z.number().nullable()).optional(),
        language: z.string().optional(),
      }),
    )
    .optional(),
});

async function hear(handler: LoadedHandler, inputs: unknown, parameters?: object) {
  return Answer.parse(await ask(handler, { inputs, ...(parameters && { parameters }) }));
}

const Golden = z.object({ cases: z.array(z.object({ audio: z.string(), text: z.string() })) });
const ctcCases = readGolden("tiny-wav2vec2-ctc", Golden).cases;
const whisperCases = readGolden("tiny-whisper", Golden).cases;
const [first = "", second = ""] = ctcCases.map(({ audio }) => sound(audio));

/** Samples of a golden's sound. */
function samplesOf(base64: string): number[] {
  const bytes = Buffer.from(base64, "base64");
  return Array.from(
    { length: (bytes.length - 44) / 2 },
    (_, i) => bytes.readInt16LE(44 + i * 2) / 32768,
  );
}

for (const { audio, text } of ctcCases) {
  test(`CTC: ${audio} is heard as Python hears it`, async () => {
    assert.equal((await hear(ctc, sound(audio))).text, text);
    const body = { bytes: Buffer.from(sound(audio), "base64"), contentType: "audio/wav" };
    assert.deepEqual(await askWithBody(ctc, body), { text });
  });
}

test("CTC: a list is answered in order", async () => {
  const texts = ctcCases.map(({ text }) => ({ text }));
  assert.deepEqual(await ask(ctc, { inputs: [first, second] }), texts);
});

test("CTC: characters and words have the times of their frames", async () => {
  const { cases } = readGolden(
    "tiny-wav2vec2-ctc",
    z.object({ cases: z.array(z.object({ best_path: z.array(z.number()) })) }),
  );
  const path = cases[0]?.best_path ?? [];
  const { text, chunks = [] } = await hear(ctc, first, { return_timestamps: "char" });
  assert.equal(chunks.map((chunk) => chunk.text).join(""), text);
  const starts = [...path.keys()].filter((frame) => frame === 0 || path[frame] !== path[frame - 1]);
  assertNear(
    chunks.map(({ timestamp }) => timestamp?.[0] ?? Number.NaN),
    starts.map((frame) => frame * 0.02),
    1e-9,
  );
  const words = await hear(ctc, first, { return_timestamps: "word" });
  assert.deepEqual(words.chunks, [{ text, timestamp: [0, path.length * 0.02] }]);
});

test("CTC: windows with their edges thrown away give nearly what the whole gives", async () => {
  const whole = await hear(ctc, second, { return_timestamps: "char" });
  const cut = await hear(ctc, second, {
    return_timestamps: "char",
    chunk_length_s: 0.8,
    stride_length_s: [0.2, 0.1],
  });
  const last = (answer: typeof whole) => answer.chunks?.at(-1)?.timestamp?.[1] ?? 0;
  assertNear([last(cut)], [last(whole)], 0.04); // each window ends a frame early, as the convolutions are not padded
  assert.ok(cut.text.startsWith(whole.text.slice(0, 8)), cut.text);
  const once = await hear(ctc, second, { chunk_length_s: 30 });
  assert.equal(once.text, whole.text);
});

test("CTC: a sound of more than a minute is heard in windows, and says so", async () => {
  const raw = Array.from({ length: 62 * 16_000 }, (_, i) => Math.sin(i / 20) * Math.sin(i / 3000));
  const lines: string[] = [];
  const data = {
    inputs: { raw, sampling_rate: 16_000 },
    parameters: { return_timestamps: "char" },
  };
  const answer = Answer.parse(await ask(ctc, data, { log: quietLog(lines) }));
  assert.match(
    lines.join(),
    /\\"inputs\\" was heard in windows of 30 seconds|"inputs" was heard in windows of 30 seconds/,
  );
  const end = answer.chunks?.at(-1)?.timestamp?.[1] ?? 0;
  assert.ok(end > 61 && end <= 62, `${end}`);
});

test("CTC: what is for Whisper has no effect, and says so", async () => {
  const lines: string[] = [];
  const data = {
    inputs: first,
    parameters: { language: "de", generate_kwargs: { max_new_tokens: 3 } },
  };
  assert.deepEqual(await ask(ctc, data, { log: quietLog(lines) }), { text: ctcCases[0]?.text });
  assert.equal(lines.filter((line) => line.includes("has no effect here")).length, 2);
});

const GREEDY = { num_beams: 1, max_new_tokens: 16, language: "en" };

for (const { audio, text } of whisperCases) {
  test(`Whisper: ${audio} is heard as Python hears it, greedily`, async () => {
    assert.deepEqual(await ask(whisper, { inputs: sound(audio), parameters: GREEDY }), { text });
  });
}

test("Whisper: generation parameters may be nested as clients nest them", async () => {
  for (const name of ["generate_kwargs", "generation_parameters", "generate_parameters"]) {
    const answer = await ask(whisper, { inputs: first, parameters: { [name]: GREEDY } });
    assert.deepEqual(answer, { text: whisperCases[0]?.text });
  }
});

test("Whisper: sounds that are heard together have the answers they have alone", async () => {
  const alone = [
    await ask(whisper, { inputs: first, parameters: GREEDY }),
    await ask(whisper, { inputs: second, parameters: GREEDY }),
  ];
  assert.deepEqual(await ask(whisper, { inputs: [first, second], parameters: GREEDY }), alone);
});

test("Whisper: a language may be named by its code, its name or its token", async () => {
  const german = await hear(whisper, first, { ...GREEDY, language: "de", return_language: true });
  for (const language of ["German", "<|de|>", " de "]) {
    assert.deepEqual(
      await hear(whisper, first, { ...GREEDY, language, return_language: true }),
      german,
    );
  }
  assert.deepEqual(german.chunks, [{ language: "german", text: german.text }]);
});

test("Whisper: the language is heard where nobody names it", async () => {
  const { language: _named, ...parameters } = { ...GREEDY, return_language: true };
  const heard = await hear(whisper, first, parameters);
  const language = heard.chunks?.[0]?.language ?? "";
  assert.ok(["english", "german", "french"].includes(language), language);
  assert.deepEqual(await hear(whisper, first, { ...parameters, language }), heard);
});

test("Whisper: five beams are searched unless a client says otherwise, as in Python's pipeline", async () => {
  const parameters = { language: "en", max_new_tokens: 8 };
  const five = await hear(whisper, first, { ...parameters, num_beams: 5 });
  assert.deepEqual(await hear(whisper, first, parameters), five);
});

/** The same model, which may say times: the golden's forbids them. */
const TIMED = {
  "generation_config.json": {
    decoder_start_token_id: 451,
    bos_token_id: 450,
    eos_token_id: 450,
    pad_token_id: 450,
    is_multilingual: true,
    no_timestamps_token_id: 460,
    max_initial_timestamp_index: 50,
    max_length: 64,
    begin_suppress_tokens: [450],
    // Every token of text but a few, so that times are likely; 461 is 0.00, 561 is 2.00.
    suppress_tokens: [...Array(451).keys()].filter((id) => id % 40 !== 0 && id !== 450),
  },
};

test("Whisper: segments have times in order, with text between them", async () => {
  await using variant = await variantOf(WHISPER, TIMED);
  const timed = await load(variant.path);
  const parameters = { ...GREEDY, max_new_tokens: 40, return_timestamps: true };
  const { text, chunks = [] } = await hear(timed, second, parameters);
  assert.ok(chunks.length > 0);
  assert.equal(chunks.map((chunk) => chunk.text).join(""), text);
  let earliest = 0;
  for (const { timestamp: [start, end] = [] } of chunks) {
    assert.ok(typeof start === "number" && start >= earliest, `${start} after ${earliest}`);
    assert.ok(end === null || (typeof end === "number" && end >= start), `${start} to ${end}`);
    earliest = end ?? start;
  }
  await timed.dispose();
});

/** Five seconds: two and a half windows of this model. */
const LONG = {
  raw: [...samplesOf(first), ...samplesOf(second), ...samplesOf(first), ...samplesOf(second)],
  sampling_rate: 16_000,
};

test("Whisper: a sound longer than a window is heard to its end, with or without its times in the answer", async () => {
  await using variant = await variantOf(WHISPER, TIMED);
  const timed = await load(variant.path);
  const parameters = { ...GREEDY, max_new_tokens: 40 };
  const { text, chunks = [] } = await hear(timed, LONG, { ...parameters, return_timestamps: true });
  assert.ok((chunks.at(-1)?.timestamp?.[0] ?? 0) > 2, JSON.stringify(chunks));
  assert.deepEqual(await ask(timed, { inputs: LONG, parameters }), { text });
  const cut = await hear(timed, LONG, {
    ...parameters,
    return_timestamps: true,
    chunk_length_s: 2,
  });
  assert.ok((cut.chunks?.at(-1)?.timestamp?.[0] ?? 0) > 2, JSON.stringify(cut.chunks));
  await timed.dispose();
});

test("Whisper: windows that overlap are joined to one text", async () => {
  const one = await hear(whisper, first, { ...GREEDY, chunk_length_s: 2 });
  assert.equal(one.text, whisperCases[0]?.text);
  // Four windows that say the same, so that each is joined to the one before it where both agree.
  const window = await hear(whisper, { ...LONG, raw: LONG.raw.slice(0, 32_000) }, GREEDY);
  const several = await hear(whisper, LONG, { ...GREEDY, chunk_length_s: 2, stride_length_s: 0.5 });
  assert.equal(several.text.slice(0, 5), window.text.slice(0, 5));
  assert.ok(several.text.length < 2 * window.text.length, several.text);
});

test("Whisper: a generation ends within one token when nobody waits for it any more", async () => {
  const folder = await readModelFolder(WHISPER);
  const weights = chooseModelWeights(folder, "fp32");
  const task = await openWhisper({ folder, weights });
  const parameters = { ...GREEDY, max_new_tokens: 60 };
  const { items } = await task.preprocess(
    { id: "test", kind: "predict", data: { inputs: first, parameters }, headers: {} },
    { log: silentLog(), signal: new AbortController().signal, warn: () => undefined },
  );
  const gone = new AbortController();
  let asked = 0;
  const signal = new Proxy(gone.signal, {
    get(target, key) {
      if (key === "throwIfAborted" && ++asked === 5) gone.abort(new Error("left"));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  await assert.rejects(Promise.resolve(task.inference(items, signal)), { message: "left" });
  assert.equal(asked, 5); // before the window, and before each of its first tokens
  await task.dispose();
});

test("Whisper: a model that knows English alone takes no language", async () => {
  await using variant = await variantOf(WHISPER, {
    "generation_config.json": { ...TIMED["generation_config.json"], is_multilingual: false },
  });
  const english = await load(variant.path);
  assert.equal(
    typeof (await hear(english, first, { num_beams: 1, max_new_tokens: 4 })).text,
    "string",
  );
  await assert.rejects(ask(english, { inputs: first, parameters: { language: "en" } }), {
    code: "INVALID_INPUT",
    message: `Cannot recognize the speech: "language" is given, and this model knows English alone`,
  });
  await english.dispose();
});

test("models of another kind are refused with the kinds that are served", async () => {
  const changes = { "config.json": configOf(WHISPER, { model_type: "moonshine" }) };
  await using variant = await variantOf(WHISPER, changes);
  await assert.rejects(load(variant.path), {
    code: "MODEL_INVALID",
    message: /^Cannot serve automatic-speech-recognition: the model type is "moonshine"/,
  });
});

const REFUSALS: readonly (readonly [
  handler: LoadedHandler,
  data: Record<string, unknown>,
  sentence: string,
])[] = [
  [
    ctc,
    { inputs: first, parameters: { return_timestamps: true } },
    `"return_timestamps" is true, wanted "char", "word" or false, as this model hears no sentences`,
  ],
  [
    whisper,
    { inputs: first, parameters: { return_timestamps: "char" } },
    `"return_timestamps" is "char", wanted true or false, as this model says the times of sentences alone`,
  ],
  [
    whisper,
    { inputs: first, parameters: { language: "klingon" } },
    `"language" is "klingon", wanted one of en, de, fr, or its English name`,
  ],
  [
    whisper,
    { inputs: first, parameters: { task: "sing" } },
    `"task" is "sing", wanted "transcribe" or "translate"`,
  ],
  [
    whisper,
    { inputs: first, parameters: { chunk_length_s: 3 } },
    `"chunk_length_s" is 3, wanted at most 2, which is what the model hears at once`,
  ],
  [
    ctc,
    { inputs: first, parameters: { chunk_length_s: 1, stride_length_s: 0.5 } },
    `"chunk_length_s" is 1, wanted more than the 1 seconds of "stride_length_s" on both sides`,
  ],
  [
    ctc,
    { inputs: first, parameters: { chunk_length_s: -1 } },
    `"chunk_length_s" is -1, wanted a number of seconds, 0 for no windows`,
  ],
  [
    ctc,
    { inputs: { raw: [0, 0], sampling_rate: 16_000 } },
    `"inputs" is 2 samples long at the model's rate, wanted at least 400`,
  ],
  [
    whisper,
    { inputs: first, parameters: { max_new_tokens: 100 } },
    `"max_new_tokens" is 100, wanted at most 60 tokens, as the sequence begins with 4 and the model holds 64`,
  ],
  [whisper, { inputs: "hello" }, `"inputs" is not base64, wanted a sound in base64`],
];

for (const [handler, data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(handler, data), {
      code: "INVALID_INPUT",
      message: `Cannot recognize the speech: ${sentence}`,
    });
  });
}

test("silence has an answer", async () => {
  const silence = { raw: Array.from({ length: 16_000 }, () => 0), sampling_rate: 16_000 };
  assert.equal(typeof (await hear(ctc, silence)).text, "string");
  assert.equal(typeof (await hear(whisper, silence, GREEDY)).text, "string");
});

const WhisperFile = z.looseObject({ suppress_tokens: z.array(z.number()) });

/** What is heard of the first sound where `generation_config.json` says more. */
async function hearWith(changes: object, parameters: object): Promise<z.infer<typeof Answer>> {
  const file = "generation_config.json";
  const generation = WhisperFile.parse(JSON.parse(readFileSync(join(WHISPER, file), "utf8")));
  await using variant = await variantOf(WHISPER, { [file]: { ...generation, ...changes } });
  const handler = await load(variant.path);
  try {
    return await hear(handler, sound("audio/tones-0.wav"), { max_new_tokens: 12, ...parameters });
  } finally {
    await handler.dispose();
  }
}

test("the repository's own language and task hold where the client names none", async () => {
  const named = (language: string, task: string) => hearWith({}, { language, task });
  const german = await named("de", "translate");
  assert.notDeepEqual(german, await named("de", "transcribe"));
  assert.deepEqual(await hearWith({ language: "german", task: "translate" }, {}), german);
  assert.deepEqual(
    await hearWith({ language: "german", task: "translate" }, { language: "fr" }),
    await named("fr", "translate"),
  );
  // Places and tokens, as old models have it: <|de|> is 453, <|translate|> 455.
  const forced = {
    forced_decoder_ids: [
      [1, 453],
      [2, 455],
    ],
  };
  assert.deepEqual(await hearWith(forced, {}), german);
  assert.deepEqual(await hearWith(forced, { language: "fr" }), await named("fr", "transcribe"));
});

test("a time that nobody asked for is no text", async () => {
  const file = "generation_config.json";
  const { suppress_tokens: kept } = WhisperFile.parse(
    JSON.parse(readFileSync(join(WHISPER, file), "utf8")),
  );
  const { text } = await hearWith(
    { suppress_tokens: kept.filter((id) => id < 461) },
    { language: "en", num_beams: 1, max_new_tokens: 30 },
  );
  assert.doesNotMatch(text, /<\|/);
});
