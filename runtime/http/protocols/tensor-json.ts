/**
 * A tensor's elements in JSON: a flat list, lists in lists, or a scalar; row by row. Bytes are `tensor-codec.ts`'s.
 *
 * JSON has no NaN and no infinities. They are written as the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, as protobuf's
 * JSON does, which NumPy and JavaScript read back as numbers, and read from them or, a NaN, from `null`. 64-bit integers
 * are printed with all their digits; they are read from numbers that hold them exactly, or from strings of digits
 * (`exact-integers.ts` makes such of the others). `BYTES` that are not UTF-8 go out in base64, and say so.
 */
import { isUtf8 } from "node:buffer";

import type { TensorData, TensorDatatype } from "../../inference.ts";
import { cannotRead, countElements, describeShape, type TensorTitle } from "./tensor-codec.ts";
import { halfToNumber } from "./tensor-half.ts";

export interface JsonElementsOptions {
  readonly title: TensorTitle;
  /** What the client says of the shape; see `settleShape`. */
  readonly shape: readonly number[];
  /** Whether `BYTES` are in base64. */
  readonly isBase64?: boolean;
}

/** @throws RuntimeError `INVALID_INPUT` for irregular lists, elements that the datatype does not have, or another number of them. */
export function readJsonElements(
  value: unknown,
  datatype: TensorDatatype,
  { title, shape: given, isBase64 = false }: JsonElementsOptions,
): { readonly data: TensorData; readonly shape: readonly number[] } {
  const nesting = nestingOf(value);
  assertRegular(value, nesting, title);
  const shape = settleShape(given, nesting, title);
  const count = shape.reduce((product, length) => product * length, 1);
  const elements = Array.isArray(value) && nesting.length === 1 ? value : [value].flat(Infinity);
  return { data: toData(elements, datatype, count, { title, isBase64 }), shape };
}

/** The lengths of the lists that begin with each other: `[n]` for a flat list, `[]` for a scalar. */
function nestingOf(value: unknown): readonly number[] {
  const nesting: number[] = [];
  let first: unknown = value;
  while (Array.isArray(first)) {
    nesting.push(first.length);
    first = first[0];
  }
  return nesting;
}

function assertRegular(value: unknown, nesting: readonly number[], title: TensorTitle): void {
  const [length, ...inner] = nesting;
  const isList = Array.isArray(value);
  if (isList ? value.length !== length : length !== undefined)
    throw cannotRead(
      title,
      "its data has lists of several lengths or depths, wanted a regular one",
    );
  if (!isList) return;
  const list: readonly unknown[] = value;
  if (inner.length > 0) for (const each of list) assertRegular(each, inner, title);
  else if (list.some((each) => Array.isArray(each))) assertRegular([], [1], title);
}

const INTEGERS = {
  UINT8: [Uint8Array, 0, 2 ** 8 - 1],
  UINT16: [Uint16Array, 0, 2 ** 16 - 1],
  UINT32: [Uint32Array, 0, 2 ** 32 - 1],
  INT8: [Int8Array, -(2 ** 7), 2 ** 7 - 1],
  INT16: [Int16Array, -(2 ** 15), 2 ** 15 - 1],
  INT32: [Int32Array, -(2 ** 31), 2 ** 31 - 1],
} as const;

const LONG_INTEGERS = {
  UINT64: [BigUint64Array, 0n, 2n ** 64n - 1n],
  INT64: [BigInt64Array, -(2n ** 63n), 2n ** 63n - 1n],
} as const;

function toData(
  elements: readonly unknown[],
  datatype: TensorDatatype,
  count: number,
  { title, isBase64 }: { readonly title: TensorTitle; readonly isBase64: boolean },
): TensorData {
  const wrong = (index: number, wanted: string): never => {
    const found = describe(elements[index]);
    throw cannotRead(title, `element ${index} of its data is ${found}, wanted ${wanted}`);
  };
  switch (datatype) {
    case "BYTES":
      return elements.map((each, i) => toBytes(each, isBase64) ?? wrong(i, wantedText(isBase64)));
    case "BOOL": {
      const data = new Uint8Array(count);
      for (const [i, each] of elements.entries()) {
        if (each === true || each === 1) data[i] = 1;
        else if (each !== false && each !== 0) wrong(i, "true or false");
      }
      return data;
    }
    case "FP16":
      throw cannotRead(title, "FP16 has no form in JSON, wanted it binary, or FP32");
    case "FP32":
    case "FP64": {
      const data = datatype === "FP32" ? new Float32Array(count) : new Float64Array(count);
      for (let i = 0; i < count; i++) {
        const each = elements[i];
        data[i] = typeof each === "number" ? each : (toSpecial(each) ?? wrong(i, "a number"));
      }
      return data;
    }
    case "INT64":
    case "UINT64": {
      const [List, least, most] = LONG_INTEGERS[datatype];
      const data = new List(count);
      for (let i = 0; i < count; i++) {
        const value = toBigInt(elements[i]);
        if (value === undefined || value < least || value > most)
          wrong(i, `a whole number of ${datatype}`);
        else data[i] = value;
      }
      return data;
    }
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "INT8":
    case "INT16":
    case "INT32": {
      const [List, least, most] = INTEGERS[datatype];
      const data = new List(count);
      for (let i = 0; i < count; i++) {
        const each = elements[i];
        if (typeof each === "number" && Number.isInteger(each) && each >= least && each <= most)
          data[i] = each;
        else wrong(i, `a whole number from ${least} to ${most}`);
      }
      return data;
    }
  }
}

