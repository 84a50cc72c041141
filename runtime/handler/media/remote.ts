/**
 * Files behind URLs, from the hosts that `--allow-url-inputs` names and from nowhere else; `guarded-request.ts` keeps the
 * promise.
 */
import type { IncomingMessage } from "node:http";

import { isRuntimeError } from "../../errors.ts";
import { requestGuarded, type Address } from "../../guarded-request.ts";
import type { Media } from "../../inference.ts";
import { findUrlHost } from "../../url-hosts.ts";
import { invalidInput } from "../tasks/inputs.ts";

export interface RemoteOptions {
  /** What is being done, for a refusal: `classify the image`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`. */
  readonly name: string;
  /** The allowed hosts, as `url-hosts.ts` reads them. */
  readonly hosts: readonly string[];
  readonly signal: AbortSignal;
  /** The most bytes. The default is that of `--max-body-size`: what a client could have sent itself. */
  readonly limitBytes?: number;
  /** For all of it, redirects included. */
  readonly timeoutMs?: number;
  /** Every address of a host. */
  readonly resolve?: (hostname: string) => Promise<readonly Address[]>;
}

const MOST_BYTES = 64 * 1024 * 1024;
/** Well below a request's own deadline of 120 s. */
const TIMEOUT_MS = 20_000;

/** Fetches one file. @throws `INVALID_INPUT` with one sentence, or the signal's reason. */
export async function fetchRemote(text: string, options: RemoteOptions): Promise<Media> {
  const { action, name, signal, timeoutMs = TIMEOUT_MS } = options;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const stop = AbortSignal.any([signal, late.signal]);
  const stopped = new Promise<never>((_resolve, reject) => {
    stop.addEventListener("abort", () => reject(stop.reason), { once: true });
  });
  try {
    signal.throwIfAborted();
    // A race, as the lookup of a name cannot be called off.
    return await Promise.race([follow(new URL(text), options, stop), stopped]);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (isRuntimeError(error)) throw error;
    const problem = late.signal.aborted
      ? `its host did not send it within ${timeoutMs / 1000} s`
      : "its host cannot be reached";
    throw invalidInput(action, `"${name}" cannot be fetched: ${problem}`, error);
  } finally {
    clearTimeout(timer);
  }
}

async function follow(url: URL, options: RemoteOptions, signal: AbortSignal): Promise<Media> {
  const { action, name, hosts, resolve } = options;
  const response = await requestGuarded(url, {
    permit(target) {
      const host = findUrlHost(target, hosts);
      return host && (host.isWildcard ? "pattern" : "named");
    },
    permittedBy: "--allow-url-inputs",
    refuse: (problem) => invalidInput(action, `"${name}" ${problem}`),
    signal,
    resolve,
  });
  return readFile(response, options);
}

async function readFile(response: IncomingMessage, options: RemoteOptions): Promise<Media> {
  const { action, name, limitBytes = MOST_BYTES } = options;
  const { headers } = response;
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding !== "identity")
      throw invalidInput(action, `"${name}" cannot be fetched: its host compresses what it sends`);
    for await (const part of response as AsyncIterable<Uint8Array>) {
      total += part.byteLength;
      if (total > limitBytes)
        throw invalidInput(action, `"${name}" is larger than ${limitBytes} bytes`);
      parts.push(part);
    }
  } finally {
    response.destroy();
  }
  return {
    bytes: new Uint8Array(Buffer.concat(parts)),
    contentType: headers["content-type"] ?? "application/octet-stream",
  };
}
