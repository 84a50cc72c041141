/**
 * TorchServe's Inference API: predictions, explanations, their older paths, `/ping`, the description of it all.
 *
 * Every method does what POST does, as there. Wire facts: TorchServe 0.12.0. What it gets wrong is mended (JSON bodies,
 * content types, statuses, the client's own `x-request-id`); `--compat torchserve` brings back what a client could have been
 * written around, see `torchserve-errors.ts` and `torchserve-answer.ts`. Paths of its own answer in its error shape, and
 * with `--compat torchserve` all that nobody else knows.
 */
import { Hono } from "hono";

import type { Models } from "../../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type { InferenceKind, InferenceRequest, JsonValue } from "../../inference.ts";
import type { AppContext, AppEnv, ErrorRenderer, Face } from "../context.ts";
import { setAnswerHeaders, withoutCredentials } from "../exchange.ts";
import { stickyKeyOf } from "../middleware.ts";
import { respond, setHeader } from "../respond.ts";
import {
  finishForMode,
  modeOf,
  prepareForMode,
  renderOutput,
  toOriginalExplanation,
} from "./torchserve-answer.ts";
import { respondWithFailure, type Asked, type Manner } from "./torchserve-errors.ts";
import { toPlatformJson } from "./torchserve-json.ts";
import { describeApi, describeModelApi } from "./torchserve-openapi.ts";
import { toRequestContent } from "./torchserve-request.ts";
import { readRow, type Row } from "./torchserve-row.ts";
import { findTarget, segmentsOf, type Target } from "./torchserve-target.ts";

export interface TorchServeOptions {
  readonly manner: Manner;
  readonly maxBodyBytes: number;
  readonly version: string;
}

/** What an inference needs besides its model. */
interface Asking {
  readonly kind: InferenceKind;
  /** What follows the route's own part of the path; empty where the model is named elsewhere. */
  readonly segments: readonly string[];
  /** Whether the query's values are inputs. */
  readonly readsQuery?: boolean;
}

export function createTorchServeFace(options: TorchServeOptions): Face {
  const { manner, version } = options;
  const renderError: ErrorRenderer = (error, c) => {
    setUncached(c);
    return respondWithFailure(c, error, manner);
  };
  const infer = async (c: AppContext, asking: Asking): Promise<Response> =>
    answer(c, asking, options);
  const notFound = (c: AppContext): Response =>
    renderError(new RuntimeError("ROUTE_NOT_FOUND", `Cannot answer: there is no ${c.req.path}`), c);

  const routes = new Hono<AppEnv>({ strict: false });
  routes.options("/", (c) => platform(c, describeApi(version)));
  if (manner === "original")
    routes.get("/", (c) =>
      renderError(new RuntimeError("METHOD_NOT_ALLOWED", "Cannot answer: / takes OPTIONS"), c),
    );
  routes.all("/ping", (c) => ping(c, manner));
  routes.all("/api-description", (c) => platform(c, describeApi(version)));
  for (const [path, kind] of [
    ["/predictions/*", "predict"],
    ["/explanations/*", "explain"],
  ] as const) {
    routes.all(path, (c) => {
      const [, ...segments] = pathOf(c);
      return segments.length === 0 ? notFound(c) : infer(c, { kind, segments });
    });
  }
  routes.all("/invocations", (c) => infer(c, { kind: "predict", segments: [], readsQuery: true }));

  return {
    routes,
    renderError,
    speaks: (c) => OWN_PATH.test(c.req.path) || olderPath(pathOf(c)) !== undefined,
    answerUnrouted(c) {
      const segments = olderPath(pathOf(c));
      if (segments !== undefined) return infer(c, { kind: "predict", segments, readsQuery: true });
      return OWN_PATH.test(c.req.path) || manner === "original"
        ? Promise.resolve(notFound(c))
        : undefined;
    },
  };
}

const OWN_PATH = /^\/(?:ping|api-description|predictions|explanations|invocations|models)(?:\/|$)/;

/**
 * `/models/{m}/invoke`, `/{m}/predict[/…]` and `/{m}/{version}/predict`. They are told from the path here, as patterns that begin with a
 * variable cost every request of the server a slower router.
 *
 * @returns What names model and version.
 */
function olderPath(segments: readonly string[]): readonly string[] | undefined {
  if (segments[0] === "models")
    return segments.length > 2 && segments.at(-1) === "invoke" ? segments.slice(1, -1) : undefined;
  const place = segments.indexOf("predict");
  return place > 0 ? segments.slice(0, place) : undefined;
}

