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
import { askWithBody, sound } from "../../support/sounds.ts";

const MODEL = modelPath("tiny-wav2vec2");
const fp32 = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
const q8 = await loadDefaultHandler({ repository: MODEL, dtype: "q8" }, silentLog());
after(() => Promise.all([fp32.dispose(), q8.dispose()]));

const Golden = z.object({
  cases: z.array(z.object({ audio: z.string(), logits: z.array(z.number()), top: Labels })),
});
const { cases } = readGolden("tiny-wav2vec2", Golden);
const [first, second] = cases.map(({ audio }) => sound(audio));
const LABELS = ["speech", "silence", "bell", "noise", "music"];

for (const { audio, top } of cases) {
  test(`${audio} has the labels and scores of Python`, async () => {
    for (const { handler, tolerance } of [
      { handler: fp32, tolerance: 1e-4 },
      { handler: q8, tolerance: 0.05 },
    ]) {
      const answer = Labels.parse(
        await ask(handler, { inputs: sound(audio), parameters: { top_k: null } }),
      );
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
  });
}

test("a sound comes as the body, in base64, as a data URL or as samples with their rate", async () => {
  const wanted = await ask(fp32, { inputs: first });
  const bytes = Buffer.from(first ?? "", "base64");
  const samples = Array.from(
    { length: (bytes.length - 44) / 2 },
    (_, i) => bytes.readInt16LE(44 + i * 2) / 32768,
  );
  assert.deepEqual(await ask(fp32, { inputs: `data:audio/wav;base64,${first}` }), wanted);
  assert.deepEqual(await ask(fp32, { inputs: { raw: samples, sampling_rate: 16_000 } }), wanted);
  assert.deepEqual(await ask(fp32, { inputs: { array: samples, sampling_rate: 16_000 } }), wanted);
  assert.deepEqual(await askWithBody(fp32, { bytes, contentType: "audio/wav" }), wanted);
  assert.deepEqual(
    await askWithBody(fp32, { bytes, contentType: "application/octet-stream" }),
    wanted,
  );
});

test("samples at another rate are brought to the model's", async () => {
  const raw = Array.from({ length: 8000 }, (_, i) => Math.sin(i / 9));
  const same = Array.from({ length: 16_000 }, (_, i) => Math.sin(i / 18));
  const [at8, at16] = await Promise.all([
    ask(fp32, { inputs: { raw, sampling_rate: 8000 }, parameters: { top_k: null } }),
    ask(fp32, { inputs: { raw: same, sampling_rate: 16_000 }, parameters: { top_k: null } }),
  ]);
  const scores = (answer: unknown) =>
    new Map(Labels.parse(answer).map(({ label, score }) => [label, score]));
  // The two differ where the sound ends, by what a filter makes of an end.
  for (const [label, score] of scores(at8))
    assertNear([score], [scores(at16).get(label) ?? 0], 1e-3);
});

test("a list is answered in order, each with labels of its own", async () => {
  const parameters = { top_k: 2 };
  const single = [
    await ask(fp32, { inputs: first, parameters }),
    await ask(fp32, { inputs: second, parameters }),
  ];
  assert.deepEqual(await ask(fp32, { inputs: [first, second], parameters }), single);
  assert.deepEqual(await ask(fp32, { inputs: [first], parameters }), single.slice(0, 1));
  assert.deepEqual(await ask(fp32, { inputs: [] }), []);
});

test("equal sounds share a forward pass and have equal answers", async () => {
  const passes: number[] = [];
  const members = [first, second, first].map((inputs) => ({
    request: { id: "test", kind: "predict" as const, data: { inputs }, headers: {} },
    context: {
      signal: new AbortController().signal,
      requestId: "test",
      log: silentLog(),
      headers: {},
    },
  }));
  const answers: unknown[] = [];
  await fp32.callBatch?.(members, {
    onOutcome: (index, outcome) =>
      void (answers[index] = "value" in outcome ? outcome.value : outcome.error),
    onPass: ({ items }) => void passes.push(items),
    maxPaddedTokens: 512,
  });
  assert.deepEqual(new Set(passes), new Set([1, 2]));
  assert.deepEqual(answers[0], answers[2]);
  assertNear(
    Labels.parse(answers[0]).map(({ score }) => score),
    (cases[0]?.top ?? []).map(({ score }) => score),
    1e-4,
  );
});

test("top_k counts labels: five unless told otherwise, all for null", async () => {
  const labelsWith = async (parameters?: object) =>
    Labels.parse(await ask(fp32, { inputs: first, ...(parameters && { parameters }) })).map(
      ({ label }) => label,
    );
  assert.deepEqual(await labelsWith({ top_k: 1 }), LABELS.slice(0, 1));
  assert.deepEqual(await labelsWith({ top_k: 99 }), LABELS);
  assert.deepEqual(await labelsWith(), LABELS);
  const more = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [i, `label ${i}`]));
  await using variant = await variantOf(MODEL, {
    "config.json": configOf(MODEL, { id2label: more }),
  });
  const handler = await loadDefaultHandler(
    { repository: variant.path, dtype: "fp32" },
    silentLog(),
  );
  const answer = Labels.parse(await ask(handler, { inputs: first, parameters: { top_k: 1 } }));
  assert.equal(answer[0]?.label, "label 0");
  await handler.dispose();
});

