/**
 * What a body becomes: for a custom handler, and for the default handler's tasks.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { ModelDescription } from "../../runtime/inference.ts";
import { createTestApp, testDoor } from "../support/app-matrix.ts";
import { assertFailure, torchServeModels } from "../support/torchserve.ts";

interface Told {
  readonly data: Record<string, unknown>;
  readonly media?: string;
}

const JSON_TYPE = { "content-type": "application/json" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const TEXT_TYPE = { "content-type": "text/plain; charset=utf-8" };
const BYTES_TYPE = { "content-type": "application/octet-stream" };

/** A body without a Content-Type: of bytes, as to a text the platform gives one. */
const bare = (text: string): RequestInit => ({ body: new TextEncoder().encode(text) });
const typed = (body: string, headers: Record<string, string>): RequestInit => ({ body, headers });

function multipart(fields: Record<string, string | Blob>): RequestInit {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return { body: form };
}

const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** For a custom handler: what TorchServe's `data[0]` holds, and `inputs`. */
const ROWS: readonly (readonly [name: string, init: RequestInit, told: Told])[] = [
  ["text", typed("hello", TEXT_TYPE), { data: { body: "hello", inputs: "hello" } }],
  [
    "JSON",
    typed('{"text": "a", "n": 1}', JSON_TYPE),
    { data: { text: "a", n: 1, body: { text: "a", n: 1 }, inputs: { text: "a", n: 1 } } },
  ],
  [
    "a list in JSON",
    typed('["a", 1]', { "content-type": "application/json; charset=utf-8" }),
    { data: { body: ["a", 1], inputs: ["a", 1] } },
  ],
  [
    "JSON as on POST /",
    typed('{"inputs": "a", "date": "b"}', JSON_TYPE),
    { data: { inputs: "a", date: "b", body: { inputs: "a", date: "b" } } },
  ],
  [
    "JSON in curl's claim of a form",
    typed('{"inputs": "a=b&c"}', FORM_TYPE),
    { data: { inputs: "a=b&c", body: { inputs: "a=b&c" } } },
  ],
  [
    "what breaks as JSON",
    typed('{"a": (1,)}', JSON_TYPE),
    {
      data: { body: 'application/json: {"a": (1,)}' },
      media: 'application/json: {"a": (1,)}',
    },
  ],
  [
    "bytes",
    typed("abc", BYTES_TYPE),
    {
      data: { body: "application/octet-stream: abc" },
      media: "application/octet-stream: abc",
    },
  ],
  [
    "bytes of a type",
    { body: "abc", headers: { "content-type": "image/x-mine" } },
    { data: { body: "image/x-mine: abc" }, media: "image/x-mine: abc" },
  ],
  [
    "a form",
    typed("data=a+b%26&data=c+d&other=%7B%7D", FORM_TYPE),
    { data: { data: "c d", other: "{}", inputs: "c d" } },
  ],
  [
    "a form in parts, with files of several kinds",
    multipart({
      data: "hello",
      note: new Blob(["a note"], { type: "text/plain" }),
      more: new Blob(['{"a":1}'], { type: "application/json" }),
      raw: new Blob(["abc"], { type: "application/x-mine" }),
    }),
    {
      data: {
        data: "hello",
        inputs: "hello",
        note: "a note",
        more: { a: 1 },
        raw: "application/x-mine: abc",
      },
    },
  ],
  [
    "a form of one file",
    multipart({ photo: new Blob(["abc"], { type: "image/png" }) }),
    { data: { photo: "image/png: abc" }, media: "image/png: abc" },
  ],
  [
    "no body",
    {},
    {
      data: { body: "application/octet-stream: " },
      media: "application/octet-stream: ",
    },
  ],
];

for (const [name, init, told] of ROWS) {
  testDoor(
    `a custom handler gets ${name} as a Python handler does, and in inputs`,
    { models: torchServeModels({}) },
    async ({ request }) => {
      const response = await request("/predictions/echo", { method: "POST", ...init });
      const { data, media } = (await response.json()) as Told;
      assert.deepEqual({ data, ...(media !== undefined && { media }) }, told);
    },
  );
}

test("in the original's manner bytes stay bytes unless they are called application/json", async () => {
  const app = createTestApp({ models: torchServeModels({}), compat: "torchserve" });
  const told = async (headers?: Record<string, string>): Promise<unknown> => {
    const init = { method: "POST", ...bare('{"a":1}'), ...(headers && { headers }) };
    const { data } = (await (await app.request("/predictions/echo", init)).json()) as Told;
    return data["body"];
  };
  assert.equal(await told(), 'application/json: {"a":1}');
  assert.equal(await told(BYTES_TYPE), 'application/json: {"a":1}');
  assert.deepEqual(await told(JSON_TYPE), { a: 1 });
});

