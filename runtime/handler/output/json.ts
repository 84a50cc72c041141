/**
 * Any value a handler may return, as plain JSON: what `JSON.stringify` and structured cloning then agree about.
 *
 * The rules are `JSON.stringify`'s (`toJSON` is asked, undefined properties are left out) and beyond them: tensors
 * become nested arrays, typed arrays arrays, maps objects, sets arrays; a bigint becomes a number where a number
 * holds it, else a string; NaN and the infinities become null; images, sounds and blobs become base64.
 * To teach it a new kind of value, add it to `convertObject`.
 */
import { RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import { encode, isFile, type FileLike } from "./file.ts";
import { fromBigInt, fromNumbers, fromTensor, fromView, isTensor, toFinite } from "./tensor.ts";
import { isPlainObject } from "../plain-object.ts";

/** Far deeper than any answer, far less deep than the call stack. */
const MAX_DEPTH = 200;

/** Converts a value that holds no image, sound or `Blob`: their bytes come only by waiting. */
export function toJson(value: unknown): JsonValue {
  return start(value).holder.result;
}

/** Converts any value. */
export async function toJsonAwaiting(value: unknown): Promise<JsonValue> {
  const pending: (() => Promise<void>)[] = [];
  const { holder } = start(value, pending);
  if (pending.length > 0) await Promise.all(pending.map((write) => write()));
  return holder.result;
}

export type Stream = AsyncIterable<unknown> | Iterable<unknown>;

/** An async iterable, a generator's object, or another iterator that can be looped over; no mere collection. */
export function isStream(value: object): value is Stream {
  if (Symbol.asyncIterator in value) return true;
  return "next" in value && typeof value.next === "function" && Symbol.iterator in value;
}

/** Where a converted value goes; arrays and objects alike. */
type Holder = Record<string | number, JsonValue>;

/** One conversion under way. */
interface Walk {
  /** The containers around the current value, outermost first. */
  readonly ancestors: object[];
  /** The keys that lead to it. */
  readonly keys: (string | number)[];
  /** What is left to do by waiting; absent where nobody waits. */
  readonly pending: (() => Promise<void>)[] | undefined;
}

function start(
  value: unknown,
  pending?: (() => Promise<void>)[],
): { holder: { result: JsonValue } } {
  if (typeof value === "function" || typeof value === "symbol") {
    throw failure([], `is a ${typeof value}`);
  }
  const holder: { result: JsonValue } = { result: null };
  holder.result = convert(value, holder, "result", { ancestors: [], keys: [], pending }) ?? null;
  return { holder };
}

/** @returns `undefined` for what JSON leaves out. */
function convert(
  value: unknown,
  holder: Holder,
  key: string | number,
  walk: Walk,
): JsonValue | undefined {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return value;
  if (typeof value === "number") return toFinite(value);
  if (typeof value === "object") return convertObject(value, holder, key, walk);
  return typeof value === "bigint" ? fromBigInt(value) : undefined;
}

function convertObject(
  value: object,
  holder: Holder,
  key: string | number,
  walk: Walk,
): JsonValue | undefined {
  if (Array.isArray(value)) return fromNumbers(value) ?? inside(value, walk, fromArray);
  if (ArrayBuffer.isView(value)) return fromView(value);
  if (isTensor(value)) return fromTensor(value);
  if (hasToJson(value)) {
    const replaced = value.toJSON(String(key));
    if (replaced === value) return inside(value, walk, fromObject);
    return inside(value, walk, () => convert(replaced, holder, key, walk));
  }
  refuseUnfinished(value, walk);
  if (isPlainObject(value)) return inside(value, walk, fromObject);
  if (value instanceof Map) return inside(value, walk, fromMap);
  if (value instanceof Set) return inside(value, walk, fromSet);
  if (value instanceof ArrayBuffer) return fromView(new Uint8Array(value));
  // `new Number(1)` and its like.
  if (/^\[object (?:Number|String|Boolean|BigInt)\]$/.test(Object.prototype.toString.call(value))) {
    return convert(value.valueOf(), holder, key, walk);
  }
  if (isFile(value)) return fromFile(value, holder, key, walk);
  return inside(value, walk, fromObject);
}

/** Promises and streams have no value yet. */
function refuseUnfinished(value: object, { keys }: Walk): void {
  if ("then" in value && typeof value.then === "function") {
    // Nobody will await it now; its failure must not end the process.
    Promise.resolve(value).catch(() => undefined);
    throw failure(keys, "is a promise: await it before returning");
  }
  if (isStream(value)) throw failure(keys, "is a stream: only the whole result can be one");
}

function hasToJson(value: object): value is { toJSON(key: string): unknown } {
  return "toJSON" in value && typeof value.toJSON === "function";
}

/** Runs `convertMembers` with `value` among the ancestors. */
function inside<T extends object>(
  value: T,
  walk: Walk,
  convertMembers: (value: T, walk: Walk) => JsonValue | undefined,
): JsonValue | undefined {
  const { ancestors, keys } = walk;
  if (ancestors.includes(value)) throw failure(keys, "refers to an object that holds it");
  if (ancestors.length >= MAX_DEPTH) {
    throw failure(keys.slice(0, 3), `is nested more than ${MAX_DEPTH} levels deep`);
  }
  ancestors.push(value);
  const converted = convertMembers(value, walk);
  ancestors.pop();
  return converted;
}

function fromArray(values: readonly unknown[], walk: Walk): JsonValue {
  const result: JsonValue[] = [];
  for (let i = 0; i < values.length; i++) {
    walk.keys.push(i);
    result[i] = convert(values[i], result as unknown as Holder, i, walk) ?? null;
    walk.keys.pop();
  }
  return result;
}

function fromObject(value: object, walk: Walk): JsonValue {
  const source = value as Readonly<Record<string, unknown>>;
  const result: Holder = {};
  for (const key of Object.keys(source)) addMember(result, key, source[key], walk);
  return result;
}

function fromSet(set: ReadonlySet<unknown>, walk: Walk): JsonValue {
  return fromArray([...set], walk);
}

function fromMap(map: ReadonlyMap<unknown, unknown>, walk: Walk): JsonValue {
  const result: Holder = {};
  for (const [key, value] of map) {
    if (typeof key === "object" && key !== null)
      throw failure(walk.keys, "is a Map with objects as keys");
    addMember(result, String(key), value, walk);
  }
  return result;
}

function addMember(result: Holder, key: string, value: unknown, walk: Walk): void {
  walk.keys.push(key);
  const converted = convert(value, result, key, walk);
  walk.keys.pop();
  if (converted === undefined) return;
  // An assignment to this name would set the prototype.
  if (key === "__proto__") {
    Object.defineProperty(result, key, {
      value: converted,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  } else result[key] = converted;
}

function fromFile(
  file: FileLike,
  holder: Holder,
  key: string | number,
  { pending, keys }: Walk,
): JsonValue {
  if (pending === undefined) throw failure(keys, "is a file, whose bytes must be awaited");
  pending.push(async () => {
    const bytes = await (await encode(file)).arrayBuffer();
    holder[key] = Buffer.from(bytes).toString("base64");
  });
  return null; // until then
}

function failure(keys: readonly (string | number)[], found: string): RuntimeError {
  const path = keys.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("");
  const text = `Cannot turn the handler's result into JSON: result${path} ${found}`;
  return new RuntimeError("HANDLER_FAILED", text);
}
