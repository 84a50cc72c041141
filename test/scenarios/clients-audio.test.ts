/**
 * Hugging Face's own clients against real servers, one for each task on sounds that they have a method for.
 */
import assert from "node:assert/strict";
import { assertList, golden, testClients } from "../support/clients.ts";

const WAV = golden("audio/tones-0.wav");
const BASE64 = Buffer.from(WAV.bytes).toString("base64");
const LABEL = { label: "string", score: "number" } as const;

/** With its type, as a file input gives it, and without. */
const BLOBS = [
  new Blob([WAV.bytes as BlobPart], { type: "audio/wav" }),
  new Blob([WAV.bytes as BlobPart]),
];

testClients({
  task: "audio-classification",
  model: "tiny-wav2vec2",
  async run({ javascript, wire }) {
    for (const inputs of BLOBS) {
      const labels = await javascript.audioClassification({ inputs });
      assertList(labels, LABEL);
      assert.deepEqual(await (await wire(WAV.bytes)).json(), labels);
    }
    const one = await wire({ inputs: BASE64, parameters: { top_k: 1 } });
    assert.equal(((await one.json()) as unknown[]).length, 1);
  },
  python: [
    {
      method: "audio_classification",
      arguments: { audio: { $file: WAV.path } },
      check: (labels: unknown) => assertList(labels, LABEL),
    },
    {
      method: "audio_classification",
      arguments: { audio: { $file: WAV.path }, top_k: 1, function_to_apply: "softmax" },
      check: (labels: unknown[]) => assert.equal(labels.length, 1),
    },
  ],
});

testClients({
  task: "automatic-speech-recognition",
  model: "tiny-whisper",
  async run({ javascript, wire }) {
    for (const inputs of BLOBS) {
      const { text } = await javascript.automaticSpeechRecognition({ inputs });
      assert.equal(typeof text, "string");
      assert.deepEqual(await (await wire(WAV.bytes)).json(), { text });
    }
    const recorded = await wire({ inputs: BASE64, parameters: { return_timestamps: true } });
    const { chunks } = (await recorded.json()) as { chunks: unknown };
    assert.ok(Array.isArray(chunks));
  },
  python: [
    {
      method: "automatic_speech_recognition",
      arguments: { audio: { $file: WAV.path } },
      check: ({ text }: { text: string }) => assert.equal(typeof text, "string"),
    },
    {
      method: "automatic_speech_recognition",
      arguments: { audio: { $file: WAV.path }, extra_body: { return_timestamps: true } },
      check: ({ chunks }: { chunks: unknown }) => assert.ok(Array.isArray(chunks)),
    },
  ],
});

testClients({
  task: "text-to-speech",
  model: "tiny-vits",
  async run({ javascript, wire }) {
    for (const sound of [
      await javascript.textToSpeech({ inputs: "Hello" }),
      await javascript.textToAudio({ inputs: "Hello" }),
    ]) {
      assert.equal(sound.type, "audio/wav");
      assert.equal((await sound.text()).slice(0, 4), "RIFF");
    }
    const recorded = await wire({ inputs: "Hello", parameters: {} });
    assert.equal(recorded.headers.get("content-type"), "audio/wav");
    await recorded.arrayBuffer();
  },
  python: [
    {
      method: "text_to_speech",
      arguments: { text: "Hello" },
      check: ({ start }: { start: string }) => assert.equal(start, "RIFF"),
    },
  ],
});
