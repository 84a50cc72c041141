/**
 * The methods of Hugging Face's clients for which there is no task on the shelf, which a custom handler can serve, or no
 * small model. The model here is a function; what it is given and what the clients make of its answer are what is tested.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InferenceClient, type InferenceClientEndpoint } from "@huggingface/inference";
import type { InferenceOutput, InferenceRequest, JsonValue } from "../../runtime/inference.ts";
import { openSocketDoor } from "../support/app-matrix.ts";
import { askPython, golden, noPython, type PythonCall } from "../support/clients.ts";

interface Case {
  readonly method: string;
  /** The default handler's task; a custom handler answers where absent. */
  readonly task?: string;
  readonly answer: JsonValue | Blob;
  readonly javascript?: (client: InferenceClientEndpoint) => Promise<void>;
  readonly python?: PythonCall;
  /** What the handler must have been given, each time. */
  readonly given: (request: InferenceRequest) => void;
}

const TABLE = { City: ["Paris", "London"], People: ["2", "9"] };
const ANSWER = { answer: "9", coordinates: [[1, 1]], cells: ["9"], aggregator: "NONE" };
const PNG = golden("images/shapes-64x64-0.png");
const WAV = golden("audio/tones-0.wav");

const CASES: readonly Case[] = [
  {
    method: "visualQuestionAnswering",
    task: "visual-question-answering",
    answer: [{ answer: "two", score: 0.9 }],
    async javascript(client) {
      const image = new Blob([PNG.bytes as BlobPart], { type: "image/png" });
      const answer = await client.visualQuestionAnswering({
        inputs: { question: "How many?", image },
      });
      assert.deepEqual(answer, { answer: "two", score: 0.9 });
    },
    python: {
      method: "visual_question_answering",
      arguments: { image: { $file: PNG.path }, question: "How many?", top_k: 2 },
      check: (answers: unknown) => assert.deepEqual(answers, [{ answer: "two", score: 0.9 }]),
    },
    given: ({ data }) =>
      assert.deepEqual(data["inputs"], {
        question: "How many?",
        image: Buffer.from(PNG.bytes).toString("base64"),
      }),
  },
  {
    method: "tableQuestionAnswering",
    answer: ANSWER,
    async javascript(client) {
      const inputs = { query: "How many?", table: TABLE };
      assert.deepEqual(await client.tableQuestionAnswering({ inputs } as never), ANSWER);
    },
    python: {
      method: "table_question_answering",
      arguments: { table: TABLE, query: "How many?" },
      check: (answer: unknown) => assert.deepEqual(answer, ANSWER),
    },
    given: ({ data }) => assert.deepEqual(data["inputs"], { query: "How many?", table: TABLE }),
  },
  {
    method: "tabularClassification",
    answer: [1, 2],
    async javascript(client) {
      assert.deepEqual(await client.tabularClassification({ inputs: { data: TABLE } }), [1, 2]);
    },
    python: {
      method: "tabular_classification",
      arguments: { table: TABLE },
      check: (answer: unknown) => assert.deepEqual(answer, [1, 2]),
    },
    given: ({ data }) =>
      assert.deepEqual(data["table"] ?? data["inputs"], data["table"] ? TABLE : { data: TABLE }),
  },
  {
    method: "tabularRegression",
    answer: [1.5],
    async javascript(client) {
      assert.deepEqual(await client.tabularRegression({ inputs: { data: TABLE } }), [1.5]);
    },
    // Python's client 2.0 has the method and no provider that it would ask.
    given: ({ data }) => assert.ok("table" in data || "inputs" in data),
  },
  {
    method: "audioToAudio",
    answer: [{ label: "voice", blob: "UklGRg==", "content-type": "audio/wav" }],
    async javascript(client) {
      const data = new Blob([WAV.bytes as BlobPart], { type: "audio/wav" });
      const [voice] = await client.audioToAudio({ data });
      assert.equal(voice?.label, "voice");
    },
    python: {
      method: "audio_to_audio",
      arguments: { audio: { $file: WAV.path } },
      check: ([voice]: [{ blob: object }]) =>
        assert.deepEqual(voice.blob, { bytes: 4, start: "RIFF" }),
    },
    given: ({ media }) => assert.deepEqual(media?.bytes, WAV.bytes),
  },
  {
    method: "textToImage",
    answer: new Blob([PNG.bytes as BlobPart], { type: "image/png" }),
    async javascript(client) {
      const image = await client.textToImage({ inputs: "a circle" });
      assert.deepEqual(new Uint8Array(await (image as unknown as Blob).arrayBuffer()), PNG.bytes);
    },
    python: {
      method: "text_to_image",
      arguments: { prompt: "a circle", width: 64, seed: 1 },
      check: (image: unknown) => assert.deepEqual(image, { width: 64, height: 64 }),
    },
    given: ({ data }) => assert.equal(data["inputs"], "a circle"),
  },
];

async function toOutput(answer: JsonValue | Blob): Promise<InferenceOutput> {
  if (!(answer instanceof Blob)) return { kind: "json", value: answer };
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return { kind: "media", media: { bytes, contentType: answer.type } };
}

for (const { method, task, answer, javascript, python, given } of CASES) {
  const who = task === undefined ? "a custom handler" : `the task ${task}`;
  test(`${who} can serve ${method}()`, async (t) => {
    await using door = await openSocketDoor({
      maxBodyBytes: 1_000_000,
      ...(task !== undefined && { description: { handler: "default", task } }),
      answer: async (request) => {
        given(request);
        return toOutput(answer);
      },
    });
    await javascript?.(new InferenceClient("hf_anyToken").endpoint(door.url));
    if (python !== undefined)
      await t.test("Python's client", { skip: noPython }, () => askPython(door.url, [python]));
  });
}
