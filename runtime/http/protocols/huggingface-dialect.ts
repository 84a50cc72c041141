/**
 * One answer, several shapes: what the Inference Endpoints toolkit documents, and what Hugging Face's own clients parse.
 *
 * They contradict each other for some tasks, and the two clients each other for one, so a server that wants all of them
 * must ask who is calling. Only the default handler's answers are reshaped; a custom handler's answer is its author's
 * business. To add a task: an entry in `SHAPES`.
 */
import { isFields } from "../../fields.ts";
import {
  wantsExplanation,
  type JsonValue,
  type Media,
  type ModelDescription,
} from "../../inference.ts";

export type Dialect = "toolkit" | "hf-inference";
export type DialectChoice = Dialect | "auto";

/** The dialect, and which of the two clients asks, where it is one of them. */
export interface Spoken {
  readonly dialect: Dialect;
  readonly client: "python" | "javascript" | "other";
}

type RequestData = Readonly<Record<string, unknown>>;

interface Shape {
  /** Changes the request's parameters before the model sees them. */
  readonly prepare?: (data: RequestData) => RequestData;
  /** Changes the answer, which has the toolkit's shape. */
  readonly finish?: (answer: JsonValue, data: RequestData, client: Spoken["client"]) => JsonValue;
}

/** How many classes the serverless API returns when nobody says; the toolkit returns one. */
const HF_INFERENCE_TOP_K = 5;

/** What hf-inference does otherwise than the toolkit, by task. */
const SHAPES: Readonly<Record<string, Shape>> = {
  "text-classification": {
    prepare(data) {
      const isSaid = "top_k" in data || "return_all_scores" in asRecord(data["parameters"]);
      return isSaid ? data : withDefault(data, "top_k", HF_INFERENCE_TOP_K);
    },
    // Both clients take the first element for the list of classes.
    finish: (answer, data) => (Array.isArray(data["inputs"]) ? answer : [answer]),
  },
  "token-classification": {
    // Both clients read `entity_group`, which only aggregated answers have.
    prepare: (data) => withDefault(data, "aggregation_strategy", "simple"),
  },
  "zero-shot-classification": {
    finish(answer, data) {
      if (!Array.isArray(answer)) return toLabels(answer);
      const lists = answer.map(toLabels);
      // A list of one text, which the JavaScript client's type allows, is read as that text's labels.
      return Array.isArray(data["inputs"]) && lists.length === 1 ? (lists[0] ?? []) : lists;
    },
  },
  "feature-extraction": {
    // `[1][tokens][hidden]` → `[tokens][hidden]`; pooled vectors, `[texts][hidden]`, stay.
    finish: (answer, data) =>
      isDepth3(answer) && !Array.isArray(data["inputs"]) ? (answer[0] ?? []) : answer,
  },
  "sentence-similarity": {
    finish: (answer) =>
      isFields(answer) && "similarities" in answer ? (answer["similarities"] ?? []) : answer,
  },
  "image-segmentation": {
    // Semantic segments have no score; the JavaScript client wants a number.
    finish: (answer) =>
      mapElements(answer, (segment) => ({ ...segment, score: segment["score"] ?? 1 })),
  },
  "document-question-answering": {
    // A model that reads no answer off the page; the JavaScript client wants a string.
    finish: (answer) =>
      mapElements(answer, (element) => ({ ...element, answer: element["answer"] ?? "" })),
  },
  "image-to-text": {
    // Python's client takes the first element of a list; the other wants that element.
    finish: (answer, _data, client) =>
      client === "javascript" && Array.isArray(answer) && answer.length === 1
        ? (answer[0] ?? null)
        : answer,
  },
};

/** Which dialect a request is answered in. */
export function chooseDialect(choice: DialectChoice, userAgent = ""): Spoken {
  const client = /\bhf_hub\//.test(userAgent)
    ? "python"
    : userAgent.includes("@huggingface/inference")
      ? "javascript"
      : "other";
  const told = client === "other" ? "toolkit" : "hf-inference";
  return { dialect: choice === "auto" ? told : choice, client };
}

export function prepareForDialect(
  data: RequestData,
  model: ModelDescription,
  spoken: Spoken,
): RequestData {
  return shapeOf(model, spoken)?.prepare?.(data) ?? data;
}

export function finishForDialect(
  answer: JsonValue,
  data: RequestData,
  model: ModelDescription,
  spoken: Spoken,
): JsonValue {
  // With an explanation beside it a prediction has a shape that no client parses, and is left as it is documented.
  if (wantsExplanation({ kind: "predict", data }) === "beside") return answer;
  return shapeOf(model, spoken)?.finish?.(answer, data, spoken.client) ?? answer;
}

/**
 * A file for who wants JSON: base64, as the toolkit does with images; a task's sound as samples with their rate, as the
 * toolkit does with speech.
 */
export function fileAsJson(
  { bytes, contentType }: Media,
  { handler }: Pick<ModelDescription, "handler">,
): JsonValue {
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  if (handler === "custom" || !contentType.startsWith("audio/wav")) return base64;
  return readWav(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** A task's own WAV files have one channel, 16 bits, and a header of 44 bytes with the rate at its place. */
function readWav(file: DataView): JsonValue {
  const audio: number[] = [];
  for (let at = 44; at + 2 <= file.byteLength; at += 2)
    audio.push(file.getInt16(at, true) / 0x8000);
  return { audio, sampling_rate: file.getUint32(24, true) };
}

function shapeOf(model: ModelDescription, { dialect }: Spoken): Shape | undefined {
  if (dialect === "toolkit" || model.handler === "custom" || model.task === undefined)
    return undefined;
  return Object.hasOwn(SHAPES, model.task) ? SHAPES[model.task] : undefined;
}

/** The request with a parameter that it does not name. */
function withDefault(data: RequestData, name: string, value: JsonValue): RequestData {
  const { parameters } = data;
  // What is no object is refused by whoever reads it.
  if (parameters !== undefined && parameters !== null && !isFields(parameters)) return data;
  return name in asRecord(parameters)
    ? data
    : { ...data, parameters: { ...asRecord(parameters), [name]: value } };
}

/** `{labels, scores}` → a list of labels, each with its score. */
function toLabels(answer: JsonValue): JsonValue {
  if (!isFields(answer)) return answer;
  const { labels, scores } = answer;
  if (!Array.isArray(labels) || !Array.isArray(scores)) return answer;
  return labels.map((label: JsonValue, index) => ({ label, score: scores[index] ?? 0 }));
}

/** Changes the elements of one answer, or of each of several. */
function mapElements(
  answer: JsonValue,
  change: (element: Readonly<Record<string, JsonValue>>) => JsonValue,
): JsonValue {
  if (Array.isArray(answer)) return answer.map((inner: JsonValue) => mapElements(inner, change));
  return isFields(answer) ? change(answer) : answer;
}

function isDepth3(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value) && Array.isArray(value[0]) && Array.isArray(value[0][0]);
}

function asRecord(value: unknown): Record<string, unknown> {
  return isFields(value) ? value : {};
}
