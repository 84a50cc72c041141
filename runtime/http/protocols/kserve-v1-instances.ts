/**
 * V1's `instances` (or `inputs`) as requests to a model, and their answers as predictions: one per instance, in order.
 *
 * **The default handler.** An instance is a text; `{"text": …}`, `{"data": …}` or named inputs (`question`, `context`) as
 * TorchServe's KServe samples send them, `target` for explanations beside it; or bytes, `{"b64": "…"}`, as TensorFlow Serving
 * writes them, on their own or as a named input. A prediction is what the task answers on `POST /` for an element of a list.
 * Where the task answers lists element by element all instances are one list, which the engine splits; else, and where
 * instances bring parameters of their own, each is a request.
 *
 * **A custom handler** is called once, with the list as `inputs` and the body's other keys beside it. A list of as many elements
 * are the predictions; an answer that is an object with `predictions` is sent as its author made it.
 */
import { isFields } from "../../fields.ts";
import { isDeepStrictEqual } from "node:util";

import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type { InferenceOutput, InferenceResult, JsonValue } from "../../inference.ts";
import { sniffMediaType } from "../../media-type.ts";
import type { Answering, Content } from "../ask.ts";
import { toRequestContent } from "./torchserve-request.ts";

export type Verb = "predict" | "explain";

/** What the answers stand under. */
export const ANSWER_KEY = { predict: "predictions", explain: "explanations" } as const;

type Fields = Readonly<Record<string, unknown>>;

/** The list, and under which of its names it came. */
export interface Instances {
  readonly key: "instances" | "inputs";
  readonly list: readonly unknown[];
  /** The body's other keys. */
  readonly rest: Fields;
}

/** @throws RuntimeError `INVALID_INPUT`. */
export function readInstances(body: unknown): Instances {
  if (!isFields(body)) throw refuse(`found ${kindOf(body)}, wanted {"instances": [...]}`);
  const key =
    body["instances"] === undefined && body["inputs"] !== undefined ? "inputs" : "instances";
  const { [key]: list, ...rest } = body;
  if (Array.isArray(list)) return { key, list, rest };
  throw refuse(`"${key}" is ${list === undefined ? "missing" : kindOf(list)}, wanted a list`);
}

/** Asks the engine. */
export type Submit = (content: Content) => Promise<InferenceResult>;

/** What came of it: the value of `predictions` or `explanations`, or the whole answer where a handler made it so. */
export interface Outcome {
  readonly answer: JsonValue;
  readonly results: readonly InferenceResult[];
}

/** @throws RuntimeError as `Submit`; where one instance is at fault, its place is named. */
export async function answerInstances(
  instances: Instances,
  kind: Verb,
  ready: Answering,
  submit: Submit,
): Promise<Outcome> {
  const key = ANSWER_KEY[kind];
  if (instances.list.length === 0) return { answer: { [key]: [] }, results: [] };
  if (ready.description.handler === "custom") return askHandler(instances, kind, submit);
  const { values, results } = await askTask(instances, kind, ready, submit);
  return { answer: { [key]: values }, results };
}

async function askHandler(
  { key, list, rest }: Instances,
  kind: Verb,
  submit: Submit,
): Promise<Outcome> {
  const data = { ...rest, [key]: list, inputs: list };
  const result = await submit({ kind, data });
  const value = await toJson(result.output);
  const answerKey = ANSWER_KEY[kind];
  const results = [result];
  if (isFields(value) && answerKey in value) return { answer: value, results };
  if (Array.isArray(value) && value.length === list.length)
    return { answer: { [answerKey]: value }, results };
  if (list.length === 1) return { answer: { [answerKey]: [value] }, results };
  const found = Array.isArray(value) ? `a list of ${value.length}` : kindOf(value);
  throw new RuntimeError(
    "HANDLER_FAILED",
    `Cannot answer: the handler answered ${found} to ${list.length} ${key}, wanted a list of as many, or {"${answerKey}": [...]}`,
  );
}

interface Answers {
  readonly values: readonly JsonValue[];
  readonly results: readonly InferenceResult[];
}

async function askTask(
  { key, list, rest }: Instances,
  kind: Verb,
  { engine, description }: Answering,
  submit: Submit,
): Promise<Answers> {
  const contents = list.map((instance, index) => {
    try {
      return toContent(instance, rest, kind, description);
    } catch (error) {
      throw isRuntimeError(error) ? naming(error, `${key}[${index}]`) : error;
    }
  });
  const [first] = contents;
  const isOneList =
    engine.batching.splitsLists &&
    contents.every(
      ({ inputs, others }) => !Array.isArray(inputs) && isDeepStrictEqual(others, first?.others),
    );
  if (isOneList) return askList(contents, first?.others ?? {}, { key, kind, submit });
  const answers = await inTurns(contents, async ({ inputs, others }, index) => {
    const place = `${key}[${index}]`;
    const result = await orNaming(place, submit({ kind, data: { ...others, inputs } }));
    return { result, value: await toJson(result.output) };
  });
  return {
    values: answers.map(({ value }) => value),
    results: answers.map(({ result }) => result),
  };
}

