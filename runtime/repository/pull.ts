/**
 * A repository of the Hub as a plain folder: files and no links, fetched as for the cache, never over what somebody has
 * changed.
 *
 * What was pulled is noted in `.cache/huggingface/download/<file>.metadata`, where Python's `hf download --local-dir` notes
 * the same (huggingface_hub 2.0, `_local_folder.py`): commit, hash and time, a line each. A file whose content is
 * neither the Hub's now nor the one that was pulled is somebody's own.
 */
import { randomUUID } from "node:crypto";
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { modelInfo } from "@huggingface/hub";
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Progress } from "../observe/progress.ts";
import type { Dtype } from "../weights.ts";
import { type HubSubject, quote } from "./hub-errors.ts";
import { createHubFetch } from "./hub-fetch.ts";
import { downloadFiles, type ContentStore } from "./hub-files.ts";
import { etagOf, fetchListing, type ListedFile } from "./hub-listing.ts";
import { assertReference, isCommit, type HubReference } from "./hub-reference.ts";
import { selectListed } from "./hub-select.ts";
import { hashOf } from "./push-plan.ts";

export interface PullOptions {
  /** Where the files go, absolute; made when absent. */
  readonly folder: string;
  /** The Hub, without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly dtype?: Dtype | undefined;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** Every file, whatever it is. */
  readonly isAll: boolean;
  /** Writes over what was changed here. */
  readonly isForced: boolean;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Draws how far it is. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly fetch?: typeof fetch | undefined;
}

export interface PulledFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  readonly state: "added" | "updated" | "unchanged";
}

export interface Pulled {
  readonly commit: string;
  readonly files: readonly PulledFile[];
}

/**
 * Makes the folder hold what the reference names. Files that it holds besides stay.
 *
 * @throws RuntimeError `CONFLICT` for files that were changed here, before anything is written; else as a download.
 */
export async function pullRepository(
  reference: HubReference,
  options: PullOptions,
): Promise<Pulled> {
  assertReference(reference);
  const { endpoint, token, signal, log, folder } = options;
  const sleep = (ms: number, stop: AbortSignal): Promise<void> =>
    delay(ms, undefined, { signal: stop });
  const subject: HubSubject = {
    ...reference,
    endpoint,
    cacheDir: folder,
    hasToken: token !== undefined,
  };
  const fetch = createHubFetch({ subject, token, signal, log, sleep, fetch: options.fetch });
  try {
    const commit = isCommit(reference.revision)
      ? reference.revision
      : await askCommit(subject, fetch);
    const wanted = choose(subject, await fetchListing(subject, commit, fetch), options);
    const states = await lookAt(folder, wanted);
    if (!options.isForced) assertNoneChanged(folder, states);
    const missing = states.filter(({ state }) => state !== "unchanged").map(({ file }) => file);
    if (missing.length > 0) {
      await downloadFiles(missing, {
        subject,
        commit,
        fetch,
        signal,
        sleep,
        log,
        now: Date.now,
        cache: createFolderStore(folder),
        onProgress: options.onProgress,
      });
    }
    return {
      commit,
      files: states.map(({ file: { path, size }, state }) => ({
        path,
        size,
        state: state === "changed" || state === "own" ? "updated" : state,
      })),
    };
  } catch (error) {
    signal.throwIfAborted();
    if (isRuntimeError(error) && error.code === "HUB_UNREACHABLE") {
      const reason = error.cause instanceof Error ? error.cause.message : error.message;
      const text = `Cannot pull ${quote(reference.name)}: the Hub at ${quote(endpoint)} cannot be reached: ${reason}; check the network and HF_ENDPOINT. What has come is kept, and the next pull goes on from there`;
      throw new RuntimeError("HUB_UNREACHABLE", text, { cause: error });
    }
    throw toRuntimeError(error, "DOWNLOAD_FAILED", `Cannot pull ${quote(reference.name)}`);
  }
}

async function askCommit(
  { name, revision, endpoint }: HubSubject,
  fetch: typeof globalThis.fetch,
): Promise<string> {
  const { sha } = await modelInfo({
    name,
    revision,
    hubUrl: endpoint,
    additionalFields: ["sha"],
    fetch,
  });
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw new Error("the Hub does not say which commit the revision is");
}

