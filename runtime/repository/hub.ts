/**
 * A Hub model repository as a folder on disk: the one door of everything named `hub-*.ts`.
 *
 * Here is decided what comes from the Hub and what from the cache. What is complete is not asked for again; what
 * cannot be asked for is served from the cache, with a warning; what must not be asked for is served or refused.
 * Nothing here reads the environment, and everything is passed to `@huggingface/hub`, which would.
 *
 * `snapshotDownload` of that library is not used: it takes no patterns, fetches one file after another, prints,
 * neither resumes nor verifies.
 */
import { setTimeout as delay } from "node:timers/promises";
import { modelInfo } from "@huggingface/hub";
import { isRuntimeError, messageOf, RuntimeError, toRuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Dtype } from "../weights.ts";
import { createHubCache, type HubCache, type Symlink } from "./hub-cache.ts";
import { findCached } from "./hub-cached.ts";
import { type HubSubject, quote, toNotCached, toUnreachable } from "./hub-errors.ts";
import { createHubFetch, type Sleep } from "./hub-fetch.ts";
import { downloadFiles } from "./hub-files.ts";
import { fetchListing, type ListedFile } from "./hub-listing.ts";
import type { HubProgress } from "./hub-progress.ts";
import { assertReference, type HubReference, isCommit } from "./hub-reference.ts";
import { type HubSelection, selectListed } from "./hub-select.ts";

export type { HubProgress, HubReference };

export interface HubOptions {
  /** `https://huggingface.co` or a mirror, without a slash at the end. */
  readonly endpoint: string;
  readonly token?: string | undefined;
  /** The Hugging Face cache, `HF_HUB_CACHE`; made when absent. */
  readonly cacheDir: string;
  /** Forbids the network. */
  readonly offline: boolean;
  /** The dtype to fetch; the one preferred on a CPU when absent. */
  readonly dtype?: Dtype | undefined;
  /** Patterns as in Python's `fnmatch`: unless empty, exactly the files that match are fetched. */
  readonly include?: readonly string[] | undefined;
  /** Patterns of files to leave out. */
  readonly exclude?: readonly string[] | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Draws a bar; without it the log has a line now and then. Called at most every 100 ms. */
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
  readonly fetch?: typeof fetch | undefined;
  readonly now?: (() => number) | undefined;
  readonly sleep?: Sleep | undefined;
  readonly symlink?: Symlink | undefined;
  /** From a request to its answer's headers; 30 000. */
  readonly responseTimeoutMs?: number | undefined;
  /** The longest silence in mid-file; 60 000. */
  readonly stallTimeoutMs?: number | undefined;
}

export interface HubSnapshot {
  /** The folder with the files, absolute. They are links into the cache: copy before writing. */
  readonly path: string;
  readonly commit: string;
  /** Whether anything had to be fetched. */
  readonly origin: "hub" | "cache";
}

/**
 * Makes a repository's files available in a folder.
 *
 * @throws RuntimeError with a sentence for a person, or the signal's reason when it fires.
 */
export async function downloadRepository(
  reference: HubReference,
  options: HubOptions,
): Promise<HubSnapshot> {
  assertReference(reference);
  const token = toToken(options.token);
  const { name } = reference;
  const { endpoint, cacheDir, signal, log } = options;
  signal.throwIfAborted();
  const cache = createHubCache({ cacheDir, name, symlink: options.symlink });
  const subject = { ...reference, endpoint, cacheDir, hasToken: token !== undefined };

  if (options.offline) {
    const cached = await findCached(cache, reference, options, true);
    if (cached.problem !== undefined) throw toNotCached(subject, cached.problem);
    for (const note of cached.notes) log.warn(note);
    return toSnapshot(cache, cached.commit, "cache");
  }

  try {
    return await update(cache, subject, token, options);
  } catch (error) {
    signal.throwIfAborted();
    if (!isRuntimeError(error) || error.code !== "HUB_UNREACHABLE") {
      throw toRuntimeError(error, "DOWNLOAD_FAILED", `Cannot download ${quote(name)}`);
    }
    // A branch's reference is written once all is here; a commit may just have been left half-way.
    const cached = await findCached(cache, reference, options, !isCommit(reference.revision));
    if (cached.problem !== undefined) throw error;
    const reason = error.cause instanceof Error ? error.cause.message : error.message;
    log.warn(
      `Serving commit ${cached.commit} of ${quote(name)} from the cache, as the Hub at ${quote(endpoint)} cannot be reached`,
      { reason, revision: reference.revision },
    );
    for (const note of cached.notes) log.warn(note);
    return toSnapshot(cache, cached.commit, "cache");
  }
}

