/**
 * What a push would change, found out before anything is sent: local files beside those that the Hub lists.
 *
 * Files are compared by the hash that the Hub keeps of them: git's own for those in git, sha256 for large ones.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve, sep } from "node:path";
import { RuntimeError } from "../errors.ts";
import { quote } from "./hub-errors.ts";
import { findPathProblem, type ListedFile } from "./hub-listing.ts";

/** One file of the repository's folder. */
export interface LocalFile {
  /** Relative to the repository, with `/`: where it will be on the Hub. */
  readonly path: string;
  /** Absolute. */
  readonly file: string;
  /** In bytes. */
  readonly size: number;
}

export interface PushChange extends LocalFile {
  readonly state: "added" | "changed" | "unchanged";
  /** How large it is on the Hub now, where it is there. */
  readonly sizeBefore?: number;
}

/**
 * Looks up files of a folder.
 *
 * @param paths Relative to the folder; what is named twice counts once.
 * @throws RuntimeError `INVALID_OPTION` for what is no file below the folder.
 */
export async function findLocalFiles(
  folder: string,
  paths: readonly string[],
): Promise<readonly LocalFile[]> {
  const files: LocalFile[] = [];
  for (const given of new Set(paths.map((path) => path.replaceAll("\\", "/")))) {
    const path = given.replace(/^(?:\.\/)+/, "");
    const problem = findPathProblem(path);
    const file = resolve(folder, path);
    if (problem !== undefined || !file.startsWith(folder + sep)) {
      const why = problem ?? "leaves the folder";
      throw new RuntimeError("INVALID_OPTION", `Cannot push ${quote(given)}: its path ${why}`);
    }
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) {
      const what = found === undefined ? "there is no such file" : "it is no file";
      throw new RuntimeError("INVALID_OPTION", `Cannot push ${quote(path)}: ${what} in ${folder}`);
    }
    if (!files.some((each) => each.path === path)) files.push({ path, file, size: found.size });
  }
  return files;
}

/** Compares local files with what the Hub lists. */
export async function compareFiles(
  files: readonly LocalFile[],
  listing: readonly ListedFile[],
): Promise<readonly PushChange[]> {
  const remote = new Map(listing.map((each) => [each.path, each]));
  const changes: PushChange[] = [];
  for (const local of files) {
    const there = remote.get(local.path);
    if (there === undefined) changes.push({ ...local, state: "added" });
    else {
      const state = (await isSame(local, there)) ? "unchanged" : "changed";
      changes.push({ ...local, state, sizeBefore: there.size });
    }
  }
  return changes;
}

/** Whether a file here has the content that the Hub lists. */
export async function isSame(
  { file, size }: Pick<LocalFile, "file" | "size">,
  listed: Pick<ListedFile, "size" | "oid" | "sha256">,
): Promise<boolean> {
  if (size !== listed.size) return false;
  return (await hashOf(file, listed)) === (listed.sha256 ?? listed.oid);
}

/** The hash of a file's content, of the kind that is listed for it. */
export async function hashOf(
  file: string,
  { sha256, size }: Pick<ListedFile, "sha256" | "size">,
): Promise<string> {
  const hash =
    sha256 === undefined ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array); // no encoding was set
  return hash.digest("hex");
}
