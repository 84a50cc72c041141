/**
 * Cross-origin headers for browsers: TorchServe's `cors_allowed_*`, on every answer, errors included.
 *
 * TorchServe sends the headers and knows no preflight, so browsers cannot send it JSON; here preflights are answered,
 * before any key is asked for, as browsers send none with them.
 */
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";
import type { AppEnv } from "./context.ts";
import { respond } from "./respond.ts";

/** Each is sent as it is written; without an origin none is. */
export interface CorsSettings {
  readonly corsAllowedOrigin: string | undefined;
  readonly corsAllowedMethods: string | undefined;
  readonly corsAllowedHeaders: string | undefined;
}

export function cors(settings: CorsSettings): MiddlewareHandler<AppEnv> {
  const headers = [
    ["access-control-allow-origin", settings.corsAllowedOrigin],
    ["access-control-allow-methods", settings.corsAllowedMethods],
    ["access-control-allow-headers", settings.corsAllowedHeaders],
  ] as const;
  return createMiddleware<AppEnv>(async (c, next) => {
    const isPreflight =
      c.req.method === "OPTIONS" && c.req.header("access-control-request-method") !== undefined;
    if (isPreflight) c.res = respond(c, { body: "", headers: {} }, 204); // with its id, as every answer
    else await next();
    for (const [name, value] of headers) if (value !== undefined) c.header(name, value);
  });
}
