/**
 * What a model file may hold before anything of it is decoded.
 *
 * A model is input from a stranger. Decoding makes an object of every message and a number of every element of
 * `int64_data`, so a small file could fill the memory. The walk below makes nothing: it steps over the fields and counts
 * everything but raw weights, which stay where they are.
 */
import protobuf from "protobufjs/light.js";

export interface OnnxLimits {
  /** The largest file; external data does not count, as it is not read. */
  readonly fileBytes: number;
  /** The most bytes besides raw weights: nodes, names, shapes, weights that are written out as lists. */
  readonly structureBytes: number;
  /** How many graphs may lie in one another. */
  readonly depth: number;
}

export const ONNX_LIMITS: OnnxLimits = {
  fileBytes: 2 ** 31 - 1, // protobuf's own limit for a message
  structureBytes: 2 ** 26, // 64 MiB; a language model of 80 layers has about five
  depth: 16,
};

type Kind = "model" | "function" | "graph" | "node" | "attribute" | "tensor";

/** Field number → the message it holds, for all that can lead to a tensor. */
const CHILDREN: Readonly<Record<Kind, ReadonlyMap<number, Kind>>> = {
  model: new Map([
    [7, "graph"],
    [25, "function"],
  ]),
  function: new Map([[7, "node"]]),
  graph: new Map([
    [1, "node"],
    [5, "tensor"],
  ]),
  node: new Map([[5, "attribute"]]),
  attribute: new Map([
    [5, "tensor"],
    [10, "tensor"],
    [6, "graph"],
    [11, "graph"],
  ]),
  tensor: new Map(),
};

const RAW_DATA = 9; // of a tensor

/**
 * Walks over a file.
 *
 * @returns What is wrong, as the end of a sentence, or `undefined`.
 * @throws Errors of protobufjs where the bytes are cut off or no protobuf message.
 */
export function findExcess(bytes: Uint8Array, limits: OnnxLimits): string | undefined {
  const reader = protobuf.Reader.create(bytes);
  let weightBytes = 0;
  let deepest = 0;

  function walk(kind: Kind, end: number, depth: number): void {
    deepest = Math.max(deepest, depth);
    while (reader.pos < end && deepest <= limits.depth) {
      const tag = reader.uint32();
      const [field, wire] = [tag >>> 3, tag & 7];
      if (wire !== 2) {
        reader.skipType(wire);
        continue;
      }
      const length = reader.uint32();
      const child = CHILDREN[kind].get(field);
      if (reader.pos + length > end) throw new RangeError("a length reaches beyond its message");
      if (child === undefined) {
        if (kind === "tensor" && field === RAW_DATA) weightBytes += length;
        reader.skip(length);
      } else walk(child, reader.pos + length, depth + (child === "graph" ? 1 : 0));
    }
  }

  walk("model", bytes.length, 0);
  if (deepest > limits.depth) return `graphs lie in one another more than ${limits.depth} deep`;
  const structureBytes = bytes.length - weightBytes;
  if (structureBytes <= limits.structureBytes) return undefined;
  return `${structureBytes} bytes are not raw weights, wanted at most ${limits.structureBytes}`;
}
