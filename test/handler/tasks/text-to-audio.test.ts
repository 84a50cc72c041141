import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { decodeAudio } from "../../../runtime/handler/media/audio.ts";
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

const MODEL = modelPath("tiny-vits");
const handler = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
after(() => handler.dispose());

const Golden = z.object({
  cases: z.array(
    z.object({
      input: z.string(),
      sampling_rate: z.number(),
      samples: z.number(),
      waveform: z.object({
        sample_indices: z.array(z.number()),
        sample_values: z.array(z.number()),
      }),
    }),
  ),
});
const { cases } = readGolden("tiny-vits", Golden);
const Speech = z.object({ audio: z.array(z.number()), sampling_rate: z.number() });

for (const { input, sampling_rate, samples, waveform } of cases) {
  test(`"${input}" sounds as Python speaks it`, async () => {
    const [speech] = z.array(Speech).parse(await ask(handler, { inputs: [input] }));
    assert.equal(speech?.sampling_rate, sampling_rate);
    assert.equal(speech.audio.length, samples);
    assertNear(
      waveform.sample_indices.map((index) => speech.audio[index] ?? Number.NaN),
      waveform.sample_values,
      1e-4,
    );
  });

  test(`"${input}" alone is a WAV file of the same samples`, async () => {
    const answer = await ask(handler, { inputs: input });
    assert.ok(answer instanceof Blob);
    assert.equal(answer.type, "audio/wav");
    const bytes = new Uint8Array(await answer.arrayBuffer());
    assert.equal(new DataView(bytes.buffer).getUint32(24, true), sampling_rate);
    const read = await decodeAudio(
      { bytes },
      { action: "hear", name: "it", sampleRate: sampling_rate },
    );
    assert.equal(read.length, samples);
    // 16 bits round to 1/65536, and what is louder than 1 is clipped.
    assertNear(
      waveform.sample_indices.map((index) => read[index] ?? Number.NaN),
      waveform.sample_values.map((value) => Math.max(-1, Math.min(value, 1))),
      1e-4,
    );
  });
}

/** Asks with an `Accept` header. */
async function accepting(accept: string): Promise<unknown> {
  const { signal } = new AbortController();
  const headers = { accept };
  const data = { inputs: "hello world" };
  return handler.call(
    { id: "test", kind: "predict", data, headers },
    { signal, requestId: "test", log: silentLog(), headers },
  );
}

test("a client that accepts JSON alone gets the samples, all others the file", async () => {
  assert.equal(Speech.parse(await accepting("application/json")).audio.length, 6208);
  assert.equal(Speech.parse(await accepting("Application/JSON; charset=utf-8")).audio.length, 6208);
  for (const accept of ["*/*", "audio/wav", "application/json, */*"]) {
    assert.ok((await accepting(accept)) instanceof Blob, accept);
  }
});

test("a list is answered in order", async () => {
  const inputs = cases.map(({ input }) => input);
  const answer = z.array(Speech).parse(await ask(handler, { inputs }));
  assert.deepEqual(
    answer.map(({ audio }) => audio.length),
    cases.map(({ samples }) => samples),
  );
  assert.deepEqual(await ask(handler, { inputs: [] }), []);
});

test("generation parameters have no effect on a model that generates nothing, and say so", async () => {
  const lines: string[] = [];
  const data = {
    inputs: "hello world",
    parameters: { do_sample: true, generate_kwargs: { temperature: 0.5 } },
  };
  assert.ok((await ask(handler, data, { log: quietLog(lines) })) instanceof Blob);
  assert.equal(lines.filter((line) => line.includes("has no effect here")).length, 2);
});

test("kinds that need more than a text are refused when the model is loaded", async () => {
  await using variant = await variantOf(MODEL, {
    "config.json": configOf(MODEL, { model_type: "speecht5" }),
  });
  await assert.rejects(loadDefaultHandler({ repository: variant.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /^Cannot serve text-to-audio: the model type is "speecht5", wanted "vits"/,
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted a string or a list of strings`],
  [{ inputs: "" }, `"inputs" has no letter that the model knows`],
  [{ inputs: ["hello", "日本"] }, `"inputs[1]" has no letter that the model knows`],
  [{ inputs: "a".repeat(3000) }, `"inputs" is 6001 tokens long, wanted at most 4096`],
  [
    { inputs: "hello", parameters: { voice: "anna" } },
    `there is no parameter "voice", nor any other`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(handler, data), {
      code: "INVALID_INPUT",
      message: `Cannot speak the text: ${sentence}`,
    });
  });
}
