import assert from "node:assert/strict";

import type { InferenceRequest, JsonValue } from "../../runtime/inference.ts";
import { post, readyModels, testDoor, type Door } from "../support/app-matrix.ts";

const QUERY = "q";
const DOCUMENTS = ["a", { text: "b", title: "t" }, "c"];

/** A model of a task that answers `value`; and what it was asked. */
function ranker(task: string, value: JsonValue, handler: "custom" | "default" = "default") {
  const requests: InferenceRequest[] = [];
  const models = readyModels(
    (request) => {
      requests.push(request);
      return { kind: "json", value };
    },
    { handler, task },
  );
  return { models, requests };
}

async function rerank({ request }: Door, body: object, path = "/v1/rerank") {
  const response = await request(path, post({ query: QUERY, documents: DOCUMENTS, ...body }));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as {
    id: string;
    model: string;
    results: { index: number; relevance_score: number; document?: unknown }[];
    usage: unknown;
  };
}

const RANKED = [
  { index: 1, score: 0.9 },
  { index: 0, score: 0.5 },
  { index: 2, score: 0.1 },
];
const ORDER = RANKED.map(({ index, score }) => [index, score]);

const cross = ranker("text-ranking", RANKED);

testDoor("a cross-encoder's scores rank the documents", cross, async (door) => {
  for (const path of ["/v1/rerank", "/openai/v1/rerank"]) {
    const { id, ...answer } = await rerank(door, { model: "owner/name" }, path);
    assert.match(id, /^rerank-./);
    assert.deepEqual(answer, {
      object: "rerank",
      model: "owner/name",
      results: [
        { index: 1, relevance_score: 0.9, document: { text: "b" } },
        { index: 0, relevance_score: 0.5, document: { text: "a" } },
        { index: 2, relevance_score: 0.1, document: { text: "c" } },
      ],
      usage: { prompt_tokens: 0, total_tokens: 0 },
    });
  }
  assert.deepEqual(cross.requests.at(-1)?.data, { inputs: { query: "q", texts: ["a", "b", "c"] } });
});

testDoor("top_n keeps the best, return_documents leaves the texts out", cross, async (door) => {
  const { results } = await rerank(door, { top_n: 2, return_documents: false });
  assert.deepEqual(results, [
    { index: 1, relevance_score: 0.9 },
    { index: 0, relevance_score: 0.5 },
  ]);
  assert.equal((await rerank(door, { top_n: 50 })).results.length, 3);
});

const similar = ranker("sentence-similarity", { similarities: [0.5, 0.9, 0.1] });

testDoor("a model for sentence similarity ranks by cosine", similar, async (door) => {
  const { results } = await rerank(door, { query: { text: "q" } });
  assert.deepEqual(
    results.map(({ index, relevance_score }) => [index, relevance_score]),
    ORDER,
  );
  assert.deepEqual(similar.requests.at(-1)?.data, {
    inputs: { source_sentence: "q", sentences: ["a", "b", "c"] },
  });
});

const vectors = [
  [0.6, 0.8],
  [0, 1],
  [0.6, 0.8],
  [1, 0],
];
const features = ranker("feature-extraction", vectors);

testDoor(
  "a model for feature extraction ranks by the cosine of its vectors",
  features,
  async (door) => {
    const { results } = await rerank(door, {});
    assert.deepEqual(
      results.map(({ index }) => index),
      [1, 0, 2],
    );
    for (const [place, expected] of [1, 0.8, 0.6].entries())
      assert.ok(Math.abs((results[place]?.relevance_score ?? 0) - expected) < 1e-12);
    assert.deepEqual(features.requests.at(-1)?.data, {
      inputs: ["q", "a", "b", "c"],
      parameters: { pooling: "auto", normalize: true },
    });
  },
);

const custom = ranker("anything", RANKED, "custom");

testDoor("a custom handler ranks in the shape of text-ranking", custom, async (door) => {
  assert.deepEqual((await rerank(door, {})).results.length, 3);
});

async function refusal({ request }: Door, body: object) {
  const response = await request(
    "/v1/rerank",
    post({ query: QUERY, documents: DOCUMENTS, ...body }),
  );
  const text = await response.text();
  assert.equal(response.status, 400, text);
  return (JSON.parse(text) as { error: { message: string; param: string; code: string | null } })
    .error;
}

for (const [name, model] of [
  ["another task", ranker("fill-mask", [])],
  ["a handler that says something else", ranker("", [{ label: "x" }], "custom")],
  ["a handler with documents that nobody gave", ranker("", [{ index: 3, score: 1 }], "custom")],
  ["a task named like a property of every object", ranker("constructor", [])],
] as const) {
  testDoor(`who cannot rank is a 400 that says who can: ${name}`, model, async (door) => {
    const { message, param, code } = await refusal(door, {});
    assert.match(message, /^Cannot rank the documents: .*wanted a model for text-ranking, /);
    assert.deepEqual([param, code], ["model", "model_not_supported"]);
  });
}

testDoor("what is no query or no document is named", cross, async (door) => {
  for (const [body, param, problem] of [
    [{ query: undefined }, "query", '"query" is missing, wanted a string or {"text": "…"}'],
    [
      { documents: [] },
      "documents",
      '"documents" is an empty list, wanted a list of 1 to 2048 documents',
    ],
    [{ documents: "a" }, "documents", '"documents" is "a", wanted a list of 1 to 2048 documents'],
    [{ documents: ["a", 5] }, "documents", '"documents[1]" is 5, wanted a string or {"text": "…"}'],
    [
      { documents: Array.from({ length: 2049 }, () => "a") },
      "documents",
      '"documents" is a list, wanted a list of 1 to 2048 documents',
    ],
    [{ top_n: 0 }, "top_n", '"top_n" is 0, wanted a whole number of at least 1'],
  ] as const) {
    const error = await refusal(door, body);
    assert.equal(error.message, `Cannot rank the documents: ${problem}`);
    assert.equal(error.param, param);
  }
});
