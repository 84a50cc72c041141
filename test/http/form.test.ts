import assert from "node:assert/strict";
import { test } from "node:test";
import { isMedia } from "../../runtime/inference.ts";
import { createTestApp, testDoor, type Answer, type DoorOptions } from "../support/app-matrix.ts";

const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]);
const WAV = Buffer.from("RIFF\0\0\0\0WAVEfmt ", "latin1");

/** A file as the tests below write it: its type and its size. */
type Shown = unknown;

function show(value: unknown): Shown {
  if (isMedia(value)) return `${value.contentType} of ${value.bytes.byteLength}`;
  if (Array.isArray(value)) return value.map(show);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, show(inner)]));
}

const answer: Answer = ({ data, media }) => ({
  kind: "json",
  // Proof of the cast: every file became a string.
  value: show({ ...data, ...(media && { media }) }) as never,
});

function served(task: string): DoorOptions {
  return { answer, description: { handler: "default", task } };
}

const CUSTOM: DoorOptions = { answer, description: { handler: "custom" } };

type Part = readonly [name: string, value: string | Blob, filename?: string];

function form(...parts: readonly Part[]): RequestInit {
  const body = new FormData();
  for (const [name, value, filename = "file"] of parts) {
    if (typeof value === "string") body.append(name, value);
    else body.append(name, value, filename);
  }
  return { method: "POST", body };
}

const png = new Blob([PNG], { type: "image/png" });
const untold = new Blob([PNG]);
const wav = new Blob([WAV], { type: "audio/wav" });

/** What a form becomes for a task. */
const FORMS: readonly [name: string, task: string, init: RequestInit, expected: unknown][] = [
  [
    "a file is the body, whatever its field is called, and the other fields are parameters",
    "image-classification",
    form(["picture", png], ["top_k", "2"], ["function_to_apply", "none"]),
    { media: "image/png of 11", parameters: { top_k: 2, function_to_apply: "none" } },
  ],
  [
    "a file of no told type is recognized",
    "image-classification",
    form(["inputs", untold]),
    { media: "image/png of 11" },
  ],
  [
    "several files are a list of inputs",
    "image-classification",
    form(["a", png], ["b", png]),
    { inputs: ["image/png of 11", "image/png of 11"] },
  ],
  [
    "the field parameters is a JSON object, and wins over fields of the same name",
    "image-classification",
    form(["inputs", png], ["top_k", "2"], ["parameters", '{"top_k": 3, "x": [1]}']),
    { media: "image/png of 11", parameters: { top_k: 3, x: [1] } },
  ],
  [
    "parameters may be a file",
    "automatic-speech-recognition",
    form(
      ["inputs", wav],
      ["parameters", new Blob(['{"return_timestamps": "word"}'], { type: "application/json" })],
    ),
    { media: "audio/wav of 16", parameters: { return_timestamps: "word" } },
  ],
  [
    "a field given twice is a list, and a list or an object may be JSON",
    "zero-shot-image-classification",
    form(["file", png], ["candidate_labels", "cat"], ["candidate_labels", "dog"], ["x", "[1,2]"]),
    { media: "image/png of 11", parameters: { candidate_labels: ["cat", "dog"], x: [1, 2] } },
  ],
  [
    "a question stands beside its image in the inputs",
    "visual-question-answering",
    form(["image", png], ["question", "What is it?"], ["top_k", "1"]),
    {
      inputs: { question: "What is it?", image: "image/png of 11" },
      parameters: { top_k: 1 },
    },
  ],
  [
    "an object in the field inputs takes the file in",
    "document-question-answering",
    form(["inputs", '{"question": "Total?"}'], ["file", png]),
    { inputs: { question: "Total?", image: "image/png of 11" } },
  ],
  [
    "texts need no file: inputs as text",
    "text-classification",
    form(["inputs", "I love you"], ["top_k", "null"]),
    { inputs: "I love you", parameters: { top_k: null } },
  ],
  [
    "numbers in the field inputs stay text",
    "text-classification",
    form(["inputs", "42"]),
    { inputs: "42" },
  ],
  [
    "texts need no file: inputs as a list",
    "text-classification",
    form(["inputs", '["a", "b"]']),
    { inputs: ["a", "b"] },
  ],
  [
    "texts need no file: inputs given twice",
    "text-classification",
    form(["inputs", "a"], ["inputs", "b"]),
    { inputs: ["a", "b"] },
  ],
  [
    "texts need no file: their names",
    "question-answering",
    form(["question", "Who?"], ["context", "42"], ["top_k", "2"]),
    { inputs: { question: "Who?", context: "42" }, parameters: { top_k: 2 } },
  ],
  [
    "a text file is text",
    "summarization",
    form(["file", new Blob(["Once upon"], { type: "text/plain" })]),
    { inputs: "Once upon" },
  ],
  [
    "text that only looks like JSON is text",
    "fill-mask",
    form(["inputs", "[MASK] is here"]),
    { inputs: "[MASK] is here" },
  ],
];

