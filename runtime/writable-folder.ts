/**
 * Where something may be written: the wanted folder, or else one of this user's own in the temporary folder.
 *
 * In a cluster the root file system is read-only, the user is any number and has no home. What would lie there lies below
 * `/tmp` then, and the log says so.
 */
import { accessSync, constants, existsSync, lstatSync, mkdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { RuntimeError, systemCodeOf } from "./errors.ts";
import type { Log } from "./observe/log.ts";

/**
 * Whether this user may create files in a folder, which may have yet to be made. A file in its place is somebody's mistake,
 * and is left to whoever comes to write; `/dev/null` is how systems spell "no home".
 */
export function isWritable(folder: string): boolean {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true) return stats?.isFile() === true;
  try {
    accessSync(path, constants.W_OK | constants.X_OK); // a read-only file system refuses root as well
    return true;
  } catch {
    return false; // that is the answer
  }
}

/**
 * @param name What the folder is called where another has to take its place.
 * @returns `wanted`, or its place below the temporary folder.
 * @throws RuntimeError `INVALID_OPTION` when neither can be written.
 */
export function writableFolder(wanted: string, name: string, log: Log): string {
  if (isWritable(wanted)) return wanted;
  const folder = join(temporaryFolder(), name);
  log.info(`Cannot write to ${wanted}: using ${folder} in its place`);
  return folder;
}

/**
 * This user's own folder in the temporary folder, which several users may share: what another one has laid there, packages
 * say, must not be run.
 */
export function temporaryFolder(): string {
  const folder = temporaryPath();
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (systemCodeOf(error) !== "EEXIST") throw noPlace(folder, systemCodeOf(error) ?? "", error);
    const stats = lstatSync(folder);
    if (!stats.isDirectory() || stats.uid !== ownNumber())
      throw noPlace(folder, "it belongs to somebody else");
  }
  return folder;
}

/** Where `temporaryFolder` is, or will be. */
export function temporaryPath(): string {
  return join(tmpdir(), `hubserve-${ownNumber()}`);
}

/** 0 on Windows, as `lstat` has it: there each user has a temporary folder of their own. */
function ownNumber(): number {
  return process.getuid?.() ?? 0;
}

function noPlace(folder: string, why: string, cause?: unknown): RuntimeError {
  return new RuntimeError(
    "INVALID_OPTION",
    `Cannot write to ${folder}: ${why}; mount a folder that can be written at ${tmpdir()}, or set TMPDIR`,
    { cause },
  );
}
