/**
 * The metrics port's face: `/metrics` by any method, as TorchServe has it, and nothing else.
 */
import { Hono } from "hono";

import type { Models } from "../engine/models.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { requestIds, shared } from "./middleware.ts";
import { respond, respondJson, type ResponseClass } from "./respond.ts";

/** Prometheus's exposition format. */
const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

export interface MetricsAppOptions {
  readonly models: Models;
  readonly metrics: Metrics;
  /** What makes responses; the web's `Response` when absent. */
  readonly ResponseClass?: ResponseClass | undefined;
  readonly log: Log;
}

export function createMetricsApp({
  models,
  metrics,
  ResponseClass = Response,
  log,
}: MetricsAppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false });
  app.use(requestIds(), shared(models, ResponseClass, log));
  app.all("/metrics", (c) => answerMetrics(c, metrics));
  app.notFound((c) =>
    respondJson(c, { error: "Cannot answer: this port has /metrics alone" }, 404),
  );
  return app;
}

/** The page, or what `?name[]=` asks for of it. */
export function answerMetrics(c: AppContext, metrics: Metrics): Response {
  const body = metrics.render(c.get("models").list, c.req.queries("name[]"));
  return respond(c, { body, headers: { "content-type": PROMETHEUS_TEXT } });
}
