/**
 * Hugging Face Inference Endpoints' protocol: `POST /` and `/predict`, health, info.
 *
 * Wire facts: the Python toolkit 0.5.6 and its clients `huggingface_hub` 1.33 and `@huggingface/inference` 4.13. Where
 * the toolkit answers 400 to everything, statuses here say what happened; where it fails on its own clients, requests
 * are read in every form they send (`huggingface-request.ts`) and answers shaped by who asks (`huggingface-dialect.ts`).
 */
import { Hono } from "hono";
import { isRuntimeError, RuntimeError, type ErrorCode } from "../../errors.ts";
import type { Engine } from "../../engine/engine.ts";
import type { InferenceRequest, JsonValue } from "../../inference.ts";
import type { Log } from "../../observe/log.ts";
import type { AppContext, AppEnv, ErrorRenderer } from "../context.ts";
import { readBody } from "../body.ts";
import { ownTextType, respondWithHead, setAnswerHeaders, withoutCredentials } from "../exchange.ts";
import { onlyMethods, stickyKeyOf } from "../middleware.ts";
import { renderJson, renderMedia, renderStream } from "../render.ts";
import { respondJson, setHeader } from "../respond.ts";
import { submit } from "../submit.ts";
import {
  chooseDialect,
  fileAsJson,
  finishForDialect,
  prepareForDialect,
  type DialectChoice,
} from "./huggingface-dialect.ts";
import { answerGeneration, generate, isGeneration } from "./huggingface-generation.ts";
import { toRequestContent } from "./huggingface-request.ts";

export interface HuggingFaceOptions {
  readonly dialect: DialectChoice;
  readonly maxBodyBytes: number;
  readonly version: string;
}

const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_INPUT: 400,
  ROUTE_NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  CONFLICT: 409,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  QUEUE_FULL: 429,
  CANCELLED: 499, // nginx's code; nobody is there to read it
  NOT_READY: 503,
  DEADLINE_EXCEEDED: 504,
  NOT_SUPPORTED: 501,
  HANDLER_FAILED: 500,
  WORKER_DIED: 500,
  INTERNAL: 500,
  // The rest stops a start; should one reach a request all the same, it is the server's fault.
  INVALID_OPTION: 500,
  REPOSITORY_NOT_FOUND: 500,
  REPOSITORY_FORBIDDEN: 500,
  REPOSITORY_INVALID: 500,
  HUB_UNREACHABLE: 500,
  DOWNLOAD_FAILED: 500,
  REQUIREMENTS_FAILED: 500,
  HANDLER_INVALID: 500,
  TASK_UNKNOWN: 500,
  WEIGHTS_NOT_FOUND: 500,
  MODEL_INVALID: 500,
  PORT_UNAVAILABLE: 500,
};

/** `{"error": "<sentence>", "error_type": "<code>"}`: both clients show `error`. */
export const renderHuggingFaceError: ErrorRenderer = (error, c) => {
  if (error.code === "QUEUE_FULL" || error.code === "NOT_READY") {
    setHeader(c, "retry-after", String(Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))));
  }
  return respondJson(c, toErrorBody(error), STATUS[error.code]);
};

function toErrorBody(error: RuntimeError): { error: string; error_type: string } {
  return { error: error.message, error_type: error.code };
}

export function createHuggingFaceRoutes({
  dialect,
  maxBodyBytes,
  version,
}: HuggingFaceOptions): Hono<AppEnv> {
  const routes = new Hono<AppEnv>({ strict: false });
  for (const path of ["/", "/predict"]) {
    routes.post(path, (c) => predict(c, { dialect, maxBodyBytes }));
  }
  for (const path of ["/generate", "/generate_stream"]) {
    const stream = path === "/generate_stream";
    routes.post(path, (c) => generate(c, { maxBodyBytes, stream }));
    routes.all(path, onlyMethods("POST"));
  }
  for (const path of ["/health", "/health/ready"]) {
    routes.get(path, (c) => health(c));
    routes.all(path, onlyMethods("GET", "HEAD"));
  }
  // Alive as long as this process answers: a model that starts, drains or has failed needs no restart of the parent.
  routes.get("/health/live", (c) => respondJson(c, { status: "live" }));
  routes.all("/health/live", onlyMethods("GET", "HEAD"));
  routes.get("/", (c) => health(c, { info: "/info", predict: "POST /" }));
  routes.all("/", onlyMethods("GET", "HEAD", "POST"));
  routes.all("/predict", onlyMethods("POST"));
  routes.get("/info", (c) => respondJson(c, describe(c, version)));
  routes.all("/info", onlyMethods("GET", "HEAD"));
  return routes;
}

