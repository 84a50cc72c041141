/**
 * Reading what a client sent: a zod schema at the door, and one sentence when it does not fit.
 *
 * Schemas of tasks carry what they want as their error text (`z.string("a string")`), so that a sentence can say
 * `"inputs[2]" is a number, wanted a string`. Clients' values are described, not repeated, except for short parameters.
 */
import { isFields } from "../../fields.ts";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { InferenceRequest } from "../../inference.ts";
import { nearestWord } from "../../nearest-word.ts";

/** A 400 on every protocol. `action` is what failed ("classify the text"), `problem` what was found and wanted. */
export function invalidInput(action: string, problem: string, cause?: unknown): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot ${action}: ${problem}`, { cause });
}

/**
 * Checks `inputs`.
 *
 * @throws `INVALID_INPUT` with one sentence.
 */
export function readInputs<S extends z.ZodType>(
  schema: S,
  request: InferenceRequest,
  action: string,
): z.output<S> {
  if (request.media !== undefined) {
    const { contentType } = request.media;
    throw invalidInput(action, `the body is ${contentType}, wanted JSON with "inputs"`);
  }
  const value = request.data["inputs"];
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, wanted } = deepestIssue(result.error.issues);
  const found = kindOf(valueAt(value, path));
  const [first, ...deeper] = path;
  const sentPath = typeof first === "number" ? [placeOf(request, first), ...deeper] : path;
  throw invalidInput(action, `"${nameOf("inputs", sentPath)}" is ${found}, wanted ${wanted}`);
}

/** Where the client wrote that element: the engine hands over a list one element at a time. */
function placeOf({ part }: InferenceRequest, index: number): number {
  return part === undefined ? index : part.index;
}

/** What to call an input in a sentence: `inputs`, or `inputs[2]` for an element of a list. */
export function inputName(request: InferenceRequest, index: number): string {
  return Array.isArray(request.data["inputs"]) ? `inputs[${placeOf(request, index)}]` : "inputs";
}

/** What `readParameters` must know besides. */
export interface ParameterOptions {
  /** What failed, for a refusal: `classify the text`. */
  readonly action: string;
  /** Told of parameters that have no effect. */
  readonly warn?: ((text: string) => void) | undefined;
  /** The same parameters, where a client sends them in another place; `parameters` counts where both name one. */
  readonly elsewhere?: Readonly<Record<string, unknown>> | undefined;
  /** Parameters of the Python pipeline that make no sense here, besides those that no task has a use for. */
  readonly ignored?: readonly string[] | undefined;
}

/**
 * Checks `parameters`; absent and `null` are the same as `{}`.
 *
 * @param schema An object without room for unknown keys; ignored ones are accepted besides, with a warning.
 * @param value What the client sent as `parameters`.
 * @throws `INVALID_INPUT` with one sentence; an unknown key is answered with the known ones.
 */
export function readParameters<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  { action, warn, elsewhere = {}, ignored = [] }: ParameterOptions,
): z.output<S> {
  const given = value ?? {};
  if (!isFields(given)) {
    throw invalidInput(action, `"parameters" is ${kindOf(given)}, wanted an object`);
  }
  const known = Object.keys(schema.shape);
  const used: Record<string, unknown> = { ...elsewhere };
  for (const [key, entry] of Object.entries(given)) {
    if (known.includes(key)) used[key] = entry;
    else if (IGNORED_PARAMETERS.has(key) || ignored.includes(key))
      warn?.(`The parameter "${key}" has no effect here`);
    else throw invalidInput(action, describeUnknown(key, known));
  }
  const result = schema.safeParse(used);
  if (result.success) return result.data;
  const { path, wanted } = deepestIssue(result.error.issues);
  const found = shown(valueAt(used, path));
  throw invalidInput(action, `"${nameOf("", path)}" is ${found}, wanted ${wanted}`);
}

/**
 * What the Python pipelines accept and hubserve has no use for: it pads as it batches, and devices and formats are the
 * server's affair.
 */
const IGNORED_PARAMETERS: ReadonlySet<string> = new Set([
  "padding",
  "return_tensors",
  "batch_size",
  "num_workers",
  "device",
  "device_map",
  "framework",
  "torch_dtype",
  "use_fast",
]);

/** How to cut what is too long, as in the Python tokenizers; `true` is `"longest_first"`. */
export const TruncationParameter = z
  .union(
    [z.boolean(), z.enum(["longest_first", "only_first", "only_second", "do_not_truncate"])],
    `true, false, "longest_first", "only_first", "only_second" or "do_not_truncate"`,
  )
  .nullish()
  .transform((given) => {
    if (given === true) return "longest_first";
    if (given === false || given === "do_not_truncate") return "none";
    return given ?? undefined;
  });

/** One text, or a list of them. */
export const TextInputs = z.union(
  [z.string(), z.array(z.string("a string"))],
  "a string or a list of strings",
);
export type TextInputs = z.infer<typeof TextInputs>;

/** The longest sequence in tokens, special tokens included. */
export const MaxLengthParameter = z
  .int("a whole number of at least 1")
  .positive("a whole number of at least 1")
  .nullish()
  .transform((given) => given ?? undefined);

/** `topk` → a sentence with the nearest known word and all of them. */
function describeUnknown(key: string, known: readonly string[]): string {
  if (known.length === 0) return `there is no parameter "${clip(key)}", nor any other`;
  const near = nearestWord(key, known);
  const suggestion = near === undefined ? "" : `, perhaps you mean "${near}"`;
  return `there is no parameter "${clip(key)}"${suggestion}; known are ${known.join(", ")}`;
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly wanted: string;
}

/**
 * The issue that lies deepest: among the branches of a union, the one that understood the value best. Of equally deep
 * ones the first; a union that nobody understood at all speaks for itself.
 */
function deepestIssue(issues: readonly z.core.$ZodIssue[]): Issue {
  let deepest: Issue | undefined;
  for (const issue of issues) {
    let candidate: Issue = { path: issue.path, wanted: wantedOf(issue.message) };
    if (issue.code === "invalid_union") {
      for (const branch of issue.errors) {
        const inner = deepestIssue(branch);
        if (issue.path.length + inner.path.length > candidate.path.length) {
          candidate = { path: [...issue.path, ...inner.path], wanted: inner.wanted };
        }
      }
    }
    if (deepest === undefined || candidate.path.length > deepest.path.length) deepest = candidate;
  }
  return deepest ?? { path: [], wanted: "something else" };
}

/** A schema's own text as it is; of zod's ("Invalid input: expected string, received number") what it expected. */
function wantedOf(message: string): string {
  return message.replace(/^[^:]*: expected (.*?)(?:, received .*)?$/, "$1");
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (!isFields(current) && !Array.isArray(current)) return undefined;
    current = Object.getOwnPropertyDescriptor(current, key)?.value;
  }
  return current;
}

/** `["sentences", 2]` below `inputs` → `inputs.sentences[2]`. */
function nameOf(root: string, path: readonly PropertyKey[]): string {
  let name = root;
  for (const key of path) {
    name += typeof key === "number" ? `[${key}]` : `${name === "" ? "" : "."}${clip(String(key))}`;
  }
  return name;
}

/** What kind of value it is, as the middle of a sentence. */
function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (value instanceof Blob) return `binary data (${value.type || "of no type"})`;
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** A short scalar as it is, anything else by its kind. */
function shown(value: unknown): string {
  const isScalar = ["string", "number", "boolean"].includes(typeof value);
  const text = isScalar ? JSON.stringify(value) : "";
  return isScalar && text.length <= 40 ? text : kindOf(value);
}

function clip(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`;
}
