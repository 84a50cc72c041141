/**
 * Files of a folder as one commit on the Hub, or as a pull request.
 *
 * First a plan, which only reads; then the push, which makes exactly that plan: it names the commit that it was made
 * upon, so the Hub refuses it if somebody else has pushed since. Large files go over plain Git LFS and not over Xet: every
 * mirror has that, and memory stays flat.
 */
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { commitIter, modelInfo, type CommitOutput } from "@huggingface/hub";
import { isRuntimeError, messageOf, RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Progress } from "../observe/progress.ts";
import { type HubSubject, quote } from "./hub-errors.ts";
import { createHubFetch } from "./hub-fetch.ts";
import { fetchListing, type ListedFile } from "./hub-listing.ts";
import { assertReference, type HubReference } from "./hub-reference.ts";
import { compareFiles, type LocalFile, type PushChange } from "./push-plan.ts";

export interface PushOptions {
  /** The Hub, without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly fetch?: typeof fetch | undefined;
}

export interface PushPlan extends HubReference {
  /** The commit that it was made upon; `undefined` where the repository has yet to be made. */
  readonly parent: string | undefined;
  readonly changes: readonly PushChange[];
}

/** What the Hub has made of a push. */
export interface Pushed {
  readonly commit: string;
  readonly url: string;
  /** Where it is a pull request. */
  readonly pullRequestUrl?: string;
}

/**
 * Compares `files` with what the Hub has.
 *
 * @param isNew Whether the repository may be missing.
 * @throws RuntimeError `REPOSITORY_FORBIDDEN`, `REPOSITORY_NOT_FOUND`, `HUB_UNREACHABLE`.
 */
export async function planPush(
  { name, revision }: HubReference,
  files: readonly LocalFile[],
  isNew: boolean,
  options: PushOptions,
): Promise<PushPlan> {
  assertReference({ name, revision });
  const subject = subjectOf({ name, revision }, options);
  const fetch = hubFetch(subject, options);
  const exists = await asPush(subject, knows(subject, fetch));
  if (!exists && !isNew) {
    throw new RuntimeError(
      "REPOSITORY_NOT_FOUND",
      `Cannot push to ${quote(name)}: the Hub shows no such model to the account of HF_TOKEN; check the spelling, or make it with --create`,
    );
  }
  if (!exists) return { name, revision, parent: undefined, changes: await compareFiles(files, []) };
  const [parent, listing] = await asPush(subject, readHead(subject, fetch));
  return { name, revision, parent, changes: await compareFiles(files, listing) };
}