const wantedText = (isBase64: boolean): string => (isBase64 ? "a string in base64" : "a string");

/** An object is as if its JSON had been the string. */
function toBytes(value: unknown, isBase64: boolean): Uint8Array | undefined {
  if (typeof value === "string") {
    if (!isBase64) return new TextEncoder().encode(value);
    const isClean = /^[\w+/-]*={0,2}\s*$/.test(value);
    return isClean ? new Uint8Array(Buffer.from(value, "base64")) : undefined;
  }
  if (typeof value !== "object" || value === null || isBase64) return undefined;
  return new TextEncoder().encode(JSON.stringify(value));
}

const SPECIALS: ReadonlyMap<unknown, number> = new Map<unknown, number>([
  [null, Number.NaN],
  ["NaN", Number.NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
]);

function toSpecial(value: unknown): number | undefined {
  return SPECIALS.get(value);
}

/** A number that holds it exactly, or digits. */
function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  return typeof value === "string" && /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined;
}

function describe(value: unknown): string {
  if (typeof value === "number") return Number.isSafeInteger(value) ? `${value}` : `about ${value}`;
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

/** Elements as the text of a flat JSON list, and whether they are in base64. */
export function printJsonElements(
  datatype: TensorDatatype,
  data: TensorData,
): { readonly text: string; readonly isBase64: boolean } {
  if (!ArrayBuffer.isView(data)) return printBytes(data);
  return { text: `[${printNumbers(datatype, data)}]`, isBase64: false };
}

function printNumbers(datatype: TensorDatatype, data: Exclude<TensorData, readonly Uint8Array[]>) {
  switch (datatype) {
    case "BOOL":
      return Array.from(data as Uint8Array, (each) => (each === 0 ? "false" : "true")).join(",");
    case "FP16":
      return printFloats(Float32Array.from(data as Uint16Array, halfToNumber));
    case "FP32":
    case "FP64":
      return printFloats(data as Float32Array | Float64Array);
    case "BYTES":
    case "INT8":
    case "INT16":
    case "INT32":
    case "INT64":
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "UINT64":
      return data.join(","); // of 64 bits too
  }
}

function printFloats(data: Float32Array | Float64Array): string {
  const text = data.join(",");
  return text.includes("N") || text.includes("I")
    ? text.replace(/-?(?:NaN|Infinity)/g, (special) => `"${special}"`)
    : text;
}

function printBytes(data: readonly Uint8Array[]): { text: string; isBase64: boolean } {
  const isBase64 = !data.every((each) => isUtf8(each));
  const encoding = isBase64 ? "base64" : "utf8";
  const texts = data.map(({ buffer, byteOffset, byteLength }) =>
    JSON.stringify(Buffer.from(buffer, byteOffset, byteLength).toString(encoding)),
  );
  return { text: `[${texts.join(",")}]`, isBase64 };
}

/**
 * The shape of elements whose client may have left it open.
 *
 * @param given A list, a number alone, `[]` or -1, which mean "as many as there are"; one length of a list may be -1.
 * @param nesting How the elements lie, `[n]` where that says nothing.
 * @throws RuntimeError `INVALID_INPUT` where the two do not go together.
 */
export function settleShape(
  given: readonly number[],
  nesting: readonly number[],
  title: TensorTitle,
): readonly number[] {
  const count = nesting.reduce((product, length) => product * length, 1);
  const known = given.filter((length) => length !== -1);
  const product = countElements(known, title);
  if (given.length === 0 && count === 1 && nesting.length <= 1) return [];
  if (isOpen(given)) return nesting.length === 0 ? [1] : nesting;
  const openLengths = given.length - known.length;
  const fits =
    openLengths === 0
      ? product === count
      : openLengths === 1 && product > 0 && count % product === 0;
  if (fits) return given.map((length) => (length === -1 ? count / product : length));
  const wanted = openLengths === 0 ? String(product) : "another number of them";
  throw cannotRead(
    title,
    `it has ${count} elements, wanted ${wanted} for the shape ${describeShape(given)}`,
  );
}

/** Whether a shape says nothing of how many elements there are. */
function isOpen(given: readonly number[]): boolean {
  return given.length === 0 || (given.length === 1 && given[0] === -1);
}
