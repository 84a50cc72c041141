/**
 * Keys for the ports, as TorchServe keeps them: made at the start, written to a file that its owner alone may read, good
 * for an hour, and renewed over the management port by whoever holds the API key.
 *
 * The file's form is TorchServe's (`key_file.json`, 0.12). Keys are of 256 bits instead of 48 and compared in constant
 * time; a refusal says 401, as `compat` alone says 400; and the file goes when the server does.
 */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";

import { RuntimeError, systemCodeOf } from "../errors.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { setHeader } from "./respond.ts";

/** What a key opens. `API` opens the renewal alone, and never expires. */
export const RENEWED_KINDS = ["management", "inference"] as const;
export type RenewedKind = (typeof RENEWED_KINDS)[number];
export type KeyKind = RenewedKind | "API";

/** A key as the file has it. */
export interface Key {
  readonly key: string;
  /** ISO 8601; absent for a key that stays good. */
  readonly "expiration time"?: string;
}

export interface TokenAuthority extends AsyncDisposable {
  /** Whether an `Authorization` header holds a key of that kind that is still good. */
  accepts(kind: KeyKind, header: string | undefined): boolean;
  /** Makes a new key and writes it to the file; the old one is refused from then on. */
  renew(kind: RenewedKind): Promise<Key>;
  /** Removes the file, unless another server has written it since. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface TokenAuthorityOptions {
  /** Where the keys are written, absolute. */
  readonly file: string;
  readonly expirationMs: number;
  /** Whether only `Bearer` in that very case is read, as TorchServe does. */
  readonly isCompat?: boolean;
  readonly now?: () => number;
  readonly makeKey?: () => string;
}

const KEY_BYTES = 32; // 256 bits: out of reach of guessing, whatever the rate

/** Makes the keys and writes the file. @throws RuntimeError `INVALID_OPTION` when it cannot be written. */
export async function createTokenAuthority({
  file,
  expirationMs,
  isCompat = false,
  now = Date.now,
  makeKey = () => randomBytes(KEY_BYTES).toString("base64url"),
}: TokenAuthorityOptions): Promise<TokenAuthority> {
  const expiring = (): Key => ({
    key: makeKey(),
    "expiration time": new Date(now() + expirationMs).toISOString(),
  });
  const keys: Record<KeyKind, Key> = {
    management: expiring(),
    inference: expiring(),
    API: { key: makeKey() },
  };
  const bearer = isCompat ? /^Bearer\s+(\S+)$/ : /^Bearer\s+(\S+)$/i;
  /** Writings follow one another, so that the last one stays. */
  let written = Promise.resolve();

  async function write(): Promise<void> {
    const part = `${file}.${randomUUID()}.part`;
    try {
      await writeFile(part, JSON.stringify(keys, undefined, 2), { mode: 0o600, flag: "wx" });
      await rename(part, file);
    } catch (error) {
      await rm(part, { force: true });
      throw new RuntimeError(
        "INVALID_OPTION",
        `Cannot write the key file ${file}: ${systemCodeOf(error) ?? "it failed"}; name another with --key-file, or use --disable-token-auth`,
        { cause: error },
      );
    }
  }

  await write();
  return {
    accepts(kind, header) {
      const given = bearer.exec(header?.trim() ?? "")?.[1];
      const { key, "expiration time": expiration } = keys[kind];
      const isGood = expiration === undefined || now() < Date.parse(expiration);
      return given !== undefined && isSame(given, key) && isGood;
    },
    async renew(kind) {
      const before = keys[kind];
      const renewed = (keys[kind] = expiring());
      written = written.then(write);
      try {
        await written;
      } catch (error) {
        written = Promise.resolve();
        if (keys[kind] === renewed) keys[kind] = before; // what nobody can read opens nothing
        throw error;
      }
      return renewed;
    },
    async [Symbol.asyncDispose]() {
      await written.catch(() => undefined);
      const text = await readFile(file, "utf8").catch(() => "");
      if (text.includes(JSON.stringify(keys.API.key))) await rm(file, { force: true });
    },
  };
}

/** Digests have one length, and comparing them tells nothing of where they differ. */
function isSame(given: string, key: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(key));
}

export interface TokenRule {
  readonly kind: KeyKind;
  /** TorchServe's sentence. */
  readonly refusal: string;
}

export const AUTHORIZATION_FAILED =
  "Token Authorization failed. Token either incorrect, expired, or not provided correctly";
export const AUTHENTICATION_FAILED =
  "Token Authentication failed. Token either incorrect, expired, or not provided correctly";

/** @param ruleOf What a request needs; `undefined` for nothing. Throws `UNAUTHORIZED` where it is missing. */
export function requireToken(
  authority: TokenAuthority,
  ruleOf: (c: AppContext) => TokenRule | undefined,
): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const rule = ruleOf(c);
    if (rule !== undefined && !authority.accepts(rule.kind, c.req.header("authorization"))) {
      setHeader(c, "www-authenticate", `Bearer realm="hubserve ${rule.kind}"`);
      throw new RuntimeError("UNAUTHORIZED", rule.refusal);
    }
    await next();
  });
}

/** Paths of the main port that probes and scrapers ask, and descriptions: they tell no secret. */
const OPEN_PATHS =
  /^\/(?:ping|health(?:\/\w+)?|ready|metrics|api-description|v2\/health\/\w+)?\/?$/;

/** What the rule is told by. */
interface Asked {
  readonly req: Pick<AppContext["req"], "method" | "path">;
}

/** What loading and unloading models over the main port takes. */
export const repositoryRule: TokenRule = {
  kind: "management",
  refusal:
    "Cannot change what is loaded: the request has no management key that is good, wanted the header Authorization: Bearer <key>, with the key from the server's key file",
};

/**
 * The main port's rule: a key for everything but probes, `/metrics` and descriptions. Who changes what is loaded needs another one, which
 * the routes themselves ask for.
 */
export function inferenceRule({ req }: Asked): TokenRule | undefined {
  if (req.path.startsWith("/v2/repository/models/")) return undefined;
  const isProbe = ["GET", "HEAD", "OPTIONS"].includes(req.method) && OPEN_PATHS.test(req.path);
  return isProbe ? undefined : { kind: "inference", refusal: AUTHORIZATION_FAILED };
}
