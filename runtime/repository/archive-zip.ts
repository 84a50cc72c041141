/**
 * Reads zip archives: `.mar` files, and `.zip`.
 *
 * The whole listing is checked before the first file is written, each file's size and CRC while it is. Links, encrypted
 * entries and methods other than stored and deflated are refused.
 */
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import yauzl, { type Entry as ZipEntry, type ZipFile } from "yauzl";
import { messageOf } from "../errors.ts";
import { ARCHIVE_LIMITS, refused, type EntryGuard } from "./archive-entries.ts";

export interface ZipSource {
  /** The archive, absolute. */
  readonly path: string;
  /** Its file name, for messages. */
  readonly name: string;
}

/** Unpacks the archive below `folder`, which is there. Throws `REPOSITORY_INVALID`; what was written stays. */
export async function unpackZip(
  { path, name }: ZipSource,
  folder: string,
  { guard, signal }: { readonly guard: EntryGuard; readonly signal: AbortSignal },
): Promise<void> {
  await withZip({ path, name }, async (zip) => {
    const files: { entry: ZipEntry; target: string }[] = [];
    for await (const entry of zip.eachEntry()) {
      signal.throwIfAborted();
      const inside = admit(entry, name, guard);
      if (inside === "") continue;
      const target = join(folder, inside);
      if (isFolder(entry)) await mkdir(target, { recursive: true });
      else files.push({ entry, target });
    }
    for (const { entry, target } of files) {
      await mkdir(dirname(target), { recursive: true });
      const bytes = await readEntry(zip, entry, name);
      await pipeline(bytes, createWriteStream(target, { flags: "wx", mode: 0o644 }), { signal });
    }
  });
}

/** One small file of the archive as text, or `undefined` where it has none of that name. */
export async function readZipText(
  source: ZipSource,
  file: string,
  maxBytes: number,
): Promise<string | undefined> {
  return withZip(source, async (zip) => {
    for await (const entry of zip.eachEntry()) {
      if (nameOf(entry, source.name) !== file || isFolder(entry)) continue;
      if (entry.uncompressedSize > maxBytes)
        throw refused(source.name, `${file} has more than ${maxBytes} bytes`);
      if (entry.isEncrypted()) throw refused(source.name, `"${file}" is encrypted`);
      const chunks: Buffer[] = [];
      for await (const chunk of await readEntry(zip, entry, source.name))
        chunks.push(chunk as Buffer); // no encoding is set
      return Buffer.concat(chunks).toString("utf8");
    }
    return undefined;
  });
}

/** Opens, closes, and makes one sentence of what the reader finds wrong. */
async function withZip<T>(
  { path, name }: ZipSource,
  use: (zip: ZipFile) => Promise<T>,
): Promise<T> {
  let zip: ZipFile | undefined;
  try {
    // Names stay bytes: they are read below, and the guard says what is wrong with them.
    zip = await yauzl.openPromise(path, { autoClose: false, decodeStrings: false });
    if (zip.entryCount > ARCHIVE_LIMITS.maxEntries)
      throw refused(name, `it has more than ${ARCHIVE_LIMITS.maxEntries} entries`);
    return await use(zip);
  } catch (error) {
    throw isOurs(error) ? error : refused(name, `it is damaged (${messageOf(error)})`, error);
  } finally {
    zip?.close();
  }
}

/** Errors of the disk and of a signal say more as they are. */
function isOurs(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error.name === "RuntimeError" || error.name === "AbortError" || "syscall" in error;
}

function admit(entry: ZipEntry, archive: string, guard: EntryGuard): string {
  const name = nameOf(entry, archive);
  const inside = guard.admit({ name, kind: kindOf(entry), bytes: entry.uncompressedSize });
  if (entry.isEncrypted()) throw refused(archive, `"${inside}" is encrypted`);
  if (![0, 8].includes(entry.compressionMethod)) {
    const method = entry.compressionMethod;
    throw refused(archive, `"${inside}" is packed by method ${method}, wanted stored or deflated`);
  }
  return inside;
}

function nameOf(entry: ZipEntry, archive: string): string {
  const { generalPurposeBitFlag: flags, fileNameRaw, extraFields } = entry;
  try {
    return yauzl.getFileNameLowLevel(flags, fileNameRaw, extraFields, true);
  } catch (error) {
    throw refused(archive, `it has a name that cannot be read (${messageOf(error)})`, error);
  }
}

function isFolder(entry: ZipEntry): boolean {
  return entry.fileNameRaw.at(-1) === 0x2f; // "/"
}

/** Unix's file type in the upper half of the attributes; zero where the archiver wrote none. */
function kindOf(entry: ZipEntry): string {
  const type = (entry.externalFileAttributes >>> 16) & 0o170_000;
  if (type === 0o120_000) return "a symbolic link";
  if (![0, 0o040_000, 0o100_000].includes(type)) return "a device or a pipe";
  if (type === 0o040_000 && !isFolder(entry)) return "a folder with a file's name";
  return isFolder(entry) ? "folder" : "file";
}

/** The file's bytes; the reader checks the size, this the CRC. */
async function readEntry(zip: ZipFile, entry: ZipEntry, archive: string): Promise<Readable> {
  const packed = await zip.openReadStreamPromise(entry);
  let crc = 0;
  const checked = new PassThrough({
    transform(chunk: Buffer, _encoding, done) {
      crc = crc32(chunk, crc);
      done(null, chunk);
    },
    flush(done) {
      const isWhole = crc === entry.crc32;
      done(isWhole ? null : refused(archive, `"${nameOf(entry, archive)}" has a wrong checksum`));
    },
  });
  packed.on("error", (error) => checked.destroy(error));
  checked.on("close", () => packed.destroy());
  return packed.pipe(checked);
}