function choose(
  { name }: HubSubject,
  listing: readonly ListedFile[],
  { isAll, include, exclude, dtype }: PullOptions,
): readonly ListedFile[] {
  const wanted = selectListed(listing, {
    ...(dtype !== undefined && { dtype }),
    include: isAll && include.length === 0 ? ["*"] : include,
    exclude,
  });
  if (wanted.length > 0) return wanted;
  const found = listing.length === 0 ? "no file" : `${listing.length} files`;
  throw new RuntimeError(
    "DOWNLOAD_FAILED",
    `Cannot pull ${quote(name)}: found ${found}, wanted one that serving needs; --all takes every file, --include <pattern> those that match`,
  );
}

interface Look {
  readonly file: ListedFile;
  /** `changed`: another content than the Hub's, but the one that was pulled. `own`: somebody's own. */
  readonly state: "added" | "changed" | "unchanged" | "own";
}

async function lookAt(folder: string, files: readonly ListedFile[]): Promise<readonly Look[]> {
  const looks: Look[] = [];
  for (const file of files) looks.push({ file, state: await stateOf(folder, file) });
  return looks;
}

async function stateOf(folder: string, file: ListedFile): Promise<Look["state"]> {
  const path = join(folder, file.path);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return "added";
  if (!found.isFile()) return "own";
  const noted = await readNote(folder, file.path);
  if (found.size === file.size && (await hashOf(path, file)) === etagOf(file)) return "unchanged";
  if (noted === undefined) return "own";
  const hash = await hashOf(path, {
    size: found.size,
    ...(noted.length === 64 && { sha256: noted }),
  });
  return hash === noted ? "changed" : "own";
}

function assertNoneChanged(folder: string, looks: readonly Look[]): void {
  const own = looks.filter(({ state }) => state === "own").map(({ file }) => file.path);
  if (own.length === 0) return;
  const some = own.slice(0, 5).join(", ") + (own.length > 5 ? ` and ${own.length - 5} more` : "");
  throw new RuntimeError(
    "CONFLICT",
    `Cannot pull into ${folder}: it has files of those names with another content: ${some}; --force writes over them, another folder keeps them`,
  );
}

/** Where Python keeps its notes; hidden, so that nobody takes them for the model's. */
const NOTES = ".cache/huggingface";

/** The folder in the place of the shared cache: a content is fetched beside its notes and moved to its name. */
function createFolderStore(folder: string): ContentStore {
  const shelf = join(folder, NOTES, "download");

  async function prepare(): Promise<void> {
    await mkdir(shelf, { recursive: true });
    await writeFile(join(folder, NOTES, ".gitignore"), "*\n"); // as Python has it
  }

  return {
    async prepareBlob(file) {
      await prepare();
      return join(shelf, etagOf(file));
    },
    async prepareLock(file) {
      await prepare();
      return join(shelf, `${etagOf(file)}.hubserve`);
    },
    async findMissing(_commit, files) {
      const missing: ListedFile[] = [];
      for (const file of files)
        if ((await stateOf(folder, file)) !== "unchanged") missing.push(file);
      return missing;
    },
    async holdsBlob(file) {
      const found = await stat(join(shelf, etagOf(file))).catch(() => undefined);
      return found?.size === file.size;
    },
    async link(commit, files) {
      const blob = files[0] && join(shelf, etagOf(files[0]));
      if (blob === undefined) return;
      for (const [index, file] of files.entries()) {
        const target = join(folder, file.path);
        await mkdir(dirname(target), { recursive: true });
        const isLast = index === files.length - 1;
        const whole = isLast ? blob : join(shelf, `${randomUUID()}.tmp`);
        if (!isLast) await copyFile(blob, whole);
        await rename(whole, target);
        await writeNote(folder, commit, file);
      }
      await rm(blob, { force: true });
    },
  };
}

async function writeNote(folder: string, commit: string, file: ListedFile): Promise<void> {
  const path = join(folder, NOTES, "download", `${file.path}.metadata`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${commit}\n${etagOf(file)}\n${Date.now() / 1000}\n`);
}

/** The hash of what was pulled under that name. */
async function readNote(folder: string, path: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(folder, NOTES, "download", `${path}.metadata`), "utf8");
    const hash = text.split("\n")[1]?.trim() ?? "";
    return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(hash) ? hash : undefined;
  } catch {
    return undefined; // nothing was pulled under that name
  }
}
