/**
 * The listing of a commit as Python's huggingface_hub keeps it: `trees/<commit>.json` in the model's folder.
 *
 * A commit never changes, so neither does its listing; with it, what is missing is known without the Hub. Format:
 * huggingface_hub 2.0, `_tree_cache.py`, version 1.
 */
import { z } from "zod";
import { ListedFile } from "./hub-listing.ts";

const FORMAT_VERSION = 1;

const Tree = z.object({
  format_version: z.literal(FORMAT_VERSION),
  files: z.record(
    z.string(),
    z.object({
      size: z.int(),
      blob_id: z.string(),
      lfs_sha256: z.string().optional(),
      lfs_size: z.int().optional(),
      xet_hash: z.string().optional(),
    }),
  ),
});

/** Reads a listing. `undefined` for another version's or a damaged one: the Hub has it still. */
export function parseTree(text: string): readonly ListedFile[] | undefined {
  try {
    return Object.entries(Tree.parse(JSON.parse(text)).files).map(([path, file]) =>
      ListedFile.parse({
        path,
        size: file.lfs_size ?? file.size,
        oid: file.blob_id,
        sha256: file.lfs_sha256,
        xetHash: file.xet_hash,
      }),
    );
  } catch {
    return undefined;
  }
}

export function formatTree(files: readonly ListedFile[]): string {
  const entries = files.map(({ path, size, oid, sha256, xetHash }) => {
    const lfs = sha256 === undefined ? {} : { lfs_sha256: sha256, lfs_size: size };
    const xet = xetHash === undefined ? {} : { xet_hash: xetHash };
    return [path, { size, blob_id: oid, ...lfs, ...xet }] as const;
  });
  const tree: z.input<typeof Tree> = {
    format_version: FORMAT_VERSION,
    files: Object.fromEntries(entries),
  };
  return JSON.stringify(tree, null, 1);
}
