/**
 * The one `fetch` that talks to the Hub: it adds the token where it belongs, waits and asks again where that may
 * help, and turns every other refusal into the sentence for it.
 *
 * The token is given to the Hub's own origin alone. `@huggingface/hub` never sees it, so that neither a page link nor a
 * redirect can carry it elsewhere; on redirects to other origins `fetch` itself drops the header (Fetch Standard,
 * HTTP-redirect fetch, step 13).
 *
 * What arrives after the headers is left to the reader of the body: `hub-transfer.ts`.
 */
import type { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import {
  describeNetworkFailure,
  type HubAnswer,
  type HubSubject,
  toOverload,
  toRefusal,
  toUnreachable,
} from "./hub-errors.ts";

/** Who asks. The version is package.json's; a test holds them together. */
export const USER_AGENT = "hubserve/0.1.0";

/** Four attempts with waits of 0.5, 1 and 2 s: a start without a network falls back on the cache within 4 s. */
const MAX_ATTEMPTS = 4;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 8000;
/** The longest that a server may make us wait before the next attempt. */
const MAX_RETRY_AFTER_MS = 60_000;
/** From the request to the headers of its answer. The Hub answers within a second. */
const RESPONSE_TIMEOUT_MS = 30_000;

/** Answers that another attempt may change. */
const TRANSIENT: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Not a refusal but an answer about the range that was asked for. */
const RANGE_NOT_SATISFIABLE = 416;

export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

export interface HubFetchOptions {
  readonly subject: HubSubject;
  readonly token?: string | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly sleep: Sleep;
  readonly fetch?: typeof fetch | undefined;
  readonly now?: (() => number) | undefined;
  readonly responseTimeoutMs?: number | undefined;
}

interface Failure {
  readonly error: RuntimeError;
  /** How long to wait before the next attempt, where the server says so; `Infinity` forbids another. */
  readonly retryAfterMs?: number;
}

/**
 * Creates the `fetch`. It resolves with a response that is `ok` (or 416), and rejects with a `RuntimeError`, or with
 * the reason of a signal that fired.
 */
export function createHubFetch({
  subject,
  token,
  signal,
  log,
  sleep,
  fetch: ask = fetch,
  now = Date.now,
  responseTimeoutMs = RESPONSE_TIMEOUT_MS,
}: HubFetchOptions): typeof fetch {
  const { origin } = new URL(subject.endpoint);

  async function attempt(
    url: URL,
    init: RequestInit,
    joined: AbortSignal,
  ): Promise<Response | Failure> {
    const silence = new AbortController();
    const timer = setTimeout(
      () => silence.abort(new Error(`it does not answer within ${responseTimeoutMs / 1000} s`)),
      responseTimeoutMs,
    );
    try {
      const response = await ask(url, {
        ...init,
        signal: AbortSignal.any([joined, silence.signal]),
      });
      if (response.ok || response.status === RANGE_NOT_SATISFIABLE) return response;
      const answer = await readRefusal(url, response);
      const isStorage = answer.origin !== origin;
      // The signature of a storage URL expires; the next attempt is redirected to a new one.
      if (TRANSIENT.has(answer.status) || isStorage) {
        const retryAfterMs = readRetryAfter(response.headers, now());
        const error = toOverload(subject, answer);
        return retryAfterMs === undefined ? { error } : { error, retryAfterMs };
      }
      return { error: toRefusal(subject, answer), retryAfterMs: Infinity };
    } catch (error) {
      joined.throwIfAborted();
      return { error: toUnreachable(subject, describeNetworkFailure(error)) };
    } finally {
      clearTimeout(timer);
    }
  }

  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const joined = init.signal ? AbortSignal.any([signal, init.signal]) : signal;
    const headers = new Headers(init.headers);
    headers.set("user-agent", USER_AGENT);
    if (token !== undefined && url.origin === origin) {
      headers.set("authorization", `Bearer ${token}`);
    }

    for (let attempts = 1; ; attempts += 1) {
      joined.throwIfAborted();
      const outcome = await attempt(url, { ...init, headers }, joined);
      if (outcome instanceof Response) return outcome;
      const { error, retryAfterMs = backoffMs(attempts) } = outcome;
      if (attempts >= MAX_ATTEMPTS || retryAfterMs === Infinity || isOnce(url)) throw error;
      const waitMs = Math.min(retryAfterMs, MAX_RETRY_AFTER_MS);
      log.warn(`Asking the Hub again in ${(waitMs / 1000).toFixed(1)} s`, {
        reason: error.cause instanceof Error ? error.cause.message : error.message,
      });
      await sleep(waitMs, joined);
    }
  };
}

/** A commit whose answer was lost may have been made: a second one would be another. */
function isOnce({ pathname }: URL): boolean {
  return /\/api\/models\/.+\/commit\//.test(pathname) || pathname === "/api/repos/create";
}

/** How long to wait after that many failures in a row: doubling, less up to half, so that many starts spread out. */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  return Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), MAX_WAIT_MS) * (1 - random() / 2);
}

/**
 * How long an answer asks to wait: `Retry-After`, seconds or a date (RFC 9110, section 10.2.3), else what the Hub sends
 * with a 429, `RateLimit: "api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers-09).
 */
export function readRetryAfter(headers: Headers, nowMs: number): number | undefined {
  const limit = /r\s*=\s*0\s*;\s*t\s*=\s*(\d+)/.exec(headers.get("ratelimit") ?? "")?.[1];
  const header = headers.get("retry-after") ?? limit;
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(ms) ? Math.max(ms, 0) : undefined;
}

async function readRefusal(asked: URL, response: Response): Promise<HubAnswer> {
  const file = /\/resolve\/[^/]+\/(.+)$/.exec(asked.pathname)?.[1];
  return {
    status: response.status,
    origin: new URL(response.url || asked).origin,
    code: response.headers.get("x-error-code"),
    message: response.headers.get("x-error-message") ?? (await readErrorBody(response)),
    ...(file === undefined ? {} : { file: decodeURIComponent(file) }),
  };
}

/** The `error` of a JSON body, from its first chunk: no refusal is worth more. */
async function readErrorBody(response: Response): Promise<string | null> {
  const reader = response.body?.getReader();
  try {
    const first = await reader?.read();
    const body: unknown = JSON.parse(new TextDecoder().decode(first?.value));
    if (typeof body !== "object" || body === null || !("error" in body)) return null;
    return typeof body.error === "string" ? body.error : null;
  } catch {
    return null;
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
}
