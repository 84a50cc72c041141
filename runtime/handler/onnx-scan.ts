/**
 * What a `.onnx` file may make onnxruntime read, looked at before a session is made of it.
 *
 * A model file is input from a stranger. Its tensors may lie in other files, which it names: `external_data`, wherever a
 * tensor can stand, in the weights, in the attributes of nodes, in inner graphs and functions. onnxruntime reads what it is
 * told, so each name may lead to a file of the model only (`../explain/onnx-external.ts`). Besides, no part of the model may
 * be a compiled one of another program in a file of its own (`EPContext`), nor the file be of ORT's own format, which nobody
 * here can read.
 *
 * The file is walked, not decoded, and never as a whole in memory. That it is a good model is for onnxruntime to say.
 */
import { basename } from "node:path";

import { messageOf, RuntimeError, systemCodeOf } from "../errors.ts";
import { EXTERNAL, folderOf, resolveExternal, type ModelFolder } from "../explain/onnx-external.ts";
import { WIRE, WireReader } from "./onnx-scan-reader.ts";

/** Messages of `onnx.proto3` (onnx 1.19) that a tensor, or the name of an operator, can lie in. */
type Kind =
  | "model"
  | "training"
  | "function"
  | "graph"
  | "node"
  | "attribute"
  | "sparse tensor"
  | "tensor";

/** Field number → the message it holds. */
const CHILDREN: Readonly<Record<Kind, ReadonlyMap<number, Kind>>> = {
  model: new Map<number, Kind>([
    [7, "graph"],
    [20, "training"],
    [25, "function"],
  ]),
  training: new Map<number, Kind>([
    [1, "graph"],
    [2, "graph"],
  ]),
  function: new Map<number, Kind>([
    [7, "node"],
    [11, "attribute"],
  ]),
  graph: new Map<number, Kind>([
    [1, "node"],
    [5, "tensor"],
    [15, "sparse tensor"],
  ]),
  node: new Map<number, Kind>([[5, "attribute"]]),
  attribute: new Map<number, Kind>([
    [5, "tensor"],
    [6, "graph"],
    [10, "tensor"],
    [11, "graph"],
    [22, "sparse tensor"],
    [23, "sparse tensor"],
  ]),
  "sparse tensor": new Map<number, Kind>([
    [1, "tensor"],
    [2, "tensor"],
  ]),
  tensor: new Map(),
};

/** Field numbers of `NodeProto`, `TensorProto` and `StringStringEntryProto`. */
const OP_TYPE = 4;
const TENSOR = { name: 8, externalData: 13, dataLocation: 14 } as const;
const ENTRY = { key: 1, value: 2 } as const;

/** How deep messages may lie in one another: 16 graphs, each in an attribute of a node. */
const DEEPEST = 48;

/**
 * @param path Absolute.
 * @param name What it is called in messages.
 * @throws RuntimeError `MODEL_INVALID` with what the file would make onnxruntime read.
 */
export function scanOnnxFile(path: string, name = basename(path)): void {
  try {
    using reader = new WireReader(path);
    assertNotOrtFormat(reader);
    walk(reader, "model", { end: reader.size, depth: 0, folder: folderOf(path) });
  } catch (error) {
    const reason = systemCodeOf(error) ?? messageOf(error);
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot load ${name}: ${error instanceof RuntimeError ? lowerFirst(error.message) : reason}`,
      { cause: error },
    );
  }
}

interface Place {
  readonly end: number;
  readonly depth: number;
  readonly folder: ModelFolder;
}

function walk(reader: WireReader, kind: Kind, { end, depth, folder }: Place): void {
  if (depth > DEEPEST) throw new RangeError("its graphs lie in one another more than 16 deep");
  while (reader.position < end) {
    const { number, wire } = reader.field(end);
    const child = wire === WIRE.bytes ? CHILDREN[kind].get(number) : undefined;
    if (child !== undefined) {
      const place = { end: reader.endOfBytes(end), depth: depth + 1, folder };
      if (child === "tensor") checkTensor(reader, place);
      else walk(reader, child, place);
    } else if (kind === "node" && number === OP_TYPE && wire === WIRE.bytes) {
      if (reader.text(reader.endOfBytes(end)) === "EPContext")
        throw new RangeError("a part of it is compiled for another device (EPContext)");
    } else reader.skip(wire, end);
  }
}

/** Every location that is named counts, whatever the tensor says of where its data are. */
function checkTensor(reader: WireReader, { end, folder }: Place): void {
  let name = "";
  let isExternal = false;
  const entries: { key: string; value: string }[] = [];
  while (reader.position < end) {
    const { number, wire } = reader.field(end);
    if (number === TENSOR.dataLocation && wire === WIRE.varint) {
      if (reader.varint(end) === EXTERNAL) isExternal = true;
    } else if (number === TENSOR.name && wire === WIRE.bytes) {
      name = reader.text(reader.endOfBytes(end));
    } else if (number === TENSOR.externalData && wire === WIRE.bytes) {
      entries.push(readEntry(reader, reader.endOfBytes(end)));
      if (entries.length > MOST_ENTRIES)
        throw new RangeError(
          `a tensor of it has more than ${MOST_ENTRIES} entries of external data`,
        );
    } else reader.skip(wire, end);
  }
  if (!isExternal && entries.length === 0) return;
  if (new Set(entries.map(({ key }) => key)).size < entries.length)
    throw new RangeError("a tensor of it names where its data are more than once");
  resolveExternal({ name: name.slice(0, 80), externalData: entries }, folder);
}

/** Four that the specification knows, and those of weights that onnxruntime has packed beforehand. */
const MOST_ENTRIES = 64;

function readEntry(reader: WireReader, end: number): { key: string; value: string } {
  const entry = { key: "", value: "" };
  while (reader.position < end) {
    const { number, wire } = reader.field(end);
    if (wire === WIRE.bytes && number === ENTRY.key)
      entry.key = reader.text(reader.endOfBytes(end));
    else if (wire === WIRE.bytes && number === ENTRY.value)
      entry.value = reader.text(reader.endOfBytes(end));
    else reader.skip(wire, end);
  }
  return entry;
}

/** A flatbuffer with `ORTM` behind its first four bytes. */
function assertNotOrtFormat(reader: WireReader): void {
  if (reader.size < 8) return;
  reader.position = 4;
  const mark = reader.text(8);
  reader.position = 0;
  if (mark === "ORTM") throw new RangeError("it is of ORT's own format, wanted ONNX");
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
