/**
 * What Hugging Face's users and clients send, in the one form that tasks and handlers read: `inputs`, `parameters` and
 * whatever else a custom handler knows.
 *
 * A JSON body stays as it is, except for two forms of the clients that name things in places of their own (`CLIENT_FORMS`).
 * For a binary body and for a form, parameters come from the query or from the form's other fields.
 */
import { isFields } from "../../fields.ts";
import { z } from "zod";
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import { isMedia, type Media, type ModelDescription } from "../../inference.ts";
import type { IncomingBody } from "../body.ts";
import type { Form, FormValue } from "../form.ts";
import { parseJson } from "../json-body.ts";

/** A request's content, as `InferenceRequest` has it. */
export interface RequestContent {
  readonly data: Readonly<Record<string, unknown>>;
  readonly media?: Media;
}

/** The query's values by name, each as often as it was given. */
export type Query = Readonly<Record<string, readonly string[]>>;

type Fields = Readonly<Record<string, unknown>>;

/** What every JSON body must be: its `inputs`, under whichever of their names, and perhaps `parameters`. */
const PredictBody = z
  .looseObject({ parameters: z.record(z.string(), z.unknown()).nullish() })
  .refine((body) => INPUT_KEYS.some((key) => body[key] !== undefined));

/** `table` is what Python's client sends for tabular tasks, `instances` what the toolkit takes besides. */
const INPUT_KEYS = ["inputs", "table", "instances"] as const;

/** @throws RuntimeError `INVALID_INPUT` when the body is not what this protocol speaks. */
export function toRequestContent(
  body: IncomingBody,
  query: Query,
  { handler, task }: Pick<ModelDescription, "handler" | "task">,
): RequestContent {
  switch (body.kind) {
    case "json": {
      const { success } = PredictBody.safeParse(body.value);
      if (!success) throw new RuntimeError("INVALID_INPUT", whatIsWrongWith(body.value));
      const data = body.value as Fields; // looseObject accepts objects only
      const known = handler === "default" ? (CLIENT_FORMS[task ?? ""]?.(data) ?? data) : data;
      return { data: withQuery(known, query) };
    }
    case "text":
      return { data: withQuery({ inputs: body.text }, query) };
    case "media":
      if (handler === "custom") return { data: withQuery({}, query), media: body.media };
      return toTaskContent([body.media], {}, readQuery(query));
    case "form":
      return handler === "custom" ? toHandlerContent(body.form, query) : fromForm(body.form, query);
  }
}

/** Forms of the clients that no other caller uses, by task. */
const CLIENT_FORMS: Readonly<Record<string, (data: Fields) => Fields>> = {
  // Python: {"inputs": image, "question": …, "image": image}
  "visual-question-answering": withImageAndQuestion,
  "document-question-answering": withImageAndQuestion,
  // Python names the table at the root where it has no question to go with it.
  "table-question-answering": ({ query, table, ...rest }) =>
    table === undefined || "inputs" in rest
      ? { query, table, ...rest }
      : { ...rest, inputs: { query, table } },
};

function withImageAndQuestion({ question, image, ...rest }: Fields): Fields {
  if (question === undefined) return image === undefined ? rest : { ...rest, image };
  const { inputs, ...others } = rest;
  const named = isFields(inputs) ? inputs : { image: image ?? inputs };
  return { ...others, inputs: { question, ...named } };
}

/** Fields of a form, or of a query beside a file, that are inputs by name; any other is a parameter. */
const NAMED_INPUTS: ReadonlySet<string> = new Set([
  "question",
  "context",
  "query",
  "table",
  "text",
  "text_pair",
  "texts",
  "source_sentence",
  "sentences",
]);

/** A form for the default handler: files and `inputs` are the inputs, whatever a file's field is called. */
function fromForm(form: Form, query: Query): RequestContent {
  const inputs: unknown[] = [];
  const others: Record<string, unknown> = {};
  for (const [name, values] of form) {
    if (name === "parameters") continue;
    const isInput = name === "inputs";
    inputs.push(...values.filter(isMedia).map(toText).map(readInput));
    const texts = values.filter((value) => typeof value === "string");
    if (isInput) inputs.push(...texts.map(readStructure));
    else if (texts.length > 0)
      others[name] = unlist(texts.map(NAMED_INPUTS.has(name) ? readStructure : readScalar));
  }
  if (inputs.length === 0 && !Object.keys(others).some((name) => NAMED_INPUTS.has(name))) {
    const found = [...form.keys()].slice(0, 5).map((name) => JSON.stringify(name.slice(0, 50)));
    throw new RuntimeError(
      "INVALID_INPUT",
      `Cannot read the form: it has neither a file nor a field "inputs", found ${found.length === 0 ? "no fields" : found.join(", ")}`,
    );
  }
  return toTaskContent(inputs, others, { ...readQuery(query), ...readParameters(form) });
}

