import assert from "node:assert/strict";
import type { JsonValue } from "../../runtime/inference.ts";
import { post, testDoor, type Door } from "../support/app-matrix.ts";

const PYTHON = "unknown/None; hf_hub/1.33.0; python/3.11.7; torch/2.5.1";
const JAVASCRIPT = "@huggingface/inference/4.13.30";
const CURL = "curl/8.5.0";

async function ask(door: Door, userAgent: string, body: unknown): Promise<unknown> {
  const response = await door.request("/", post(body, { "user-agent": userAgent }));
  assert.equal(response.status, 200);
  return response.json();
}

interface Case {
  readonly task: string;
  readonly what: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** The task's answer, in the toolkit's shape. */
  readonly answer: JsonValue;
  readonly expected: Readonly<Record<string, JsonValue>>;
}

const ANSWERS: readonly Case[] = [
  {
    task: "zero-shot-classification",
    what: "labels as a list",
    body: { inputs: "a", parameters: { candidate_labels: ["x", "y"] } },
    answer: { sequence: "a", labels: ["y", "x"], scores: [0.9, 0.1] },
    expected: {
      [CURL]: { sequence: "a", labels: ["y", "x"], scores: [0.9, 0.1] },
      [PYTHON]: [
        { label: "y", score: 0.9 },
        { label: "x", score: 0.1 },
      ],
      [JAVASCRIPT]: [
        { label: "y", score: 0.9 },
        { label: "x", score: 0.1 },
      ],
    },
  },
  {
    task: "zero-shot-classification",
    what: "labels as a list for a list of one text",
    body: { inputs: ["a"], parameters: { candidate_labels: ["x"] } },
    answer: [{ sequence: "a", labels: ["x"], scores: [1] }],
    expected: {
      [CURL]: [{ sequence: "a", labels: ["x"], scores: [1] }],
      [JAVASCRIPT]: [{ label: "x", score: 1 }],
    },
  },
  {
    task: "zero-shot-classification",
    what: "labels as lists for several texts",
    body: { inputs: ["a", "b"], parameters: { candidate_labels: ["x"] } },
    answer: [
      { sequence: "a", labels: ["x"], scores: [1] },
      { sequence: "b", labels: ["x"], scores: [1] },
    ],
    expected: { [PYTHON]: [[{ label: "x", score: 1 }], [{ label: "x", score: 1 }]] },
  },
  {
    task: "image-segmentation",
    what: "a score for segments that have none",
    body: { inputs: "YQ==" },
    answer: [
      { label: "sky", score: null, mask: "YQ==" },
      { label: "cat", score: 0.5, mask: "YQ==" },
    ],
    expected: {
      [CURL]: [
        { label: "sky", score: null, mask: "YQ==" },
        { label: "cat", score: 0.5, mask: "YQ==" },
      ],
      [JAVASCRIPT]: [
        { label: "sky", score: 1, mask: "YQ==" },
        { label: "cat", score: 0.5, mask: "YQ==" },
      ],
      [PYTHON]: [
        { label: "sky", score: 1, mask: "YQ==" },
        { label: "cat", score: 0.5, mask: "YQ==" },
      ],
    },
  },
  {
    task: "document-question-answering",
    what: "a text where nothing was found",
    body: { inputs: { question: "a", image: "YQ==" } },
    answer: [{ answer: null }],
    expected: {
      [CURL]: [{ answer: null }],
      [PYTHON]: [{ answer: "" }],
      [JAVASCRIPT]: [{ answer: "" }],
    },
  },
  {
    task: "image-to-text",
    what: "a list for Python, its element for JavaScript",
    body: { inputs: "YQ==" },
    answer: [{ generated_text: "a cat" }],
    expected: {
      [CURL]: [{ generated_text: "a cat" }],
      [PYTHON]: [{ generated_text: "a cat" }],
      [JAVASCRIPT]: { generated_text: "a cat" },
    },
  },
  {
    task: "sentence-similarity",
    what: "a bare list",
    body: { inputs: { source_sentence: "a", sentences: ["b"] } },
    answer: { similarities: [0.5] },
    expected: { [CURL]: { similarities: [0.5] }, [PYTHON]: [0.5], [JAVASCRIPT]: [0.5] },
  },
  {
    task: "feature-extraction",
    what: "a text's tokens without the list around them",
    body: { inputs: "a" },
    answer: [[[1, 2]]],
    expected: { [CURL]: [[[1, 2]]], [PYTHON]: [[1, 2]], [JAVASCRIPT]: [[1, 2]] },
  },
  {
    task: "question-answering",
    what: "one shape for all",
    body: { inputs: { question: "a", context: "b" } },
    answer: { answer: "b", score: 1, start: 0, end: 1 },
    expected: {
      [CURL]: { answer: "b", score: 1, start: 0, end: 1 },
      [PYTHON]: { answer: "b", score: 1, start: 0, end: 1 },
      [JAVASCRIPT]: { answer: "b", score: 1, start: 0, end: 1 },
    },
  },
];

