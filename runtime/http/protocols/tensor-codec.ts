/**
 * Tensors of the Open Inference Protocol as bytes: row by row, little-endian, without padding; a `BYTES` element is its length as
 * a `uint32` and then its bytes. REST's binary extension and gRPC's `raw_*_contents` both speak so. JSON is `tensor-json.ts`'s.
 *
 * Facts: Open Inference Protocol, "Tensor Data"; Triton's binary tensor data extension.
 */
import { TENSOR_ARRAYS } from "../../tensor-arrays.ts";
import { endianness } from "node:os";

import { RuntimeError } from "../../errors.ts";
import { TENSOR_DATATYPES, type TensorData, type TensorDatatype } from "../../inference.ts";

/** What a sentence calls a tensor: `the input "input_ids"`. */
export type TensorTitle = string;

type TypedArray = Exclude<TensorData, readonly Uint8Array[]>;

interface TypedArrayMaker {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): TypedArray;
}

/** What holds a datatype's elements; `BYTES` is a list. */
const ARRAYS: Readonly<Record<Exclude<TensorDatatype, "BYTES">, TypedArrayMaker>> = TENSOR_ARRAYS;

const LENGTH_BYTES = 4;

/** More axes no library has: NumPy's limit was 32 until it was 64. */
const MOST_AXES = 64;

const IS_LITTLE = endianness() === "LE";

/** A datatype by its name, in any case. @throws RuntimeError `INVALID_INPUT` for an unknown one. */
export function toDatatype(given: unknown, title: TensorTitle): TensorDatatype {
  const wanted = typeof given === "string" ? given.toUpperCase() : undefined;
  const found = TENSOR_DATATYPES.find((datatype) => datatype === wanted);
  if (found !== undefined) return found;
  const shown = typeof given === "string" ? `"${given.slice(0, 40)}"` : `a ${typeof given}`;
  throw cannotRead(
    title,
    `its datatype is ${given === undefined ? "missing" : shown}, wanted one of ${TENSOR_DATATYPES.join(", ")}`,
  );
}

/** How many bytes an element has; `undefined` for `BYTES`, whose elements say so themselves. */
export function bytesPerElement(datatype: TensorDatatype): number | undefined {
  return datatype === "BYTES" ? undefined : ARRAYS[datatype].BYTES_PER_ELEMENT;
}

/**
 * How many elements a shape has. Nothing is allocated for it: whoever asks compares it with what is there.
 *
 * @param shape No axis may be of unknown length.
 * @throws RuntimeError `INVALID_INPUT` for an axis that is no length, too many axes, or a product that no number holds.
 */
export function countElements(shape: readonly number[], title: TensorTitle): number {
  if (shape.length > MOST_AXES)
    throw cannotRead(title, `its shape has ${shape.length} axes, wanted at most ${MOST_AXES}`);
  let count = 1;
  for (const length of shape) {
    if (!Number.isSafeInteger(length) || length < 0)
      throw cannotRead(
        title,
        `its shape ${describeShape(shape)} has the length ${String(length)}, wanted whole numbers of at least 0`,
      );
    count *= length;
  }
  if (Number.isSafeInteger(count)) return count;
  throw cannotRead(
    title,
    `its shape ${describeShape(shape)} has more elements than can be counted`,
  );
}

/**
 * Bytes → elements, copied: what comes back keeps nothing of the body alive.
 *
 * @param count How many there must be; whatever the bytes hold where absent.
 * @throws RuntimeError `INVALID_INPUT` where the bytes are too many, too few, or end inside an element.
 */
export function decodeTensor(
  bytes: Uint8Array,
  datatype: TensorDatatype,
  { title, count }: { readonly title: TensorTitle; readonly count?: number | undefined },
): TensorData {
  if (datatype === "BYTES") return decodeBytes(bytes, count, title);
  const { BYTES_PER_ELEMENT: size } = ARRAYS[datatype];
  const wanted = (count ?? Math.floor(bytes.byteLength / size)) * size;
  if (bytes.byteLength !== wanted) {
    const of = count === undefined ? "whole elements" : `${wanted} for ${count} elements`;
    throw cannotRead(title, `it has ${bytes.byteLength} bytes of ${datatype}, wanted ${of}`);
  }
  const buffer = new ArrayBuffer(bytes.byteLength);
  const copy = new Uint8Array(buffer);
  copy.set(bytes);
  swapUnlessLittle(copy, size);
  if (datatype === "BOOL") for (let i = 0; i < copy.length; i++) copy[i] = copy[i] === 0 ? 0 : 1;
  return new ARRAYS[datatype](buffer);
}

function decodeBytes(
  bytes: Uint8Array,
  count: number | undefined,
  title: TensorTitle,
): readonly Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.byteLength && (count === undefined || elements.length < count)) {
    const start = at + LENGTH_BYTES;
    const end = start <= bytes.byteLength ? start + view.getUint32(at, true) : Infinity;
    if (end > bytes.byteLength) {
      const problem = `element ${elements.length} goes beyond the end of its ${bytes.byteLength} bytes`;
      throw cannotRead(
        title,
        `${problem}, wanted a length of 4 bytes and as many bytes as it says`,
      );
    }
    elements.push(new Uint8Array(bytes.subarray(start, end))); // a Buffer's slice is no copy
    at = end;
  }
  if (at === bytes.byteLength && (count === undefined || elements.length === count))
    return elements;
  const found = at < bytes.byteLength ? "more" : String(elements.length);
  throw cannotRead(title, `it has ${found} elements of BYTES, wanted ${count ?? "whole ones"}`);
}

/** Elements → bytes. Numbers are not copied where the machine keeps them as the wire does: the answer may be a view of `data`. */
export function encodeTensor(datatype: TensorDatatype, data: TensorData): Uint8Array {
  if (!ArrayBuffer.isView(data)) return encodeBytes(data);
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const size = bytesPerElement(datatype) ?? 1;
  if (IS_LITTLE || size === 1) return view;
  const copy = view.slice();
  swapUnlessLittle(copy, size);
  return copy;
}

function encodeBytes(elements: readonly Uint8Array[]): Uint8Array {
  const total = elements.reduce((sum, element) => sum + LENGTH_BYTES + element.byteLength, 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.byteLength, true);
    bytes.set(element, at + LENGTH_BYTES);
    at += LENGTH_BYTES + element.byteLength;
  }
  return bytes;
}

function swapUnlessLittle(bytes: Uint8Array, size: number): void {
  if (IS_LITTLE || size === 1) return;
  for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
}

/** `[2,3]`, and not more of it than a sentence takes. */
export function describeShape(shape: readonly number[]): string {
  const shown = shape.slice(0, 8).map(String);
  return `[${[...shown, ...(shape.length > 8 ? ["…"] : [])].join(",")}]`;
}

/** A refusal of one tensor. */
export function cannotRead(title: TensorTitle, problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read ${title}: ${problem}`);
}
