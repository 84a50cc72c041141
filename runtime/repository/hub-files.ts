/**
 * Several files at once from the Hub into a snapshot: each content once, under a lock, with an eye on all of it.
 */
import { isRuntimeError, messageOf, systemCodeOf } from "../errors.ts";
import type { HubCache } from "./hub-cache.ts";
import { quote, toFileFailure } from "./hub-errors.ts";
import { etagOf, type ListedFile } from "./hub-listing.ts";
import { withLock } from "./hub-lock.ts";
import { createProgressMeter, type HubProgress } from "./hub-progress.ts";
import { transferFile, type TransferOptions } from "./hub-transfer.ts";

/** One connection rarely fills a line; more than a few make the Hub answer 429. */
const CONCURRENT_FILES = 4;

/** Where contents are put: the shared cache, or a plain folder. */
export type ContentStore = Pick<
  HubCache,
  "prepareBlob" | "prepareLock" | "findMissing" | "holdsBlob" | "link"
>;

export interface FilesOptions extends Omit<TransferOptions, "onBytes"> {
  readonly cache: ContentStore;
  readonly now: () => number;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
}

/** Fetches `files`, none of which the snapshot holds. After a failure the others are stopped and nothing runs on. */
export async function downloadFiles(
  files: readonly ListedFile[],
  options: FilesOptions,
): Promise<void> {
  // By content: two names of one content must not be fetched, let alone written, twice at once.
  const contents = new Map<string, ListedFile[]>();
  for (const file of files) {
    contents.set(etagOf(file), [...(contents.get(etagOf(file)) ?? []), file]);
  }
  // The largest first, so that none is left to run alone at the end.
  const groups = [...contents.values()].toSorted(([a], [b]) => (b?.size ?? 0) - (a?.size ?? 0));
  const meter = createProgressMeter({
    ...options,
    name: options.subject.name,
    bytesTotal: groups.reduce((sum, [file]) => sum + (file?.size ?? 0), 0),
    filesTotal: files.length,
  });

  const onBytes = (bytes: number): void => meter.addBytes(bytes);
  await forEachAtOnce(groups, CONCURRENT_FILES, options.signal, async (group, signal) => {
    const [file] = group;
    if (file === undefined) return;
    try {
      await downloadContent(file, group, { ...options, signal, onBytes });
    } catch (error) {
      signal.throwIfAborted();
      if (isRuntimeError(error) || systemCodeOf(error) === undefined) throw error;
      throw toFileFailure(options.subject, file.path, messageOf(error), error);
    }
    meter.addFiles(group.length);
  });
  meter.finish();
}

/** Brings one content into the cache and links all names it has in this snapshot. */
async function downloadContent(
  file: ListedFile,
  names: readonly ListedFile[],
  options: FilesOptions & TransferOptions,
): Promise<void> {
  const { cache, commit, signal, sleep, log } = options;
  const blob = await cache.prepareBlob(file);
  const lock = await cache.prepareLock(file);
  const onWait = (): void => {
    log.info(`Waiting for another process that downloads ${quote(file.path)}`);
  };
  await withLock(lock, { signal, sleep, onWait }, async () => {
    // Whoever held the lock before may have done it all.
    const missing = await cache.findMissing(commit, names);
    if (missing.length === 0) return options.onBytes(file.size);

    const isNew = !(await cache.holdsBlob(file));
    if (isNew) await transferFile(file, blob, options);
    else options.onBytes(file.size);
    await cache.link(commit, missing, isNew);
  });
}

/** Runs `task` on all items, at most `limit` at a time. Rejects with the first failure once all have ended. */
async function forEachAtOnce<T>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const joined = AbortSignal.any([signal, stop.signal]);
  const queue = items.values();
  const drain = async (): Promise<void> => {
    for (const item of queue) {
      if (joined.aborted) return;
      await task(item, joined);
    }
  };
  const lanes = Array.from({ length: limit }, () =>
    drain().catch((error: unknown) => stop.abort(error)),
  );
  await Promise.all(lanes);
  joined.throwIfAborted();
}
