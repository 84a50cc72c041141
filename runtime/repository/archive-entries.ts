/**
 * What an archive may hold: names that stay inside its folder, plain files and folders, and no more than fits.
 *
 * Pure: `archive-zip.ts` and `archive-tar.ts` show each entry to the guard before a byte of it is written. An archive
 * comes from wherever people get models, so everything that no archiver of models makes is refused, not mended.
 */
import { RuntimeError } from "../errors.ts";

export interface ArchiveLimits {
  readonly maxEntries: number;
  /** All files together, unpacked. */
  readonly maxBytes: number;
  /** Unpacked over packed; counted once `freeBytes` are unpacked. */
  readonly maxRatio: number;
  /** So much may come out of an archive of any size: small text files pack well. */
  readonly freeBytes: number;
  /** Folders within each other, the file included. */
  readonly maxDepth: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = {
  maxEntries: 10_000, // as many files as `handler/model/folder.ts` looks at
  maxBytes: 256 * 1024 ** 3, // 256 GiB: more than the largest model that one machine serves
  maxRatio: 100, // deflate reaches 1032 on zeros, 10 on JSON, 1.1 on trained weights
  freeBytes: 16 * 1024 ** 2,
  maxDepth: 16,
};

/** The longest that common file systems take, in bytes: one name, and names joined. */
const LONGEST_PART_BYTES = 255;
const LONGEST_NAME_BYTES = 1024;

/** Of a name that is refused, so many characters are repeated. */
const MOST_SHOWN = 80;

export interface Entry {
  /** As it stands in the archive. */
  readonly name: string;
  /** In words where it is neither file nor folder: `"a symbolic link"`. */
  readonly kind: "file" | "folder" | (string & {});
  /** Unpacked, as the archive says. */
  readonly bytes: number;
}

export interface EntryGuard {
  /**
   * Lets an entry in.
   *
   * @returns Its path below the folder, with `/`; `""` for the folder itself.
   * @throws RuntimeError `REPOSITORY_INVALID` with what is wrong with it.
   */
  admit(entry: Entry): string;
}

/**
 * @param archive The archive's file name, for messages.
 * @param packedBytes The archive's own size.
 */
export function createEntryGuard(
  archive: string,
  packedBytes: number,
  limits: ArchiveLimits = ARCHIVE_LIMITS,
): EntryGuard {
  const mostBytes = Math.min(
    limits.maxBytes,
    Math.max(limits.freeBytes, packedBytes * limits.maxRatio),
  );
  /** Folded names, as a file system may fold them, and what they are. */
  const seen = new Map<string, "file" | "folder">();
  let count = 0;
  let bytes = 0;

  function claim(path: string, kind: "file" | "folder", shown: string): void {
    const key = fold(path);
    const before = seen.get(key);
    // A folder may be named again: by itself, and by each file in it.
    if (before === "folder" && kind === "folder") return;
    if (before !== undefined) throw refused(archive, `it has two entries of the name ${shown}`);
    seen.set(key, kind);
  }

  return {
    admit({ name, kind, bytes: size }) {
      const shown = show(name);
      if (++count > limits.maxEntries)
        throw refused(archive, `it has more than ${limits.maxEntries} entries`);
      if (!isPlain(kind))
        throw refused(archive, `${shown} is ${kind}, wanted files and folders only`);
      const parts = partsOf(archive, name);
      if (parts.length > limits.maxDepth) {
        throw refused(archive, `${shown} lies more than ${limits.maxDepth} folders deep`);
      }
      bytes += size;
      if (!(bytes <= mostBytes)) {
        throw refused(
          archive,
          `it unpacks to more than ${mostBytes} bytes, which is too much for an archive of ${packedBytes}`,
        );
      }
      for (let depth = 1; depth < parts.length; depth++)
        claim(parts.slice(0, depth).join("/"), "folder", shown);
      if (parts.length > 0) claim(parts.join("/"), kind, shown);
      return parts.join("/");
    },
  };
}

function isPlain(kind: Entry["kind"]): kind is "file" | "folder" {
  return kind === "file" || kind === "folder";
}

/** The error of an archive that is not opened. */
export function refused(archive: string, reason: string, cause?: unknown): RuntimeError {
  return new RuntimeError("REPOSITORY_INVALID", `Cannot open the archive "${archive}": ${reason}`, {
    cause,
  });
}

function partsOf(archive: string, name: string): readonly string[] {
  const shown = show(name);
  if (name === "") throw refused(archive, "it has an entry without a name");
  if (Array.from(name).some(isOdd)) {
    throw refused(archive, `the name ${shown} has characters that no file should have`);
  }
  if (/^\/|^[A-Za-z]:/.test(name)) throw refused(archive, `the name ${shown} is absolute`);
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refused(archive, `the name ${shown} leads out of its folder`);
  if (
    Buffer.byteLength(name) > LONGEST_NAME_BYTES ||
    parts.some((part) => Buffer.byteLength(part) > LONGEST_PART_BYTES)
  ) {
    throw refused(archive, `the name ${shown} is too long`);
  }
  return parts;
}

/** Control characters, what could not be decoded, and the folder separator of another system. */
function isOdd(character: string): boolean {
  return character < " " || ["\u007F", "\uFFFD", "\\"].includes(character);
}

/** Names that some file system takes for one: other letter case, other composition, dots and spaces at the end. */
function fold(path: string): string {
  const folded = path.normalize("NFKC").toUpperCase().toLowerCase();
  return folded.replaceAll(/[. ]+(?=\/|$)/g, "");
}

function show(name: string): string {
  return JSON.stringify(name.length > MOST_SHOWN ? `${name.slice(0, MOST_SHOWN)}…` : name);
}
