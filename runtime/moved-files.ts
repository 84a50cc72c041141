/**
 * Files that are written below the current folder unless told otherwise: keys and snapshots. Where that folder cannot be
 * written, as in a container whose root file system is read-only, they lie in this user's own temporary folder.
 */
import { join, resolve } from "node:path";
import { isWritable, temporaryPath } from "./writable-folder.ts";

/**
 * @param path As it stands by default, relative to `cwd`.
 * @param isDefault Whether nobody said so: a path that was named is kept, and fails with its own sentence.
 */
export function placeToWrite(path: string, isDefault: boolean, cwd: string): string {
  if (!isDefault || isWritable(resolve(cwd, path, ".."))) return path;
  return join(temporaryPath(), path);
}
