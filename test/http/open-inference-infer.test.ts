/**
 * Inference over `/v2`: what requests become, and what answers become, for texts, graphs and custom handlers.
 *
 * The engine is the test's own: it sees the neutral request and answers by hand. Real models are asked in
 * `test/scenarios/open-inference.test.ts`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  TENSOR_DATATYPES,
  type InferenceOutput,
  type InferenceRequest,
  type JsonValue,
  type ModelDescription,
} from "../../runtime/inference.ts";
import { createTestApp, post, testDoor, type DoorOptions } from "../support/app-matrix.ts";
import {
  assertConforms,
  binaryRequest,
  readAnswer,
  readBinaryAnswer,
  readError,
} from "../support/open-inference.ts";

const PATH = "/v2/models/owner/name/infer";

interface Seen {
  request?: InferenceRequest;
}

/** A model of a task that answers with a value, and what it was asked. */
function model(
  description: Partial<ModelDescription>,
  answer: JsonValue | InferenceOutput,
): DoorOptions & { readonly seen: Seen } {
  const seen: Seen = {};
  const isOutput = (value: object): value is InferenceOutput => "kind" in value;
  return {
    seen,
    description: { handlerFile: "", ...description },
    maxBodyBytes: 1_000_000,
    answer(request) {
      seen.request = request;
      return typeof answer === "object" && answer !== null && isOutput(answer)
        ? answer
        : { kind: "json", value: answer };
    },
  };
}

const task = (name: string, answer: JsonValue | InferenceOutput) =>
  model({ handler: "default", task: name }, answer);

const text = (data: unknown, name = "text", more: object = {}) => ({
  name,
  shape: [Array.isArray(data) ? data.length : 1],
  datatype: "BYTES",
  data,
  ...more,
});

// Texts.

const kserve = task("text-classification", [{ label: "Not Accepted", score: 0.9 }]);

testDoor(
  "KServe's sample for TorchServe's BERT is answered as documented",
  kserve,
  async (door) => {
    // As it stands in KServe's documentation, typographically too: a bare shape, bare data.
    const body =
      '{"id":"d3b15cad-50a2-4eaf-80ce-8b0a428bd298","inputs":[{"name":"4b7c7d4a-51e4-43c8-af61-04639f6ef4bc","shape":-1,' +
      '"datatype":"BYTES","data":"{\\"text\\":\\"Bloomberg has decided to publish a new report on the global economy.\\", \\"target\\":1}"}]}';
    for (const headers of [
      { "content-type": "application/json" },
      { "content-type": "application/x-www-form-urlencoded" }, // curl -d
      { "content-type": "application/octet-stream" },
      { "content-type": "text/plain" },
    ]) {
      const response = await door.request(PATH, { method: "POST", headers, body });
      assert.deepEqual(await readAnswer(response), {
        id: "d3b15cad-50a2-4eaf-80ce-8b0a428bd298",
        model_name: "owner/name",
        model_version: "1.0",
        outputs: [{ name: "predict", shape: [1], datatype: "BYTES", data: ["Not Accepted"] }],
      });
      assert.equal(kserve.seen.request?.kind, "predict");
      assert.deepEqual(kserve.seen.request?.data, {
        inputs: "Bloomberg has decided to publish a new report on the global economy.",
      });
    }
  },
);

const twoLabels = task("text-classification", [
  { label: "a", score: 0.25 },
  { label: "b", score: 0.5 },
]);

testDoor(
  "texts are one prediction each, structured ones in JSON",
  twoLabels,
  async ({ request }) => {
    const response = await request(
      PATH,
      post({
        parameters: { top_k: 1, binary_data_output: false },
        inputs: [text(["x", "y"], "any")],
      }),
    );
    assert.equal(response.headers.get("x-inference-time"), "2.5");
    const { outputs, id } = await readAnswer(response);
    assert.equal(id, response.headers.get("x-request-id"));
    assert.deepEqual(outputs, [
      {
        name: "predict",
        shape: [2],
        datatype: "BYTES",
        parameters: { content_type: "hg_jsonlist" },
        data: ['{"label":"a","score":0.25}', '{"label":"b","score":0.5}'],
      },
    ]);
    const { data, headers } = twoLabels.seen.request ?? assert.fail();
    assert.deepEqual(data, { inputs: ["x", "y"], parameters: { top_k: 1 } });
    assert.equal(headers["authorization"], undefined);
  },
);

