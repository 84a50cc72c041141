/**
 * What the cache can serve when the Hub cannot or must not be asked.
 *
 * A commit whose listing is kept is judged by it: without weights there is nothing to serve, and of two dtypes the one
 * that is here will do if none was named. A commit without a listing is what an older Python left: it is served as it
 * is, since somebody wanted it so.
 */
import { DTYPES, type Dtype, isOnnxFile } from "../weights.ts";
import type { HubCache } from "./hub-cache.ts";
import { quote } from "./hub-errors.ts";
import type { ListedFile } from "./hub-listing.ts";
import { type HubReference, isCommit } from "./hub-reference.ts";
import { type HubSelection, selectListed } from "./hub-select.ts";

/** A commit to serve, with sentences to log where it is not quite what was asked for; or what is missing. */
export type Cached =
  | { readonly commit: string; readonly notes: readonly string[]; readonly problem?: undefined }
  | { readonly problem: string };

/**
 * Finds the commit that the reference last was, if its files are here.
 *
 * @param mayLack Whether files other than weights may be missing: whoever puts some files into a cache by hand leaves
 *   out what he does not need, but an interrupted download leaves out what comes last.
 */
export async function findCached(
  cache: HubCache,
  { name, revision }: HubReference,
  selection: HubSelection,
  mayLack: boolean,
): Promise<Cached> {
  const commit = isCommit(revision) ? revision : await cache.readRef(revision);
  const files = commit === undefined ? [] : await cache.listSnapshot(commit);
  if (commit === undefined || files.length === 0) return { problem: "it is not" };
  const listing = await cache.readListing(commit);
  if (listing === undefined) return { commit, notes: [] };

  const notes: string[] = [];
  let wanted = selectListed(listing, selection);
  let missing = await cache.findMissing(commit, wanted);
  const dtype = missing.some(isWeights)
    ? await findCompleteDtype(cache, commit, listing, selection)
    : undefined;
  if (dtype !== undefined) {
    wanted = selectListed(listing, { ...selection, dtype });
    missing = await cache.findMissing(commit, wanted);
    notes.push(`Using the ${dtype} weights of ${quote(name)}, as the cache has no others`);
  }

  const first = missing.find(isWeights) ?? missing[0];
  if (wanted.length === 0) return { problem: "no file that is wanted is" };
  if (first === undefined) return { commit, notes };
  const lack = `${missing.length} of ${wanted.length} files, such as ${quote(first.path)}, are not`;
  if (!mayLack || isWeights(first)) return { problem: lack };
  return { commit, notes: [...notes, `Serving ${quote(name)} in part: ${lack} in the cache`] };
}

/** The dtype whose weights are all here, for a caller that asked for none. */
async function findCompleteDtype(
  cache: HubCache,
  commit: string,
  listing: readonly ListedFile[],
  selection: HubSelection,
): Promise<Dtype | undefined> {
  if (selection.dtype !== undefined || (selection.include ?? []).length > 0) return undefined;
  for (const dtype of DTYPES) {
    try {
      const weights = selectListed(listing, { ...selection, dtype }).filter(isWeights);
      const missing = await cache.findMissing(commit, weights);
      if (weights.length > 0 && missing.length === 0) return dtype;
    } catch {
      // The repository has no such dtype.
    }
  }
  return undefined;
}

function isWeights({ path }: ListedFile): boolean {
  return isOnnxFile(path);
}
