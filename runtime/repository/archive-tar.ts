/**
 * Reads gzipped tar archives: `.tar.gz` and `.tgz`.
 *
 * A tar file has no listing, so entries are checked as they come and written at once; who calls unpacks into a folder
 * that he can throw away. Links, devices and pipes are refused.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import { messageOf } from "../errors.ts";
import { refused, type EntryGuard } from "./archive-entries.ts";

/** A name or a comment longer than that is no archiver's. */
const LONGEST_HEADER_BYTES = 64 * 1024;

const KINDS: Readonly<Record<string, string>> = {
  File: "file",
  OldFile: "file",
  ContiguousFile: "file",
  Directory: "folder",
  GNUDumpDir: "folder",
  SymbolicLink: "a symbolic link",
  Link: "a hard link",
  CharacterDevice: "a device",
  BlockDevice: "a device",
  FIFO: "a pipe",
};

/** Unpacks the archive below `folder`, which is there. Throws `REPOSITORY_INVALID`; what was written stays. */
export async function unpackTar(
  { path, name }: { readonly path: string; readonly name: string },
  folder: string,
  { guard, signal }: { readonly guard: EntryGuard; readonly signal: AbortSignal },
): Promise<void> {
  let failure: unknown;
  const fail = (error: unknown): void => void (failure ??= error);
  const writes: Promise<void>[] = [];
  const parser = new Parser({
    maxMetaEntrySize: LONGEST_HEADER_BYTES,
    onReadEntry(entry) {
      if (failure === undefined) writes.push(writeEntry(entry, folder, name, guard).catch(fail));
      else entry.resume(); // an entry that nobody reads would hold the parser
    },
    // What is only odd (a time before 1970) is let through; a broken header or a file that ends too early is not.
    onwarn: (code, message) => {
      if (code !== "TAR_ENTRY_INFO") fail(refused(name, `it is damaged (${messageOf(message)})`));
    },
  });
  parser.on("error", fail);
  const ended = new Promise<void>((resolve) => {
    parser.once("end", resolve);
    parser.once("close", resolve);
  });

  const source = createReadStream(path);
  const plain = createGunzip();
  const unpacking = pipeline(source, plain, { signal }).catch(fail);
  try {
    for await (const chunk of plain) {
      if (failure !== undefined) break;
      if (!parser.write(chunk as Buffer)) await Promise.race([once(parser, "drain"), ended]); // no encoding is set
    }
  } catch (error) {
    fail(error);
  }
  await unpacking;
  parser.end();
  if (failure === undefined) await ended;
  await Promise.all(writes);
  signal.throwIfAborted();
  if (failure !== undefined) throw toRefusal(failure, name);
}

async function writeEntry(
  entry: ReadEntry,
  folder: string,
  archive: string,
  guard: EntryGuard,
): Promise<void> {
  try {
    const kind = KINDS[entry.type] ?? `a ${entry.type}`;
    const inside = guard.admit({ name: entry.path, kind, bytes: entry.size });
    const target = join(folder, inside);
    if (kind === "folder") {
      entry.resume();
      await mkdir(target, { recursive: true });
      return;
    }
    if (inside === "") throw refused(archive, "it has a file without a name");
    await mkdir(dirname(target), { recursive: true });
    await pipeline(entry, createWriteStream(target, { flags: "wx", mode: 0o644 }));
  } catch (error) {
    entry.resume();
    throw error;
  }
}

/** Errors of the disk and of a signal say more as they are. */
function toRefusal(error: unknown, archive: string): unknown {
  if (!(error instanceof Error) || error.name === "RuntimeError") return error;
  if (error.name === "AbortError" || "syscall" in error) return error;
  return refused(archive, `it is damaged (${messageOf(error)})`, error);
}
