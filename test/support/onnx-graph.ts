/**
 * ONNX files written by hand, for models of which no small one exists: a test says what the graph computes, and computes
 * the same by itself.
 *
 * Only the fields of `onnx.proto3` (onnx 1.17) that a small graph needs; field numbers stand beside each.
 */

/** How the elements of a tensor are stored: `TensorProto.DataType`. */
const ELEMENT = {
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
} as const;
type Element = keyof typeof ELEMENT;

/** A graph's input or output; a named axis may have any size, as may one named "". */
export interface Port {
  readonly name: string;
  readonly element: Element;
  readonly shape: readonly (number | string)[];
}

/** One operation. */
export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** A weight. */
export interface Constant {
  readonly name: string;
  readonly element: "float" | "int64";
  readonly shape: readonly number[];
  readonly values: readonly number[];
  /** The file that holds the values in the model's place, beside it; whoever needs it writes it. */
  readonly file?: string;
}

export interface Graph {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly nodes: readonly Node[];
  readonly constants: readonly Constant[];
}

/** The bytes of a `.onnx` file; opset 17. Integer attributes are written as `INT` or `INTS`. */
export function encodeGraph({ inputs, outputs, nodes, constants }: Graph): Uint8Array {
  const graph = [
    ...nodes.map((node) => bytes(1, encodeNode(node))),
    text(2, "test"),
    ...constants.map((constant) => bytes(5, encodeConstant(constant))),
    ...inputs.map((port) => bytes(11, encodePort(port))),
    ...outputs.map((port) => bytes(12, encodePort(port))),
  ];
  const opset = Buffer.concat([text(1, ""), integer(2, 17)]);
  return Buffer.concat([integer(1, 8), bytes(7, Buffer.concat(graph)), bytes(8, opset)]);
}

function encodeNode({ op, inputs, outputs, attributes = {} }: Node): Buffer {
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) => bytes(5, encodeAttribute(name, value))),
  ]);
}

function encodeAttribute(name: string, value: number | readonly number[]): Buffer {
  const isList = typeof value !== "number";
  const values = isList ? value.map((entry) => integer(8, entry)) : [integer(3, value)];
  return Buffer.concat([text(1, name), ...values, integer(20, isList ? 7 : 2)]);
}

function encodeConstant({ name, element, shape, values, file }: Constant): Buffer {
  const data =
    element === "float"
      ? Buffer.from(Float32Array.from(values).buffer)
      : Buffer.from(BigInt64Array.from(values, BigInt).buffer);
  return Buffer.concat([
    ...shape.map((size) => integer(1, size)),
    integer(2, ELEMENT[element]),
    text(8, name),
    ...(file === undefined
      ? [bytes(9, data)]
      : [bytes(13, Buffer.concat([text(1, "location"), text(2, file)])), integer(14, 1)]),
  ]);
}

function encodePort({ name, element, shape }: Port): Buffer {
  const dims = shape.map((size) =>
    bytes(1, typeof size === "number" ? integer(1, size) : text(2, size)),
  );
  const tensor = [integer(1, ELEMENT[element]), bytes(2, Buffer.concat(dims))];
  return Buffer.concat([text(1, name), bytes(2, bytes(1, Buffer.concat(tensor)))]);
}

/** A field of wire type 0: a number. */
function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

/** A field of wire type 2: bytes after their length. */
function bytes(field: number, content: Uint8Array): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

/** Seven bits to a byte, the lowest first; a negative number takes the ten bytes of its 64 bits. */
function varint(value: number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Buffer.from(out);
}
