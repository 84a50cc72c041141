/**
 * Weights that lie outside a `.onnx` file.
 *
 * A tensor's `external_data` names a file, an offset and a length. The name comes from a stranger, and onnxruntime reads
 * what it is told, so a name may lead nowhere but to a file of the model: inside the model's folder, or, where the
 * folder holds symbolic links as in the Hub's cache, beside the file that the `.onnx` itself is a link to.
 */
import { realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, relative, sep } from "node:path";

import type { Entry, Tensor } from "./onnx-schema.ts";
import { messageOf, RuntimeError } from "../errors.ts";

/** `TensorProto.DataLocation.EXTERNAL`. */
export const EXTERNAL = 1;

/** A range of bytes of a file. */
export interface ExternalData {
  /** Relative to the model's folder in a file; wherever `readOnnxModel` found it, an absolute path without links. */
  readonly location: string;
  readonly offset: number;
  /** Absent: to the end of the file. */
  readonly length?: number;
}

/** Where the model's files are. */
export interface ModelFolder {
  /** As named. */
  readonly path: string;
  /** Without links. */
  readonly real: string;
  /** The folder that the `.onnx` itself lies in, without links. */
  readonly realOfFile: string;
}

export function folderOf(file: string): ModelFolder {
  const path = dirname(file);
  return { path, real: realpathSync(path), realOfFile: dirname(realpathSync(file)) };
}

export function isExternal(tensor: Tensor): boolean {
  return tensor.dataLocation === EXTERNAL || (tensor.externalData?.length ?? 0) > 0;
}

/**
 * The range that a tensor names, with its path checked and freed of links.
 *
 * @throws `MODEL_INVALID`
 */
export function resolveExternal(tensor: Tensor, folder: ModelFolder): ExternalData {
  const name = toShown(tensor.name ?? "");
  const entries = new Map((tensor.externalData ?? []).map(({ key, value }) => [key, value]));
  const location = entries.get("location") ?? "";
  const parts = location.split(/[\\/]/);
  if (location === "" || isAbsolute(location) || parts.includes("..") || location.includes("\0"))
    throw invalid(
      name,
      `its external data is "${toShown(location)}", wanted a path inside the model's folder`,
    );
  const offset = integerOf(entries.get("offset") ?? "0", name, "offset");
  const length = entries.get("length");
  const range = {
    offset,
    ...(length !== undefined && { length: integerOf(length, name, "length") }),
  };
  const path = realPathOf(join(folder.path, location), name, location);
  if (!isInside(path, folder.real) && dirname(path) !== folder.realOfFile)
    throw invalid(
      name,
      `its external data "${toShown(location)}" is a link that leads out of the model's folder`,
    );
  const stats = statSync(path);
  if (!stats.isFile()) throw invalid(name, `its external data "${toShown(location)}" is no file`);
  const { size } = stats;
  if (offset + (range.length ?? 0) > size)
    throw invalid(
      name,
      `bytes ${offset} to ${offset + (range.length ?? 0)} of "${toShown(location)}" were named, which has ${size}`,
    );
  return { location: path, ...range };
}

/** `data` as the entries of a tensor, its location relative to `folder`. */
export function toEntries({ location, offset, length }: ExternalData, folder: string): Entry[] {
  const path = relative(folder, location).split(sep).join("/");
  return [
    { key: "location", value: path },
    { key: "offset", value: String(offset) },
    ...(length !== undefined ? [{ key: "length", value: String(length) }] : []),
  ];
}

function realPathOf(path: string, tensor: string, location: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot read the tensor "${tensor}": its external data "${toShown(location)}" is missing`,
      { cause: messageOf(error) },
    );
  }
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== "" && !isAbsolute(way) && way.split(sep)[0] !== "..";
}

function integerOf(text: string, tensor: string, what: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value)) return value;
  throw invalid(
    tensor,
    `the ${what} of its external data is "${toShown(text)}", wanted a whole number`,
  );
}

/** A stranger's text in a message: short, and on one line. */
function toShown(text: string): string {
  return text.slice(0, 200).replace(/\p{C}/gu, "?");
}

function invalid(tensor: string, problem: string): RuntimeError {
  return new RuntimeError("MODEL_INVALID", `Cannot read the tensor "${tensor}": ${problem}`);
}