test("a form of too many fields, or of broken parts, is refused", async () => {
  const app = createTestApp({ models: torchServeModels({}) });
  for (const [init, sentence] of [
    [typed("a=&".repeat(1200), FORM_TYPE), /^Cannot read the form: it has more than 1000 fields$/],
    [
      typed("nothing", { "content-type": "multipart/form-data; boundary=x" }),
      /^Cannot read the form: it is not valid multipart/,
    ],
  ] as const) {
    const response = await app.request("/predictions/echo", { method: "POST", ...init });
    await assertFailure(response, 400, "BadRequestException", sentence);
  }
});

const TASKS = {
  seq: "text-classification",
  tok: "token-classification",
  qa: "question-answering",
  gen: "text-generation",
  zero: "zero-shot-classification",
  image: "image-classification",
} as const;

const served = (task: string): { description: Partial<ModelDescription> } => ({
  description: { handler: "default", task },
});
const DEFAULTS = torchServeModels(
  ...Object.entries(TASKS).map(([name, task]) => ({ name, ...served(task) })),
);

const SAMPLE =
  '{"text":"Bloomberg has decided to publish a new report on the global economy.", "target":1} ';
const BLOOMBERG = "Bloomberg has decided to publish a new report on the global economy.";
const EVERY_TOKEN = { aggregation_strategy: "none", ignore_labels: [] };

/** For the default handler: the transformer handler's clients, those it answers and those it answers 503. */
const TASK_BODIES: readonly (readonly [path: string, init: RequestInit, data: object])[] = [
  // What works in the original with captum_explanation, its own samples among them …
  ["/predictions/seq", bare(SAMPLE), { inputs: BLOOMBERG }],
  ["/predictions/seq", typed(SAMPLE, BYTES_TYPE), { inputs: BLOOMBERG }],
  ["/predictions/seq", typed(SAMPLE, TEXT_TYPE), { inputs: BLOOMBERG }],
  ["/predictions/seq", { body: new URLSearchParams({ data: SAMPLE }) }, { inputs: BLOOMBERG }],
  ["/predictions/seq", typed(`data=${SAMPLE}`, FORM_TYPE), { inputs: BLOOMBERG }],
  ["/predictions/seq", multipart({ data: SAMPLE }), { inputs: BLOOMBERG }],
  [
    "/predictions/seq",
    multipart({ data: new Blob([SAMPLE], { type: "text/plain" }) }),
    { inputs: BLOOMBERG },
  ],
  [
    "/predictions/tok",
    bare(SAMPLE.replace(":1}", ":(1,2)}")),
    { inputs: BLOOMBERG, parameters: EVERY_TOKEN },
  ],
  [
    "/predictions/seq",
    typed(`{'text': 'a', 'target': (1,2)}`, JSON_TYPE), // breaks as JSON, and goes on as bytes
    { inputs: "a" },
  ],
  [
    "/predictions/qa",
    bare(
      '{"question" :"How is the weather", "context": "The weather is nice, it is beautiful day", "target": 0}',
    ),
    {
      inputs: {
        question: "How is the weather",
        context: "The weather is nice, it is beautiful day",
      },
    },
  ],
  // … without it …
  ["/predictions/seq", typed("just text", TEXT_TYPE), { inputs: "just text" }],
  ["/predictions/seq", bare("just text"), { inputs: "just text" }],
  ["/predictions/gen", bare("{ once upon"), { inputs: "{ once upon" }],
  ["/predictions/gen", typed("[1]", TEXT_TYPE), { inputs: "[1]" }],
  ["/predictions/seq", typed("just text", FORM_TYPE), { inputs: "just text" }],
  // … and what it answers 503.
  ["/predictions/seq", typed(SAMPLE, JSON_TYPE), { inputs: BLOOMBERG }],
  ["/predictions/seq", typed('{"text": "a", "flag": true}', JSON_TYPE), { inputs: "a" }],
  ["/predictions/seq", bare('{"text": "a", "flag": null}'), { inputs: "a" }],
  ["/predictions/seq", typed(SAMPLE, FORM_TYPE), { inputs: BLOOMBERG }],
  [
    "/predictions/seq",
    typed('{"data":"Bloomberg has reported on the economy","target":0}', JSON_TYPE),
    { inputs: "Bloomberg has reported on the economy" },
  ],
  ["/predictions/seq", typed('"a text"', JSON_TYPE), { inputs: "a text" }],
  [
    "/predictions/seq",
    typed('["a", {"text": "b", "target": 1}]', JSON_TYPE),
    { inputs: ["a", "b"] },
  ],
  [
    "/predictions/seq",
    typed('{"text": "a", "text_pair": "b", "x": 1}', JSON_TYPE),
    { inputs: { text: "a", text_pair: "b" } },
  ],
  [
    "/predictions/tok",
    typed('{"inputs": "a", "parameters": {"aggregation_strategy": "simple"}}', JSON_TYPE),
    { inputs: "a", parameters: { aggregation_strategy: "simple" } },
  ],
  [
    "/predictions/tok",
    typed('{"inputs": "a"}', JSON_TYPE),
    { inputs: "a", parameters: EVERY_TOKEN },
  ],
  [
    "/predictions/qa",
    multipart({ question: "q", context: "c" }),
    { inputs: { question: "q", context: "c" } },
  ],
  [
    "/predictions/zero",
    typed('{"inputs": "a", "parameters": {"candidate_labels": ["b"]}}', JSON_TYPE),
    { inputs: "a", parameters: { candidate_labels: ["b"] } },
  ],
  [
    "/predictions/zero",
    multipart({ data: "a", parameters: '{"candidate_labels": ["b"]}' }),
    { inputs: "a", parameters: { candidate_labels: ["b"] } },
  ],
  ["/predictions/image", typed('{"data": "aGVsbG8="}', JSON_TYPE), { inputs: "aGVsbG8=" }],
  ["/seq/predict?data=a+text", {}, { inputs: "a text" }],
  // Explanations: the target is a parameter, in every form that it has.
  ["/explanations/seq", bare(SAMPLE), { inputs: BLOOMBERG, parameters: { target: 1 } }],
  ["/explanations/seq", typed(SAMPLE, JSON_TYPE), { inputs: BLOOMBERG, parameters: { target: 1 } }],
  ["/explanations/seq", bare("just text"), { inputs: "just text" }],
  ["/explanations/seq", bare('{"text": "a"}'), { inputs: "a" }],
  [
    "/explanations/tok",
    bare('{"text": "a", "target": (1,2)}'),
    { inputs: "a", parameters: { target: [1, 2] } },
  ],
  [
    "/explanations/tok",
    typed('{"text": "a", "target": [1, 2]}', JSON_TYPE),
    { inputs: "a", parameters: { target: [1, 2] } },
  ],
  [
    "/explanations/tok",
    multipart({ text: "a", target: "(1, 2)" }),
    { inputs: "a", parameters: { target: [1, 2] } },
  ],
  [
    "/explanations/seq",
    multipart({ text: "a", target: "Not Accepted" }),
    { inputs: "a", parameters: { target: "Not Accepted" } },
  ],
  [
    "/explanations/seq",
    typed('{"inputs": "a", "target": 1, "parameters": {"n_steps": 5}}', JSON_TYPE),
    { inputs: "a", parameters: { target: 1, n_steps: 5 } },
  ],
  [
    "/explanations/qa",
    bare('{"question": "q", "context": "c", "target": 0}'),
    { inputs: { question: "q", context: "c" }, parameters: { target: 0 } },
  ],
];