interface Reading {
  readonly task: string;
  readonly inputs: readonly object[];
  readonly parameters?: object;
  /** What the task reads. */
  readonly data: object;
  readonly answer: JsonValue;
  readonly shape: readonly number[];
  readonly datatype: string;
  /** JSON unless `FP32` or plain. */
  readonly predictions: readonly unknown[];
  readonly isPlain?: boolean;
}

const QA = { score: 1, start: 0, end: 1, answer: "x" };

const READINGS: Readonly<Record<string, Reading>> = {
  "a question with its context": {
    task: "question-answering",
    inputs: [text(["q"], "question"), text(["c"], "context")],
    data: { inputs: [{ question: "q", context: "c" }] },
    answer: QA,
    shape: [1],
    datatype: "BYTES",
    predictions: [QA],
  },
  "several answers to one question": {
    task: "question-answering",
    inputs: [text("q", "question"), text("c", "context")],
    parameters: { top_k: 1 },
    data: { inputs: [{ question: "q", context: "c" }], parameters: { top_k: 1 } },
    answer: [QA],
    shape: [1],
    datatype: "BYTES",
    predictions: [[QA]],
  },
  "several questions about one context": {
    task: "question-answering",
    inputs: [text(["q", "r"], "question"), text(["c"], "context")],
    data: {
      inputs: [
        { question: "q", context: "c" },
        { question: "r", context: "c" },
      ],
    },
    answer: [QA, QA],
    shape: [2],
    datatype: "BYTES",
    predictions: [QA, QA],
  },
  "pairs of texts": {
    task: "text-classification",
    inputs: [text(["a", "b"]), text(["c", "d"], "text_pair")],
    data: {
      inputs: [
        { text: "a", text_pair: "c" },
        { text: "b", text_pair: "d" },
      ],
    },
    answer: [{ label: "x" }, { label: "y" }],
    shape: [2],
    datatype: "BYTES",
    predictions: [{ label: "x" }, { label: "y" }],
  },
  "texts and the labels to choose among": {
    task: "zero-shot-classification",
    inputs: [text(["a"], "sequences"), text(["x", "y"], "candidate_labels")],
    parameters: { multi_label: true },
    data: { inputs: ["a"], parameters: { multi_label: true, candidate_labels: ["x", "y"] } },
    answer: [{ labels: ["x", "y"] }],
    shape: [1],
    datatype: "BYTES",
    predictions: [{ labels: ["x", "y"] }],
  },
  "a query and the texts to rank": {
    task: "text-ranking",
    inputs: [text(["q"], "query"), text(["a", "b"], "texts")],
    data: { inputs: { query: "q", texts: ["a", "b"] } },
    answer: [
      { index: 1, score: 0.5 },
      { index: 0, score: 0.25 },
    ],
    shape: [2],
    datatype: "FP32",
    predictions: [0.25, 0.5], // in the order of the texts
  },
  "the best of the texts to rank": {
    task: "text-ranking",
    inputs: [text(["q"], "query"), text(["a", "b"], "texts")],
    parameters: { top_k: 1 },
    data: { inputs: { query: "q", texts: ["a", "b"] }, parameters: { top_k: 1 } },
    answer: [{ index: 0, score: 0.5 }],
    shape: [1],
    datatype: "BYTES",
    predictions: [[{ index: 0, score: 0.5 }]],
  },
  "pairs to score": {
    task: "text-ranking",
    inputs: [text(["q", "q"]), text(["a", "b"], "text_pair")],
    data: {
      inputs: [
        { text: "q", text_pair: "a" },
        { text: "q", text_pair: "b" },
      ],
    },
    answer: { scores: [0.25, 0.5] },
    shape: [2],
    datatype: "FP32",
    predictions: [0.25, 0.5],
  },
  "a sentence and others to compare it with": {
    task: "sentence-similarity",
    inputs: [text(["s"], "source_sentence"), text(["a", "b"], "sentences")],
    data: { inputs: { source_sentence: "s", sentences: ["a", "b"] } },
    answer: { similarities: [0.25, 1] },
    shape: [2],
    datatype: "FP32",
    predictions: [0.25, 1],
  },
  "texts to embed, where nothing is to be compared": {
    task: "sentence-similarity",
    inputs: [text(["a", "b"])],
    parameters: { normalize: true },
    data: { inputs: ["a", "b"], parameters: { pooling: "auto", normalize: true } },
    answer: [
      [1, 2],
      [3, 4],
    ],
    shape: [2, 2],
    datatype: "FP32",
    predictions: [1, 2, 3, 4],
  },
  "texts to embed": {
    task: "feature-extraction",
    inputs: [text(["a", "b"])],
    data: { inputs: ["a", "b"] },
    answer: [
      [1, 2, 3],
      [4, null, 6],
    ],
    shape: [2, 3],
    datatype: "FP32",
    predictions: [1, 2, 3, 4, "NaN", 6],
  },
  "texts whose tokens are embedded": {
    task: "feature-extraction",
    inputs: [text(["a", "b"])],
    data: { inputs: ["a", "b"] },
    answer: [[[[1], [2]]], [[[3]]]],
    shape: [2],
    datatype: "BYTES",
    predictions: [[[[1], [2]]], [[[3]]]],
  },
  "one text with a mask": {
    task: "fill-mask",
    inputs: [text(["a [MASK]"], "inputs")],
    data: { inputs: ["a [MASK]"] },
    answer: [{ token: 7 }],
    shape: [1],
    datatype: "BYTES",
    predictions: [[{ token: 7 }]],
  },
  "a text without entities": {
    task: "token-classification",
    inputs: [text(["a"])],
    data: { inputs: ["a"] },
    answer: [[]],
    shape: [1],
    datatype: "BYTES",
    predictions: [[]],
  },
  "an image in base64": {
    task: "image-to-image",
    inputs: [text(["aGk="], "image")],
    data: { inputs: ["aGk="] },
    answer: ["cG5n"],
    shape: [1],
    datatype: "BYTES",
    predictions: ["cG5n"],
    isPlain: true,
  },
  "several JSON objects, answered as TorchServe's handler does": {
    task: "token-classification",
    inputs: [text(['{"text":"a","target":1}', '{"text":"b"}'])],
    data: {
      inputs: ["a", "b"],
      parameters: { aggregation_strategy: "none", ignore_labels: [] },
    },
    answer: [[{ word: "a", entity: "O" }], []],
    shape: [2],
    datatype: "BYTES",
    predictions: [[["a", "O"]], []],
  },
  "JSON that is no string": {
    task: "text-classification",
    inputs: [text([{ inputs: "a", parameters: { top_k: 2 } }])],
    parameters: { top_k: 1, truncation: true },
    data: { inputs: "a", parameters: { top_k: 2, truncation: true } },
    answer: [{ label: "x" }, { label: "y" }],
    shape: [1],
    datatype: "BYTES",
    predictions: [[{ label: "x" }, { label: "y" }]],
  },
  "text that only looks like JSON": {
    task: "text-classification",
    inputs: [text(["{not json", "[1]"])],
    data: { inputs: ["{not json", "[1]"] },
    answer: [{ label: "x" }, { label: "y" }],
    shape: [2],
    datatype: "BYTES",
    predictions: [{ label: "x" }, { label: "y" }],
  },
};

