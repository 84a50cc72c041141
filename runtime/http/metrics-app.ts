/**
 * The metrics port's face: `/metrics` by any method, as TorchServe has it, and nothing else.
 */
import { Hono } from "hono";

import type { Models } from "../engine/models.ts";
import { isRuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { requireApiKey, type ApiKeys } from "./api-keys.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { requestIds, shared } from "./middleware.ts";
import { respond, respondJson, type ResponseClass } from "./respond.ts";

/** Prometheus's exposition format. */
const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

export interface MetricsAppOptions {
  readonly models: Models;
  readonly metrics: Metrics;
  /** Of which every request needs one; none where absent. */
  readonly apiKeys?: ApiKeys | undefined;
  /** What makes responses; the web's `Response` when absent. */
  readonly ResponseClass?: ResponseClass | undefined;
  readonly log: Log;
}

export function createMetricsApp({
  models,
  metrics,
  apiKeys,
  ResponseClass = Response,
  log,
}: MetricsAppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false });
  app.use(requestIds(), shared(models, ResponseClass, log));
  if (apiKeys !== undefined) app.use(requireApiKey(apiKeys));
  app.all("/metrics", (c) => answerMetrics(c, metrics));
  app.notFound((c) =>
    respondJson(c, { error: "Cannot answer: this port has /metrics alone" }, 404),
  );
  app.onError((error, c) => {
    if (isRuntimeError(error) && error.code === "UNAUTHORIZED")
      return respondJson(c, { error: error.message }, 401);
    c.get("log").error("A request failed for a reason of the server's own", { error });
    return respondJson(c, { error: "Cannot answer: the server made a mistake" }, 500);
  });
  return app;
}

/** The page, or what `?name[]=` asks for of it. */
export function answerMetrics(c: AppContext, metrics: Metrics): Response {
  const body = metrics.render(c.get("models").list, c.req.queries("name[]"));
  return respond(c, { body, headers: { "content-type": PROMETHEUS_TEXT } });
}
