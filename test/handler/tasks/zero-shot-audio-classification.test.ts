import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  Labels,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { askWithBody, sound } from "../../support/sounds.ts";

const MODEL = modelPath("tiny-clap");
const handler = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
after(() => handler.dispose());

const Golden = z.object({
  cases: z.array(
    z.object({
      audio: z.string(),
      candidate_labels: z.array(z.string()),
      hypothesis_template: z.string(),
      scores: z.record(z.string(), z.number()),
    }),
  ),
});
const { cases } = readGolden("tiny-clap", Golden);
const labels = cases[0]?.candidate_labels ?? [];
const first = sound(cases[0]?.audio ?? "");
const second = sound(cases[1]?.audio ?? "");

async function scoresOf(inputs: unknown, parameters: object): Promise<Map<string, number>> {
  const answer = Labels.parse(await ask(handler, { inputs, parameters }));
  const scores = answer.map(({ score }) => score);
  assert.deepEqual(
    scores,
    scores.toSorted((a, b) => b - a),
    "the best first",
  );
  return new Map(answer.map(({ label, score }) => [label, score]));
}

for (const { audio, candidate_labels, hypothesis_template, scores } of cases) {
  test(`${audio} has the scores of Python`, async () => {
    const found = await scoresOf(sound(audio), { candidate_labels, hypothesis_template });
    assertNear(
      candidate_labels.map((label) => found.get(label) ?? Number.NaN),
      candidate_labels.map((label) => scores[label] ?? 0),
      1e-4,
    );
  });
}

test("int8 has the same scores within 0.05", async () => {
  const q8 = await loadDefaultHandler({ repository: MODEL, dtype: "q8" }, silentLog());
  for (const { audio, candidate_labels, scores } of cases) {
    const answer = Labels.parse(
      await ask(q8, { inputs: sound(audio), parameters: { candidate_labels } }),
    );
    assertNear(
      answer.map(({ score }) => score),
      answer.map(({ label }) => scores[label] ?? 0),
      0.05,
    );
  }
  await q8.dispose();
});

test("labels come as a list or one string, under either name, in parameters or beside the sound", async () => {
  const wanted = await ask(handler, { inputs: first, parameters: { candidate_labels: labels } });
  const joined = labels.join(", ");
  assert.deepEqual(
    await ask(handler, { inputs: first, parameters: { candidate_labels: joined } }),
    wanted,
  );
  assert.deepEqual(
    await ask(handler, { inputs: first, parameters: { candidateLabels: labels } }),
    wanted,
  );
  assert.deepEqual(await ask(handler, { inputs: first, candidate_labels: labels }), wanted);
  const body = { bytes: Buffer.from(first, "base64"), contentType: "audio/wav" };
  assert.deepEqual(await askWithBody(handler, body, { candidate_labels: labels }), wanted);
});

test("sounds of one request are answered in order, each as it is alone", async () => {
  const parameters = { candidate_labels: labels };
  const alone = await Promise.all(
    [first, second].map((inputs) => ask(handler, { inputs, parameters })),
  );
  const together = await ask(handler, { inputs: [first, second], parameters });
  const flat = (answers: unknown) => z.array(Labels).parse(answers).flat();
  assert.deepEqual(
    flat(together).map(({ label }) => label),
    flat(alone).map(({ label }) => label),
  );
  assertNear(
    flat(together).map(({ score }) => score),
    flat(alone).map(({ score }) => score),
    1e-6,
  );
});

test("the template is the sentence that is compared", async () => {
  const plain = await scoresOf(first, { candidate_labels: labels });
  const other = await scoresOf(first, { candidate_labels: labels, hypothesis_template: "{}" });
  assert.notDeepEqual(other, plain);
});

test("a sound as long as half the window is heard twice, as Python repeats it", async () => {
  // 25200 samples are what the model hears: half of it, and the same written out twice, must be one.
  const bytes = Buffer.from(second, "base64");
  const half = Array.from({ length: 12_600 }, (_, i) => bytes.readInt16LE(44 + i * 2) / 32768);
  const parameters = { candidate_labels: labels };
  const once = await ask(handler, { inputs: { raw: half, sampling_rate: 16_000 }, parameters });
  const twice = await ask(handler, {
    inputs: { raw: [...half, ...half], sampling_rate: 16_000 },
    parameters,
  });
  assert.deepEqual(once, twice);
});

test("a sound longer than the window is cut to its beginning, and says so", async () => {
  const bytes = Buffer.from(second, "base64");
  const raw = Array.from({ length: 24_000 }, (_, i) => bytes.readInt16LE(44 + i * 2) / 32768);
  const lines: string[] = [];
  const parameters = { candidate_labels: labels };
  const long = { raw: [...raw, ...raw], sampling_rate: 16_000 };
  const cut = { raw: long.raw.slice(0, 25_200), sampling_rate: 16_000 };
  const answer = await ask(handler, { inputs: long, parameters }, { log: quietLog(lines) });
  assert.deepEqual(answer, await ask(handler, { inputs: cut, parameters }));
  assert.match(lines.join(), /A sound was cut to its first 1\.575 seconds/);
});

test("an extractor that joins several views of a sound is refused when the model is loaded", async () => {
  const file = "preprocessor_config.json";
  const config = z.looseObject({}).parse(JSON.parse(readFileSync(`${MODEL}/${file}`, "utf8")));
  await using variant = await variantOf(MODEL, { [file]: { ...config, truncation: "fusion" } });
  await assert.rejects(loadDefaultHandler({ repository: variant.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /asks for the truncation "fusion", wanted a ClapFeatureExtractor/,
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [
    { inputs: first },
    `"candidate_labels" is missing, wanted a list of 1 to 1000 labels, or one string with commas between them`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: [] } },
    `"candidate_labels" is an empty list, wanted a list of 1 to 1000 labels, or one string with commas between them`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: ["a"], hypothesis_template: "a sound" } },
    `"hypothesis_template" is "a sound", wanted a sentence with {} where the label goes`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: ["a"], multi_label: true } },
    `there is no parameter "multi_label"; known are candidate_labels, hypothesis_template`,
  ],
  [
    { inputs: 3, parameters: { candidate_labels: ["a"] } },
    `"inputs" is a number, wanted a sound in base64, a list of them, or {"raw", "sampling_rate"}`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(handler, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the sound: ${sentence}`,
    });
  });
}