export interface MakePushOptions extends PushOptions {
  /** The commit's first line. */
  readonly message: string;
  readonly isPullRequest: boolean;
  /** For a repository that has yet to be made. */
  readonly visibility: "private" | "public";
  /** Draws how far it is. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Makes the plan true.
 *
 * @throws RuntimeError `CONFLICT` when somebody else has pushed since, and as `planPush`.
 */
export async function makePush(plan: PushPlan, options: MakePushOptions): Promise<Pushed> {
  const { name, revision, parent } = plan;
  const subject = subjectOf(plan, options);
  const fetch = hubFetch(subject, options, UPLOAD_TIMEOUT_MS);
  const sent = plan.changes.filter(({ state }) => state !== "unchanged");
  if (parent === undefined) await asPush(subject, createRepository(subject, options, fetch));
  const iterator = commitIter({
    repo: { type: "model", name },
    title: options.message,
    branch: revision,
    ...(parent !== undefined && { parentCommit: parent }),
    isPullRequest: options.isPullRequest,
    operations: sent.map(({ path, file }) => ({
      operation: "addOrUpdate",
      path,
      content: pathToFileURL(file),
    })),
    hubUrl: options.endpoint,
    fetch,
    abortSignal: options.signal,
    useXet: false,
  });
  const made = await asPush(subject, follow(iterator, sent, options.onProgress));
  if (made === undefined) throw new TypeError("a commit to a model has an outcome");
  const { commit, pullRequestUrl } = made;
  return {
    commit: commit.oid,
    url: commit.url,
    ...(pullRequestUrl !== undefined && { pullRequestUrl }),
  };
}

/** From the request to the headers of its answer: a large file has to arrive between the two. */
const UPLOAD_TIMEOUT_MS = 2 * 60 * 60 * 1000;

function subjectOf({ name, revision }: HubReference, { endpoint, token }: PushOptions): HubSubject {
  const hasToken = token !== undefined;
  if (!hasToken) {
    throw new RuntimeError(
      "REPOSITORY_FORBIDDEN",
      `Cannot push to ${quote(name)}: there is no token; set HF_TOKEN to one that may write, made at ${endpoint}/settings/tokens`,
    );
  }
  return { name, revision, endpoint, cacheDir: "", hasToken, action: "push to" };
}

function hubFetch(
  subject: HubSubject,
  { token, signal, log, fetch }: PushOptions,
  responseTimeoutMs?: number,
): typeof globalThis.fetch {
  return createHubFetch({
    subject,
    token,
    signal,
    log,
    fetch,
    sleep: (ms, stop) => delay(ms, undefined, { signal: stop }),
    ...(responseTimeoutMs !== undefined && { responseTimeoutMs }),
  });
}

async function knows(subject: HubSubject, fetch: typeof globalThis.fetch): Promise<boolean> {
  const { name, endpoint } = subject;
  try {
    await modelInfo({ name, hubUrl: endpoint, additionalFields: ["sha"], fetch });
    return true;
  } catch (error) {
    if (isRuntimeError(error) && error.code === "REPOSITORY_NOT_FOUND") return false;
    throw error;
  }
}

async function readHead(
  subject: HubSubject,
  fetch: typeof globalThis.fetch,
): Promise<[string, readonly ListedFile[]]> {
  const { name, revision, endpoint } = subject;
  const { sha } = await modelInfo({
    name,
    revision,
    hubUrl: endpoint,
    additionalFields: ["sha"],
    fetch,
  });
  if (sha === undefined) throw new Error("it does not say which commit the revision is");
  return [sha, await fetchListing(subject, sha, fetch)];
}

async function createRepository(
  { name, endpoint }: HubSubject,
  { visibility }: MakePushOptions,
  fetch: typeof globalThis.fetch,
): Promise<void> {
  const [owner = "", repository] = name.split("/");
  // Not the library's `createRepo`, which wants to see the token.
  await fetch(`${endpoint}/api/repos/create`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "model", organization: owner, name: repository, visibility }),
  });
}

async function follow(
  iterator: ReturnType<typeof commitIter>,
  sent: readonly PushChange[],
  onProgress: MakePushOptions["onProgress"],
): Promise<CommitOutput | undefined> {
  const shares = new Map(sent.map(({ path }) => [path, 0]));
  const bytesTotal = sent.reduce((sum, { size }) => sum + size, 0);
  const draw = (): void =>
    onProgress?.({
      bytesDone: sent.reduce((sum, { path, size }) => sum + size * (shares.get(path) ?? 0), 0),
      bytesTotal,
      filesDone: [...shares.values()].filter((share) => share === 1).length,
      filesTotal: sent.length,
    });
  for (;;) {
    const { done, value } = await iterator.next();
    if (done === true) {
      for (const { path } of sent) shares.set(path, 1);
      draw();
      return value;
    }
    if (value.event === "fileProgress" && value.state === "uploading")
      shares.set(value.path, value.progress);
    draw();
  }
}

/** The Hub's answer, or a sentence about what was done with it. */
async function asPush<T>({ name, endpoint }: HubSubject, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const prefix = `Cannot push to ${quote(name)}`;
    if (!isRuntimeError(error))
      throw new RuntimeError("DOWNLOAD_FAILED", `${prefix}: ${messageOf(error)}`, { cause: error });
    if (error.code === "HUB_UNREACHABLE") {
      const reason = error.cause instanceof Error ? error.cause.message : error.message;
      const text = `${prefix}: the Hub at ${quote(endpoint)} does not answer as it should: ${reason}; check the network and HF_ENDPOINT`;
      throw new RuntimeError("HUB_UNREACHABLE", text, { cause: error });
    }
    if (/answers 412\b/.test(error.message)) {
      const text = `${prefix}: somebody else has pushed since the changes were looked at; run it again`;
      throw new RuntimeError("CONFLICT", text, { cause: error });
    }
    throw error;
  }
}
