/**
 * TorchServe's inputs in the one form that tasks and handlers read.
 *
 * The default handler reads what the clients of TorchServe's transformer handler send: plain text, or a dictionary with
 * `text` (and `target`, for explanations) or `question` and `context`, as JSON or as a Python literal, under `data`, under
 * `body` or as the whole body. `{"inputs": …, "parameters": …}` is read as on `POST /`.
 *
 * A custom handler gets the inputs by their names, as a Python handler does (`data.get("data") or data.get("body")`), and in
 * `inputs`, where hubserve's handlers look, the same that Python's take; a JSON body's own keys stand beside them, so that
 * a handler answers alike here and on `POST /`. Bytes are `Blob`s.
 */
import { isFields } from "../../fields.ts";
import { isUtf8 } from "node:buffer";

import { isRuntimeError, RuntimeError } from "../../errors.ts";
import { isMedia, type InferenceKind, type Media, type ModelDescription } from "../../inference.ts";
import { sniffMediaType } from "../../media-type.ts";
import { parseJson } from "../json-body.ts";
import { parseLiteral } from "./torchserve-literal.ts";
import type { Row } from "./torchserve-row.ts";

/** A request's content, as `InferenceRequest` has it. */
export interface RequestContent {
  readonly data: Readonly<Record<string, unknown>>;
  readonly media?: Media;
  /** Whether the client said how it wants to be answered: then the answer keeps the form that `POST /` gives it. */
  readonly hasParameters: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/** @throws RuntimeError `INVALID_INPUT` for what begins as a dictionary and is none. */
export function toRequestContent(
  row: Row,
  kind: InferenceKind,
  { handler, task }: Pick<ModelDescription, "handler" | "task">,
): RequestContent {
  return handler === "custom" ? toHandlerContent(row) : toTaskContent(row, kind, task ?? "");
}

function toHandlerContent(row: Row): RequestContent {
  const { data, body } = row;
  const own = isFields(body) && !isMedia(body) ? body : {};
  const all: Fields = { ...own, ...row };
  const value = data ?? body ?? soleFile(row);
  const hasParameters = "parameters" in all;
  if ("inputs" in all || value === undefined) return { data: all, hasParameters };
  return isMedia(value)
    ? { data: all, media: value, hasParameters }
    : { data: { ...all, inputs: value }, hasParameters };
}

function soleFile(row: Row): Media | undefined {
  const files = Object.values(row).filter(isMedia);
  return files.length === 1 ? files[0] : undefined;
}

function toTaskContent(row: Row, kind: InferenceKind, task: string): RequestContent {
  const fields = Object.entries(row).map(
    ([name, value]) => [name, readField(name, value)] as const,
  );
  const { inputs, parameters, target, ...rest } = interpret(Object.fromEntries(fields), task, kind);
  const hasParameters = parameters !== undefined && parameters !== null;
  const all = kind === "explain" ? withTarget(parameters, target) : parameters;
  const data = { ...rest, ...(all !== undefined && all !== null && { parameters: all }) };
  return isMedia(inputs)
    ? { data, media: inputs, hasParameters }
    : { data: { ...data, inputs }, hasParameters };
}

/** A form has texts where a JSON body has values; its files may be texts. */
function readField(name: string, value: unknown): unknown {
  const text = isMedia(value) ? (textOf(value) ?? value) : value;
  if (typeof text !== "string") return text;
  if (name === "body" && text === "") return undefined; // no body is no input, and no empty text either
  if (name === "target") return readTarget(text);
  return name === "parameters" || name === "inputs" ? (readStructure(text) ?? text) : text;
}

/** What a value means to a task: `inputs`, perhaps `parameters` and `target`, and whatever else stands beside them. */
function interpret(value: unknown, task: string, kind: InferenceKind): Fields {
  if (isMedia(value)) {
    const text = textOf(value);
    return text === undefined ? { inputs: value } : interpret(text, task, kind);
  }
  if (typeof value === "string") {
    const structure = readStructure(value);
    return structure === undefined ? { inputs: value } : interpret(structure, task, kind);
  }
  if (Array.isArray(value)) return { inputs: value.map((each) => toElement(each, task, kind)) };
  if (!isFields(value)) return { inputs: value };
  if ("inputs" in value) return value;
  const { data, body, parameters, target, ...named } = value;
  const beside = {
    ...(parameters !== undefined && { parameters }),
    ...(target !== undefined && { target }),
  };
  const inner = data ?? body;
  // What stands nearer to the text counts.
  if (inner !== undefined) return { ...beside, ...interpret(inner, task, kind) };
  return { ...beside, inputs: toInputs(named, task) };
}

/** One of a list of inputs. */
function toElement(value: unknown, task: string, kind: InferenceKind): unknown {
  if (!isFields(value) || isMedia(value)) return value;
  const { target, ...named } = value;
  if (target !== undefined && kind === "explain") {
    throw new RuntimeError(
      "INVALID_INPUT",
      'Cannot read the body: an element of the list has a "target" of its own, wanted one request each',
    );
  }
  return toInputs(named, task);
}

/** A dictionary of inputs as the task takes them; TorchServe's handler looks at no other keys. */
function toInputs(named: Fields, task: string): unknown {
  const { text, text_pair: pair, question, context } = named;
  const entries = Object.entries(named);
  const [first] = entries;
  if (first === undefined) return undefined;
  if (entries.length === 1 && isMedia(first[1])) return first[1];
  if (task === "question-answering" && question !== undefined) return { question, context };
  if (text === undefined) return named;
  if (task === "text-classification" && pair !== undefined) return { text, text_pair: pair };
  const isMode = ["text-classification", "token-classification", "text-generation"].includes(task);
  return isMode || entries.length === 1 ? text : named;
}

function withTarget(parameters: unknown, target: unknown): unknown {
  if (target === undefined || target === null) return parameters;
  if (parameters === undefined || parameters === null) return { target };
  return isFields(parameters) ? { target, ...parameters } : parameters; // what is no object the task refuses
}

/** In a form a target is text: `1`, `(1, 2)`, or a label's name. */
function readTarget(text: string): unknown {
  return /^\s*[-\d([]/.test(text) ? (orUndefined(() => parseLiteral(text)) ?? text) : text;
}

/** What a dictionary of the transformer handler begins with. */
const KNOWN_KEY =
  /^\s*\{\s*(["'])(?:text|target|question|context|data|body|inputs|parameters)\1\s*:/;

/**
 * A dictionary or a list, in JSON or in Python; any other text is itself.
 *
 * @returns `undefined` for such a text.
 * @throws RuntimeError `INVALID_INPUT` where it begins as a known dictionary and breaks: an answer about its braces would be
 * a wrong one without an error.
 */
function readStructure(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return undefined;
  const json = orUndefined(() => parseJson(Buffer.from(text)));
  if (json === undefined && KNOWN_KEY.test(text)) return parseLiteral(text);
  const value = json ?? orUndefined(() => parseLiteral(text));
  // "[1]" is no list of inputs, and a set of names no dictionary.
  if (Array.isArray(value))
    return value.length > 0 && value.every((each) => typeof each === "string" || isFields(each))
      ? value
      : undefined;
  return value;
}

/** Bytes that are text as far as anybody can tell. */
function textOf({ bytes, contentType }: Media): string | undefined {
  if (!/^(?:text\/|application\/(?:octet-stream|json)\b)/.test(contentType)) return undefined;
  const sniffed = sniffMediaType(bytes);
  if ((sniffed !== undefined && sniffed !== "application/json") || !isUtf8(bytes)) return undefined;
  return new TextDecoder().decode(bytes);
}

function orUndefined(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    return undefined;
  }
}
