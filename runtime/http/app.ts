/**
 * The HTTP face: middleware, protocols, and what is said when none of them knows a route.
 *
 * To add a protocol: write its file in `protocols/`, mount it here. Each brings its own error shape; unknown routes
 * answer in Hugging Face's.
 */
import { Hono } from "hono";
import type { Models } from "../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { AppEnv } from "./context.ts";
import { accessLog, deadlines, onlyMethods, requestIds, shared } from "./middleware.ts";
import { createHuggingFaceRoutes, renderHuggingFaceError } from "./protocols/huggingface.ts";
import { respond, type ResponseClass } from "./respond.ts";
import type { DialectChoice } from "./protocols/huggingface-dialect.ts";

/** Prometheus's exposition format. */
const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

export interface AppOptions {
  readonly models: Models;
  readonly metrics: Metrics;
  readonly dialect: DialectChoice;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  readonly version: string;
  /** What makes responses; the web's `Response` when absent. */
  readonly ResponseClass?: ResponseClass | undefined;
  /** Milliseconds on the engine's clock. */
  readonly now?: () => number;
  readonly log: Log;
}

export function createApp({
  models,
  metrics,
  dialect,
  maxBodyBytes,
  requestTimeoutMs,
  version,
  ResponseClass = Response,
  now = () => performance.now(),
  log,
}: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false }); // /predict/ is /predict
  app.use(
    requestIds(),
    shared(models, ResponseClass, log),
    accessLog(now, metrics),
    deadlines(requestTimeoutMs, now),
  );
  app.route("/", createHuggingFaceRoutes({ dialect, maxBodyBytes, version }));
  app.get("/metrics", (c) =>
    respond(c, {
      body: metrics.render(models.list),
      headers: { "content-type": PROMETHEUS_TEXT },
    }),
  );
  app.all("/metrics", onlyMethods("GET", "HEAD"));

  app.notFound((c) => {
    const routes = "POST /, POST /predict, GET /health, GET /ping, GET /info, GET /metrics";
    const text = `Cannot answer: there is no ${c.req.method} ${c.req.path} here; try ${routes}`;
    return renderHuggingFaceError(new RuntimeError("ROUTE_NOT_FOUND", text), c);
  });
  app.onError((error, c) => {
    if (isRuntimeError(error)) return renderHuggingFaceError(error, c);
    c.get("log").error("A request failed for a reason of the server's own", { error });
    const text = "Cannot answer the request: the server made a mistake";
    return renderHuggingFaceError(new RuntimeError("INTERNAL", text), c);
  });
  return app;
}