/** Brings the snapshot up to date with the Hub. Needs no network for a commit whose files are all here. */
async function update(
  cache: HubCache,
  subject: HubSubject,
  token: string | undefined,
  options: HubOptions,
): Promise<HubSnapshot> {
  const { log, now = Date.now, sleep = sleepFor } = options;
  const { name, revision } = subject;
  const fetch = createHubFetch({ ...options, subject, token, sleep });

  const commit = isCommit(revision) ? revision : await askCommit(subject, fetch);
  const known = await cache.readListing(commit);
  const listing = known ?? (await understood(subject, fetchListing(subject, commit, fetch)));
  if (known === undefined) await cache.writeListing(commit, listing);

  const wanted = selectListed(listing, options);
  if (wanted.length === 0) throw toNothingWanted(subject, listing, options);
  const missing = await cache.findMissing(commit, wanted);
  if (missing.length > 0) {
    await downloadFiles(missing, { ...options, subject, commit, cache, fetch, sleep, now });
  } else {
    log.debug(`All files of ${quote(name)} are in the cache`, { commit });
  }
  // Last, so that a reference never leads to a snapshot that is not whole.
  if (!isCommit(revision)) await cache.writeRef(revision, commit);
  return toSnapshot(cache, commit, missing.length > 0 ? "hub" : "cache");
}

async function askCommit(subject: HubSubject, fetch: typeof globalThis.fetch): Promise<string> {
  const { name, revision, endpoint } = subject;
  const { sha } = await understood(
    subject,
    modelInfo({ name, revision, hubUrl: endpoint, additionalFields: ["sha"], fetch }),
  );
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw toUnreachable(subject, "it does not say which commit the revision is");
}

/** The Hub's answer, or a sentence when something else answers in its place: a proxy, a login page. */
async function understood<T>(subject: HubSubject, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    // Aborting is no answer; `downloadRepository` throws its reason.
    if (isRuntimeError(error)) throw error;
    throw toUnreachable(subject, `it does not answer as the Hub does: ${messageOf(error)}`);
  }
}

function toNothingWanted(
  { name }: HubSubject,
  listing: readonly ListedFile[],
  { include = [], exclude = [] }: HubSelection,
): RuntimeError {
  const some = listing.slice(0, 5).map(({ path }) => quote(path));
  const found =
    some.length === 0 ? "no file at all" : `${some.join(", ")}${listing.length > 5 ? ", …" : ""}`;
  const wanted =
    include.length === 0
      ? "a model or a handler"
      : `files that match ${include.map(quote).join(", ")}`;
  const without = exclude.length === 0 ? "" : `, without ${exclude.map(quote).join(", ")}`;
  return new RuntimeError(
    "DOWNLOAD_FAILED",
    `Cannot download ${quote(name)}: found ${found}, wanted ${wanted}${without}`,
  );
}

function toSnapshot(cache: HubCache, commit: string, origin: "hub" | "cache"): HubSnapshot {
  return { path: cache.snapshotPath(commit), commit, origin };
}

/** A token fit for a header. `fetch` would name a wrong one in its error, and so show it. */
function toToken(token: string | undefined): string | undefined {
  const trimmed = token?.trim() ?? "";
  if (trimmed === "") return undefined;
  if (/^[\x21-\x7e]+$/.test(trimmed)) return trimmed;
  throw new RuntimeError(
    "INVALID_OPTION",
    "Cannot use HF_TOKEN: found characters that no token has, wanted letters, digits and signs on one line",
  );
}

async function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
}
