/**
 * One file from the Hub to the cache: resumed where it stopped, verified, and only then given its name.
 *
 * Bytes go to `<blob>.incomplete`, each to its own place, so that another process on the same file does no harm.
 * The content's hash is computed while it streams; what an earlier start left is read and hashed first.
 *
 * Files of the Xet store are fetched over plain HTTP too (`xet` is not set in the download info): a `Range` resumes
 * them, mirrors serve them, and memory stays flat, where `XetBlob` holds 64–256 MiB of each file in flight.
 */
import { createHash, type Hash } from "node:crypto";
import { constants, type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { downloadFile } from "@huggingface/hub";
import { isRuntimeError, messageOf, systemCodeOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import {
  describeNetworkFailure,
  type HubSubject,
  quote,
  toFileFailure,
  toUnreachable,
} from "./hub-errors.ts";
import { backoffMs, type Sleep } from "./hub-fetch.ts";
import { etagOf, type ListedFile } from "./hub-listing.ts";

/** A wrong content is fetched once more from the start; twice wrong is wrong. */
const MAX_RESTARTS = 1;
/** Connections that may break in a row, each after less than `ENOUGH_BYTES`. */
const MAX_CUTS = 4;
/** A connection that brought this much counts as a success even if it breaks then. */
const ENOUGH_BYTES = 1024 * 1024;
/** The longest silence in mid-file. */
const STALL_TIMEOUT_MS = 60_000;
const READ_BYTES = 1024 * 1024;

export interface TransferOptions {
  readonly subject: HubSubject;
  readonly commit: string;
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal;
  readonly sleep: Sleep;
  readonly log: Log;
  /** How many bytes came, or, when negative, how many must come again. */
  readonly onBytes: (bytes: number) => void;
  readonly stallTimeoutMs?: number | undefined;
}

/**
 * Fetches `file` to `blob`, whose folder must exist.
 *
 * @throws RuntimeError `DOWNLOAD_FAILED` when the content is wrong twice or cannot be written, `HUB_UNREACHABLE` when
 *   the connection keeps breaking. What came so far is then kept for the next start.
 */
export async function transferFile(
  file: ListedFile,
  blob: string,
  options: TransferOptions,
): Promise<void> {
  const partial = `${blob}.incomplete`;
  for (let restarts = 0; ; restarts += 1) {
    let counted = 0;
    const onBytes = (bytes: number): void => {
      counted += bytes;
      options.onBytes(bytes);
    };
    try {
      await fillPartial(file, partial, { ...options, onBytes });
      return await giveName(partial, blob);
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      await rm(partial, { force: true });
      if (restarts === MAX_RESTARTS) {
        throw toFileFailure(options.subject, file.path, error.message);
      }
      options.onBytes(-counted);
      const reason = error.message;
      options.log.warn(`Downloading ${quote(file.path)} again from the start`, { reason });
    }
  }
}

async function giveName(partial: string, blob: string): Promise<void> {
  try {
    await rename(partial, blob);
  } catch (error) {
    // Another process that worked on the same file has done it already.
    const isDone = systemCodeOf(error) === "ENOENT" && (await stat(blob).catch(() => undefined));
    if (!isDone) throw error;
  }
}

/** The content is not what the listing says, whatever comes next. */
class Mismatch extends Error {}

/** Completes the partial file and verifies it. */
async function fillPartial(
  file: ListedFile,
  partial: string,
  options: TransferOptions,
): Promise<void> {
  const { subject, signal, sleep, log, onBytes } = options;
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
  try {
    const hash = createContentHash(file);
    let offset = await hashPrefix(handle, hash, file.size, signal);
    onBytes(offset);

    for (let cuts = 0; offset < file.size;) {
      const start = offset;
      try {
        await readFrom(file, start, options, async (chunk) => {
          if (offset + chunk.length > file.size) {
            throw new Mismatch(`found more than ${file.size} bytes, wanted as many`);
          }
          await writeAt(handle, chunk, offset).catch((error: unknown) => {
            throw toFileFailure(subject, file.path, messageOf(error), error);
          });
          hash.update(chunk);
          offset += chunk.length;
          onBytes(chunk.length);
        });
        if (offset < file.size) {
          throw new Mismatch(`found ${offset} bytes, wanted ${file.size}`);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Mismatch || isRuntimeError(error)) throw error;
        cuts = offset - start >= ENOUGH_BYTES ? 1 : cuts + 1;
        const reason = `the connection broke after ${offset} of ${file.size} bytes of ${quote(file.path)}: ${describeNetworkFailure(error)}`;
        if (cuts === MAX_CUTS) throw toUnreachable(subject, reason);
        log.debug("Resuming a download", { reason });
        await sleep(backoffMs(cuts), signal);
      }
    }

    const found = hash.digest("hex");
    if (found !== etagOf(file)) {
      throw new Mismatch(`found content with the hash "${found}", wanted "${etagOf(file)}"`);
    }
    // A name that survives a power cut while the content does not would be a broken file.
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Reads the file's bytes from `offset` on. Rejects when the connection breaks. */
async function readFrom(
  file: ListedFile,
  offset: number,
  { subject, commit, fetch, signal, stallTimeoutMs = STALL_TIMEOUT_MS }: TransferOptions,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const stall = new AbortController();
  const joined = AbortSignal.any([signal, stall.signal]);
  let timer: NodeJS.Timeout | undefined;
  // `WebBlob` passes on a failed request as its message alone.
  let failure: unknown;

  const blob = await downloadFile({
    repo: { type: "model", name: subject.name },
    path: file.path,
    revision: commit,
    hubUrl: subject.endpoint,
    // With this no request is spent on asking; the library would also leave "#", "?" and "%" in names as they are.
    downloadInfo: { size: file.size, etag: etagOf(file), url: toResolveUrl(subject, commit, file) },
    fetch: async (input, init) => {
      try {
        const headers = new Headers(init?.headers);
        // Sizes and ranges are those of the content as it is.
        headers.set("accept-encoding", "identity");
        const response = await fetch(input, { ...init, headers, signal: joined });
        if (response.status !== (offset === 0 ? 200 : 206)) {
          await response.body?.cancel();
          throw new Mismatch(
            `the bytes from ${offset} on are answered with the status ${response.status}`,
          );
        }
        timer = setTimeout(
          () => stall.abort(new Error(`nothing came for ${stallTimeoutMs / 1000} s`)),
          stallTimeoutMs,
        );
        return response;
      } catch (error) {
        failure = error;
        throw error;
      }
    },
  });
  if (blob === null) throw new Mismatch("found no such file");

  const reader = blob.slice(offset).stream().getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      timer?.refresh();
      await take(value);
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => undefined);
  }
}

function toResolveUrl({ endpoint, name }: HubSubject, commit: string, file: ListedFile): string {
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/${name}/resolve/${commit}/${path}`;
}

/** LFS files are named by their sha256, others as git names a blob: the sha1 of a header and the content. */
function createContentHash({ sha256, size }: ListedFile): Hash {
  if (sha256 !== undefined) return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`);
}

/** Hashes what an earlier start left, and returns how much that is. More than `size` is cut off as worthless. */
async function hashPrefix(
  handle: FileHandle,
  hash: Hash,
  size: number,
  signal: AbortSignal,
): Promise<number> {
  const left = (await handle.stat()).size;
  if (left > size) await handle.truncate(0);
  if (left === 0 || left > size) return 0;

  const buffer = new Uint8Array(Math.min(READ_BYTES, left));
  let offset = 0;
  while (offset < left) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
  return offset;
}

async function writeAt(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.length;) {
    const rest = chunk.length - written;
    written += (await handle.write(chunk, written, rest, position + written)).bytesWritten;
  }
}
