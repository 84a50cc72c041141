/**
 * TorchServe's Inference API: predictions, explanations, their older paths, `/ping`, the description of it all.
 *
 * Every method does what POST does, as there. Wire facts: TorchServe 0.12.0. What it gets wrong is mended (JSON bodies,
 * content types, statuses, the client's own `x-request-id`); `--compat torchserve` brings back what a client could have been
 * written around, see `torchserve-errors.ts` and `torchserve-answer.ts`. Paths of its own answer in its error shape, and
 * with `--compat torchserve` all that nobody else knows.
 */
import { Hono } from "hono";

import type { Waiting } from "../../engine/engine.ts";
import type { Models } from "../../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type {
  InferenceKind,
  InferenceRequest,
  InferenceResult,
  JsonValue,
} from "../../inference.ts";
import type { Content } from "../ask.ts";
import type { AppContext, AppEnv, ErrorRenderer, Face } from "../context.ts";
import { respondWithHead, setAnswerHeaders, tokensOf, withoutCredentials } from "../exchange.ts";
import { stickyKeyOf } from "../middleware.ts";
import { respond, setHeader } from "../respond.ts";
import { noteRoute } from "../route.ts";
import { submit } from "../submit.ts";
import { toPieceRequest, toPieces } from "./generation-pieces.ts";
import {
  finishForMode,
  modeOf,
  prepareForMode,
  renderOutput,
  toOriginalExplanation,
} from "./torchserve-answer.ts";
import { openEnvelope, withoutEnvelope, type Opened } from "./torchserve-envelope.ts";
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
  if (manner === "mended")
    routes.all("/wfpredict/*", (c) => {
      const text = "Cannot answer: workflows are not served here; a handler may call other models";
      return renderError(new RuntimeError("NOT_SUPPORTED", text), c);
    });
  routes.all("/invocations", (c) => infer(c, { kind: "predict", segments: [], readsQuery: true }));

  return {
    routes,
    renderError,
    speaks: (c) => OWN_PATH.test(c.req.path) || olderPath(pathOf(c)) !== undefined,
    answerUnrouted(c) {
      const segments = olderPath(pathOf(c));
      if (segments !== undefined) {
        const isInvoke = c.req.path.startsWith("/models/");
        noteRoute(c, isInvoke ? "/models/:model/invoke" : "/:model/predict");
        return infer(c, { kind: "predict", segments, readsQuery: true });
      }
      return OWN_PATH.test(c.req.path) || manner === "original"
        ? Promise.resolve(notFound(c))
        : undefined;
    },
  };
}

const OWN_PATH =
  /^\/(?:ping|api-description|predictions|explanations|invocations|models|wfpredict)(?:\/|$)/;

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
    const { description, model } = ready;
    isCustom = description.handler === "custom";
    const waiting = c.get("waitFor")(model.requestTimeoutMs);
    const asked: Question = { c, kind, manner, ready, waiting, urlPath: target.rest };
    const { envelope } = model;
    const opened =
      envelope &&
      openEnvelope(envelope, row, {
        kind,
        isDefault: !isCustom,
        requestId: c.get("requestId"),
        model: model.name,
        version: model.version,
      });
    if (opened !== undefined) return await askEach(asked, opened);
    const result = await ask(envelope === undefined ? row : withoutEnvelope(row), asked);
    setAnswerHeaders(c, result, ready.engine.now());
    const rendered = await renderOutput(c, result.output, { manner, isDefault: !isCustom });
    return respondWithHead(c, rendered, result.response);
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

/** What the inputs of one HTTP request have in common. */
interface Question {
  readonly c: AppContext;
  readonly kind: InferenceKind;
  readonly manner: Manner;
  readonly ready: ReturnType<Models["ready"]>;
  readonly waiting: Waiting;
  readonly urlPath: string;
}

/** One row, asked and answered in the shape that TorchServe gives it. */
async function ask(
  row: Row,
  { c, kind, manner, ready, waiting, urlPath }: Question,
): Promise<InferenceResult> {
  const { description } = ready;
  const { data, media, hasParameters } = toRequestContent(row, kind, description);
  const mode = modeOf(description, { kind, hasParameters });
  const generation = kind === "predict" ? toPieceRequest(description, data) : undefined;
  const content: Content =
    generation === undefined
      ? { kind, data: prepareForMode(data, mode, manner), ...(media !== undefined && { media }) }
      : { kind: "generate", data: {}, generation };
  const request: InferenceRequest = {
    id: c.get("requestId"),
    ...content,
    headers: {
      ...withoutCredentials(c.req.header()),
      explain: kind === "explain" ? "True" : "False",
      url_path: urlPath,
    },
  };
  const result = await submit(c, ready, request, waiting);
  const { output } = result;
  if (generation !== undefined && output.kind === "stream")
    return { ...result, output: { kind: "stream", chunks: toPieces(output.chunks) } };
  if (output.kind !== "json") return result;
  const isOriginal = kind === "explain" && description.handler === "default";
  const value =
    isOriginal && manner === "original"
      ? toOriginalExplanation(output.value)
      : finishForMode(output.value, data, mode);
  return { ...result, output: { ...output, value } };
}

/** So many instances of one envelope are asked at a time: one client's list must not fill the queue. */
const INSTANCES_AT_ONCE = 32;

/** All instances of an envelope; the first that fails is the whole answer. */
async function askEach(asked: Question, { rows, seal }: Opened): Promise<Response> {
  const { c, manner, ready } = asked;
  const group = new AbortController();
  const waiting = {
    ...asked.waiting,
    signal: AbortSignal.any([asked.waiting.signal, group.signal]),
  };
  const results: InferenceResult[] = [];
  const left = rows.entries();
  async function askOn(): Promise<void> {
    for (const [index, row] of left) results[index] = await ask(row, { ...asked, waiting });
  }
  try {
    await Promise.all(Array.from({ length: INSTANCES_AT_ONCE }, askOn));
  } catch (error) {
    group.abort(); // nobody computes for an answer that will not be given
    throw error;
  }
  const answers = results.map(({ output }) => {
    if (output.kind === "json") return output.value;
    throw new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot put the answer into an envelope: it is a ${output.kind === "media" ? "file" : output.kind}, wanted JSON`,
    );
  });
  const [first] = results;
  if (first !== undefined) {
    const warnings = [...new Set(results.flatMap((result) => result.warnings ?? []))];
    const { timings } = first;
    setAnswerHeaders(c, { timings, warnings, ...tokensOf(results) }, ready.engine.now());
  }
  const headers: Record<string, string> =
    manner === "original" ? {} : { "content-type": "application/json" };
  return respond(c, { body: new TextEncoder().encode(seal(answers)), headers });
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
