/**
 * The lock on every port: with API keys, a request without one gets a 401, whatever it asks for.
 *
 * Keys come from `HUBSERVE_API_KEY` and from the file of `--api-key-file`, which is read again when it has changed, so that
 * keys can be exchanged while the server runs. Only digests of them are kept. A key is sent as `Authorization: Bearer`, or as
 * `x-api-key` or `api-key`, which leaves `Authorization` to TorchServe's tokens (`token-auth.ts`), a lock of its own behind
 * this one. What needs no key stands in `PUBLIC_PATHS` and, for gRPC, in `PUBLIC_METHODS`; a new route needs one by itself.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";

import { API_KEY, MOST_KEYS, WANTED_KEYS } from "../api-key-text.ts";
import { RuntimeError, systemCodeOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { setHeader } from "./respond.ts";

export interface ApiKeys {
  /**
   * Whether one of a request's headers holds a key.
   *
   * @param header The value of a header by its name in lower case.
   */
  accepts(header: (name: string) => string | undefined): boolean;
}

export interface ApiKeysOptions {
  /** Those that were given directly. */
  readonly keys: readonly string[];
  /** A file with one on each line, absolute. */
  readonly file?: string | undefined;
  readonly log: Log;
  readonly now?: () => number;
}

/** Headers that hold a key and nothing else: API gateways' and Azure's. */
const KEY_HEADERS = ["x-api-key", "api-key"] as const;

/** All that a request may hold a key in; none of them reaches a handler. */
export const CREDENTIAL_HEADERS = ["authorization", ...KEY_HEADERS] as const;

/** How old what is known of the file may be, in milliseconds. */
const LOOK_EVERY_MS = 1000;

const LARGEST_FILE_BYTES = 1024 * 1024;

/** Below that, a key could be found by trying. */
const SHORT_KEY = 16;

/** @throws RuntimeError `INVALID_OPTION` where the file cannot be read, holds no key, or a line that is none. */
export function createApiKeys({
  keys,
  file,
  log,
  now = () => performance.now(),
}: ApiKeysOptions): ApiKeys | undefined {
  if (keys.length === 0 && file === undefined) return undefined;
  const given = keys.map(digestOf);
  let filed: readonly Buffer[] = [];
  let seen = "";
  let lookedAtMs = now();

  function read(path: string): void {
    const { size, mtimeMs, ino } = statSync(path);
    const found = `${ino} ${size} ${mtimeMs}`;
    if (found === seen) return;
    seen = found;
    const listed = readKeyFile(path, size);
    filed = listed.map(digestOf);
    warnOfShort(listed, log);
  }

  /** A file that cannot be read any more opens nothing: whoever took it away wanted that, or will see it in the log. */
  function readAgain(path: string): void {
    const nowMs = now();
    if (nowMs - lookedAtMs < LOOK_EVERY_MS) return;
    lookedAtMs = nowMs;
    const before = seen;
    try {
      read(path);
      if (seen !== before) log.info(`Read the API keys anew: ${count(filed.length)} in the file`);
    } catch (error) {
      const reason = error instanceof RuntimeError ? error.message : cannotRead(path, error);
      const isNews = seen !== before || filed.length > 0;
      filed = [];
      if (!(error instanceof RuntimeError)) seen = "";
      if (isNews) log.error(`${reason}; until it is mended, no key of that file is good`);
    }
  }

  warnOfShort(keys, log);
  if (file !== undefined) {
    try {
      read(file);
    } catch (error) {
      if (error instanceof RuntimeError) throw error;
      throw new RuntimeError("INVALID_OPTION", cannotRead(file, error), { cause: error });
    }
  }
  return {
    accepts(header) {
      if (file !== undefined) readAgain(file);
      const bearer = /^Bearer +(\S+)$/i.exec(header("authorization")?.trim() ?? "")?.[1];
      const sent = [bearer, ...KEY_HEADERS.map((name) => header(name)?.trim())];
      return sent.some((text) => text !== undefined && isAmong(text, [...given, ...filed]));
    },
  };
}

