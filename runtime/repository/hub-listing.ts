/**
 * What a commit holds: every file with its size and its content's hash, as the Hub lists it.
 *
 * Names and hashes become paths in the cache, so nothing leaves this file that could point outside of it. The checks
 * hold on every system: what is downloaded on Linux may be read on Windows (huggingface_hub 2.0, `_local_folder.py`,
 * `_validate_relative_filename`, and stricter).
 */
import { resolve, sep } from "node:path";
import { listFiles } from "@huggingface/hub";
import { z } from "zod";
import { RuntimeError } from "../errors.ts";
import { type HubSubject, quote } from "./hub-errors.ts";

const SHA256 = /^[0-9a-f]{64}$/;

/** One file of a commit. */
export const ListedFile = z.object({
  /** Relative to the repository, with `/`. */
  path: z.string().refine((path) => findPathProblem(path) === undefined),
  /** In bytes. */
  size: z.int().nonnegative(),
  /** The git object id (sha1) of the content or, for an LFS file, of the pointer to it. */
  oid: z.string().regex(/^[0-9a-f]{40}$/),
  /** The content's hash, for an LFS file. */
  sha256: z.string().regex(SHA256).optional(),
  /** The Xet store's own name of the content; kept for Python, which fetches by it. */
  xetHash: z.string().regex(SHA256).optional(),
});
export type ListedFile = Readonly<z.infer<typeof ListedFile>>;

/** What a content is called in the cache, and what it is verified against. */
export function etagOf({ sha256, oid }: ListedFile): string {
  return sha256 ?? oid;
}

/** One entry as the Hub sends it. */
const Entry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().optional(),
  lfs: z.object({ oid: z.string(), size: z.int().nonnegative() }).optional(),
  xetHash: z.string().optional(),
});

/** Far more than a model has; the Hub recommends less than 100 000 files for any repository. */
const MAX_FILES = 100_000;
/** The Hub sends 1000 entries a page. */
const MAX_PAGES = 1000;

/**
 * Asks the Hub for the files of a commit.
 *
 * @throws RuntimeError `DOWNLOAD_FAILED` when a name or a hash cannot be a file's, or the listing does not end; an
 *   `Error` that says in what way an answer is not the Hub's.
 */
export async function fetchListing(
  subject: HubSubject,
  commit: string,
  fetch: typeof globalThis.fetch,
): Promise<readonly ListedFile[]> {
  const fail = (reason: string): RuntimeError =>
    new RuntimeError(
      "DOWNLOAD_FAILED",
      `Cannot list the files of ${quote(subject.name)}: ${reason}`,
    );

  let pages = 0;
  const entries = listFiles({
    repo: { type: "model", name: subject.name },
    revision: commit,
    recursive: true,
    hubUrl: subject.endpoint,
    fetch: (input, init) => {
      pages += 1;
      if (pages > MAX_PAGES) throw fail(`found more than ${MAX_PAGES} pages`);
      return fetch(input, init);
    },
  });

  // By path, as a name that came twice would be written twice at once.
  const files = new Map<string, ListedFile>();
  for await (const item of entries) {
    const { data: entry } = Entry.safeParse(item);
    if (entry === undefined) throw new Error("an entry lacks its type, path or size");
    if (entry.type !== "file") continue;
    const pathProblem = findPathProblem(entry.path);
    if (pathProblem !== undefined) {
      throw fail(`the file name ${quote(entry.path)} is refused, as it ${pathProblem}`);
    }
    const file = ListedFile.safeParse({
      path: entry.path,
      size: entry.lfs?.size ?? entry.size,
      oid: entry.oid,
      sha256: entry.lfs?.oid,
      xetHash: entry.xetHash,
    });
    if (!file.success) {
      const hashes = [entry.oid, entry.lfs?.oid, entry.xetHash].filter(
        (hash) => hash !== undefined,
      );
      throw fail(
        `the hash of ${quote(entry.path)} is refused: found ${hashes.map(quote).join(" and ") || "none"}, wanted 40 hexadecimal digits, 64 for an LFS file`,
      );
    }
    files.set(file.data.path, file.data);
    if (files.size > MAX_FILES) throw fail(`found more than ${MAX_FILES} files`);
  }
  return [...files.values()];
}

/** Why `path` cannot be a file below a folder, on any system; `undefined` when it can. */
export function findPathProblem(path: string): string | undefined {
  if (path === "" || path.startsWith("/")) return "is not relative";
  if (path.includes("\\")) return "holds a backslash";
  if (/\p{Cc}/u.test(path)) return "holds a control character";
  for (const segment of path.split("/")) {
    if (segment === "") return "holds an empty folder name";
    if (segment === "." || segment === "..") return `holds "${segment}"`;
    if (/^[a-z]:/i.test(segment)) return "holds a drive letter";
  }
  // The rules above leave nothing for this one to find; it is what they are for.
  const folder = resolve("folder");
  return resolve(folder, path).startsWith(folder + sep) ? undefined : "leaves the folder";
}
