/**
 * Writes an ONNX file: the protobuf of `onnx.proto3` by hand, as much of it as a transformer needs.
 *
 * It checks nothing: onnxruntime does when it opens the file. Which nodes a model has is `encoder-graph.ts`'s business.
 *
 * Source: https://github.com/onnx/onnx/blob/v1.17.0/onnx/onnx.proto3 for the field numbers that stand below as bare
 * numbers, https://protobuf.dev/programming-guides/encoding for the wire.
 */
import { closeSync, openSync, writevSync } from "node:fs";

/** `TensorProto.DataType`. */
const DATA_TYPES = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7 } as const;
export type DataType = keyof typeof DATA_TYPES;

export type Attribute = number | readonly number[] | { readonly float: number };

/** A graph's input or output: a dimension is a number, or a name where it is dynamic. */
export interface Port {
  readonly name: string;
  readonly type: DataType;
  readonly shape: readonly (number | string)[];
}

/** A graph under construction. Each method returns the name of the tensor it makes. */
export interface GraphWriter {
  readonly input: (port: Port) => string;
  readonly output: (port: Port) => void;
  /** @param data The values, row-major; kept, not copied, until the file is written. */
  readonly constant: (
    type: DataType,
    dims: readonly number[],
    data: Uint8Array | Int8Array | Int32Array | Float32Array | BigInt64Array,
  ) => string;
  /** @param outputs How many; their names are `<result>`, `<result>.1`, … */
  readonly node: (
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
    outputs?: number | string,
  ) => string;
  /** @param opset The version of the default operator set that the nodes are written for. */
  readonly write: (file: string, opset: number) => void;
}

export function createGraphWriter(name: string): GraphWriter {
  const nodes: Message[] = [];
  const constants: Message[] = [];
  const inputs: Message[] = [];
  const outputs: Message[] = [];
  let count = 0;

  return {
    input(port) {
      inputs.push(toValueInfo(port));
      return port.name;
    },
    output: (port) => void outputs.push(toValueInfo(port)),
    constant(type, dims, data) {
      const name = `c${count++}`;
      constants.push(
        message(
          ...dims.map((dim) => integer(1, dim)),
          integer(2, DATA_TYPES[type]),
          text(8, name),
          bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
        ),
      );
      return name;
    },
    node(op, from, attributes = {}, to = 1) {
      const result = typeof to === "string" ? to : `t${count++}`;
      const names = Array.from({ length: typeof to === "string" ? 1 : to }, (_, i) =>
        i === 0 ? result : `${result}.${i}`,
      );
      nodes.push(
        message(
          ...from.map((name) => text(1, name)),
          ...names.map((name) => text(2, name)),
          text(3, `${op}_${count}`),
          text(4, op),
          ...Object.entries(attributes).map(([key, value]) => nested(5, toAttribute(key, value))),
        ),
      );
      return result;
    },
    write(file, opset) {
      const graph = message(
        ...nodes.map((node) => nested(1, node)),
        text(2, name),
        ...constants.map((constant) => nested(5, constant)),
        ...inputs.map((port) => nested(11, port)),
        ...outputs.map((port) => nested(12, port)),
      );
      const model = message(
        integer(1, 8), // the IR version of opset 17's release, ONNX 1.12
        text(2, "hubserve bench"),
        nested(7, graph),
        nested(8, message(integer(2, opset))),
      );
      writeChunks(file, model.chunks);
    },
  };
}

/** A protobuf message as the pieces of its encoding: weights are never copied. */
interface Message {
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
}

function message(...fields: readonly Message[]): Message {
  return {
    chunks: fields.flatMap(({ chunks }) => chunks),
    length: fields.reduce((sum, { length }) => sum + length, 0),
  };
}

function integer(field: number, value: number): Message {
  return chunk([...varint(field << 3), ...varint(value)]);
}

function float(field: number, value: number): Message {
  const data = new Uint8Array(new Float32Array([value]).buffer); // every platform of Node is little-endian
  return chunk([...varint((field << 3) | 5), ...data]);
}

function bytes(field: number, data: Uint8Array): Message {
  return nested(field, { chunks: [data], length: data.length });
}

function text(field: number, value: string): Message {
  return bytes(field, new TextEncoder().encode(value));
}

function nested(field: number, inner: Message): Message {
  const head = Uint8Array.from([...varint((field << 3) | 2), ...varint(inner.length)]);
  return { chunks: [head, ...inner.chunks], length: head.length + inner.length };
}

function chunk(values: readonly number[]): Message {
  return { chunks: [Uint8Array.from(values)], length: values.length };
}

/** Base-128 little-endian; negative numbers as 64-bit two's complement. */
function varint(value: number): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return [...out, Number(rest)];
}

function toAttribute(name: string, value: Attribute): Message {
  if (typeof value === "number") return message(text(1, name), integer(3, value), integer(20, 2));
  if ("float" in value) return message(text(1, name), float(2, value.float), integer(20, 1));
  return message(text(1, name), ...value.map((item) => integer(8, item)), integer(20, 7));
}

function toValueInfo({ name, type, shape }: Port): Message {
  const dims = shape.map((dim) =>
    nested(1, message(typeof dim === "number" ? integer(1, dim) : text(2, dim))),
  );
  const tensor = message(integer(1, DATA_TYPES[type]), nested(2, message(...dims)));
  return message(text(1, name), nested(2, message(nested(1, tensor))));
}

/** Chunks for one system call; Linux takes 1024. */
const MOST_CHUNKS = 1000;

function writeChunks(file: string, chunks: readonly Uint8Array[]): void {
  const descriptor = openSync(file, "w");
  try {
    for (let start = 0; start < chunks.length; start += MOST_CHUNKS) {
      const part = chunks.slice(start, start + MOST_CHUNKS);
      const wanted = part.reduce((sum, { length }) => sum + length, 0);
      const written = writevSync(descriptor, part);
      if (written !== wanted)
        throw new Error(`Cannot write "${file}": the disk took ${written} of ${wanted} bytes`);
    }
  } finally {
    closeSync(descriptor);
  }
}
