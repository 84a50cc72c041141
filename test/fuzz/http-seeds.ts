/**
 * Requests that real clients send, for every route of every port. Routes that have none get general ones, by their pattern.
 */
import { readFileSync } from "node:fs";

import { modelPath } from "../support/goldens.ts";
import { binaryRequest } from "../support/open-inference.ts";
import type { SeedRequest } from "./request.ts";

const PNG = new Uint8Array(readFileSync(modelPath("_expected/images/shapes-64x64-0.png")));
const WAV = new Uint8Array(readFileSync(modelPath("_expected/audio/tones-0.wav"))).subarray(
  0,
  4000,
);

const get = (path: string, headers: SeedRequest["headers"] = {}): SeedRequest => ({
  method: "GET",
  path,
  headers,
});
const post = (path: string, json: unknown, headers: SeedRequest["headers"] = {}): SeedRequest => ({
  method: "POST",
  path,
  json,
  headers,
});
const send = (path: string, bytes: Uint8Array | string, type: string): SeedRequest => ({
  method: "POST",
  path,
  bytes: new Uint8Array(Buffer.from(bytes as string)),
  headers: { "content-type": type },
});

/** Fields and files as a form. */
export function formOf(
  fields: readonly (readonly [head: string, content: string | Uint8Array])[],
): Uint8Array {
  const parts = fields.flatMap(([head, content]) => [
    Buffer.from(`--x\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
    Buffer.from(content as string),
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([...parts, Buffer.from("--x--\r\n")]);
}

const FORM = formOf([
  ['name="inputs"', "I love you"],
  ['name="parameters"', '{"top_k": 2}'],
]);
const FILES = formOf([
  ['name="question"', "How many?"],
  ['name="image"; filename="a.png"\r\nContent-Type: image/png', PNG.subarray(0, 300)],
  ['name="data"; filename="b.txt"\r\nContent-Type: text/plain', "some text"],
]);
const MULTIPART = "multipart/form-data; boundary=x";

const HUGGING_FACE: readonly SeedRequest[] = [
  post("/", { inputs: "I love you", parameters: { top_k: 2, function_to_apply: "softmax" } }),
  post("/predict", { inputs: ["a", "b"], parameters: { explain: true, n_steps: 4 } }),
  post(
    "/",
    { inputs: { question: "Who?", context: "Anna lives here." }, parameters: { top_k: 1 } },
    { "user-agent": "hf_hub/1.33.0" },
  ),
  post(
    "/",
    { inputs: { image: Buffer.from(PNG.subarray(0, 90)).toString("base64"), question: "a?" } },
    { "user-agent": "@huggingface/inference/4.13" },
  ),
  post("/", { inputs: { query: "a", table: { A: ["1", "2"], B: ["3", "4"] } }, parameters: {} }),
  post("/", { table: { A: ["1"] }, query: "how many" }),
  post("/", { inputs: { source_sentence: "a", sentences: ["b", "c"] } }),
  post("/", { instances: ["a"], parameters: null }),
  post(
    "/",
    {
      inputs: "Once",
      stream: true,
      parameters: {
        max_new_tokens: 5,
        temperature: 0.7,
        top_k: 5,
        top_p: 0.9,
        typical_p: 0.9,
        do_sample: true,
        repetition_penalty: 1.1,
        stop: ["."],
        return_full_text: false,
        details: true,
        decoder_input_details: true,
        seed: 1,
        truncate: 5,
        best_of: 1,
        top_n_tokens: 2,
        watermark: false,
        num_beams: 1,
        num_return_sequences: 1,
        frequency_penalty: 0.1,
        grammar: {
          type: "json",
          value: {},
        },
      },
    },
    { accept: "text/event-stream" },
  ),
  post("/generate", {
    inputs: "Once",
    parameters: { max_new_tokens: 5, details: true, stop: ["a"] },
  }),
  post("/generate_stream", { inputs: "Once", parameters: { max_new_tokens: 5 } }),
  send("/", PNG, "image/png"),
  send("/?top_k=2&parameters=%7B%7D", WAV, "audio/wav"),
  send("/", "I love you", "text/plain"),
  send("/", FORM, MULTIPART),
  send("/predict?a=1", FILES, MULTIPART),
  get("/", { accept: "text/html" }),
  ...[
    "/",
    "/health",
    "/health/ready",
    "/health/live",
    "/info",
    "/metrics",
    "/metrics?name[]=x",
  ].map((path) => get(path)),
  ...[
    "/playground/models",
    "/playground/model?name=gpt",
    "/playground/model?name=owner/name&version=2.0",
  ].map((path) => get(path)),
];

const TORCHSERVE: readonly SeedRequest[] = [
  ...[
    "custom",
    "classify",
    "tokens/1.0",
    "owner/name/2.0",
    "images",
    "gpt",
    "owner%2Fname",
  ].flatMap((model) => [
    post(`/predictions/${model}`, { instances: [{ data: "I love you" }] }),
    post(`/predictions/${model}`, { data: "I love you", parameters: { top_k: 1 } }),
    send(`/predictions/${model}`, "I love you", "text/plain"),
  ]),
  send(
    "/predictions/custom",
    "{'text': 'a', 'target': 0, 'n': (1, None, True, b'x')}",
    "text/plain",
  ),
  send("/explanations/classify", '{"text": "I love you", "target": 1}', "application/json"),
  post("/explanations/classify", [{ data: "a" }]),
  send("/predictions/images", PNG, "application/octet-stream"),
  send("/predictions/custom", FILES, MULTIPART),
  send("/predictions/custom", "data=I+love+you&target=1", "application/x-www-form-urlencoded"),
  post("/invocations", { inputs: "a", model_name: "classify" }),
  send("/invocations?model_name=custom&data=a", FORM, MULTIPART),
  post("/models/custom/invoke", { data: "a" }),
  post("/custom/predict", { data: "a" }),
  post("/custom/1.0/predict", { data: "a" }),
  post("/wfpredict/flow", { data: "a" }),
  get("/predictions/custom?data=a"),
  get("/ping"),
  get("/api-description"),
  { method: "OPTIONS", path: "/" },
  { method: "OPTIONS", path: "/predictions/custom" },
];

const event = {
  "ce-id": "1",
  "ce-source": "/a",
  "ce-type": "org.kserve.inference.request",
  "ce-specversion": "1.0",
};
const V1: readonly SeedRequest[] = [
  ...["custom", "classify", "owner/name", "images", "embed", "gpt", "vqa"].flatMap((model) => [
    post(`/v1/models/${model}:predict`, { instances: ["a", "b"], parameters: { top_k: 1 } }),
    post(
      `/v1/models/${model}:predict`,
      { instances: [{ b64: "iVBORw0KGgo=" }], signature_name: "serving_default" },
      event,
    ),
  ]),
  post("/v1/models/classify:explain", { instances: ["a"], n_steps: 3 }),
  post("/v1/models/vqa:predict", {
    inputs: { image: [{ b64: "AAAA" }, { b64: "AAAA" }], question: ["a", "b"] },
  }),
  post(
    "/v1/models/classify:predict",
    {
      id: "1",
      source: "/a",
      type: "t",
      specversion: "1.0",
      datacontenttype: "application/json",
      time: "2024-01-01T00:00:00Z",
      data: { instances: ["a"] },
    },
    { "content-type": "application/cloudevents+json" },
  ),
  post(
    "/v1/models/custom:predict",
    {
      specversion: "1.0",
      id: "1",
      source: "/",
      type: "t",
      data_base64: "eyJpbnN0YW5jZXMiOlsxXX0=",
    },
    { "content-type": "application/cloudevents+json" },
  ),
  get("/v1/models/classify"),
  get("/v1/models/owner%2Fname"),
];

const text = (name: string, ...data: string[]): object => ({
  name,
  datatype: "BYTES",
  shape: [data.length],
  data,
});
const TENSORS = [
  { name: "x", datatype: "FP32", shape: [2, 2], data: [1, 2.5, "NaN", -3] },
  { name: "ids", datatype: "INT64", shape: [1, 3], data: [[1, "9007199254740993", 3]] },
  {
    name: "names",
    datatype: "BYTES",
    shape: [2],
    data: ["a", "b"],
    parameters: { content_type: "str" },
  },
];
function binary(path: string, body: unknown, ...blobs: readonly Uint8Array[]): SeedRequest {
  const { headers, body: bytes } = binaryRequest(body, blobs);
  // Proof of the casts: `binaryRequest` makes plain headers and bytes.
  return {
    method: "POST",
    path,
    headers: headers as Record<string, string>,
    bytes: bytes as Uint8Array,
  };
}

const V2: readonly SeedRequest[] = [
  post("/v2/models/classify/infer", {
    id: "1",
    inputs: [text("text", "a", "b")],
    parameters: { top_k: 1, explain: false },
  }),
  post("/v2/models/classify/infer", {
    inputs: [text("text", "a")],
    outputs: [{ name: "predictions", parameters: { binary_data: true } }],
  }),
  post("/v2/models/vqa/versions/1.0/infer", {
    inputs: [
      text("question", "a"),
      { ...text("image", "AAAA"), parameters: { content_type: "base64" } },
    ],
  }),
  post("/v2/models/custom/infer", { inputs: TENSORS, parameters: { any: { b: [1] } } }),
  post("/v2/models/owner/name/infer", {
    inputs: [text("parameters", '{"a": 1}'), text("inputs", "{}")],
  }),
  post("/v2/models/graph/infer", {
    inputs: TENSORS,
    outputs: [{ name: "y" }],
    parameters: { binary_data_output: true },
  }),
  post("/v2/models/embed/infer", { inputs: [text("text", "a")] }),
  post("/v2/models/rank/infer", { inputs: [text("query", "a"), text("texts", "b", "c")] }),
  post("/v2/models/similar/infer", {
    inputs: [text("source_sentence", "a"), text("sentences", "b", "c")],
  }),
  post("/v2/models/gpt/infer", {
    inputs: [text("text", "Once")],
    parameters: { max_new_tokens: 3 },
  }),
  binary(
    "/v2/models/graph/infer",
    {
      inputs: [
        { name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } },
        { name: "ids", datatype: "INT64", shape: [1, 1], parameters: { binary_data_size: 8 } },
        { name: "names", datatype: "BYTES", shape: [1], parameters: { binary_data_size: 5 } },
      ],
    },
    new Uint8Array(8),
    new Uint8Array(8),
    Uint8Array.of(1, 0, 0, 0, 65),
  ),
  binary(
    "/v2/models/images/infer",
    {
      inputs: [
        {
          name: "image",
          datatype: "BYTES",
          shape: [1],
          parameters: { binary_data_size: PNG.length + 4 },
        },
      ],
    },
    Uint8Array.of(PNG.length & 255, PNG.length >> 8, 0, 0),
    PNG,
  ),
  binary(
    "/v2/models/custom/infer",
    { inputs: [{ name: "a", datatype: "FP16", shape: [2], parameters: { binary_data_size: 4 } }] },
    Uint8Array.of(1, 2, 3, 4),
  ),
  post("/v2/models/gpt/generate", {
    text_input: "Once",
    parameters: { max_tokens: 5, temperature: 0.5, stop: ["a"], stream: false },
  }),
  post("/v2/models/gpt/generate_stream", {
    id: "1",
    text_input: "Once",
    parameters: { max_tokens: 5, details: true },
  }),
  post("/v2/models/gpt/versions/1.0/generate", { text_input: "Once" }),
  post("/v2/repository/index", { ready: true }),
  post("/v2/repository/models/other/load", { parameters: { url: "other.mar" } }),
  post("/v2/repository/models/custom/unload", {}),
  ...[
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/classify",
    "/v2/models/classify/ready",
    "/v2/models/graph/versions/1.0",
  ].map((path) => get(path)),
];

const MESSAGES = [
  { role: "system", content: "Be brief" },
  {
    role: "user",
    name: "u",
    content: [
      { type: "text", text: "Hi" },
      { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
    ],
  },
  {
    role: "assistant",
    content: null,
    tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: '{"a":1}' } }],
  },
  { role: "tool", tool_call_id: "c", content: "1" },
];
const SAMPLING = {
  temperature: 0.7,
  top_p: 0.9,
  n: 2,
  seed: 1,
  stop: ["a", "b"],
  presence_penalty: 0.1,
  frequency_penalty: 0.1,
  logit_bias: { "5": 1 },
  max_tokens: 5,
  user: "u",
  top_k: 3,
  min_p: 0.1,
  repetition_penalty: 1.1,
  ignore_eos: false,
  echo: false,
  stream_options: { include_usage: true },
};
const OPENAI: readonly SeedRequest[] = ["/v1", "/openai/v1"].flatMap((prefix) => [
  post(`${prefix}/chat/completions`, {
    model: "gpt",
    messages: MESSAGES,
    ...SAMPLING,
    logprobs: true,
    top_logprobs: 2,
    max_completion_tokens: 5,
    tools: [
      {
        type: "function",
        function: {
          name: "f",
          description: "d",
          parameters: { type: "object", properties: {} },
          strict: true,
        },
      },
    ],
    tool_choice: "auto",
    parallel_tool_calls: true,
    response_format: { type: "text" },
    chat_template_kwargs: { a: 1 },
  }),
  post(`${prefix}/chat/completions`, {
    model: "gpt",
    messages: [{ role: "user", content: "Hi" }],
    stream: true,
    ...SAMPLING,
  }),
  post(`${prefix}/completions`, {
    model: "gpt",
    prompt: ["a", "b"],
    logprobs: 2,
    best_of: 2,
    suffix: null,
    ...SAMPLING,
  }),
  post(`${prefix}/completions`, {
    model: "gpt",
    prompt: [[1, 2, 3], [4]],
    stream: true,
    echo: true,
    max_tokens: 3,
  }),
  post(`${prefix}/embeddings`, {
    model: "embed",
    input: ["a", "b"],
    encoding_format: "base64",
    dimensions: 2,
    user: "u",
    normalize: true,
  }),
  post(`${prefix}/embeddings`, { model: "custom", input: "a" }),
  post(`${prefix}/rerank`, {
    model: "rank",
    query: "q",
    documents: ["a", { text: "b" }],
    top_n: 1,
    return_documents: true,
  }),
  post(`${prefix}/rerank`, { model: "embed", query: "q", documents: ["a", "b"] }),
  get(`${prefix}/models`),
  get(`${prefix}/models/gpt`),
  get(`${prefix}/models/owner%2Fname`),
]);

export const INFERENCE_SEEDS: readonly SeedRequest[] = [
  ...HUGGING_FACE,
  ...TORCHSERVE,
  ...V1,
  ...V2,
  ...OPENAI,
];

export const MANAGEMENT_SEEDS: readonly SeedRequest[] = [
  {
    method: "POST",
    path: "/models?url=other.mar&initial_workers=1&synchronous=true&batch_size=2&max_batch_delay=10&response_timeout=5&model_name=o2",
  },
  post("/models", {
    url: "echo.mar",
    model_name: "e2",
    initial_workers: 1,
    synchronous: true,
    handler: "handler.ts",
    runtime: "node",
  }),
  send("/models", "url=echo_v2.mar&initial_workers=0", "application/x-www-form-urlencoded"),
  { method: "DELETE", path: "/models/other" },
  { method: "DELETE", path: "/models/echo/2.0" },
  { method: "PUT", path: "/models/echo?min_worker=1&max_worker=2&synchronous=true" },
  { method: "PUT", path: "/models/echo/1.0?min_worker=0" },
  { method: "PUT", path: "/models/echo/2.0/set-default" },
  { method: "PUT", path: "/models/echo/traffic", json: { "1.0": 90, "2.0": 10 } },
  { method: "OPTIONS", path: "/models/echo" },
  { method: "OPTIONS", path: "/" },
  ...[
    "/models",
    "/models?limit=1&next_page_token=1",
    "/models/echo",
    "/models/echo/all?customized=true",
    "/models/echo/1.0",
    "/models/echo/traffic",
  ].map((path) => get(path)),
  ...["/v1/models/echo", "/token?type=inference", "/api-description", "/workflows/a"].map((path) =>
    get(path),
  ),
];

export const METRICS_SEEDS: readonly SeedRequest[] = [
  get("/metrics"),
  get("/metrics?name[]=a&name[]=b"),
  post("/metrics", {}),
];

/** A request for each route that an app has, whatever it may be for. */
export function seedsOfRoutes(
  routes: readonly { readonly method: string; readonly path: string }[],
): readonly SeedRequest[] {
  const seen = new Set<string>();
  return routes.flatMap(({ method, path }): readonly SeedRequest[] => {
    const named = path.replace(/:\w+(?:\{[^}]*\})?\??/g, "custom").replace(/\*/g, "custom");
    const key = `${method} ${named}`;
    if (seen.has(key) || path === "/*") return [];
    seen.add(key);
    const used = method === "ALL" ? "POST" : method;
    return ["GET", "HEAD", "OPTIONS"].includes(used)
      ? [{ method: used, path: named }]
      : [{ method: used, path: named, json: { inputs: "a", parameters: {} } }];
  });
}
