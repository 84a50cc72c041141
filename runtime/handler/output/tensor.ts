/**
 * Numbers as JSON: single ones, typed arrays, and tensors as nested arrays.
 *
 * Tensors are told by `dims` and `data`, whichever copy of onnxruntime or transformers.js made them.
 */
import type { JsonValue } from "../../inference.ts";
import { isPlainObject } from "../plain-object.ts";

/** An array of nothing but numbers, in one pass; `undefined` for any other, found out at its first element. */
export function fromNumbers(values: readonly unknown[]): JsonValue | undefined {
  const result: JsonValue[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value !== "number") return undefined;
    result.push(toFinite(value));
  }
  return result;
}

/** JSON has no NaN, no infinities and no negative zero. */
export function toFinite(value: number): number | null {
  return value - value === 0 ? value + 0 : null;
}

export function fromBigInt(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** A typed array's elements; a DataView's bytes. */
export function fromView(view: ArrayBufferView): JsonValue {
  if (view instanceof DataView)
    return fromView(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  const elements = view as unknown as ArrayLike<number | bigint>; // every other view is a typed array
  return slice(elements, 0, elements.length, toScalar);
}

function slice(
  elements: ArrayLike<unknown>,
  from: number,
  to: number,
  toElement: (element: unknown) => JsonValue,
): JsonValue[] {
  const result: JsonValue[] = [];
  for (let i = from; i < to; i++) {
    const element = elements[i];
    result.push(
      typeof element === "number" && toElement === toScalar
        ? toFinite(element)
        : toElement(element),
    );
  }
  return result;
}

function toScalar(element: unknown): JsonValue {
  if (typeof element === "number") return toFinite(element);
  if (typeof element === "bigint") return fromBigInt(element);
  return typeof element === "string" || typeof element === "boolean" ? element : null;
}

/** A tensor of onnxruntime or transformers.js. */
export interface TensorLike {
  /** As many sizes as the tensor has axes; their product is the number of elements. */
  readonly dims: readonly number[];
  /** In row-major order. */
  readonly data: ArrayLike<unknown>;
  readonly type?: string;
}

/** A plain object with an ordinary array in `data` is JSON already and stays what it is. */
export function isTensor(value: object): value is TensorLike {
  if (!("dims" in value) || !Array.isArray(value.dims) || !("data" in value)) return false;
  const { dims, data } = value;
  const isData = ArrayBuffer.isView(data) || (Array.isArray(data) && !isPlainObject(value));
  if (!isData || !dims.every((dim) => Number.isInteger(dim))) return false;
  return (
    dims.reduce((size: number, dim: number) => size * dim, 1) ===
    (data as unknown as ArrayLike<unknown>).length
  );
}

export function fromTensor({ dims, data, type }: TensorLike): JsonValue {
  let toElement = toScalar;
  // Booleans are bytes there; so are half floats 16-bit integers where the language has no Float16Array.
  if (type === "bool") toElement = (element) => element !== 0;
  else if (type === "float16" && data instanceof Uint16Array)
    toElement = (bits) => fromHalf(bits as number);

  function nest(axis: number, from: number, to: number): JsonValue[] {
    if (axis >= dims.length - 1) return slice(data, from, to, toElement);
    const size = dims[axis] ?? 0;
    const step = size === 0 ? 0 : (to - from) / size;
    return Array.from({ length: size }, (_, i) =>
      nest(axis + 1, from + i * step, from + (i + 1) * step),
    );
  }
  return dims.length === 0 ? toElement(data[0]) : nest(0, 0, data.length);
}

/** IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction. */
function fromHalf(bits: number): number | null {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return null; // an infinity or NaN
  return toFinite(
    sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)),
  );
}
