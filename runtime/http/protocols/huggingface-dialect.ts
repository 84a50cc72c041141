/**
 * One answer, two shapes: what the Inference Endpoints toolkit documents, and what Hugging Face's own clients parse.
 *
 * They contradict each other for some tasks, so a server that wants both kinds of callers must ask who is calling.
 * Only the default handler's answers are reshaped; a custom handler's answer is its author's business.
 * To add a task: an entry in `SHAPES`.
 */
import type { JsonValue, ModelDescription } from "../../inference.ts";

export type Dialect = "toolkit" | "hf-inference";
export type DialectChoice = Dialect | "auto";

type RequestData = Readonly<Record<string, unknown>>;

interface Shape {
  /** Changes the request's parameters before the model sees them. */
  readonly prepare?: (data: RequestData) => RequestData;
  /** Changes the answer, which has the toolkit's shape. */
  readonly finish?: (answer: JsonValue, data: RequestData) => JsonValue;
}

/** How many classes the serverless API returns when nobody says; the toolkit returns one. */
const HF_INFERENCE_TOP_K = 5;

/** What hf-inference does otherwise than the toolkit, by task. */
const SHAPES: Readonly<Record<string, Shape>> = {
  "text-classification": {
    prepare(data) {
      const parameters = asRecord(data["parameters"]);
      const isSaid = "top_k" in parameters || "top_k" in data || "return_all_scores" in parameters;
      return isSaid ? data : { ...data, parameters: { ...parameters, top_k: HF_INFERENCE_TOP_K } };
    },
    // Both clients take the first element for the list of classes.
    finish: (answer, data) => (Array.isArray(data["inputs"]) ? answer : [answer]),
  },
  "feature-extraction": {
    // `[1][tokens][hidden]` → `[tokens][hidden]`; pooled vectors, `[texts][hidden]`, stay.
    finish: (answer, data) =>
      isDepth3(answer) && !Array.isArray(data["inputs"]) ? (answer[0] ?? []) : answer,
  },
  "sentence-similarity": {
    finish: (answer) =>
      isRecord(answer) && "similarities" in answer ? (answer["similarities"] ?? []) : answer,
  },
};

/** Which dialect a request is answered in. */
export function chooseDialect(choice: DialectChoice, userAgent: string | undefined): Dialect {
  if (choice !== "auto") return choice;
  return /\bhf_hub\/|@huggingface\/inference/.test(userAgent ?? "") ? "hf-inference" : "toolkit";
}

export function prepareForDialect(
  data: RequestData,
  model: ModelDescription,
  dialect: Dialect,
): RequestData {
  return shapeOf(model, dialect)?.prepare?.(data) ?? data;
}

export function finishForDialect(
  answer: JsonValue,
  data: RequestData,
  model: ModelDescription,
  dialect: Dialect,
): JsonValue {
  return shapeOf(model, dialect)?.finish?.(answer, data) ?? answer;
}

function shapeOf(model: ModelDescription, dialect: Dialect): Shape | undefined {
  if (dialect === "toolkit" || model.handler === "custom" || model.task === undefined)
    return undefined;
  return SHAPES[model.task];
}

function isDepth3(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value) && Array.isArray(value[0]) && Array.isArray(value[0][0]);
}

function asRecord(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
