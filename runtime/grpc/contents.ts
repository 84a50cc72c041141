/**
 * A tensor's typed contents (`InferTensorContents`) and its elements.
 *
 * Each datatype has one list, several share one; FP16 has none and is sent raw. What comes in is read straight into typed
 * arrays, as a general decoder would make an object of each 64-bit integer. Raw contents are `tensor-codec.ts`'s.
 */
import protobuf from "protobufjs";

import { isRuntimeError } from "../errors.ts";
import {
  bytesPerElement,
  cannotRead,
  decodeTensor,
  describeShape,
  type TensorTitle,
} from "../http/protocols/tensor-codec.ts";
import type { NamedTensor, TensorData, TensorDatatype } from "../inference.ts";
import { readLongVarints } from "./long-varints.ts";

/** The lists, in the order of their field numbers, which begin at 1. */
const LIST_NAMES = [
  "bool_contents",
  "int_contents",
  "int64_contents",
  "uint_contents",
  "uint64_contents",
  "fp32_contents",
  "fp64_contents",
  "bytes_contents",
] as const;
type ListName = (typeof LIST_NAMES)[number];

const LISTS: Readonly<Record<Exclude<TensorDatatype, "FP16">, ListName>> = {
  BOOL: "bool_contents",
  INT8: "int_contents",
  INT16: "int_contents",
  INT32: "int_contents",
  INT64: "int64_contents",
  UINT8: "uint_contents",
  UINT16: "uint_contents",
  UINT32: "uint_contents",
  UINT64: "uint64_contents",
  FP32: "fp32_contents",
  FP64: "fp64_contents",
  BYTES: "bytes_contents",
};

/** Where the wire's 32 bits hold more than the datatype. */
const RANGES: Readonly<Partial<Record<TensorDatatype, readonly [least: number, most: number]>>> = {
  INT8: [-128, 127],
  INT16: [-32_768, 32_767],
  UINT8: [0, 255],
  UINT16: [0, 65_535],
};

/** Each is an object of its own here, whatever its length. */
export const MOST_BYTES_ELEMENTS = 1_000_000;

export interface ContentsOptions {
  readonly title: TensorTitle;
  /** How many elements there must be; whatever there is where absent. */
  readonly shape?: { readonly lengths: readonly number[]; readonly count: number } | undefined;
}

/**
 * Contents → elements.
 *
 * @param contents As it was encoded; empty where there is none.
 * @throws RuntimeError `INVALID_INPUT` for FP16, for the list of another datatype, for a number out of range, where there are too
 * many or too few, and where it is no `InferTensorContents`.
 */
export function readContents(
  contents: Uint8Array,
  datatype: TensorDatatype,
  { title, shape }: ContentsOptions,
): TensorData {
  if (datatype === "FP16" && contents.byteLength > 0)
    throw cannotRead(title, "FP16 has no typed contents, wanted it in raw_input_contents");
  try {
    const count = datatype === "FP16" ? 0 : countElements(contents, datatype, title);
    assertCount(count, datatype, { title, shape });
    return datatype === "FP16" ? new Uint16Array() : readElements(contents, datatype, count, title);
  } catch (error) {
    if (isRuntimeError(error)) throw error;
    throw cannotRead(title, "its contents are cut off or garbled, wanted InferTensorContents");
  }
}

/** @throws RuntimeError `INVALID_INPUT`. */
function assertCount(
  count: number,
  datatype: TensorDatatype,
  { title, shape }: ContentsOptions,
): void {
  if (shape !== undefined && count !== shape.count) {
    const wanted = `${shape.count} for the shape ${describeShape(shape.lengths)}`;
    throw cannotRead(title, `it has ${count} elements, wanted ${wanted}`);
  }
  if (datatype === "BYTES" && count > MOST_BYTES_ELEMENTS)
    throw cannotRead(title, `it has ${count} elements, wanted at most ${MOST_BYTES_ELEMENTS}`);
}

type Listed = Exclude<TensorDatatype, "FP16">;

function countElements(contents: Uint8Array, datatype: Listed, title: TensorTitle): number {
  const list = LISTS[datatype];
  const isFixed = datatype === "FP32" || datatype === "FP64";
  let count = 0;
  const onOther = (other: ListName): never => {
    throw cannotRead(title, `${datatype} is sent in ${list}, found ${other}`);
  };
  eachRun(contents, list, onOther, (reader, end) => {
    if (datatype === "BYTES") count++;
    else if (isFixed) count += (end - reader.pos) / (bytesPerElement(datatype) ?? 1);
    // Of a varint only the last byte has no high bit.
    else for (let at = reader.pos; at < end; at++) if ((contents[at] ?? 0) < 0x80) count++;
    reader.pos = end;
  });
  if (!Number.isInteger(count)) throw new RangeError("The last element is cut off");
  return count;
}