/**
 * Inputs, and fields by name, for a task: `question` and its like stand with the inputs, all else are parameters.
 *
 * @param parameters Win over fields of the same name.
 */
function toTaskContent(
  inputs: readonly unknown[],
  fields: Fields,
  parameters: Fields,
): RequestContent {
  const all = Object.entries({ ...fields, ...parameters });
  const named = all.filter(([name]) => NAMED_INPUTS.has(name));
  const rest = all.filter(([name]) => !NAMED_INPUTS.has(name));
  const data = rest.length > 0 ? { parameters: Object.fromEntries(rest) } : {};
  const objects = inputs.filter((input) => isFields(input) && !isMedia(input)) as Fields[];
  if (named.length > 0 || (objects.length === 1 && inputs.length > 1)) {
    const others = inputs.filter((input) => isMedia(input) || !isFields(input));
    const keyed = others.map((input) => [keyOf(input), input]);
    const merged = [...objects.flatMap(Object.entries), ...named, ...keyed];
    return { data: { ...data, inputs: Object.fromEntries(merged) } };
  }
  const [first] = inputs;
  if (inputs.length === 1 && isMedia(first)) return { data, media: first };
  return { data: { ...data, inputs: unlist(inputs) } };
}

/** What tasks that ask about a file call it. */
function keyOf(input: unknown): string {
  if (!isMedia(input)) return "text";
  return input.contentType.startsWith("audio/") ? "audio" : "image";
}

/** A form for a custom handler: every field under its own name; a lone file is the inputs. */
function toHandlerContent(form: Form, query: Query): RequestContent {
  const data: Record<string, unknown> = {};
  for (const [name, values] of form) {
    if (name !== "parameters") data[name] = unlist(values.map(toText).map(readField));
  }
  const parameters = { ...readQuery(query), ...readParameters(form) };
  if (Object.keys(parameters).length > 0) data["parameters"] = parameters;
  const [[name, file] = [], ...more] = Object.entries(data).filter(([, value]) => isMedia(value));
  const isInputs = name === "inputs" || (!("inputs" in data) && more.length === 0);
  if (name === undefined || !isMedia(file) || !isInputs) return { data };
  const { [name]: _file, ...rest } = data;
  return { data: rest, media: file };
}

/** The form's field `parameters`, JSON as a text or as a file. */
function readParameters(form: Form): Fields {
  const given = form.get("parameters");
  if (given === undefined) return {};
  const [value, ...more] = given.map(toText);
  const parsed = typeof value === "string" && more.length === 0 ? parseOrUndefined(value) : null;
  if (isFields(parsed)) return parsed;
  throw new RuntimeError(
    "INVALID_INPUT",
    'Cannot read the form: "parameters" must be one JSON object',
  );
}

/** A text or JSON file is read as if it had been typed into the field. */
function toText(value: FormValue): FormValue {
  if (typeof value === "string" || !/^(?:text\/|application\/json\b)/.test(value.contentType))
    return value;
  return new TextDecoder().decode(value.bytes);
}

function readInput(value: FormValue): unknown {
  return isMedia(value) ? value : readStructure(value);
}

function readField(value: FormValue): unknown {
  return isMedia(value) ? value : readScalar(value);
}

/** A list or an object in JSON; any other text is itself. */
function readStructure(text: string): unknown {
  return /^\s*[[{]/.test(text) ? (parseOrUndefined(text) ?? text) : text;
}

/** As `readStructure`, and numbers, `true`, `false` and `null` besides. */
function readScalar(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  if (text === "null") return null;
  return /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : readStructure(text);
}

function parseOrUndefined(text: string): unknown {
  try {
    return parseJson(Buffer.from(text));
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    return undefined; // text that only looks like JSON is text
  }
}

function unlist(values: readonly unknown[]): unknown {
  return values.length === 1 ? values[0] : values;
}

/** `?top_k=2` stands for `{"parameters": {"top_k": 2}}`, where the body has none of its own. */
function withQuery(data: Fields, query: Query): Fields {
  const parameters = readQuery(query);
  if (Object.keys(parameters).length === 0 || "parameters" in data) return data;
  return { ...data, parameters };
}

function readQuery(query: Query): Record<string, unknown> {
  const entries = Object.entries(query);
  return Object.fromEntries(entries.map(([name, texts]) => [name, unlist(texts.map(readScalar))]));
}

function whatIsWrongWith(value: unknown): string {
  if (!isFields(value)) {
    const found = Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`;
    return `Cannot read the body: found ${found}, wanted an object such as {"inputs": "…"}`;
  }
  if (!INPUT_KEYS.some((key) => key in value)) {
    const keys = Object.keys(value)
      .slice(0, 5)
      .map((key) => JSON.stringify(key.slice(0, 50)));
    return `Cannot read the body: the key "inputs" is missing, found ${keys.length === 0 ? "no keys" : keys.join(", ")}`;
  }
  return 'Cannot read the body: "parameters" must be an object';
}