async function predict(
  c: AppContext,
  { dialect, maxBodyBytes }: { dialect: DialectChoice; maxBodyBytes: number },
): Promise<Response> {
  // The body comes first: a refusal while the client still sends would reach it as a broken connection.
  const body = await readBody(c.req.raw, maxBodyBytes);
  const ready = c.get("models").ready(undefined, undefined, stickyKeyOf(c));
  const { engine, description, model } = ready;
  const received = toRequestContent(body, c.req.queries(), description);
  const spoken = chooseDialect(dialect, c.req.header("user-agent"));
  const data = prepareForDialect(received.data, description, spoken);
  if (isGeneration(ready, data)) return answerGeneration(c, ready, data, { shape: "list" });
  const request: InferenceRequest = {
    id: c.get("requestId"),
    kind: "predict",
    data,
    ...(received.media !== undefined && { media: received.media }),
    headers: withoutCredentials(c.req.header()),
  };
  const result = await submit(c, ready, request, c.get("waitFor")(model.requestTimeoutMs));
  setAnswerHeaders(c, result, engine.now());
  const { output, response } = result;
  if (dialect !== "toolkit" && description.handler === "default")
    setHeader(c, "vary", "user-agent");
  const accept = c.req.header("accept");
  switch (output.kind) {
    case "json": {
      const type = ownTextType(result);
      if (type !== undefined && typeof output.value === "string")
        return respondWithHead(c, { body: output.value, headers: {} }, response);
      const answer = finishForDialect(output.value, data, description, spoken);
      return respondWithHead(c, renderJson(answer, accept), response);
    }
    case "media": {
      const { media } = output;
      return respondWithHead(
        c,
        renderMedia(media, accept, () => fileAsJson(media, description)),
        response,
      );
    }
    case "tensors": // nobody asks for them here
      throw new RuntimeError("INTERNAL", "Cannot answer: the model answered with raw tensors");
    case "stream": {
      c.get("keepWaiting")();
      const hooks = {
        onError: (error: unknown) => toStreamError(error, c.get("log")),
        onEnd: c.get("stopWaiting"),
      };
      return respondWithHead(c, renderStream(output.chunks, accept, hooks), response);
    }
  }
}

/** What the last event of a broken stream says. */
function toStreamError(error: unknown, log: Log): JsonValue {
  if (isRuntimeError(error)) return toErrorBody(error);
  log.error("A stream broke", { error });
  return toErrorBody(new RuntimeError("INTERNAL", "Cannot finish the stream"));
}

/** 200 when requests are answered, else 503; the state in the body either way. */
function health(c: AppContext, more: Readonly<Record<string, string>> = {}): Response {
  const { name, state, isReady, detail, description } = c.get("models").find();
  const body = {
    status: state,
    ...(state === "ready" ? {} : { detail }),
    model: name,
    ...(description?.task !== undefined && { task: description.task }),
    ...(isReady ? more : {}),
  };
  return respondJson(c, body, isReady ? 200 : 503);
}

/** Text Generation Inference's names, which Hugging Face's clients show, with our own beside them. */
function describe(c: AppContext, version: string): Record<string, JsonValue> {
  const { name, revision, state, description, engine } = c.get("models").find();
  return {
    model_id: name,
    model_sha: revision ?? null,
    model_dtype: description?.dtype ?? null,
    model_type: description?.modelType ?? null,
    model_pipeline_tag: description?.task ?? null,
    handler: description === undefined ? null : (description.handlerFile ?? "default"),
    status: state,
    workers: engine === undefined ? null : { ...engine.workers },
    requests: engine === undefined ? null : { waiting: engine.waiting, running: engine.running },
    batching: engine === undefined ? null : describeBatching(engine.batching),
    ...(description?.example !== undefined && { example: description.example }),
    server: "hubserve",
    version,
  };
}

/** How the model takes work, and what its runs were found to cost so far. */
function describeBatching({ kind, concurrency, cost }: Engine["batching"]): JsonValue {
  if (kind === "single") return { kind, concurrency };
  return {
    kind,
    budget_tokens: cost.budgetTokens,
    runs: cost.passes,
    fixed_ms: Number(cost.fixedMs.toFixed(3)),
    ms_per_token: Number(cost.perTokenMs.toFixed(4)),
    characters_per_token: Number(cost.charactersPerToken.toFixed(2)),
  };
}