test("function_to_apply makes the scores", async () => {
  const logits = (cases[0]?.logits ?? []).toSorted((a, b) => b - a);
  const scoresWith = async (function_to_apply?: string) => {
    const answer = await ask(fp32, { inputs: first, parameters: { function_to_apply } });
    return Labels.parse(answer).map(({ score }) => score);
  };
  assertNear(await scoresWith("none"), logits, 1e-4);
  assertNear(
    await scoresWith("sigmoid"),
    logits.map((x) => 1 / (1 + Math.exp(-x))),
    1e-4,
  );
  assert.deepEqual(await scoresWith("softmax"), await scoresWith());
});

test("a model without its feature extractor's file says what is missing", async () => {
  await using variant = await variantOf(MODEL, { "preprocessor_config.json": null });
  await assert.rejects(loadDefaultHandler({ repository: variant.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /^Cannot load the feature extractor: preprocessor_config\.json is missing/,
  });
});

test("a body that is no sound is refused under its own name", async () => {
  const bytes = Buffer.from("hello");
  await assert.rejects(askWithBody(fp32, { bytes, contentType: "audio/wav" }), {
    code: "INVALID_INPUT",
    message: /^Cannot classify the sound: the body is not a sound, wanted WAV/,
  });
});

const WANTED = `wanted a sound in base64, a list of them, or {"raw", "sampling_rate"}`;
const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, ${WANTED}`],
  [{ inputs: 5 }, `"inputs" is a number, ${WANTED}`],
  [{ inputs: "" }, `"inputs" is not base64, wanted a sound in base64`],
  [
    { inputs: "/etc/passwd" },
    `"inputs" is not a sound, wanted WAV, MP3, FLAC, Ogg with Vorbis, Opus or FLAC, or WebM with Opus`,
  ],
  [{ inputs: "http://127.0.0.1/a.wav" }, `"inputs" is a URL, which this server does not fetch`],
  [
    { inputs: [first, 5] },
    `"inputs[1]" is a number, wanted a sound in base64, or {"raw", "sampling_rate"}`,
  ],
  [{ inputs: { sampling_rate: 16_000 } }, `"inputs.raw" is missing, wanted a list of samples`],
  [
    { inputs: { raw: [], sampling_rate: 16_000 } },
    `"inputs.raw" is an empty list, wanted a list of samples`,
  ],
  [
    { inputs: { raw: [0, "1"], sampling_rate: 16_000 } },
    `"inputs.raw[1]" is a string, wanted a number`,
  ],
  [
    { inputs: { raw: [0], sampling_rate: 5 } },
    `"inputs.sampling_rate" is a number, wanted a whole number from 1000 to 768000`,
  ],
  [
    { inputs: { raw: [0, 0], sampling_rate: 16_000 } },
    `"inputs" is 2 samples long at the model's rate, wanted at least 400`,
  ],
  [
    { inputs: first, parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1, or null for all labels`,
  ],
  [
    { inputs: first, parameters: { function_to_apply: "relu" } },
    `"function_to_apply" is "relu", wanted "sigmoid", "softmax" or "none"`,
  ],
  [
    { inputs: first, parameters: { topk: 1 } },
    `there is no parameter "topk", perhaps you mean "top_k"; known are top_k, function_to_apply`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(fp32, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the sound: ${sentence}`,
    });
  });
}

test("the task's own example is answered", async () => {
  const example = z.looseObject({}).parse(fp32.description.example);
  assert.equal(Labels.parse(await ask(fp32, example)).length, 5);
});
