/**
 * KServe's V1 protocol: `/v1/models/{name}`, with `:predict` and `:explain`.
 *
 * Requests may be CloudEvents (`cloud-events.ts`). What an instance may be, and what a prediction is, stands in
 * `kserve-v1-instances.ts`. `GET /v1/models` stands in `openai.ts`: it serves both protocols' readers, as
 * `GET /v1/models/{name}` does here.
 *
 * Source: KServe 0.20, `kserve/protocol/rest/v1_endpoints.py`.
 */
import { randomUUID } from "node:crypto";

import { Hono } from "hono";

import { RuntimeError } from "../../errors.ts";
import type { InferenceResult } from "../../inference.ts";
import { ask, waitingFor } from "../ask.ts";
import { readBodyBytes } from "../body.ts";
import type { AppContext, AppEnv, Face } from "../context.ts";
import { setAnswerHeaders, tokensOf } from "../exchange.ts";
import { onlyMethods, stickyKeyOf } from "../middleware.ts";
import { respond, respondJson, setHeader } from "../respond.ts";
import { noteRoute } from "../route.ts";
import { readEvent, renderEvent } from "./cloud-events.ts";
import { answerInstances, readInstances, type Verb } from "./kserve-v1-instances.ts";
import { readPath, resolveName, type V1Path } from "./kserve-v1-path.ts";
import { renderOpenInferenceError } from "./open-inference-errors.ts";
import { toCard } from "./openai-models.ts";

export interface KserveV1Options {
  readonly maxBodyBytes: number;
  /** When the models of this server were made, as far as OpenAI's clients are told. */
  readonly startedAt?: Date;
  readonly now?: () => Date;
  readonly makeId?: () => string;
}

export function createKserveV1Face({
  maxBodyBytes,
  startedAt = new Date(),
  now = () => new Date(),
  makeId = randomUUID,
}: KserveV1Options): Face {
  const created = Math.floor(startedAt.getTime() / 1000);
  const routes = new Hono<AppEnv>({ strict: false });
  const ofOne = "/v1/models/:model{.+}";
  routes.get(ofOne, (c) => {
    const path = pathOf(c);
    return path.verb === undefined ? describe(c, path, created) : onlyMethods("POST")(c);
  });
  routes.post(ofOne, async (c) => {
    const path = pathOf(c);
    if (path.verb === undefined) throw noVerb(c, path);
    return answer(c, path, path.verb);
  });
  routes.all(ofOne, (c) =>
    onlyMethods(...(pathOf(c).verb === undefined ? ["GET", "HEAD"] : ["POST"]))(c),
  );
  return {
    routes,
    renderError: renderOpenInferenceError, // both of KServe's protocols tell failures alike
    speaks: (c) => c.req.path.startsWith("/v1/models/"),
  };

  async function answer(c: AppContext, path: V1Path, verb: Verb): Promise<Response> {
    // The body comes first: a refusal while the client still sends would reach it as a broken connection.
    const bytes = await readBodyBytes(c.req.raw, maxBodyBytes);
    const models = c.get("models");
    const name = resolveName(path, models);
    const { mode, data } = readEvent(c.req.raw.headers, bytes);
    const instances = readInstances(data);
    const ready = models.ready(name, path.version, stickyKeyOf(c));
    const waiting = waitingFor(c, ready);
    const group = new AbortController();
    const shared = { ...waiting, signal: AbortSignal.any([waiting.signal, group.signal]) };
    const { engine } = ready;
    const startedAtMs = engine.now();
    try {
      const outcome = await answerInstances(instances, verb, ready, (content) =>
        ask(c, ready, content, shared),
      );
      if (outcome.results.length > 0)
        setAnswerHeaders(c, together(outcome.results, engine.now() - startedAtMs), engine.now());
      const attributes = { id: makeId(), model: name, time: now() };
      return respond(c, renderEvent(mode, outcome.answer, attributes));
    } catch (error) {
      group.abort(); // the instances share one fate
      throw error;
    }
  }
}

/** Ready or not, in the words of both protocols that ask here. */
function describe(c: AppContext, path: V1Path, created: number): Response {
  const models = c.get("models");
  const name = resolveName(path, models);
  const { isReady, detail } = models.find(name, path.version);
  const card = { name, ready: isReady, ...toCard({ name }, created) };
  if (isReady) return respondJson(c, card);
  setHeader(c, "retry-after", "1");
  return respondJson(c, { ...card, error: `Model with name ${name} is not ready: ${detail}` }, 503);
}

/** Of several answers to one request: the least waiting, and everything they warn of. */
function together(
  results: readonly InferenceResult[],
  tookMs: number,
): Pick<InferenceResult, "timings" | "warnings" | "tokens"> {
  const queueMs = Math.min(...results.map(({ timings }) => timings.queueMs));
  const warnings = [...new Set(results.flatMap((result) => result.warnings ?? []))];
  const [first] = results;
  const inferenceMs = tookMs - queueMs;
  return {
    timings: results.length === 1 && first !== undefined ? first.timings : { queueMs, inferenceMs },
    warnings,
    ...tokensOf(results),
  };
}

function noVerb(c: AppContext, { name }: V1Path): RuntimeError {
  return new RuntimeError(
    "ROUTE_NOT_FOUND",
    `Cannot answer: there is no POST ${c.req.path}; try POST /v1/models/${name.replace(/:\w*$/, "")}:predict or :explain`,
  );
}

/** Read anew: Hono leaves an encoded slash encoded. */
function pathOf(c: AppContext): V1Path {
  const path = readPath(new URL(c.req.url).pathname);
  const model = `/v1/models/:model${path.version === undefined ? "" : "/versions/:version"}`;
  noteRoute(c, path.verb === undefined ? model : `${model}:${path.verb}`);
  return path;
}
