/**
 * Reads and writes ONNX models.
 *
 * Weights are never copied. A tensor's `rawData` is a view into the bytes of the file, external data is not read at all,
 * and `toSession` writes a model that *refers* to both: onnxruntime maps the ranges of the original files into memory.
 * So a graph made from a model of several gigabytes is a few hundred kilobytes, and reading a model needs its file's
 * size (two gigabytes at most; what is larger has external data) only until the graph is made.
 *
 * @example
 * const model = await readOnnxModel("model/onnx/model.onnx");
 * const { bytes, options } = toSession(model);
 * const session = await InferenceSession.create(bytes, options);
 */
import { realpathSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, relative, sep } from "node:path";

import { checkGraph } from "./onnx-check.ts";
import {
  EXTERNAL,
  folderOf,
  isExternal,
  resolveExternal,
  toEntries,
  type ExternalData,
} from "./onnx-external.ts";
import { findExcess, ONNX_LIMITS, type OnnxLimits } from "./onnx-limits.ts";
import { decodeModel, encodeModel, type ModelProto, type Tensor } from "./onnx-schema.ts";
import { messageOf, RuntimeError } from "../errors.ts";

/** A checked model: names are unique, and nodes come after what they read. */
export interface OnnxModel extends ModelProto {
  /** The file it was read from; absent for a model made in memory. */
  readonly file?: OnnxFile;
}

export interface OnnxFile {
  /** Without links. */
  readonly path: string;
  /** What tensors' `rawData` are views into. */
  readonly bytes: Uint8Array;
  /** A weight's name → where its data are, by paths that were checked and have no links. */
  readonly external: ReadonlyMap<string, ExternalData>;
}

/** Weights smaller than this are written into a graph that otherwise refers to the model's files. */
const INLINE_BYTES = 1024;

/**
 * @param limits What the file may hold, where it differs from `ONNX_LIMITS`.
 * @throws `MODEL_INVALID` with the reason: too large, broken, paths out of the folder, training graphs.
 */
export async function readOnnxModel(
  path: string,
  limits: Partial<OnnxLimits> = {},
): Promise<OnnxModel> {
  const name = basename(path);
  const bytes = await readBytes(path, limits.fileBytes ?? ONNX_LIMITS.fileBytes);
  const model = parseOnnxModel(bytes, { name, limits });
  const folder = folderOf(path);
  const external = new Map<string, ExternalData>();
  for (const tensor of model.graph.initializer.filter(isExternal))
    external.set(tensor.name ?? "", resolveExternal(tensor, folder));
  return { ...model, file: { path: realpathSync(path), bytes, external } };
}

/** The model in `bytes`, whose external data, if any, is left unchecked. @throws `MODEL_INVALID` */
export function parseOnnxModel(
  bytes: Uint8Array,
  { name = "the model", limits = {} }: { name?: string; limits?: Partial<OnnxLimits> } = {},
): OnnxModel {
  let model: Partial<ModelProto>;
  try {
    const excess = findExcess(bytes, { ...ONNX_LIMITS, ...limits });
    if (excess !== undefined) throw new RangeError(excess);
    model = decodeModel(bytes);
  } catch (error) {
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return checkGraph(model, name);
}

/**
 * The bytes of a `.onnx` file, with all weights that the model holds in memory. External data stays external: the file
 * belongs into the folder that the model was read from.
 */
export function writeOnnxModel(model: OnnxModel): Uint8Array {
  const { file: _, ...proto } = model;
  return encodeModel(proto);
}

/** What `InferenceSession.create` takes. */
export interface SessionSource {
  readonly bytes: Uint8Array;
  readonly options: { readonly extra?: { readonly session: Readonly<Record<string, string>> } };
}

/** A small graph that refers to the weights in the files the model was read from. */
export function toSession(model: OnnxModel): SessionSource {
  const { file, ...proto } = model;
  if (file === undefined) return { bytes: encodeModel(proto), options: {} };
  const ranges = new Map<Tensor, ExternalData>();
  for (const tensor of proto.graph.initializer) {
    const range = rangeOf(tensor, file);
    if (range !== undefined) ranges.set(tensor, range);
  }
  const folder = commonFolder([file.path, ...[...ranges.values()].map(({ location }) => location)]);
  const initializer = proto.graph.initializer.map((tensor) => {
    const range = ranges.get(tensor);
    if (range === undefined) return tensor;
    const { rawData: _, ...rest } = tensor;
    return { ...rest, dataLocation: EXTERNAL, externalData: toEntries(range, folder) };
  });
  return {
    bytes: encodeModel({ ...proto, graph: { ...proto.graph, initializer } }),
    options: { extra: { session: { model_external_initializers_file_folder_path: folder } } },
  };
}

/** Where the files hold the tensor's data; `undefined` for what is to be written out. */
function rangeOf(tensor: Tensor, { path, bytes, external }: OnnxFile): ExternalData | undefined {
  const { rawData } = tensor;
  if (isExternal(tensor)) return external.get(tensor.name ?? "");
  if (rawData === undefined || rawData.length < INLINE_BYTES) return undefined;
  if (rawData.buffer !== bytes.buffer) return undefined;
  return {
    location: path,
    offset: rawData.byteOffset - bytes.byteOffset,
    length: rawData.length,
  };
}

/** The deepest folder that holds all files: onnxruntime refuses a path that leads out of the folder it is given. */
function commonFolder(files: readonly string[]): string {
  let folder = dirname(files[0] ?? "/");
  for (const file of files)
    while (relative(folder, file).split(sep)[0] === "..") folder = dirname(folder);
  return folder;
}

async function readBytes(path: string, limit: number): Promise<Uint8Array> {
  const name = basename(path);
  try {
    const file = await open(path);
    try {
      const stats = await file.stat();
      if (!stats.isFile()) throw new Error("it is no file");
      if (stats.size > limit)
        throw new Error(`it has ${stats.size} bytes, wanted at most ${limit}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    const reason = messageOf(error).replaceAll(path, name);
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${name}: ${reason}`, { cause: error });
  }
}
