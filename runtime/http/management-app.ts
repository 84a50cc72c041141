/**
 * The management port's face: the same hall as the main port's, a lock at its door, and one protocol.
 */
import { Hono } from "hono";

import type { Launcher } from "../engine/launcher.ts";
import type { Models } from "../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { requireApiKey, type ApiKeys } from "./api-keys.ts";
import type { AccessLog } from "./access-log.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { accessLog, requestIds, shared } from "./middleware.ts";
import { answerError } from "./protocols/management-answers.ts";
import { createManagementRoutes } from "./protocols/management.ts";
import type { Manner } from "./protocols/torchserve-errors.ts";
import type { ResponseClass } from "./respond.ts";
import {
  AUTHENTICATION_FAILED,
  AUTHORIZATION_FAILED,
  requireToken,
  type TokenAuthority,
  type TokenRule,
} from "./token-auth.ts";

export interface ManagementAppOptions {
  readonly models: Models;
  readonly launcher: Launcher;
  readonly metrics: Metrics;
  /** Of which every request needs one; none where absent. */
  readonly apiKeys?: ApiKeys | undefined;
  /** Whose keys are asked for; none are where absent. */
  readonly tokens?: TokenAuthority | undefined;
  readonly isModelApiEnabled: boolean;
  readonly manner: Manner;
  readonly version: string;
  readonly removalTimeoutMs?: number;
  /** Which requests have a line in the log; see `accessLog`. */
  readonly accessLog?: AccessLog | undefined;
  /** What makes responses; the web's `Response` when absent. */
  readonly ResponseClass?: ResponseClass | undefined;
  readonly now?: () => number;
  readonly log: Log;
}

export function createManagementApp({
  models,
  metrics,
  apiKeys,
  tokens,
  manner,
  accessLog: accessLogChoice,
  ResponseClass = Response,
  now = () => performance.now(),
  log,
  ...options
}: ManagementAppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false });
  app.use(
    requestIds(),
    shared(models, ResponseClass, log),
    accessLog(now, metrics, accessLogChoice),
  );
  if (apiKeys !== undefined) app.use(requireApiKey(apiKeys));
  if (tokens !== undefined) app.use(requireToken(tokens, ruleOf));
  app.route("/", createManagementRoutes({ ...options, manner, tokens }));

  app.notFound((c) => {
    const text = "Requested resource is not found, please refer to API document.";
    return answerError(c, new RuntimeError("ROUTE_NOT_FOUND", text), manner);
  });
  app.onError((error, c) => {
    if (isRuntimeError(error)) return answerError(c, error, manner);
    c.get("log").error("A request failed for a reason of the server's own", { error });
    const text = "Cannot answer the request: the server made a mistake";
    return answerError(c, new RuntimeError("INTERNAL", text), manner);
  });
  return app;
}

/** Everything takes the management key but descriptions, and the renewal, which takes the API key. */
function ruleOf(c: AppContext): TokenRule | undefined {
  const path = c.req.path.replace(/\/$/, "");
  if (path === "/token") return { kind: "API", refusal: AUTHENTICATION_FAILED };
  if (path === "/api-description" || c.req.method === "OPTIONS") return undefined;
  return { kind: "management", refusal: AUTHORIZATION_FAILED };
}

/** Whether a path of a port that both share is this protocol's; `/models/{model}/invoke` is the inference's. */
export function isManagementPath(path: string): boolean {
  return /^\/(?:models(?:\/(?![^/]+\/invoke\/?$).*)?|token)\/?$/.test(path);
}