for (const [name, reading] of Object.entries(READINGS)) {
  test(`${reading.task} reads ${name}`, async () => {
    const { inputs, parameters, answer, isPlain = false } = reading;
    const options = task(reading.task, answer);
    const response = await createTestApp(options).request(PATH, post({ inputs, parameters }));
    const { outputs } = await readAnswer(response);
    assert.deepEqual(options.seen.request?.data, reading.data);
    const [output] = outputs;
    assert.equal(outputs.length, 1);
    assert.deepEqual(
      [output?.name, output?.datatype, output?.shape],
      ["predict", reading.datatype, reading.shape],
    );
    const isJson = reading.datatype === "BYTES" && !isPlain;
    assert.deepEqual(output?.parameters, isJson ? { content_type: "hg_jsonlist" } : undefined);
    const predictions = isJson
      ? output?.data.map((each) => JSON.parse(String(each)) as unknown)
      : output?.data;
    assert.deepEqual(predictions, reading.predictions);
  });
}

const REFUSALS: readonly (readonly [task: string, inputs: readonly object[], pattern: RegExp])[] = [
  [
    "question-answering",
    [text("q", "question"), text("c", "contxt")],
    /^Cannot read the inputs: the input "contxt" is not known beside others, perhaps you mean "context"; question-answering knows question, context$/,
  ],
  ["summarization", [text("a"), text("b", "other")], /; summarization knows text$/],
  [
    "text-ranking",
    [text("q", "query"), text("b", "text_pair")],
    /the inputs query, text_pair do not go together; text-ranking knows query, texts, or text, text_pair$/,
  ],
  [
    "text-ranking",
    [text(["q", "r"], "query"), text(["b"], "texts")],
    /"query" has 2 elements, wanted one$/,
  ],
  [
    "question-answering",
    [text(["q", "r"], "question"), text(["a", "b", "c"], "context")],
    /"question" has 2 elements, wanted 3 or one$/,
  ],
  ["text-classification", [], /^Cannot read the inputs: there are none, wanted at least one$/],
  ["text-classification", [text([])], /^Cannot read the input "text": it has no elements/],
  ["text-classification", [text("a"), text("b")], /there are two of that name$/],
  [
    "text-classification",
    [{ name: "x", shape: [1], datatype: "INT64", data: [1] }],
    /^Cannot read the input "x": it is INT64, wanted BYTES for text-classification$/,
  ],
  [
    "text-classification",
    [text(["/wA="], "x", { parameters: { content_type: "base64" } })],
    /element 0 is not valid UTF-8, wanted text$/,
  ],
  [
    "text-classification",
    [text(['{"text":"a","parameters":{"top_k":1}}', "b"])],
    /element 1 asks for something else than element 0/,
  ],
  [
    "text-classification",
    [text("a", "x", { parameters: { shared_memory_region: "r" } })],
    /its parameter shared_memory_region is not supported here$/,
  ],
];