for (const [path, init, data] of TASK_BODIES) {
  const body = init.body instanceof Uint8Array ? new TextDecoder().decode(init.body) : init.body;
  const what = typeof body === "string" ? body : "a form";
  const type =
    Object.values((init.headers ?? {}) as Record<string, string>)[0] ?? "no type of its own";
  testDoor(
    `the default handler reads ${what.slice(0, 60)} of ${type} at ${path}`,
    { models: DEFAULTS },
    async ({ request }) => {
      const response = await request(path, { method: "POST", ...init });
      const text = await response.text();
      assert.equal(response.status, 200, text);
      // A list's answer is a list, also of the one thing that this test's model tells.
      assert.deepEqual([JSON.parse(text) as Told | Told[]].flat()[0]?.data, data);
    },
  );
}

testDoor(
  "a file is the inputs of a task that reads files, whatever its field is called",
  { models: DEFAULTS },
  async ({ request }) => {
    const file = new Blob([PNG], { type: "image/png" });
    for (const init of [
      { body: PNG },
      { body: PNG, headers: FORM_TYPE },
      { body: PNG, headers: { "content-type": "image/png" } },
      multipart({ data: file }),
      multipart({ photo: file }),
      multipart({ body: file, parameters: '{"top_k": 2}' }),
    ]) {
      const response = await request("/predictions/image", { method: "POST", ...init });
      const { data, media } = (await response.json()) as Told;
      assert.match(media ?? "", /^image\/png: .PNG/);
      assert.ok(!("inputs" in data));
      if ("parameters" in data) assert.deepEqual(data, { parameters: { top_k: 2 } });
    }
  },
);

test("what begins as a dictionary and breaks is refused, not answered as text", async () => {
  const app = createTestApp({ models: DEFAULTS });
  for (const [path, body] of [
    ["/predictions/seq", '{"text": "a", target: 1}'],
    ["/predictions/qa", `{'question': 'a', 'context': open('x')}`],
  ] as const) {
    const response = await app.request(path, { method: "POST", body });
    await assertFailure(
      response,
      400,
      "BadRequestException",
      /^Cannot read the body: it is neither JSON nor a Python literal; it breaks off at character \d+$/,
    );
  }
  const list = await app.request("/explanations/seq", {
    method: "POST",
    body: '[{"text": "a", "target": 1}]',
    headers: JSON_TYPE,
  });
  await assertFailure(list, 400, "BadRequestException", /an element of the list has a "target"/);
});
