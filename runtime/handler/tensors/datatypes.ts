/**
 * Tensors of the Open Inference Protocol as onnxruntime takes and gives them, to the bit.
 *
 * `BYTES` are onnxruntime's strings, which are UTF-8 and end at their first zero byte. `FP16` are bits on our side;
 * onnxruntime's own `Tensor` has them as bits, or as numbers where the engine knows `Float16Array` (Node 24), over the same
 * bytes. onnxruntime copies what it gives into memory of its own each time, so nothing here need be copied again.
 */
import { Tensor } from "onnxruntime-node";

import { TENSOR_ARRAYS } from "../../tensor-arrays.ts";
import type { NamedTensor, TensorData, TensorDatatype } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";

/** What is being done, for refusals. */
export const ACTION = "run the graph";

type NativeType = Tensor.Type;

const NATIVE: Readonly<Record<TensorDatatype, NativeType>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  FP32: "float32",
  FP64: "float64",
  BYTES: "string",
};

const DATATYPE = new Map(
  (Object.keys(NATIVE) as TensorDatatype[]).map((datatype) => [NATIVE[datatype], datatype]),
);

/** The protocol's name of an element type of onnxruntime; `undefined` for those it has none for (`int4`). */
export function datatypeOf(type: NativeType): TensorDatatype | undefined {
  return DATATYPE.get(type);
}

/** Whether `data` is stored as `datatype` says. */
export function isStoredAs(data: TensorData, datatype: TensorDatatype): boolean {
  return datatype === "BYTES" ? Array.isArray(data) : data instanceof TENSOR_ARRAYS[datatype];
}

/** That many elements of one value, 0 or 1. */
export function filled(datatype: TensorDatatype, length: number, value: 0 | 1): TensorData {
  if (datatype === "BYTES") return Array.from({ length }, () => Buffer.from(String(value)));
  if (datatype === "INT64" || datatype === "UINT64")
    return new TENSOR_ARRAYS[datatype](length).fill(BigInt(value));
  const one = datatype === "FP16" ? 0x3c00 : 1; // in half precision
  return new TENSOR_ARRAYS[datatype](length).fill(value * one);
}

/** @throws `INVALID_INPUT` where `BYTES` are no text that onnxruntime can hold. */
export function toNative({ name, datatype, shape, data }: NamedTensor): Tensor {
  if (datatype === "BYTES")
    return new Tensor("string", toStrings(name, data as readonly Uint8Array[]), shape); // `isStoredAs`
  const typed = data as Exclude<TensorData, readonly Uint8Array[]>; // likewise
  if (datatype === "FP16") return halfTensor(typed as Uint16Array, shape);
  if (datatype === "BOOL") return new Tensor("bool", toBits(typed as Uint8Array), shape);
  return new Tensor(NATIVE[datatype], typed as Float32Array, shape); // the pair is one of `NATIVE` and `ARRAYS`
}

/**
 * Where the engine knows `Float16Array`, the class makes one of the bits, which onnxruntime 1.30's native half does not know
 * ("not enough space: expected 6, got 0" on Node 24); it reads the property, so it is given the bits again.
 */
function halfTensor(bits: Uint16Array, shape: readonly number[]): Tensor {
  const tensor = new Tensor("float16", bits, shape);
  return Object.defineProperty(tensor, "data", { value: bits });
}

/** C++ leaves open what a truth value of 2 means. */
function toBits(bytes: Uint8Array): Uint8Array {
  return bytes.every((byte) => byte <= 1) ? bytes : bytes.map((byte) => (byte === 0 ? 0 : 1));
}

function toStrings(name: string, elements: readonly Uint8Array[]): string[] {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return elements.map((bytes, index) => {
    const which = `element ${index} of the input "${name}"`;
    if (bytes.includes(0))
      throw invalidInput(ACTION, `${which} has a zero byte, which the graph's strings cannot hold`);
    try {
      return decoder.decode(bytes);
    } catch (error) {
      throw invalidInput(ACTION, `${which} is not UTF-8, wanted a text`, error);
    }
  });
}

/** @throws when the graph gave something that the protocol has no name for, though its signature said otherwise. */
export function fromNative(name: string, { type, dims, data }: Tensor): NamedTensor {
  const datatype = datatypeOf(type);
  if (datatype === undefined) throw new Error(`the output "${name}" is ${type}`);
  return { name, datatype, shape: [...dims], data: fromData(data) };
}

function fromData(data: Tensor.DataType): TensorData {
  if (!ArrayBuffer.isView(data)) return data.map((text) => new Uint8Array(Buffer.from(text)));
  if (data.constructor.name !== "Float16Array") return data as Exclude<TensorData, readonly []>; // a typed array of `ARRAYS`
  return new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
}