for (const [name, inputs, pattern] of REFUSALS) {
  test(`${name} refuses what it does not read: ${pattern.source}`, async () => {
    const options = task(name, "never");
    const response = await createTestApp(options).request(PATH, post({ inputs }));
    assert.match(await readError(response, 400), pattern);
    assert.equal(options.seen.request, undefined);
  });
}

const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0i", "base64");

test("an image in bytes reaches its task as a file, the question beside it as text", async () => {
  const options = task("visual-question-answering", [[{ answer: "yes" }]]);
  const element = Buffer.concat([Buffer.from(Uint32Array.of(PNG.length).buffer), PNG]);
  const size = { parameters: { binary_data_size: element.length } };
  const inputs = [
    { name: "image", shape: [1], datatype: "BYTES", ...size },
    text(["Is it?"], "question"),
  ];
  const response = await createTestApp(options).request(PATH, binaryRequest({ inputs }, [element]));
  assert.equal(response.status, 200);
  assert.deepEqual(options.seen.request?.data, {
    inputs: [
      { image: { bytes: new Uint8Array(PNG), contentType: "image/png" }, question: "Is it?" },
    ],
  });
});

test("a file goes out as its bytes: in base64 in JSON, as they are in binary", async () => {
  const bytes = new Uint8Array(PNG);
  const options = task("text-to-audio", {
    kind: "media",
    media: { bytes, contentType: "audio/wav" },
  });
  const app = createTestApp(options);
  const inputs = [text(["say it"])];
  const { outputs } = await readAnswer(await app.request(PATH, post({ inputs })));
  assert.deepEqual(outputs[0]?.parameters, { media_type: "audio/wav", content_type: "base64" });
  assert.deepEqual(outputs[0]?.data, [PNG.toString("base64")]);
  const asked = post({ inputs, parameters: { binary_data_output: true } });
  const { answer, blobs } = await readBinaryAnswer(await app.request(PATH, asked));
  assert.equal(answer.outputs[0]?.parameters?.["media_type"], "audio/wav");
  assert.deepEqual(blobs[0]?.subarray(4), PNG);
});

// Custom handlers.

interface HandlerReading {
  readonly inputs: readonly object[];
  readonly parameters?: object;
  readonly data: object;
}

const HANDLER_READINGS: Readonly<Record<string, HandlerReading>> = {
  "one tensor of texts": { inputs: [text(["a", "b"])], data: { inputs: ["a", "b"] } },
  "a scalar": {
    inputs: [{ name: "x", shape: [], datatype: "FP32", data: 0.5 }],
    data: { inputs: 0.5 },
  },
  "numbers, nested as the shape says": {
    inputs: [{ name: "x", shape: [2, 1, 2], datatype: "FP64", data: [1, 2, 3, 4] }],
    data: { inputs: [[[1, 2]], [[3, 4]]] },
  },
  "several tensors by name": {
    inputs: [
      text(["a"], "who"),
      { name: "flags", shape: [2], datatype: "BOOL", data: [true, false] },
    ],
    parameters: { k: 1, sequence_id: 7 },
    data: { inputs: { who: ["a"], flags: [true, false] }, parameters: { k: 1 } },
  },
  "whole numbers beyond 2^53 as digits": {
    inputs: [{ name: "x", shape: [2], datatype: "UINT64", data: [1, "18446744073709551615"] }],
    data: { inputs: [1, "18446744073709551615"] },
  },
  "bytes as files": {
    inputs: [text([PNG.toString("base64")], "x", { parameters: { content_type: "base64" } })],
    data: { inputs: [{ bytes: new Uint8Array(PNG), contentType: "image/png" }] },
  },
  "a JSON object as the payload": {
    inputs: [text('{"inputs":"a","k":1}')],
    parameters: { p: 2 },
    data: { parameters: { p: 2 }, body: { inputs: "a", k: 1 }, inputs: "a", k: 1 },
  },
};