async function answer(
  c: AppContext,
  { kind, segments, readsQuery = false }: Asking,
  { manner, maxBodyBytes, version: server }: TorchServeOptions,
): Promise<Response> {
  setUncached(c);
  const models = c.get("models");
  let target: Target | undefined;
  let isCustom = false;
  try {
    // The body comes first: a refusal while the client still sends would reach it as a broken connection.
    const query = readsQuery ? new URL(c.req.url).searchParams : undefined;
    const row = await readRow(c.req.raw, { limitBytes: maxBodyBytes, manner, query });
    target = findTarget(segments.length > 0 ? segments : [nameIn(row, models)], models);
    const { name, version } = target;
    if (c.req.method === "OPTIONS") {
      models.find(name, version);
      const prefix = manner === "original" ? "/prediction" : "/predictions";
      return platform(c, describeModelApi(name, server, prefix));
    }
    const ready = models.ready(name, version, stickyKeyOf(c));
    const { engine, description, model } = ready;
    isCustom = description.handler === "custom";
    const { data, media, hasParameters } = toRequestContent(row, kind, description);
    const mode = modeOf(description, { kind, hasParameters });
    const request: InferenceRequest = {
      id: c.get("requestId"),
      kind,
      data: prepareForMode(data, mode),
      ...(media !== undefined && { media }),
      headers: {
        ...withoutCredentials(c.req.header()),
        explain: kind === "explain" ? "True" : "False",
        url_path: target.rest,
      },
    };
    const result = await engine.submit(request, c.get("waitFor")(model.requestTimeoutMs));
    setAnswerHeaders(c, result, engine.now());
    const { output } = result;
    const shaped = output.kind === "json" ? { ...output, value: shape(output.value) } : output;
    return respond(c, await renderOutput(c, shaped, { manner, isDefault: !isCustom }));

    function shape(value: JsonValue): JsonValue {
      return kind === "explain" && !isCustom && manner === "original"
        ? toOriginalExplanation(value)
        : finishForMode(value, data, mode);
    }
  } catch (error) {
    const known = toKnown(error, c);
    return respondWithFailure(
      c,
      known,
      manner,
      target && { ...describeAsked(target, models), isCustom },
    );
  }
}

/** SageMaker's way: the model's name is an input like others. */
function nameIn(row: Row, models: Models): string {
  const given = row["model_name"];
  if (typeof given === "string" && given !== "") return given;
  const [only, ...others] = new Set(models.list.map(({ name }) => name));
  if (only !== undefined && others.length === 0) return only;
  throw new RuntimeError("INVALID_INPUT", "Parameter model_name is required.");
}

/** What TorchServe's sentences say of the request. */
function describeAsked({ name, version }: Target, models: Models): Asked {
  const found = models.list.filter((model) => model.name === name);
  const wanted = version ?? (found.length > 0 ? models.defaultVersion(name) : undefined);
  const isUnloaded = found.some((each) => each.version === wanted && each.state === "unloaded");
  return { name, version, isUnloaded };
}

function toKnown(error: unknown, c: AppContext): RuntimeError {
  if (isRuntimeError(error)) return error;
  c.get("log").error("A request failed for a reason of the server's own", { error });
  return new RuntimeError("INTERNAL", "Cannot answer the request: the server made a mistake");
}

/**
 * Healthy unless a model's default version has failed, or none of those that should answer can. One that is loaded
 * beside others, or has no workers because somebody wants it so, makes nobody else's requests fail. The original is
 * healthy before anything is loaded, too.
 */
function ping(c: AppContext, manner: Manner): Response {
  const models = c.get("models");
  const wanted = models.list.filter(
    ({ name, version, state }) => version === models.defaultVersion(name) && state !== "unloaded",
  );
  const canAnswer =
    manner === "original" || wanted.length === 0 || wanted.some(({ isReady }) => isReady);
  const isHealthy = canAnswer && wanted.every(({ state }) => state !== "failed");
  return platform(c, { status: isHealthy ? "Healthy" : "Unhealthy" }, isHealthy ? 200 : 500);
}

/** An answer of the server's own. */
function platform(c: AppContext, value: JsonValue, status = 200): Response {
  setUncached(c);
  const headers = { "content-type": "application/json" };
  return respond(c, { body: toPlatformJson(value), headers }, status);
}

function setUncached(c: AppContext): void {
  setHeader(c, "pragma", "no-cache");
  setHeader(c, "cache-control", "no-cache; no-store, must-revalidate, private");
  setHeader(c, "expires", "Thu, 01 Jan 1970 00:00:00 UTC");
}

function pathOf(c: AppContext): readonly string[] {
  return segmentsOf(new URL(c.req.url).pathname);
}
