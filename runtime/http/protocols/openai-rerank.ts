/**
 * `POST /v1/rerank`: how well each of some documents answers a query, best first.
 *
 * OpenAI has no such route; the shape is the one of Jina, Cohere and KServe's vLLM. What scores:
 *
 * | model                                     | `relevance_score` |
 * |-------------------------------------------|-------------------|
 * | text-ranking (a cross-encoder)            | its score: from 0 to 1, or its logit where the repository says so |
 * | sentence-similarity, feature-extraction   | the cosine of the two vectors, from -1 to 1, as vLLM does |
 * | a custom handler                          | its own, for `{"inputs": {"query", "texts"}}` in the shape of text-ranking |
 *
 * Documents are repeated unless `return_documents` is false: Jina's and vLLM's default, and who does not look for them is not
 * disturbed. Fields of theirs besides `text` are dropped.
 */
import { z } from "zod";

import type { InferenceOutput, InferenceResult, JsonValue } from "../../inference.ts";
import { ask } from "../ask.ts";
import { respondJson } from "../respond.ts";
import { toVectors } from "./openai-embeddings.ts";
import { checkBody, isObject, unfit, type OpenAICall } from "./openai-request.ts";

const ACTION = "rank the documents";

const MOST_DOCUMENTS = 2048;

const wantedDocuments = `a list of 1 to ${MOST_DOCUMENTS} documents`;
const wantedTopN = "a whole number of at least 1";

const Text = z
  .union([z.string(), z.object({ text: z.string() })], `a string or {"text": "…"}`)
  .transform((given) => (typeof given === "string" ? given : given.text));

export const RerankBody = z.object({
  query: Text,
  documents: z
    .array(Text, wantedDocuments)
    .min(1, wantedDocuments)
    .max(MOST_DOCUMENTS, wantedDocuments),
  top_n: z.int(wantedTopN).positive(wantedTopN).nullish(),
  return_documents: z.boolean("true or false").nullish(),
});

interface Scored {
  readonly index: number;
  readonly score: number;
}

/** How a kind of model is asked, and what its answer says; `undefined` where it says something else. */
interface Ranker {
  readonly ask: (query: string, texts: readonly string[]) => Readonly<Record<string, unknown>>;
  readonly read: (result: InferenceResult, count: number) => readonly Scored[] | undefined;
}

const CROSS_ENCODER: Ranker = {
  ask: (query, texts) => ({ inputs: { query, texts } }),
  read: ({ output }, count) => {
    const value = jsonOf(output);
    if (!Array.isArray(value)) return undefined;
    const scored = value.map((each: JsonValue) => toScored(each, count));
    return scored.every((each) => each !== undefined) ? scored : undefined;
  },
};

const RANKERS: Readonly<Record<string, Ranker>> = {
  "text-ranking": CROSS_ENCODER,
  "sentence-similarity": {
    ask: (query, texts) => ({ inputs: { source_sentence: query, sentences: texts } }),
    read: ({ output }) => {
      const value = jsonOf(output);
      const scores = isObject(value) ? value["similarities"] : undefined;
      return Array.isArray(scores) ? numbered(scores) : undefined;
    },
  },
  "feature-extraction": {
    ask: (query, texts) => ({
      inputs: [query, ...texts],
      parameters: { pooling: "auto", normalize: true },
    }),
    read: (result, count) => {
      const [query, ...others] = toVectors(result, count + 1) ?? [];
      return query && numbered(others.map((vector) => dot(query, vector)));
    },
  },
};

export async function answerRerank({ c, body, ready }: OpenAICall): Promise<Response> {
  const { query, documents, top_n, return_documents } = checkBody(RerankBody, body, ACTION);
  const { handler, task = "" } = ready.description;
  const known = Object.hasOwn(RANKERS, task) ? RANKERS[task] : undefined;
  const ranker = handler === "custom" ? CROSS_ENCODER : known;
  const wanted = `a model for ${Object.keys(RANKERS).join(", ")}`;
  if (ranker === undefined) throw unfit(ready, ACTION, wanted);
  const data = ranker.ask(query, documents);
  const result = await ask(c, ready, { kind: "predict", data });
  const scored = ranker.read(result, documents.length);
  if (scored === undefined)
    throw unfit(ready, ACTION, `${wanted}, or a handler that answers [{"index", "score"}, …]`);
  const best = scored
    .toSorted((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, top_n ?? documents.length);
  const tokens = result.tokens ?? 0;
  return respondJson(c, {
    id: `rerank-${c.get("requestId")}`,
    object: "rerank",
    model: ready.model.name,
    results: best.map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(return_documents !== false && { document: { text: documents[index] } }),
    })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

function jsonOf(output: InferenceOutput): JsonValue | undefined {
  return output.kind === "json" ? output.value : undefined;
}

function toScored(value: JsonValue, count: number): Scored | undefined {
  if (!isObject(value)) return undefined;
  const { index, score } = value;
  if (typeof index !== "number" || typeof score !== "number") return undefined;
  return Number.isInteger(index) && index >= 0 && index < count ? { index, score } : undefined;
}

function numbered(scores: readonly JsonValue[]): readonly Scored[] | undefined {
  const isNumbers = (values: readonly JsonValue[]): values is readonly number[] =>
    values.every((each) => typeof each === "number");
  return isNumbers(scores) ? scores.map((score, index) => ({ index, score })) : undefined;
}

/** Of two vectors of length 1: their cosine. */
function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}
