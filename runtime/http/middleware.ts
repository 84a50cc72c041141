/**
 * The hall every request passes: its id, its deadline, its line in the log.
 */
import { randomUUID } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";
import type { Models } from "../engine/models.ts";
import { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { traceIdOf } from "../observe/trace.ts";
import { accessLevel, type AccessLog } from "./access-log.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { setHeader, type ResponseClass } from "./respond.ts";
import { pathOf, routeOf } from "./route.ts";
import { readTraceContext } from "./trace-context.ts";

/** Ids go into headers and logs: visible ASCII, and no longer than anybody needs. */
export const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** Echoes the client's `x-request-id`, or makes one. */
export function requestIds(makeId: () => string = randomUUID): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given !== undefined && REQUEST_ID.test(given) ? given : makeId();
    c.set("requestId", id);
    // A trace that the client belongs to is echoed, where it fits.
    const parent = c.req.header("traceparent");
    const trace = parent && readTraceContext(parent, c.req.header("tracestate"));
    c.set("responseHeaders", { "x-request-id": id, ...trace });
    await next();
  });
}

/** Gives protocols the register, a log that knows the request, and what makes responses. */
export function shared(
  models: Models,
  ResponseClass: ResponseClass,
  log: Log,
): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    c.set("models", models);
    c.set("ResponseClass", ResponseClass);
    // Our own trace, or the one that the client says it belongs to.
    const traceId = c.get("trace")?.traceId ?? traceIdOf(c.get("responseHeaders"));
    const requestId = c.get("requestId");
    c.set("log", log.child(traceId === undefined ? { requestId } : { requestId, traceId }));
    await next();
  });
}

/** How long a client wants to wait at the most, in milliseconds; the server's own limit stays above it. */
const TIMEOUT_HEADER = "x-request-timeout-ms";

/**
 * Joins the client's signal with a deadline: the model's or the server's, or the client's own where that is sooner.
 *
 * An own timer instead of `AbortSignal.timeout`, which keeps every request alive in memory until its deadline.
 */
export function deadlines(timeoutMs: number, now: () => number): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const ownMs = readTimeout(c.req.header(TIMEOUT_HEADER));
    const controller = new AbortController();
    const forget = whenClientLeaves(c, () =>
      controller.abort(new DOMException("The client has left", "AbortError")),
    );

    let timer: NodeJS.Timeout | undefined;
    let isKept = false;
    const stopWaiting = (): void => {
      clearTimeout(timer);
      forget();
      c.get("trace")?.release();
    };
    c.set("waitFor", (modelMs = timeoutMs) => {
      const deadlineAtMs = c.get("startedAtMs") + Math.min(modelMs, ownMs);
      timer = setTimeout(() => {
        controller.abort(new DOMException("The request's deadline has passed", "TimeoutError"));
      }, deadlineAtMs - now());
      return { signal: controller.signal, deadlineAtMs };
    });
    c.set("keepWaiting", () => {
      isKept = true;
      c.get("trace")?.hold();
    });
    c.set("stopWaiting", stopWaiting);
    try {
      await next();
    } finally {
      if (!isKept) stopWaiting();
    }
  });
}

/**
 * Requests of the same key go to the same version of a model, where its requests are shared out. A session or a user, say.
 */
export const STICKY_HEADER = "x-hubserve-sticky";

/** For `Models.ready`. */
export function stickyKeyOf(c: AppContext): string | undefined {
  return c.req.header(STICKY_HEADER) || undefined;
}

/** What Node's server writes its answer to; the adaptor hands it over as part of `c.env`. */
interface Outgoing {
  readonly writableFinished: boolean;
  destroy(): unknown;
  once(event: "close", listener: () => void): unknown;
  off(event: "close", listener: () => void): unknown;
}

/**
 * Calls `leave` when the client hangs up before its answer is complete. On a real connection that is told by the
 * connection: the request's `signal` would cost an `AbortController` for every request.
 *
 * @returns What ends the watch.
 */
function whenClientLeaves(c: AppContext, leave: () => void): () => void {
  const outgoing = outgoingOf(c);
  if (outgoing !== undefined) {
    const closed = (): void => {
      if (!outgoing.writableFinished) leave();
    };
    outgoing.once("close", closed);
    return () => void outgoing.off("close", closed);
  }
  const { signal } = c.req.raw;
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  return () => signal.removeEventListener("abort", leave);
}

/**
 * Breaks the connection off, for an answer that has begun and cannot be completed.
 *
 * @returns Whether there is a connection.
 */
export function hangUp(c: AppContext): boolean {
  const outgoing = outgoingOf(c);
  outgoing?.destroy();
  return outgoing !== undefined;
}

function outgoingOf(c: AppContext): Outgoing | undefined {
  const { outgoing } = (c.env ?? {}) as { readonly outgoing?: Outgoing }; // absent where no server is
  return outgoing;
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

/**
 * One line a request, without its body and its query. And its number.
 *
 * @param choice Which requests have a line that is not for debugging: those at which the server failed where absent.
 */
export function accessLog(
  now: () => number,
  metrics: Metrics,
  choice: AccessLog = "errors",
): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    const startedAtMs = now();
    c.set("startedAtMs", startedAtMs);
    await next();
    const { status } = c.res;
    const tookMs = now() - startedAtMs;
    const route = routeOf(c) ?? "other";
    const model = c.get("model");
    metrics.request(route, status, tookMs, model);
    const { method } = c.req;
    const isProbe = method === "GET" || method === "HEAD";
    const level = accessLevel(choice, status >= 500 && !isProbe);
    if (level === undefined) return;
    const ms = Math.round(tookMs * 10) / 10;
    c.get("log")[level](`${method} ${pathOf(c)} ${status} in ${tookMs.toFixed(1)} ms`, {
      ...(model !== undefined && { model }),
      route,
      status,
      ms,
    });
  });
}

/** The last handler of a path that exists: any other method is refused by name. */
export function onlyMethods(...methods: readonly string[]): (c: AppContext) => never {
  return (c) => {
    setHeader(c, "allow", methods.join(", "));
    throw new RuntimeError(
      "METHOD_NOT_ALLOWED",
      `Cannot answer: ${c.req.path} takes ${methods.join(", ")}, not ${c.req.method}`,
    );
  };
}