for (const [name, { inputs, parameters, data }] of Object.entries(HANDLER_READINGS)) {
  test(`a custom handler gets ${name}`, async () => {
    const options = model({ handler: "custom" }, "ok");
    const response = await createTestApp(options).request(PATH, post({ inputs, parameters }));
    const { outputs } = await readAnswer(response);
    assert.deepEqual(outputs, [{ name: "predict", shape: [1], datatype: "BYTES", data: ["ok"] }]);
    assert.deepEqual(options.seen.request?.data, data);
  });
}

async function* chunks(): AsyncGenerator<JsonValue> {
  yield "one ";
  yield "two";
}

const jsonList = { parameters: { content_type: "hg_jsonlist" } };
const HANDLER_ANSWERS: Readonly<
  Record<string, readonly [answer: JsonValue | InferenceOutput, output: object]>
> = {
  "a list as long as its inputs": [["x", "y"], { shape: [2], datatype: "BYTES", data: ["x", "y"] }],
  "any other list": [["x"], { shape: [1], datatype: "BYTES", data: ['["x"]'], ...jsonList }],
  "an object": [{ a: 1 }, { shape: [1], datatype: "BYTES", data: ['{"a":1}'], ...jsonList }],
  "a mixed list": [
    ["x", { a: 1 }],
    { shape: [2], datatype: "BYTES", data: ['"x"', '{"a":1}'], ...jsonList },
  ],
  "a number": [0.1, { shape: [1], datatype: "FP64", data: [0.1] }],
  "numbers, nested": [
    [
      [
        [1, 2],
        [3, 4],
      ],
    ],
    { shape: [1, 2, 2], datatype: "FP64", data: [1, 2, 3, 4] },
  ],
  "numbers, irregularly": [
    [[1, 2], [3]],
    { shape: [2], datatype: "BYTES", data: ["[1,2]", "[3]"], ...jsonList },
  ],
  nothing: [null, { shape: [1], datatype: "BYTES", data: ["null"], ...jsonList }],
  "a stream": [
    { kind: "stream", chunks: chunks() },
    { shape: [2], datatype: "BYTES", data: ["one ", "two"] },
  ],
};

for (const [name, [answer, output]] of Object.entries(HANDLER_ANSWERS)) {
  test(`a custom handler answers ${name}`, async () => {
    const options = model({ handler: "custom" }, answer);
    const request = post({ inputs: [text(["a", "b"])] });
    const { outputs } = await readAnswer(await createTestApp(options).request(PATH, request));
    assert.deepEqual(outputs, [{ name: "predict", ...output }]);
  });
}

test("an answer nested as deep as JSON may be costs no more than its size", async () => {
  const deep = JSON.parse(`${"[".repeat(190)}"x"${"]".repeat(190)}`) as JsonValue;
  const options = model({ handler: "custom" }, deep);
  const request = post({ inputs: [text(["a", "b"])] });
  const { outputs } = await readAnswer(await createTestApp(options).request(PATH, request));
  assert.deepEqual(outputs[0]?.data, [JSON.stringify(deep)]);
});

// Graphs.

const SIGNATURE: NonNullable<ModelDescription["signature"]> = {
  inputs: [
    { name: "ids", datatype: "INT64", shape: [-1, -1] },
    { name: "scale", datatype: "FP32", shape: [] },
  ],
  outputs: [
    { name: "sums", datatype: "INT64", shape: [-1] },
    { name: "halves", datatype: "FP16", shape: [-1] },
  ],
};

const graph = model(
  { handler: "default", task: "text-classification", signature: SIGNATURE },
  {
    kind: "tensors",
    tensors: [
      { name: "sums", datatype: "INT64", shape: [2], data: BigInt64Array.of(2n ** 53n + 1n, -1n) },
      { name: "halves", datatype: "FP16", shape: [1], data: Uint16Array.of(0x3800) },
    ],
  },
);

