/**
 * What the description says of bodies is what the routes accept and refuse.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createTestApp, post, type DoorOptions } from "../support/app-matrix.ts";
import { createValidator, readDescription } from "../support/openapi.ts";

interface Case {
  readonly path: string;
  /** As the description has it, where that differs. */
  readonly described?: string;
  readonly accepted: readonly unknown[];
  readonly refused: readonly unknown[];
}

/** A handler that takes anything, with vectors and rankings for whoever asks for them. */
const CUSTOM: DoorOptions = {
  answer({ data }) {
    const { inputs } = data;
    if (Array.isArray(inputs)) return { kind: "json", value: inputs.map(() => [1, 2]) };
    const isRanking = typeof inputs === "object" && inputs !== null && "texts" in inputs;
    return { kind: "json", value: isRanking ? [{ index: 0, score: 1 }] : "fine" };
  },
};

const V1 = {
  path: "/v1/models/owner%2Fname:predict",
  described: "/v1/models/{model_name}:predict",
};
const V2 = "/v2/models/owner%2Fname/infer";
const tensor = { name: "text", shape: [1], datatype: "BYTES", data: ["a"] };

const CASES: readonly Case[] = [
  {
    path: "/",
    accepted: [
      { inputs: "a" },
      { inputs: { any: [1] }, parameters: { top_k: 1 } },
      { inputs: 1, more: 2 },
    ],
    refused: [{}, [], "a", { parameters: {} }, { inputs: "a", parameters: [] }],
  },
  {
    ...V1,
    accepted: [
      { instances: [] },
      { instances: ["a", { b64: "AAAA" }] },
      { inputs: ["a"], parameters: {} },
    ],
    refused: [
      {},
      [],
      { instances: "a" },
      { inputs: "a" },
      { instance: ["a"] },
      { predictions: [] },
    ],
  },
  {
    path: V2,
    described: "/v2/models/{model_name}/infer",
    accepted: [
      { inputs: [tensor] },
      { id: "1", inputs: [{ ...tensor, shape: 1 }], parameters: { a: 1 } },
      { inputs: [tensor], outputs: [{ name: "predict" }] },
    ],
    refused: [
      {},
      { inputs: "a" },
      { inputs: [{ ...tensor, name: "" }] },
      { inputs: [tensor], outputs: {} },
    ],
  },
  {
    path: "/v2/repository/index",
    accepted: [{}, { ready: true }],
    refused: [[], { ready: 1 }],
  },
  {
    path: "/v1/embeddings",
    accepted: [
      { input: "a" },
      { input: ["a", "b"], model: "owner/name", encoding_format: "base64" },
    ],
    refused: [
      {},
      { input: 1 },
      { input: "a", dimensions: 0 },
      { input: "a", encoding_format: "x" },
      { input: "a", model: 1 },
    ],
  },
  {
    path: "/v1/rerank",
    accepted: [
      { query: "a", documents: ["b"] },
      { query: { text: "a" }, documents: [{ text: "b" }], top_n: 1 },
    ],
    refused: [
      { query: "a" },
      { query: "a", documents: [] },
      { query: "a", documents: ["b"], top_n: 0 },
    ],
  },
];

for (const { path, described = path, accepted, refused } of CASES) {
  test(`POST ${described} takes what its description takes`, async () => {
    const app = createTestApp(CUSTOM);
    const validator = createValidator(await readDescription(app));
    const place = [
      "paths",
      described,
      "post",
      "requestBody",
      "content",
      "application/json",
      "schema",
    ];
    for (const body of accepted) {
      validator.assertFits(place, body);
      const response = await app.request(path, post(body));
      assert.equal(response.status, 200, `${JSON.stringify(body)}: ${await response.text()}`);
    }
    for (const body of refused) {
      assert.ok(!validator.fits(place, body), `${JSON.stringify(body)} fits the description`);
      const response = await app.request(path, post(body));
      assert.equal(response.status, 400, `${JSON.stringify(body)}: ${await response.text()}`);
      const failure = validator.assertFits.bind(validator);
      const shape =
        path === "/"
          ? "HuggingFaceError"
          : /embeddings|rerank/.test(path)
            ? "OpenAIError"
            : "OpenInferenceError";
      failure(["components", "schemas", shape], await (await app.request(path, post(body))).json());
    }
  });
}

/** A model that generates: its bodies are checked before anything is written. */
const GENERATOR: DoorOptions = {
  description: {
    handler: "default",
    task: "text-generation",
    generation: { chat: true, tools: true, maxTokens: 100 },
  },
};
const message = { role: "user", content: "a" };

const REFUSED: readonly Case[] = [
  {
    path: "/v1/chat/completions",
    accepted: [{ messages: [message], temperature: 1, stop: ["a"] }],
    refused: [
      {},
      { messages: [] },
      { messages: [message], temperature: 3 },
      { messages: [message], n: 0 },
      { messages: [message], tool_choice: "required" },
    ],
  },
  {
    path: "/v1/completions",
    accepted: [{ prompt: [1, 2], echo: true }],
    refused: [{}, { prompt: {} }, { prompt: "a", top_p: 2 }, { prompt: "a", best_of: 0 }],
  },
  {
    path: "/v2/models/owner%2Fname/generate",
    described: "/v2/models/{model_name}/generate",
    accepted: [{ text_input: "a", parameters: { max_tokens: 1 } }],
    refused: [{}, { text_input: 1 }, { text_input: "a", parameters: { max_tokens: 0 } }],
  },
  {
    path: "/generate",
    accepted: [{ inputs: "a", parameters: { max_new_tokens: 1, stop: ["b"] } }],
    refused: [
      {},
      { inputs: 1 },
      { inputs: "a", parameters: { max_new_tokens: 0 } },
      { inputs: "a", parameters: { watermark: true } },
    ],
  },
];

for (const { path, described = path, accepted, refused } of REFUSED) {
  test(`POST ${described} refuses what its description refuses`, async () => {
    const app = createTestApp(GENERATOR);
    const validator = createValidator(await readDescription(app));
    const place = [
      "paths",
      described,
      "post",
      "requestBody",
      "content",
      "application/json",
      "schema",
    ];
    for (const body of accepted) {
      validator.assertFits(place, body);
      const { status } = await app.request(path, post(body));
      assert.notEqual(status, 400, JSON.stringify(body)); // what is no model answers with nonsense, after the check
    }
    for (const body of refused) {
      assert.ok(!validator.fits(place, body), `${JSON.stringify(body)} fits the description`);
      const { status } = await app.request(path, post(body));
      assert.equal(status, 400, JSON.stringify(body));
    }
  });
}
