/**
 * Attributes and small constants of a node as plain values.
 */
import {
  ATTRIBUTE,
  ELEMENT,
  type Attribute,
  type Int64,
  type Node,
  type Tensor,
} from "./onnx-schema.ts";

/** What an attribute of our own nodes may be: whole numbers, texts, lists of whole numbers, or a number with a fraction. */
export type AttributeValue = number | string | readonly number[] | { readonly float: number };

export function findAttribute(node: Node, name: string): Attribute | undefined {
  return node.attribute?.find((attribute) => attribute.name === name);
}

export function intOf(node: Node, name: string): number | undefined;
export function intOf(node: Node, name: string, otherwise: number): number;
export function intOf(node: Node, name: string, otherwise?: number): number | undefined {
  const attribute = findAttribute(node, name);
  return attribute === undefined ? otherwise : toNumber(attribute.i ?? 0);
}

export function floatOf(node: Node, name: string, otherwise: number): number {
  const attribute = findAttribute(node, name);
  return attribute === undefined ? otherwise : (attribute.f ?? 0);
}

export function intsOf(node: Node, name: string): number[] | undefined {
  return findAttribute(node, name)?.ints?.map(toNumber);
}

export function stringOf(node: Node, name: string, otherwise: string): string {
  const bytes = findAttribute(node, name)?.s;
  return bytes === undefined ? otherwise : Buffer.from(bytes).toString();
}

/** Beyond 2⁵³ a value is only an "until the end" of a Slice, where its last digits do not matter. */
export function toNumber(value: Int64): number {
  return typeof value === "number" ? value : value.high * 2 ** 32 + (value.low >>> 0);
}

export function toAttribute(name: string, value: AttributeValue): Attribute {
  if (typeof value === "number") return { name, i: value, type: ATTRIBUTE.int };
  if (typeof value === "string") return { name, s: Buffer.from(value), type: ATTRIBUTE.string };
  if ("float" in value) return { name, f: value.float, type: ATTRIBUTE.float };
  return { name, ints: [...value], type: ATTRIBUTE.ints };
}

/** A weight's shape. */
export function dimsOf(tensor: Tensor): number[] {
  return (tensor.dims ?? []).map(toNumber);
}

/** The elements of a small tensor of numbers; `undefined` for large, external or other ones. */
export function numbersOf(tensor: Tensor, most = 64): number[] | undefined {
  const count = dimsOf(tensor).reduce((product, size) => product * size, 1);
  if (count > most || (tensor.externalData?.length ?? 0) > 0) return undefined;
  const { rawData, dataType } = tensor;
  if (rawData !== undefined && rawData.length > 0) return readRaw(rawData, dataType ?? 0, count);
  if (dataType === ELEMENT.float32) return tensor.floatData;
  if (dataType === ELEMENT.float64) return tensor.doubleData;
  if (dataType === ELEMENT.int64) return tensor.int64Data?.map(toNumber);
  return dataType === ELEMENT.int32 || dataType === ELEMENT.bool ? tensor.int32Data : undefined;
}

function readRaw(raw: Uint8Array, element: number, count: number): number[] | undefined {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const read = (bytes: number, at: (offset: number) => number): number[] | undefined =>
    raw.byteLength < bytes * count
      ? undefined
      : Array.from({ length: count }, (_, index) => at(index * bytes));
  switch (element) {
    case ELEMENT.float32:
      return read(4, (offset) => view.getFloat32(offset, true));
    case ELEMENT.float64:
      return read(8, (offset) => view.getFloat64(offset, true));
    case ELEMENT.int64:
      return read(8, (offset) => Number(view.getBigInt64(offset, true)));
    case ELEMENT.int32:
      return read(4, (offset) => view.getInt32(offset, true));
    case ELEMENT.bool:
      return read(1, (offset) => view.getUint8(offset));
    default:
      return undefined;
  }
}