function readKeyFile(path: string, size: number): readonly string[] {
  const fail = (problem: string): never => {
    throw new RuntimeError("INVALID_OPTION", `Cannot read the API keys in ${path}: ${problem}`);
  };
  if (size > LARGEST_FILE_BYTES)
    return fail(`it has ${size} bytes, wanted at most ${LARGEST_FILE_BYTES}`);
  const lines = readFileSync(path, "utf8")
    .replace(/^\uFEFF/, "")
    .split("\n");
  const keys: string[] = [];
  for (const [index, line] of lines.entries()) {
    const key = line.trim();
    if (key === "" || key.startsWith("#")) continue;
    if (!API_KEY.test(key))
      return fail(`line ${index + 1} is no key; wanted ${WANTED_KEYS}, one on each line`);
    keys.push(key);
  }
  if (keys.length === 0) return fail("it holds none; wanted one on each line");
  if (keys.length > MOST_KEYS) return fail(`it holds ${keys.length}, wanted at most ${MOST_KEYS}`);
  return keys;
}

function cannotRead(path: string, error: unknown): string {
  const why = systemCodeOf(error) ?? "it failed";
  return `Cannot read the API keys in ${path}: ${why}; name the file with --api-key-file`;
}

function warnOfShort(keys: readonly string[], log: Log): void {
  const short = keys.filter(({ length }) => length < SHORT_KEY).length;
  if (short === 0) return;
  const which = short === 1 ? "One API key has" : `${short} API keys have`;
  log.warn(
    `${which} fewer than ${SHORT_KEY} characters: \`openssl rand -hex 32\` makes a good one`,
  );
}

function count(keys: number): string {
  return keys === 1 ? "one is" : `${keys} are`;
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Digests have one length, and each is looked at: how long it takes tells nothing of the keys. */
function isAmong(text: string, digests: readonly Buffer[]): boolean {
  const digest = digestOf(text);
  let isFound = false;
  for (const known of digests) if (timingSafeEqual(digest, known)) isFound = true;
  return isFound;
}

/** What probes ask, by `GET` or `HEAD`, on the main port: whether it lives and is ready, and which model that is. */
export const PUBLIC_PATHS: ReadonlySet<string> = new Set([
  "/ping",
  "/health",
  "/health/live",
  "/health/ready",
  "/v2/health/live",
  "/v2/health/ready",
]);

/** The same for gRPC: its own health service, and the inference service's `ServerLive` and `ServerReady`. */
export const PUBLIC_METHODS =
  /^\/(?:grpc\.health\.v1\.Health\/(?:Check|List|Watch)|inference\.GRPCInferenceService\/Server(?:Live|Ready))$/;

export const NO_API_KEY =
  "Cannot answer: the request has no API key that is good; send one as a bearer in Authorization, or in x-api-key";

/**
 * @param isPublic Whether a request needs no key, besides the probes of `PUBLIC_PATHS`. The management port and the metrics
 * port have none.
 */
export function requireApiKey(
  keys: ApiKeys,
  isPublic: (c: AppContext) => boolean = () => false,
): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    if (!keys.accepts((name) => c.req.header(name)) && !isPublic(c)) {
      setHeader(c, "www-authenticate", 'Bearer realm="hubserve"');
      throw new RuntimeError("UNAUTHORIZED", NO_API_KEY);
    }
    await next();
  });
}

/** A probe on the main port. */
export function isPublicProbe({
  req,
}: {
  readonly req: Pick<AppContext["req"], "method" | "path">;
}): boolean {
  const path = req.path.length > 1 ? req.path.replace(/\/$/, "") : req.path;
  return (req.method === "GET" || req.method === "HEAD") && PUBLIC_PATHS.has(path);
}