interface TaskContent {
  readonly inputs: unknown;
  /** `parameters`, and what else stands beside the inputs. */
  readonly others: Fields;
}

async function askList(
  contents: readonly TaskContent[],
  others: Fields,
  { key, kind, submit }: { key: string; kind: Verb; submit: Submit },
): Promise<Answers> {
  const data = { ...others, inputs: contents.map(({ inputs }) => inputs) };
  // A list of one is answered as a list too, as if it were an element of a longer one.
  const part = contents.length === 1 ? { part: { index: 0 } } : {};
  const result = await orNaming(undefined, submit({ kind, data, ...part }), key);
  const values = await toJson(result.output);
  if (Array.isArray(values) && values.length === contents.length)
    return { values, results: [result] };
  throw new RuntimeError("INTERNAL", "Cannot answer: the model did not answer with a list");
}

/** What the parameters of the request and of the instance say together; the instance's own count. */
function toContent(
  instance: unknown,
  rest: Fields,
  kind: Verb,
  description: Answering["description"],
): TaskContent {
  const { data, media } = toRequestContent({ data: withBytes(instance) }, kind, description);
  const { inputs = media, parameters: own, ...others } = data;
  const { parameters: shared, ...beside } = rest;
  const isBoth = isFields(shared) && isFields(own);
  const parameters = isBoth ? { ...shared, ...own } : (own ?? shared);
  return {
    inputs,
    others: { ...beside, ...others, ...(parameters !== undefined && { parameters }) },
  };
}

/** `{"b64": "…"}` as bytes with their type: the instance itself, or one of its named inputs. */
function withBytes(instance: unknown): unknown {
  if (!isFields(instance)) return instance;
  const bytes = toBytes(instance);
  if (bytes !== undefined) return bytes;
  const entries = Object.entries(instance).map(([name, value]) => [
    name,
    isFields(value) ? (toBytes(value) ?? value) : value,
  ]);
  return Object.fromEntries(entries);
}

function toBytes(value: Fields): { bytes: Uint8Array; contentType: string } | undefined {
  const { b64, ...more } = value;
  if (typeof b64 !== "string" || Object.keys(more).length > 0) return undefined;
  if (!/^[\w+/\s-]*(?:={1,2}\s*)?$/.test(b64)) throw refuse(`"b64" is not base64`);
  const bytes = new Uint8Array(Buffer.from(b64, "base64"));
  return { bytes, contentType: sniffMediaType(bytes) ?? "application/octet-stream" };
}

/** Requests of one V1 request that are under way at a time: more would take the places of others in the queue. */
const AT_ONCE = 8;

/** One answer per item, in order. The first that fails ends it: nothing further is begun. */
async function inTurns<T, R>(
  items: readonly T[],
  run: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const answers: R[] = [];
  const rest = items.entries();
  let hasFailed = false;
  const work = async (): Promise<void> => {
    for (const [index, item] of rest) {
      if (hasFailed) return;
      try {
        answers[index] = await run(item, index);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
  return answers;
}

/** The most chunks of a stream that are gathered. */
const MOST_CHUNKS = 100_000;

/** A file is `{"b64", "content_type"}`, as instances name bytes; a stream the list of its chunks. */
async function toJson(output: InferenceOutput): Promise<JsonValue> {
  switch (output.kind) {
    case "json":
      return output.value;
    case "media": {
      const { bytes, contentType } = output.media;
      const b64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
      return { b64, content_type: contentType };
    }
    case "tensors": // nobody asks for them here
      throw new RuntimeError("INTERNAL", "Cannot answer: the model answered with raw tensors");
    case "stream": {
      const chunks: JsonValue[] = [];
      for await (const chunk of output.chunks) {
        if (chunks.push(chunk) <= MOST_CHUNKS) continue;
        const text = `the handler streams more than ${MOST_CHUNKS} chunks, and a prediction is one piece; ask on POST /`;
        throw new RuntimeError("NOT_SUPPORTED", `Cannot answer: ${text}`);
      }
      return chunks;
    }
  }
}

/** @param list What the inputs are called as a list, where no one place is known. */
async function orNaming<T>(
  place: string | undefined,
  answer: Promise<T>,
  list = "instances",
): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw isRuntimeError(error) && error.code === "INVALID_INPUT"
      ? naming(error, place, list)
      : error;
  }
}

/** The task's sentence about `inputs` with what the client calls them. */
function naming(error: RuntimeError, place: string | undefined, list = "instances"): RuntimeError {
  if (place === undefined) {
    const text = error.message.replaceAll(/"inputs(?=\[\d+\])/g, `"${list}`);
    return new RuntimeError(error.code, text, { cause: error });
  }
  const text = error.message.replaceAll(/"inputs(?=["[.])/g, `"${place}`);
  const named = text.includes(place) ? text : `${text} (${place})`;
  return new RuntimeError(error.code, named, { cause: error });
}

function refuse(problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read the body: ${problem}`);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
