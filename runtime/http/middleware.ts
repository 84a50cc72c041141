/**
 * The hall every request passes: its id, its deadline, its line in the log.
 */
import { randomUUID } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";
import type { Models } from "../engine/models.ts";
import { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { AppContext, AppEnv } from "./context.ts";

/** Ids go into headers and logs: visible ASCII, and no longer than anybody needs. */
const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** Echoes the client's `x-request-id`, or makes one. */
export function requestIds(makeId: () => string = randomUUID): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given !== undefined && REQUEST_ID.test(given) ? given : makeId();
    c.set("requestId", id);
    c.header("x-request-id", id); // before the response is made: afterwards it would cost a copy of it
    await next();
  });
}

/** Gives protocols the register and a log that knows the request. */
export function shared(models: Models, log: Log): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    c.set("models", models);
    c.set("log", log.child({ requestId: c.var.requestId }));
    await next();
  });
}

/** How long a client wants to wait at the most, in milliseconds; the server's own limit stays above it. */
const TIMEOUT_HEADER = "x-request-timeout-ms";

/**
 * Joins the client's signal with a deadline: the server's, or the client's own where that is sooner.
 *
 * An own timer instead of `AbortSignal.timeout`, which keeps every request alive in memory until its deadline.
 */
export function deadlines(timeoutMs: number, now: () => number): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const limitMs = Math.min(timeoutMs, readTimeout(c.req.header(TIMEOUT_HEADER)));
    const controller = new AbortController();
    const timer = setTimeout(() => {
      controller.abort(new DOMException("The request's deadline has passed", "TimeoutError"));
    }, limitMs);
    const client = c.req.raw.signal;
    const leave = (): void =>
      controller.abort(new DOMException("The client has left", "AbortError"));
    if (client.aborted) leave();
    else client.addEventListener("abort", leave, { once: true });

    let isKept = false;
    const stopWaiting = (): void => {
      clearTimeout(timer);
      client.removeEventListener("abort", leave);
    };
    c.set("waiting", { signal: controller.signal, deadlineAtMs: now() + limitMs });
    c.set("keepWaiting", () => void (isKept = true));
    c.set("stopWaiting", stopWaiting);
    try {
      await next();
    } finally {
      if (!isKept) stopWaiting();
    }
  });
}

/** @throws RuntimeError `INVALID_INPUT` when it is no number of milliseconds. */
function readTimeout(header: string | undefined): number {
  if (header === undefined) return Infinity;
  if (/^\d{1,12}$/.test(header.trim()) && Number(header) > 0) return Number(header);
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot read the header ${TIMEOUT_HEADER}: wanted a number of milliseconds`,
  );
}

/** One line a request, without its body: failures as warnings, the rest only when debugging. */
export function accessLog(now: () => number): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const startedAtMs = now();
    c.set("startedAtMs", startedAtMs);
    await next();
    const { status } = c.res;
    const tookMs = now() - startedAtMs;
    const isProbe = c.req.method === "GET" || c.req.method === "HEAD";
    const level = status >= 500 && !isProbe ? "warn" : "debug";
    c.var.log[level](`${c.req.method} ${c.req.path} ${status} in ${tookMs.toFixed(1)} ms`);
  });
}

/** The last handler of a path that exists: any other method is refused by name. */
export function onlyMethods(...methods: readonly string[]): (c: AppContext) => never {
  return (c) => {
    c.header("allow", methods.join(", "));
    throw new RuntimeError(
      "METHOD_NOT_ALLOWED",
      `Cannot answer: ${c.req.path} takes ${methods.join(", ")}, not ${c.req.method}`,
    );
  };
}
