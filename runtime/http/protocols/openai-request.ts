/**
 * What OpenAI's routes have in common: a JSON body whatever its content type is called, and the model that it names.
 */
import type { z } from "zod";

import type { Models } from "../../engine/models.ts";
import { RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import { nearestWord } from "../../nearest-word.ts";
import type { Answering } from "../ask.ts";
import { readBodyBytes } from "../body.ts";
import type { AppContext } from "../context.ts";
import { parseJson } from "../json-body.ts";
import { stickyKeyOf } from "../middleware.ts";
import { lookUpName } from "../model-name.ts";
import { OpenAIRefusal } from "./openai-errors.ts";

/** A request on one of OpenAI's routes: its body, and the model that answers it. */
export interface OpenAICall {
  readonly c: AppContext;
  /** Unchecked, but an object; `checkBody` makes a plain typed one of it. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly ready: Answering;
}

/** Answers a call. What it throws is told in OpenAI's words. */
export type OpenAIRoute = (call: OpenAICall) => Promise<Response>;

/**
 * Reads the body and finds the model.
 *
 * @throws RuntimeError `BODY_TOO_LARGE`, `INVALID_INPUT`, `MODEL_NOT_FOUND`, or `NOT_READY` while the model loads.
 */
export async function readCall(c: AppContext, maxBodyBytes: number): Promise<OpenAICall> {
  // The body comes first: a refusal while the client still sends would reach it as a broken connection.
  const body = parseJson(await readBodyBytes(c.req.raw, maxBodyBytes));
  if (!isObject(body)) {
    const found = Array.isArray(body) ? "a list" : body === null ? "null" : `a ${typeof body}`;
    throw new OpenAIRefusal(null, `Cannot read the body: found ${found}, wanted an object`);
  }
  const models = c.get("models");
  const name = nameOf(body["model"], models);
  return { c, body, ready: models.ready(name, undefined, stickyKeyOf(c)) };
}

/** As `lookUpName`. @throws RuntimeError `MODEL_NOT_FOUND`. */
export function findName(given: string, models: Models): string {
  const known = lookUpName(given, models);
  if (known !== undefined) return known;
  const names = [...new Set(models.list.map(({ name }) => name))];
  // What is much longer than any name is no misspelling, and comparing it would cost its length times theirs.
  const near = given.length <= LONGEST_NAME ? nearestWord(given, names) : undefined;
  const hint = near === undefined ? `this server has ${listOf(names)}` : `perhaps "${near}"`;
  throw new RuntimeError(
    "MODEL_NOT_FOUND",
    `Cannot find the model "${clip(given)}": it does not exist here; ${hint}`,
  );
}

/** What Hugging Face's clients send where they were given an address: that address, or a word in a model's place. */
const PLACEHOLDER = /^(?:https?:\/\/|dummy$|tgi$)/;

function isPlaceholder(given: string, { list }: Models): boolean {
  return PLACEHOLDER.test(given) && !list.some(({ name }) => name === given);
}

/** Without `model`: the server's default. */
function nameOf(given: unknown, models: Models): string | undefined {
  if (given === undefined || given === null || given === "") return undefined;
  if (typeof given === "string")
    return isPlaceholder(given, models) ? undefined : findName(given, models);
  throw new OpenAIRefusal(
    "model",
    `Cannot find the model: "model" is ${kindOf(given)}, wanted a string`,
  );
}

/**
 * Checks a body. A schema's own error texts say what is wanted (`z.string("a string")`).
 *
 * @param action What fails, for the sentence: `create embeddings`.
 * @throws OpenAIRefusal which names the first field that does not fit.
 */
export function checkBody<S extends z.ZodType>(
  schema: S,
  body: OpenAICall["body"],
  action: string,
): z.output<S> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path ?? [];
  let found: unknown = body;
  for (const key of path)
    found =
      isObject(found) || Array.isArray(found)
        ? Object.getOwnPropertyDescriptor(found, key)?.value
        : undefined;
  const param = path.length === 0 ? null : String(path[0]);
  const text = `"${toPlace(path)}" is ${kindOf(found)}, wanted ${issue?.message ?? "something else"}`;
  throw new OpenAIRefusal(param, `Cannot ${action}: ${text}`);
}

/** `["input", 2]` → `input[2]`. */
function toPlace(path: readonly PropertyKey[]): string {
  return path
    .map((key, depth) =>
      typeof key === "number" ? `[${key}]` : `${depth > 0 ? "." : ""}${clip(String(key))}`,
    )
    .join("");
}

/** What a value is, as the middle of a sentence; short scalars as they are. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return "an object";
  const text = JSON.stringify(value);
  return text.length <= 40 ? text : `a ${typeof value}`;
}

/**
 * Who answers cannot do what the route is for: another model could.
 *
 * @param wanted What could: `a model for feature-extraction`.
 */
export function unfit(
  { model, description }: Answering,
  action: string,
  wanted: string,
): OpenAIRefusal {
  const what =
    description.handler === "custom"
      ? `is answered by ${description.handlerFile ?? "its own handler"}`
      : `serves ${description.task ?? "no known task"}`;
  const text = `Cannot ${action}: the model "${model.name}" ${what}, wanted ${wanted}`;
  return new OpenAIRefusal("model", text, "model_not_supported");
}

export function isObject(value: unknown): value is Readonly<Record<string, JsonValue>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => `"${name}"`);
  return shown.length === 0 ? "none" : `${shown.join(", ")}${names.length > 5 ? ", …" : ""}`;
}

/** As far as names are shown, and compared. */
const LONGEST_NAME = 100;

function clip(text: string): string {
  return text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME)}…`;
}