testDoor(
  "tensors that the graph knows go straight to it, with all their digits",
  graph,
  async (door) => {
    const json =
      '{"id":"7","inputs":[{"name":"ids","shape":[1,2],"datatype":"INT64","data":[9007199254740993,-1]},' +
      '{"name":"scale","shape":[],"datatype":"fp32","data":[0.5]}]}';
    const response = await door.request(PATH, { method: "POST", body: json });
    const printed = await response.clone().text();
    await readAnswer(response);
    assert.equal(
      printed,
      '{"id":"7","model_name":"owner/name","model_version":"1.0","outputs":[' +
        '{"name":"sums","shape":[2],"datatype":"INT64","data":[9007199254740993,-1]},' +
        '{"name":"halves","shape":[1],"datatype":"FP16","data":[0.5]}]}',
    );
    assert.equal(graph.seen.request?.kind, "tensors");
    assert.deepEqual(graph.seen.request?.data, {});
    assert.deepEqual(graph.seen.request?.tensors, {
      inputs: [
        {
          name: "ids",
          datatype: "INT64",
          shape: [1, 2],
          data: BigInt64Array.of(2n ** 53n + 1n, -1n),
        },
        { name: "scale", datatype: "FP32", shape: [], data: Float32Array.of(0.5) },
      ],
    });
  },
);

test("a request says which outputs it wants, and unknown ones are refused by name", async () => {
  const app = createTestApp(graph);
  const inputs = [{ name: "ids", shape: [1, 1], datatype: "INT64", data: [1] }];
  const ask = (outputs: readonly object[], asked: readonly object[] = inputs) =>
    app.request(PATH, post({ inputs: asked, outputs }));
  assert.equal((await ask([{ name: "sums" }])).status, 200);
  assert.deepEqual(graph.seen.request?.tensors?.outputs, ["sums"]);
  assert.equal(
    await readError(await ask([{ name: "sum" }]), 400),
    'Cannot answer: there is no output "sum" here, wanted one of sums, halves',
  );
  assert.match(
    await readError(await ask([{ name: "sums" }], [text("a")]), 400),
    /wanted one of predict; that output is the graph's, which answers tensors that it takes$/,
  );
  const classes = [{ name: "sums", parameters: { classification: 2 } }];
  assert.match(
    await readError(await ask(classes), 400),
    /its parameter classification is not supported here$/,
  );
});

test("numbers under names that the graph does not have are still for the graph, which knows its names", async () => {
  const app = createTestApp(graph);
  const inputs = [{ name: "input_0", shape: [1, 1], datatype: "INT64", data: [1] }];
  assert.equal((await app.request(PATH, post({ inputs }))).status, 200);
  assert.equal(graph.seen.request?.kind, "tensors");
});

test("text for a model with a graph is for its task", async () => {
  const options = model({ handler: "default", task: "text-classification", signature: SIGNATURE }, [
    { label: "x" },
  ]);
  const app = createTestApp(options);
  await readAnswer(await app.request(PATH, post({ inputs: [text(["a"])] })));
  assert.equal(options.seen.request?.kind, "predict");
  const mixed = [text(["a"]), { name: "ids", shape: [1], datatype: "INT64", data: [1] }];
  assert.match(
    await readError(await app.request(PATH, post({ inputs: mixed })), 400),
    /^Cannot read the input "ids": it is INT64, wanted BYTES for text-classification, or the graph's inputs alone, which are ids, scale$/,
  );
});

// The binary tensor extension.

testDoor("binary tensors come in and go out, beside JSON ones", graph, async ({ request }) => {
  const ids = Buffer.from(BigInt64Array.of(2n ** 53n + 1n, -1n).buffer);
  const body = {
    inputs: [
      { name: "scale", shape: [], datatype: "FP32", data: [2] },
      { name: "ids", shape: [2, 1], datatype: "INT64", parameters: { binary_data_size: 16 } },
    ],
    outputs: [
      { name: "sums", parameters: { binary_data: true } },
      { name: "halves", parameters: { binary_data: false } },
    ],
    parameters: { binary_data_output: true },
  };
  const response = await request(
    PATH,
    binaryRequest(body, [ids], { "content-type": "application/octet-stream" }),
  );
  const { answer, blobs } = await readBinaryAnswer(response);
  assert.deepEqual(answer.outputs, [
    { name: "sums", shape: [2], datatype: "INT64", parameters: { binary_data_size: 16 } },
    { name: "halves", shape: [1], datatype: "FP16", data: [0.5] },
  ]);
  assert.deepEqual(blobs, [ids]);
  assert.deepEqual(graph.seen.request?.tensors?.inputs[1], {
    name: "ids",
    datatype: "INT64",
    shape: [2, 1],
    data: BigInt64Array.of(2n ** 53n + 1n, -1n),
  });
});

