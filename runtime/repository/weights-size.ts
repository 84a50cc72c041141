/**
 * How much a repository's weights weigh, before anybody loads them: what decides how many workers the memory holds.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { chooseWeights, type Dtype } from "../weights.ts";

/** The only folders where `chooseWeights` looks. */
const FOLDERS = ["", "onnx/", "model/", "model/onnx/"] as const;

/**
 * The size of the files that would be loaded, external data included, in bytes; `undefined` where there are
 * none, as in the repository of a handler that brings its own.
 *
 * @param repository Its folder; links as in the Hub's cache are followed.
 */
export function sizeOfWeights(repository: string, dtype?: Dtype): number | undefined {
  const files = FOLDERS.flatMap((folder) =>
    namesIn(join(repository, folder)).map((name) => `${folder}${name}`),
  );
  const weights = chooseWeights(files, dtype);
  return weights?.files.reduce(
    (sum, file) => sum + (statSync(join(repository, file), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not there, or not ours to read: the load will say so in better words
  }
}