for (const [name, task, init, expected] of FORMS) {
  testDoor(`in a form, ${name}`, served(task), async ({ request }) => {
    const response = await request("/", init);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), expected);
  });
}

testDoor(
  "a custom handler gets a form's fields by their names, a lone file as its inputs",
  CUSTOM,
  async ({ request }) => {
    const ask = async (init: RequestInit): Promise<unknown> => (await request("/", init)).json();
    assert.deepEqual(await ask(form(["upload", png], ["date", "2022-07-04"], ["n", "3"])), {
      media: "image/png of 11",
      date: "2022-07-04",
      n: 3,
    });
    assert.deepEqual(await ask(form(["image", png], ["mask", png], ["parameters", "{}"])), {
      image: "image/png of 11",
      mask: "image/png of 11",
    });
    assert.deepEqual(await ask(form(["inputs", "a"], ["image", png])), {
      inputs: "a",
      image: "image/png of 11",
    });
  },
);

testDoor(
  "the query gives parameters and a question beside a file",
  served("visual-question-answering"),
  async ({ request }) => {
    const response = await request("/?question=What%3F&top_k=2&x=%5B1%5D&y=a&y=b", {
      method: "POST",
      body: png,
    });
    assert.deepEqual(await response.json(), {
      inputs: { question: "What?", image: "image/png of 11" },
      parameters: { top_k: 2, x: [1], y: ["a", "b"] },
    });
  },
);

const REFUSED: readonly [name: string, init: RequestInit, status: number, sentence: RegExp][] = [
  [
    "without a file or inputs",
    form(["top_k", "2"]),
    400,
    /neither a file nor a field "inputs", found "top_k"$/,
  ],
  [
    "with parameters that are no object",
    form(["inputs", "a"], ["parameters", "3"]),
    400,
    /"parameters" must be one JSON object$/,
  ],
  [
    "with two parameters",
    form(["inputs", "a"], ["parameters", "{}"], ["parameters", "{}"]),
    400,
    /must be one JSON object$/,
  ],
  ["too large", form(["inputs", "a".repeat(20_000)]), 413, /the limit is 10000 bytes/],
  [
    "without a boundary",
    { method: "POST", headers: { "content-type": "multipart/form-data" }, body: "x" },
    400,
    /^Cannot read the form: its Content-Type names no boundary$/,
  ],
  [
    "that breaks off",
    {
      method: "POST",
      headers: { "content-type": "multipart/form-data; boundary=x" },
      body: '--x\r\nContent-Disposition: form-data; name="inputs"\r\n\r\nhello',
    },
    400,
    /^Cannot read the form: it is not valid multipart\/form-data$/,
  ],
];

for (const [name, init, status, sentence] of REFUSED) {
  testDoor(`a form ${name} is a ${status}`, served("text-classification"), async ({ request }) => {
    const response = await request("/", init);
    assert.equal(response.status, status);
    const body = (await response.json()) as { error: string; error_type: string };
    assert.match(body.error, sentence);
    assert.deepEqual(Object.keys(body), ["error", "error_type"]);
  });
}

test("a form of very many parts is refused before it is parsed", async () => {
  const part = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n';
  const init = {
    method: "POST",
    headers: { "content-type": 'multipart/form-data; boundary="x"' },
  };
  const app = createTestApp({ ...served("text-classification"), maxBodyBytes: 1_000_000 });
  const ask = (parts: number) =>
    app.request("/", { ...init, body: `${part.repeat(parts)}--x--\r\n` });
  const refused = await ask(1001);
  assert.equal(refused.status, 400);
  assert.match(((await refused.json()) as { error: string }).error, /more than 1000 parts$/);
  const read = (await (await ask(1000)).json()) as { error: string };
  assert.match(read.error, /neither a file nor a field "inputs"/);
});