testDoor("texts in binary, as tritonclient sends them by default", kserve, async ({ request }) => {
  const blob = Buffer.concat(["abc", "ü!?"].map(lengthAndText));
  const inputs = [
    {
      name: "text",
      shape: [2],
      datatype: "BYTES",
      parameters: { binary_data_size: blob.length },
    },
  ];
  const parameters = { binary_data_output: true };
  const response = await request(PATH, binaryRequest({ inputs, parameters }, [blob]));
  const { answer, blobs } = await readBinaryAnswer(response);
  assert.deepEqual(kserve.seen.request?.data, { inputs: ["abc", "ü!?"] });
  assert.deepEqual(answer.outputs[0]?.shape, [1]);
  assert.match(String(blobs[0]?.subarray(4)), /^\[\{"label":"Not Accepted"/);
});

function lengthAndText(content: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(content));
  return Buffer.concat([length, Buffer.from(content)]);
}

const sized = (size: unknown, more: object = {}) => ({
  inputs: [
    {
      name: "ids",
      shape: [1, 2],
      datatype: "INT64",
      parameters: { binary_data_size: size },
      ...more,
    },
  ],
});

const BROKEN_BINARY: Readonly<Record<string, readonly [RequestInit, RegExp]>> = {
  "too few bytes": [
    binaryRequest(sized(16), [Buffer.alloc(15)]),
    /its binary_data_size is 16, found 15 bytes$/,
  ],
  "too many bytes": [
    binaryRequest(sized(16), [Buffer.alloc(17)]),
    /^Cannot read the body: 1 bytes follow its tensors/,
  ],
  "bytes that the shape does not have": [
    binaryRequest(sized(8), [Buffer.alloc(8)]),
    /it has 8 bytes of INT64, wanted 16 for 2 elements$/,
  ],
  "a negative size": [binaryRequest(sized(-1), []), /binary_data_size is no number of bytes$/],
  "a size that is text": [
    binaryRequest(sized("16"), [Buffer.alloc(16)]),
    /binary_data_size is no number of bytes$/,
  ],
  "data beside bytes": [
    binaryRequest(sized(16, { data: [1, 2] }), [Buffer.alloc(16)]),
    /wanted one of both$/,
  ],
  "no header": [post(sized(16)), /wanted the header Inference-Header-Content-Length with it$/],
  "a header that is no number": [
    post(sized(16), { "inference-header-content-length": "1e9" }),
    /is "1e9", wanted a number of bytes up to the body's \d+$/,
  ],
  "a header beyond the body": [
    post(sized(16), { "inference-header-content-length": "99999" }),
    /is "99999", wanted a number of bytes up to/,
  ],
  "a header inside the JSON": [
    binaryRequest(sized(16), [Buffer.alloc(16)], { "inference-header-content-length": "9" }),
    /^Cannot read the body: it is not valid JSON/,
  ],
  "a shape of more than there is": [
    binaryRequest(sized(16, { shape: [2 ** 30, 2 ** 20] }), [Buffer.alloc(16)]),
    /wanted 9007199254740992 for 1125899906842624 elements$/,
  ],
};

for (const [name, [init, pattern]] of Object.entries(BROKEN_BINARY)) {
  test(`a binary request with ${name} is a 400`, async () => {
    const response = await createTestApp(graph).request(PATH, init);
    assert.match(await readError(response, 400), pattern);
  });
}

// What is no request at all.

const tensor = (more: object) => ({ inputs: [{ ...text("a"), ...more }] });
const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));

