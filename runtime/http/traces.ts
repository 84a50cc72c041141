/**
 * A request's own span, from its arrival until its answer's last byte, in the words of OpenTelemetry's conventions for HTTP.
 *
 * Questions about the server itself are not traced: probes and scrapes come every few seconds and say nothing of a request.
 * Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ (stable)
 */
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";

import type { SpanAttributes, Tracing } from "../observe/trace.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { setHeader } from "./respond.ts";
import { pathOf, routeOf } from "./route.ts";
import { readTraceContext } from "./trace-context.ts";

const ABOUT_THE_SERVER = /^\/(?:metrics|ping|(?:v2\/)?health(?:\/(?:live|ready))?)\/?$/;

/** Others become `_OTHER`: whoever invents methods must not fill anybody's memory. */
const METHODS = new Set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "));

/** No more of them is told. */
const LONGEST_AGENT = 256;
const LONGEST_PATH = 1000;

/** @param now Milliseconds on the engine's clock. */
export function traces(tracing: Tracing, now: () => number): MiddlewareHandler<AppEnv> {
  return createMiddleware<AppEnv>(async (c, next) => {
    if (ABOUT_THE_SERVER.test(c.req.path)) return next();
    const { method } = c.req;
    const known = METHODS.has(method) ? method : "HTTP";
    const trace = tracing.begin({
      name: known,
      attributes: describeRequest(c),
      parent: readTraceContext(c.req.header("traceparent"), c.req.header("tracestate")),
      startedAtMs: now(),
    });
    c.set("trace", trace);
    setHeader(c, "traceparent", trace.context.traceparent);
    await next();
    const { status } = c.res;
    const route = routeOf(c);
    trace.answered({
      name: route === undefined ? known : `${known} ${route}`,
      attributes: {
        "http.response.status_code": status,
        ...(route !== undefined && { "http.route": route }),
      },
      errorType: status >= 500 ? String(status) : undefined,
    });
  });
}

/** The path without its query, which may hold inputs and keys. */
function describeRequest(c: AppContext): SpanAttributes {
  const { req } = c;
  const { protocol, hostname, port } = new URL(req.url);
  const agent = req.header("user-agent");
  return {
    "http.request.method": METHODS.has(req.method) ? req.method : "_OTHER",
    "url.path": pathOf(c).slice(0, LONGEST_PATH),
    "url.scheme": protocol.slice(0, -1),
    "server.address": hostname,
    ...(port !== "" && { "server.port": Number(port) }),
    ...(agent !== undefined && { "user_agent.original": agent.slice(0, LONGEST_AGENT) }),
  };
}