function readElements(
  contents: Uint8Array,
  datatype: Listed,
  count: number,
  title: TensorTitle,
): TensorData {
  const list = LISTS[datatype];
  let at = 0;
  const runs = (read: (reader: protobuf.Reader, end: number) => void): void =>
    eachRun(contents, list, () => undefined, read);
  const fill = <Element, Data extends { [index: number]: Element }>(
    data: Data,
    read: (reader: protobuf.Reader) => Element,
  ): Data => {
    runs((reader, end) => {
      for (; reader.pos < end; at++) data[at] = read(reader);
    });
    return data;
  };
  const fillLong = <Data extends BigInt64Array | BigUint64Array>(data: Data): Data => {
    runs((reader, end) => {
      at = readLongVarints(contents, [reader.pos, end], data, at);
      reader.pos = end;
    });
    return data;
  };
  const [least, most] = RANGES[datatype] ?? [-Infinity, Infinity];
  const inRange = (value: number): number => {
    if (value >= least && value <= most) return value;
    throw cannotRead(
      title,
      `element ${at} is ${value}, wanted ${datatype} from ${least} to ${most}`,
    );
  };
  switch (datatype) {
    case "BOOL":
      return fill(new Uint8Array(count), (reader) => Number(reader.bool()));
    case "INT8":
      return fill(new Int8Array(count), (reader) => inRange(reader.int32()));
    case "INT16":
      return fill(new Int16Array(count), (reader) => inRange(reader.int32()));
    case "INT32":
      return fill(new Int32Array(count), (reader) => reader.int32());
    case "INT64":
      return fillLong(new BigInt64Array(count));
    case "UINT8":
      return fill(new Uint8Array(count), (reader) => inRange(reader.uint32()));
    case "UINT16":
      return fill(new Uint16Array(count), (reader) => inRange(reader.uint32()));
    case "UINT32":
      return fill(new Uint32Array(count), (reader) => reader.uint32());
    case "UINT64":
      return fillLong(new BigUint64Array(count));
    case "FP32":
    case "FP64": {
      const bytes = new Uint8Array(count * (bytesPerElement(datatype) ?? 1));
      runs((reader, end) => {
        bytes.set(contents.subarray(reader.pos, end), at);
        at += end - reader.pos;
        reader.pos = end;
      });
      return decodeTensor(bytes, datatype, { title, count });
    }
    case "BYTES": {
      const elements: Uint8Array[] = [];
      runs((reader, end) => {
        elements.push(new Uint8Array(contents.subarray(reader.pos, end))); // a copy: the message need not stay
        reader.pos = end;
      });
      return elements;
    }
  }
}

/**
 * Walks a list's runs: packed elements, one that stands alone, or one byte string. `read` leaves the reader at the run's end.
 *
 * @param onOther Told of another list that has something in it.
 */
function eachRun(
  contents: Uint8Array,
  list: ListName,
  onOther: (list: ListName) => void,
  read: (reader: protobuf.Reader, end: number) => void,
): void {
  const reader = protobuf.Reader.create(contents);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const found = LIST_NAMES[(tag >>> 3) - 1];
    const isPacked = (tag & 7) === 2; // length-delimited
    const length = isPacked ? reader.uint32() : 0;
    const start = reader.pos;
    if (isPacked) reader.skip(length);
    else reader.skipType(tag & 7);
    const end = reader.pos;
    if (found === list) {
      reader.pos = start;
      read(reader, end);
      if (reader.pos !== end) throw new RangeError("An element goes beyond its run");
    } else if (found !== undefined && (length > 0 || !isPacked)) onOther(found);
  }
}

/** As it is encoded: 64-bit integers are decimal text. */
export type TensorContents = Readonly<Partial<Record<ListName, readonly unknown[]>>>;

/** Elements → contents; FP16 has none, so an answer with it goes raw. */
export function writeContents({
  datatype,
  data,
}: Pick<NamedTensor, "datatype" | "data">): TensorContents {
  if (datatype === "FP16") throw new TypeError("FP16 has no typed contents");
  const elements: readonly unknown[] = Array.from<unknown>(data);
  const values =
    datatype === "BOOL"
      ? elements.map(Boolean)
      : // The encoder knows no BigInt; decimal text loses nothing.
        elements.map((value) => (typeof value === "bigint" ? value.toString() : value));
  return { [LISTS[datatype]]: values };
}