const BROKEN: Readonly<Record<string, readonly [body: unknown, pattern: RegExp]>> = {
  "a list": [
    [],
    /^Cannot read the body: it is a list, wanted an object such as \{"inputs": \[\{"name"/,
  ],
  "no inputs": [{}, /^Cannot read the body: "inputs" is missing, wanted a list of tensors/],
  "Hugging Face's inputs": [
    { inputs: "a" },
    /"inputs" is a string, wanted a list of tensors such as/,
  ],
  "an input that is none": [
    { inputs: ["a"] },
    /"inputs\[0\]" is a string, wanted a tensor such as/,
  ],
  "no name": [tensor({ name: undefined }), /"inputs\[0\]\.name" is missing, wanted a string$/],
  "no shape": [
    tensor({ shape: undefined }),
    /"inputs\[0\]\.shape" is missing, wanted a list of whole numbers$/,
  ],
  "no datatype": [
    tensor({ datatype: undefined }),
    /^Cannot read the input "text": its datatype is missing, wanted one of BOOL,/,
  ],
  "an unknown datatype": [
    tensor({ datatype: "STRING" }),
    /its datatype is "STRING", wanted one of/,
  ],
  "no data": [tensor({ data: undefined }), /its data is missing, wanted a list of BYTES$/],
  "a negative length": [tensor({ shape: [-2] }), /has the length -2/],
  "a length that is no whole number": [tensor({ shape: 1.5 }), /has the length 1\.5/],
  "a huge shape": [tensor({ shape: [2 ** 31, 2 ** 31] }), /more elements than can be counted$/],
  "a shape that is not its data's": [
    tensor({ shape: [3] }),
    /it has 1 elements, wanted 3 for the shape \[3\]$/,
  ],
  "parameters that are a list": [
    { ...tensor({}), parameters: [] },
    /"parameters" is a list, wanted an object$/,
  ],
  "outputs without names": [
    { ...tensor({}), outputs: [{}] },
    /"outputs\[0\]\.name" is missing, wanted a string$/,
  ],
  "an unknown output": [
    { ...tensor({}), outputs: [{ name: "x" }] },
    /there is no output "x" here, wanted one of predict$/,
  ],
  "lists without end": [tensor({ data: nested(199) }), /nested deeper than 200 levels$/],
  "lists of lists of nothing": [
    tensor({ data: nested(190) }),
    /it has 0 elements, wanted 1 for the shape \[1\]$/,
  ],
};

for (const [name, [body, pattern]] of Object.entries(BROKEN)) {
  test(`a request with ${name} is a 400`, async () => {
    const response = await createTestApp(kserve).request(PATH, post(body));
    assert.match(await readError(response, 400), pattern);
  });
}

testDoor("what is no JSON is a 400, whatever it is called", kserve, async ({ request }) => {
  for (const body of ["", "{", "text", '{"inputs":[NaN]}', "\u0000"]) {
    const response = await request(PATH, { method: "POST", body });
    assert.match(await readError(response, 400), /^Cannot read the body: it is /, body);
  }
});

test("whatever a client sends is answered or is the client's mistake", async () => {
  const options = [
    graph,
    kserve,
    task("question-answering", QA),
    model({ handler: "custom" }, [1]),
  ];
  const apps = options.map((each) => createTestApp(each));
  const anyShape = fc.oneof(
    fc.integer({ min: -3, max: 9 }),
    fc.array(fc.integer({ min: -2, max: 4 }), { maxLength: 4 }),
    fc.constantFrom(2 ** 40, [2 ** 40, 2 ** 40], null, "2", {}),
  );
  const anyTensor = fc.record(
    {
      name: fc.constantFrom("text", "ids", "scale", "question", "context", "__proto__", "", 7),
      shape: anyShape,
      datatype: fc.constantFrom(...TENSOR_DATATYPES, "int64", "", null),
      data: fc.jsonValue({ maxDepth: 4 }),
      parameters: fc.constantFrom({}, { binary_data_size: 4 }, { content_type: "base64" }, null),
    },
    { requiredKeys: [] },
  );
  const anyBody = fc.record(
    {
      id: fc.constantFrom("1", 1, null, {}),
      inputs: fc.oneof(fc.array(anyTensor, { maxLength: 3 }), fc.jsonValue()),
      outputs: fc.constantFrom([], [{ name: "predict" }], [{ name: "sums" }], "x", null),
      parameters: fc.constantFrom({}, { binary_data_output: true }, { binary_data_output: "x" }, 1),
    },
    { requiredKeys: [] },
  );
  const anyHeader = fc.constantFrom({}, { "inference-header-content-length": "40" });
  await fc.assert(
    fc.asyncProperty(fc.nat(3), anyBody, anyHeader, async (which, body, headers) => {
      const response = await apps[which]?.request(PATH, post(body, headers));
      const said = `${response?.status} ${await response?.text()}`;
      assert.match(said, /^200 |^400 \{"error":"Cannot /);
    }),
    { numRuns: 500 },
  );
});

test("the tests' own requests are the specification's", () => {
  assertConforms({ inputs: [text(["a"])] }, "inference_request");
  assert.throws(
    () => assertConforms({ inputs: [text("a")] }, "inference_request"),
    /must be array/,
  );
});
