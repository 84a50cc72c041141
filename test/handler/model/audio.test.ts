import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoModelForCTC } from "@huggingface/transformers";
import { z } from "zod";

import { decodeAudio } from "../../../runtime/handler/media/audio.ts";
import {
  leastSamples,
  loadSoundNetwork,
  loadSoundReader,
} from "../../../runtime/handler/model/audio.ts";
import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { chooseModelWeights } from "../../../runtime/handler/model/weights.ts";
import { assertNear, modelPath, readGolden } from "../../support/goldens.ts";
import { sound } from "../../support/sounds.ts";

const Sample = z.object({
  dims: z.array(z.number()),
  sample_indices: z.array(z.number()),
  sample_values: z.array(z.number()),
});
type Sample = z.infer<typeof Sample>;

async function modelOf(name: string) {
  const folder = await readModelFolder(modelPath(name));
  return { folder, weights: chooseModelWeights(folder, "fp32") };
}

function hear(audio: string): Promise<Float32Array> {
  const bytes = new Uint8Array(Buffer.from(sound(audio), "base64"));
  return decodeAudio({ bytes }, { action: "hear", name: "it", sampleRate: 16_000 });
}

function assertSample(
  data: Float32Array,
  { sample_indices, sample_values }: Sample,
  tolerance: number,
): void {
  assertNear(
    sample_indices.map((index) => data[index] ?? Number.NaN),
    sample_values,
    tolerance,
  );
}

test("Whisper's spectrograms are those of Python", async () => {
  const Golden = z.object({
    cases: z.array(z.object({ audio: z.string(), input_features: Sample })),
  });
  const reader = await loadSoundReader(await modelOf("tiny-whisper"));
  for (const { audio, input_features } of readGolden("tiny-whisper", Golden).cases) {
    const features = await reader.read(await hear(audio));
    assert.deepEqual([1, ...features.dims], input_features.dims);
    assertSample(features.data, input_features, 1e-4);
  }
});

test("a spectrogram of all of a long sound is as long as the sound", async () => {
  const reader = await loadSoundReader(await modelOf("tiny-whisper"));
  const { dims } = await reader.read(new Float32Array(5 * 16_000), true);
  assert.deepEqual(dims, [16, 500]);
});

test("the logits of every frame are those of Python", async () => {
  const Golden = z.object({
    cases: z.array(z.object({ audio: z.string(), logits: Sample, best_path: z.array(z.number()) })),
  });
  const network = await loadSoundNetwork(await modelOf("tiny-wav2vec2-ctc"), AutoModelForCTC);
  for (const { audio, logits } of readGolden("tiny-wav2vec2-ctc", Golden).cases) {
    const output = await network.forward([await network.reader.read(await hear(audio))], "logits");
    assert.deepEqual(output.dims, [1, ...logits.dims]);
    assertSample(output.data, logits, 1e-4);
  }
  await network.dispose();
});

test("leastSamples() is what makes one frame", () => {
  const wav2vec2 = { conv_kernel: [10, 3, 3, 3, 3, 2, 2], conv_stride: [5, 2, 2, 2, 2, 2, 2] };
  assert.equal(leastSamples(wav2vec2), 400);
  assert.equal(leastSamples({}), 1);
});