for (const { task, what, body, answer, expected } of ANSWERS) {
  testDoor(
    `${task} answers ${what}`,
    { description: { handler: "default", task }, answer: () => ({ kind: "json", value: answer }) },
    async (door) => {
      for (const [userAgent, value] of Object.entries(expected))
        assert.deepEqual(await ask(door, userAgent, body), value, userAgent);
    },
  );
}

testDoor(
  "image-to-text asks for the client even where the dialect is fixed",
  {
    dialect: "hf-inference",
    description: { handler: "default", task: "image-to-text" },
    answer: () => ({ kind: "json", value: [{ generated_text: "a" }] }),
  },
  async (door) => {
    assert.deepEqual(await ask(door, CURL, { inputs: "YQ==" }), [{ generated_text: "a" }]);
    assert.deepEqual(await ask(door, JAVASCRIPT, { inputs: "YQ==" }), { generated_text: "a" });
    const response = await door.request("/", post({ inputs: "YQ==" }));
    assert.equal(response.headers.get("vary"), "user-agent");
  },
);

/** What the model sees of a request. */
const REQUESTS: readonly {
  task: string;
  what: string;
  userAgent: string;
  body: unknown;
  expected: unknown;
}[] = [
  {
    task: "token-classification",
    what: "aggregates for the clients",
    userAgent: JAVASCRIPT,
    body: { inputs: "a" },
    expected: { inputs: "a", parameters: { aggregation_strategy: "simple" } },
  },
  {
    task: "token-classification",
    what: "aggregates as the client says",
    userAgent: PYTHON,
    body: { inputs: "a", parameters: { aggregation_strategy: "none", stride: 2 } },
    expected: { inputs: "a", parameters: { aggregation_strategy: "none", stride: 2 } },
  },
  {
    task: "token-classification",
    what: "does not aggregate for others",
    userAgent: CURL,
    body: { inputs: "a" },
    expected: { inputs: "a" },
  },
  {
    task: "text-classification",
    what: "tells the clients five classes",
    userAgent: PYTHON,
    body: { inputs: "a", parameters: {} },
    expected: { inputs: "a", parameters: { top_k: 5 } },
  },
  {
    task: "text-classification",
    what: "takes parameters of null as none",
    userAgent: PYTHON,
    body: { inputs: "a", parameters: null },
    expected: { inputs: "a", parameters: { top_k: 5 } },
  },
  {
    task: "visual-question-answering",
    what: "reads the question beside the image, as Python's client sends it",
    userAgent: PYTHON,
    body: { inputs: "YQ==", parameters: { top_k: 1 }, question: "What?", image: "YQ==" },
    expected: { inputs: { question: "What?", image: "YQ==" }, parameters: { top_k: 1 } },
  },
  {
    task: "visual-question-answering",
    what: "reads the question with the image, as JavaScript's client sends it",
    userAgent: JAVASCRIPT,
    body: { inputs: { question: "What?", image: "YQ==" } },
    expected: { inputs: { question: "What?", image: "YQ==" } },
  },
  {
    task: "table-question-answering",
    what: "reads a table at the root",
    userAgent: CURL,
    body: { query: "How many?", table: { a: ["1"] }, parameters: {} },
    expected: { inputs: { query: "How many?", table: { a: ["1"] } }, parameters: {} },
  },
];

for (const { task, what, userAgent, body, expected } of REQUESTS) {
  const seen: unknown[] = [];
  testDoor(
    `${task} ${what}`,
    {
      description: { handler: "default", task },
      answer: ({ data }) => {
        seen.push(data);
        return { kind: "json", value: null };
      },
    },
    async (door) => {
      await ask(door, userAgent, body);
      assert.deepEqual(seen.at(-1), expected);
    },
  );
}

testDoor(
  "a custom handler gets a body without inputs where it has a table or instances",
  {},
  async ({ request }) => {
    for (const body of [
      { table: { data: { a: ["1"] } }, parameters: {} },
      { instances: ["a"] },
      { inputs: "a", question: "b" },
    ]) {
      const response = await request("/", post(body));
      assert.deepEqual(await response.json(), { data: body });
    }
  },
);
