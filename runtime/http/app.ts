/**
 * The HTTP face: middleware, protocols, and what is said when none of them knows a route.
 *
 * To add a protocol: write its file in `protocols/`, name its face here. Each brings its own error shape, which unknown routes
 * below its paths have too; everything else is told in Hugging Face's, or, with `--compat torchserve`, in TorchServe's.
 */
import { Hono } from "hono";
import type { Models } from "../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Tracing } from "../observe/trace.ts";
import type { AccessLog } from "./access-log.ts";
import { isPublicProbe, requireApiKey, type ApiKeys } from "./api-keys.ts";
import type { AppContext, AppEnv, Face } from "./context.ts";
import { cors, type CorsSettings } from "./cors.ts";
import { accessLog, deadlines, onlyMethods, requestIds, shared } from "./middleware.ts";
import { describeLock } from "./openapi/lock.ts";
import { createDescriptionRoutes } from "./openapi/routes.ts";
import { createHuggingFaceRoutes, renderHuggingFaceError } from "./protocols/huggingface.ts";
import { createKserveV1Face } from "./protocols/kserve-v1.ts";
import { createOpenAIFace } from "./protocols/openai.ts";
import { createOpenInferenceFace, type RepositoryRights } from "./protocols/open-inference.ts";
import { createTorchServeFace } from "./protocols/torchserve.ts";
import { answerMetrics } from "./metrics-app.ts";
import { asksForPage, createPlaygroundRoutes } from "./playground/playground.ts";
import type { ResponseClass } from "./respond.ts";
import { inferenceRule, requireToken, type TokenAuthority } from "./token-auth.ts";
import { traces } from "./traces.ts";
import type { DialectChoice } from "./protocols/huggingface-dialect.ts";

export interface AppOptions {
  readonly models: Models;
  readonly metrics: Metrics;
  readonly dialect: DialectChoice;
  /** Whose mistakes are kept for clients that rely on them. */
  readonly compat?: "torchserve" | undefined;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  readonly version: string;
  /** Who may load and unload models over this port; nobody where absent. */
  readonly repository?: RepositoryRights | undefined;
  /** Of which every request needs one, but for probes; none where absent. */
  readonly apiKeys?: ApiKeys | undefined;
  /** Whose inference keys are asked for; none are where absent. */
  readonly tokens?: TokenAuthority | undefined;
  /** What browsers of other origins may do; nothing when absent. */
  readonly cors?: CorsSettings | undefined;
  /** Whether browsers get a page on which the models can be tried. */
  readonly hasPlayground?: boolean | undefined;
  /** Where spans are made; nowhere when absent. */
  readonly tracing?: Tracing | undefined;
  /** Which requests have a line in the log; see `accessLog`. */
  readonly accessLog?: AccessLog | undefined;
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
  compat,
  maxBodyBytes,
  requestTimeoutMs,
  version,
  repository,
  apiKeys,
  tokens,
  cors: corsSettings,
  hasPlayground = false,
  tracing,
  accessLog: accessLogChoice,
  ResponseClass = Response,
  now = () => performance.now(),
  log,
}: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ strict: false }); // /predict/ is /predict
  app.use(
    requestIds(),
    ...(tracing === undefined ? [] : [traces(tracing, now)]),
    shared(models, ResponseClass, log),
    accessLog(now, metrics, accessLogChoice),
  );
  if (corsSettings?.corsAllowedOrigin !== undefined) app.use(cors(corsSettings));
  const isPublic = (c: AppContext): boolean =>
    isPublicProbe(c) || (hasPlayground && asksForPage(c));
  if (apiKeys !== undefined) app.use(requireApiKey(apiKeys, isPublic));
  app.use(deadlines(requestTimeoutMs, now));
  if (tokens !== undefined) app.use(requireToken(tokens, inferenceRule));
  if (hasPlayground) app.route("/", createPlaygroundRoutes());
  const faces: readonly Face[] = [
    createOpenAIFace({ maxBodyBytes }),
    createKserveV1Face({ maxBodyBytes }),
    createOpenInferenceFace({ maxBodyBytes, version, repository }),
    createTorchServeFace({
      manner: compat === "torchserve" ? "original" : "mended",
      maxBodyBytes,
      version,
    }),
  ];
  for (const { routes } of faces) app.route("/", routes);
  app.route("/", createHuggingFaceRoutes({ dialect, maxBodyBytes, version }));
  app.get("/metrics", (c) => answerMetrics(c, metrics));
  app.all("/metrics", onlyMethods("GET", "HEAD"));
  app.route(
    "/",
    createDescriptionRoutes({
      server: {
        version,
        dialect,
        isTorchServe: compat === "torchserve",
        hasPlayground,
        mayChangeModels: repository !== undefined,
      },
      lock: describeLock({ apiKeys, tokens, managementTokens: repository?.tokens }),
    }),
  );

  app.notFound(async (c) => {
    for (const face of faces) {
      const answer = await face.answerUnrouted?.(c);
      if (answer !== undefined) return answer;
    }
    return renderFailure(c, nobodyKnows(c));
  });
  app.onError((error, c) => {
    if (isRuntimeError(error)) return renderFailure(c, error);
    c.get("log").error("A request failed for a reason of the server's own", { error });
    const text = "Cannot answer the request: the server made a mistake";
    return renderFailure(c, new RuntimeError("INTERNAL", text));
  });
  return app;

  /** In the words of whoever speaks on that path. */
  function renderFailure(c: AppContext, error: RuntimeError): Response {
    const face = faces.find(({ speaks }) => speaks(c));
    return (face?.renderError ?? renderHuggingFaceError)(error, c);
  }
}

function nobodyKnows({ req }: AppContext): RuntimeError {
  const routes =
    "POST /, POST /predict, POST /predictions/{model}, GET /health, GET /ping, GET /info, GET /metrics";
  const text = `Cannot answer: there is no ${req.method} ${req.path} here; try ${routes}`;
  return new RuntimeError("ROUTE_NOT_FOUND", text);
}
