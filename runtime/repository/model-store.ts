/**
 * What a person registers while the server runs: a file or a folder of the model store, a Hub repository, or an allowed
 * URL, from which the archive is fetched into the store.
 *
 * Nothing outside the store is served from this machine, whatever is asked for, and nothing is fetched from a URL
 * unless `--allowed-urls` says so.
 */
import { createHash, randomUUID, type Hash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { link, mkdir, realpath, rm, stat } from "node:fs/promises";
import { basename, isAbsolute, join, relative, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

import { permitUrl } from "../allowed-urls.ts";
import { messageOf, RuntimeError, systemCodeOf } from "../errors.ts";
import { requestGuarded, type Address } from "../guarded-request.ts";
import type { Log } from "../observe/log.ts";
import { nameOfArchive } from "./archive-name.ts";
import { identifyArchive } from "./archive.ts";

export interface StoreOptions {
  /** The model store's folder, absolute; nothing can be registered from files, or fetched, without one. */
  readonly modelStore: string | undefined;
  readonly allowedUrls: readonly string[];
  /** hubserve's own cache, where archives are unpacked. */
  readonly cache: string;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** The most bytes of an archive behind a URL. */
  readonly limitBytes?: number;
  /** For all of a download, redirects included. */
  readonly timeoutMs?: number;
  /** Every address of a host. */
  readonly resolve?: ((hostname: string) => Promise<readonly Address[]>) | undefined;
}

/** A model that can be launched. */
export interface StoredModel {
  /** What `launch` takes as `reference`. */
  readonly reference: string;
  /** What to call it where nobody says. */
  readonly name: string;
  /** What its archive's manifest says. */
  readonly version: string | undefined;
  /** Whether it has yet to be downloaded. */
  readonly isOnHub: boolean;
  /** Removes what was fetched for it; nothing where nothing was. */
  discard(): Promise<void>;
}

/** Weights of 8 billion parameters in half precision; TorchServe has no limit at all. */
const MOST_BYTES = 16 * 1024 ** 3;
/** 16 GiB at 10 MB/s. */
const TIMEOUT_MS = 30 * 60_000;
/** Longer ones are nobody's; patterns of people run over them. */
const LONGEST_URL = 2048;

/**
 * Finds what `source` names, and fetches it where it is a URL.
 *
 * @throws RuntimeError `MODEL_NOT_FOUND`, `FORBIDDEN` for a URL that is not allowed, `CONFLICT` when the store has a file
 * of that name, `DOWNLOAD_FAILED`.
 */
export async function findStored(source: string, options: StoreOptions): Promise<StoredModel> {
  if (/^hf:\/\//i.test(source)) return onHub(source.slice("hf://".length));
  if (/^[a-z][a-z\d+.-]*:/i.test(source)) return behindUrl(source, options);
  const path = await pathInStore(source, options.modelStore);
  if (path !== undefined) return atPath(path, options);
  if (HUB_REFERENCE.test(source)) return onHub(source);
  throw new RuntimeError(
    "MODEL_NOT_FOUND",
    options.modelStore === undefined
      ? `Cannot find "${source}": there is no model store, name one with --model-store`
      : `Cannot find "${source}": the model store has no such file or folder`,
  );
}

/** `owner/name`, `owner/name@revision`. */
const HUB_REFERENCE = /^[\w][\w.-]*\/[\w][\w.-]*(?:@[\w./-]+)?$/;

/** By the last part of its name, as a model's name is a part of a path: `owner/name` would be two. */
function onHub(address: string): StoredModel {
  const name = basename(address.split("@")[0] ?? address);
  const discard = (): Promise<void> => Promise.resolve();
  return { reference: `hf://${address}`, name, version: undefined, isOnHub: true, discard };
}

async function atPath(
  path: string,
  { cache, signal, log }: StoreOptions,
  discard = (): Promise<void> => Promise.resolve(),
): Promise<StoredModel> {
  try {
    const manifest = await identifyArchive(path, { cacheDir: cache, signal, log });
    const name = manifest?.modelName ?? nameOfArchive(path);
    return { reference: path, name, version: manifest?.modelVersion, isOnHub: false, discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** `undefined` where the store has nothing of that name. */
async function pathInStore(source: string, store: string | undefined): Promise<string | undefined> {
  if (store === undefined || source.includes("\0")) return undefined;
  const path = resolve(store, source);
  const way = relative(store, path);
  if (way === "" || way.startsWith("..") || isAbsolute(way)) return undefined;
  // A link may lead out of the store: who may write there may serve what they like.
  return (await stat(path).catch(() => undefined)) === undefined ? undefined : realpath(path);
}

async function behindUrl(text: string, options: StoreOptions): Promise<StoredModel> {
  const { allowedUrls, modelStore } = options;
  const url = text.length <= LONGEST_URL && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || permitUrl(url, allowedUrls) === undefined) {
    throw new RuntimeError("FORBIDDEN", `Cannot fetch "${text}": --allowed-urls does not allow it`);
  }
  if (url.protocol === "file:") return fromFileUrl(url, options);
  if (!["http:", "https:"].includes(url.protocol))
    throw failure(text, `this server knows http, https and file, not ${url.protocol}`);
  if (modelStore === undefined)
    throw failure(text, "there is no model store to keep it in, name one with --model-store");
  const file = fileNameOf(url);
  if (file === undefined) throw failure(text, "its path does not end with a file's name");
  const path = join(modelStore, file);
  await download(url, path, options);
  return atPath(path, options, () => rm(path, { force: true }));
}

async function fromFileUrl(url: URL, options: StoreOptions): Promise<StoredModel> {
  try {
    return await atPath(await realpath(fileURLToPath(url)), options);
  } catch (error) {
    if (error instanceof RuntimeError) throw error;
    throw new RuntimeError("MODEL_NOT_FOUND", `Cannot find "${url.href}"`, { cause: error });
  }
}

/** A plain name, so that what is written stays in the store and hides from nobody. */
function fileNameOf({ pathname }: URL): string | undefined {
  return /\/([A-Za-z\d][\w.-]{0,199})$/.exec(pathname)?.[1];
}

/** The file appears in the store under its name when all of it is there, or not at all. */
async function download(url: URL, path: string, options: StoreOptions): Promise<void> {
  const { allowedUrls, log, limitBytes = MOST_BYTES, timeoutMs = TIMEOUT_MS } = options;
  const text = url.href;
  const part = `${path}.${randomUUID()}.part`;
  const late = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([options.signal, late]);
  await mkdir(resolve(path, ".."), { recursive: true });
  if ((await stat(path).catch(() => undefined)) !== undefined) throw alreadyThere(path);
  try {
    const response = await requestGuarded(url, {
      permit: (target) =>
        /^https?:$/.test(target.protocol) ? permitUrl(target, allowedUrls) : undefined,
      permittedBy: "--allowed-urls",
      refuse: (problem) => failure(text, `it ${problem}`),
      signal,
      resolve: options.resolve,
    });
    const hash = createHash("sha256");
    const sized = bounded(response, limitBytes, hash, text);
    await pipeline(sized, createWriteStream(part, { flags: "wx", flush: true }), { signal });
    await link(part, path); // fails where a file has come to be meanwhile, as renaming would not
    log.info(`Fetched ${basename(path)} from ${url.origin}`, { sha256: hash.digest("hex") });
  } catch (error) {
    if (systemCodeOf(error) === "EEXIST") throw alreadyThere(path);
    if (error instanceof RuntimeError) throw error;
    const problem = late.aborted ? `it took longer than ${timeoutMs / 1000} s` : messageOf(error);
    throw failure(text, problem, error);
  } finally {
    await rm(part, { force: true });
  }
}

async function* bounded(
  source: AsyncIterable<Uint8Array>,
  limitBytes: number,
  hash: Hash,
  text: string,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const part of source) {
    total += part.byteLength;
    if (total > limitBytes) throw failure(text, `it is larger than ${limitBytes} bytes`);
    hash.update(part);
    yield part;
  }
}

function alreadyThere(path: string): RuntimeError {
  return new RuntimeError("CONFLICT", `Model file already exists ${basename(path)}`);
}

function failure(text: string, problem: string, cause?: unknown): RuntimeError {
  return new RuntimeError("DOWNLOAD_FAILED", `Cannot fetch "${text}": ${problem}`, { cause });
}
