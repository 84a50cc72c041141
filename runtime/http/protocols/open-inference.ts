/**
 * The Open Inference Protocol, version 2, over REST: KServe's and Triton's `/v2` routes.
 *
 * What requests and answers mean is `open-inference-exchange.ts`'s, which gRPC shares; here are the routes, and what only HTTP has.
 * Model names may have a slash (`owner/name`), so a path is taken apart from its end.
 *
 * Facts: kserve/open-inference-protocol (REST); Triton's binary tensor data and model repository extensions.
 */
import { Hono } from "hono";
import { z } from "zod";

import type { Launcher } from "../../engine/launcher.ts";
import { RuntimeError } from "../../errors.ts";
import { ask } from "../ask.ts";
import { readBodyBytes } from "../body.ts";
import type { AppContext, AppEnv, Face } from "../context.ts";
import { withoutCredentials } from "../exchange.ts";
import { parseJson } from "../json-body.ts";
import { onlyMethods, stickyKeyOf } from "../middleware.ts";
import { respond, respondJson, setHeader } from "../respond.ts";
import { noteRoute } from "../route.ts";
import { repositoryRule, type TokenAuthority } from "../token-auth.ts";
import { checkBody, readInferRequest } from "./open-inference-body.ts";
import { renderOpenInferenceError } from "./open-inference-errors.ts";
import { openExchange } from "./open-inference-exchange.ts";
import { createGenerateRoutes } from "./open-inference-generate.ts";
import { describeModelMetadata } from "./open-inference-metadata.ts";
import { renderInferResponse } from "./open-inference-render.ts";
import { listRepository, loadModel, notManaged, unloadModel } from "./open-inference-repository.ts";
import { segmentsOf } from "./torchserve-target.ts";

/** Who may load and unload. */
export interface RepositoryRights {
  readonly launcher: Launcher;
  /** Whose management key is asked for; none where absent. */
  readonly tokens?: TokenAuthority | undefined;
}

export interface OpenInferenceOptions {
  readonly maxBodyBytes: number;
  readonly version: string;
  /** Nobody may load and unload where absent. */
  readonly repository?: RepositoryRights | undefined;
}

const EXTENSIONS = ["binary_tensor_data", "model_repository"];

export function createOpenInferenceFace(options: OpenInferenceOptions): Face {
  const { version } = options;
  const routes = new Hono<AppEnv>({ strict: false });
  const get = (path: string, answer: (c: AppContext) => Response): void => {
    routes.get(path, answer);
    routes.all(path, onlyMethods("GET", "HEAD"));
  };
  get("/v2", (c) => respondJson(c, { name: "hubserve", version, extensions: EXTENSIONS }));
  get("/v2/health/live", (c) => respondJson(c, { live: true }));
  get("/v2/health/ready", serverReady);
  get("/v2/models", (c) => {
    const names = c.get("models").list.map(({ name }) => name);
    return respondJson(c, { models: [...new Set(names)] });
  });
  routes.route("/", createGenerateRoutes(options));
  routes.all("/v2/models/*", (c) => answerModel(c, options));
  routes.post("/v2/repository/index", async (c) => {
    const { ready } = await readOptional(c, IndexBody, options);
    return respondJson(c, listRepository(c.get("models"), ready));
  });
  routes.all("/v2/repository/index", onlyMethods("POST"));
  routes.all("/v2/repository/models/*", (c) => changeModel(c, options));

  const speaks = (c: AppContext): boolean => /^\/v2(?:\/|$)/.test(c.req.path);
  return {
    routes,
    speaks,
    renderError: renderOpenInferenceError,
    answerUnrouted: (c) =>
      speaks(c) ? Promise.resolve(renderOpenInferenceError(noRoute(c), c)) : undefined,
  };
}

/** Both keys: some clients read one, some the other. */
function serverReady(c: AppContext): Response {
  const ready = c.get("models").list.some(({ isReady }) => isReady);
  return respondJson(c, { ready, live: true }, ready ? 200 : 503);
}

type ModelAction = "metadata" | "ready" | "infer";

interface Asked {
  readonly name: string;
  readonly version: string | undefined;
  readonly action: ModelAction;
}

/** `["m", "versions", "1.0", "infer"]` → the three. */
function parsePath(segments: readonly string[]): Asked {
  const last = segments.at(-1);
  const isAction = segments.length > 1 && (last === "ready" || last === "infer");
  const rest = isAction ? segments.slice(0, -1) : segments;
  const hasVersion = rest.length > 2 && rest.at(-2) === "versions";
  return {
    name: (hasVersion ? rest.slice(0, -2) : rest).join("/"),
    version: hasVersion ? rest.at(-1) : undefined,
    action: isAction ? last : "metadata",
  };
}

function patternOf({ version, action }: Asked): string {
  const model = version === undefined ? "/v2/models/:model" : "/v2/models/:model/versions/:version";
  return action === "metadata" ? model : `${model}/${action}`;
}

async function answerModel(c: AppContext, options: OpenInferenceOptions): Promise<Response> {
  const asked = parsePath(pathOf(c).slice(2));
  noteRoute(c, patternOf(asked));
  const isPost = asked.action === "infer";
  if (c.req.method !== "POST" && isPost) return onlyMethods("POST")(c);
  if (!["GET", "HEAD"].includes(c.req.method) && !isPost) return onlyMethods("GET", "HEAD")(c);
  switch (asked.action) {
    case "metadata":
      return metadata(c, asked);
    case "ready":
      return modelReady(c, asked);
    case "infer":
      return infer(c, asked, options);
  }
}

function metadata(c: AppContext, { name, version }: Asked): Response {
  const models = c.get("models");
  const model = models.find(name, version);
  const versions = models.versions(model.name).map((each) => each.version);
  return respondJson(c, describeModelMetadata(model, versions));
}

function modelReady(c: AppContext, { name, version }: Asked): Response {
  const model = c.get("models").find(name, version);
  if (model.isReady) return respondJson(c, { name: model.name, ready: true });
  const error = `Cannot answer yet: the model is ${model.state} (${model.detail})`;
  setHeader(c, "retry-after", "1");
  return respondJson(c, { name: model.name, ready: false, error }, 503);
}

async function infer(
  c: AppContext,
  { name, version }: Asked,
  { maxBodyBytes }: OpenInferenceOptions,
): Promise<Response> {
  // The body comes first: a refusal while the client still sends would reach it as a broken connection.
  const asked = await readInferRequest(c.req.raw, maxBodyBytes, {
    modelName: name,
    modelVersion: version,
    id: c.get("requestId"),
  });
  const ready = c.get("models").ready(name, version, stickyKeyOf(c));
  const exchange = openExchange(asked, {
    description: ready.description,
    requestId: c.get("requestId"),
    headers: withoutCredentials(c.req.header()),
  });
  const result = await ask(c, ready, exchange.request);
  const response = await exchange.toResponse(result, ready.model);
  return respond(c, renderInferResponse(response, asked));
}

export const IndexBody = z.looseObject(
  { ready: z.boolean("true or false").default(false) },
  'an object such as {"ready": true}',
);

export const LoadBody = z.looseObject(
  {
    parameters: z
      .strictObject(
        { url: z.string("a string").min(1, "a string that is not empty").optional() },
        'an object with nothing but "url", which says what to load',
      )
      .prefault({}),
  },
  'an object such as {"parameters": {"url": "owner/name"}}',
);

async function changeModel(c: AppContext, options: OpenInferenceOptions): Promise<Response> {
  const segments = pathOf(c).slice(3);
  const action = segments.at(-1);
  const name = segments.slice(0, -1).join("/");
  if (name === "" || (action !== "load" && action !== "unload")) throw noRoute(c);
  noteRoute(c, `/v2/repository/models/:model/${action}`);
  if (c.req.method !== "POST") return onlyMethods("POST")(c);
  const { launcher } = mayChange(c, options);
  const repository = { models: c.get("models"), launcher };
  if (action === "unload") {
    await unloadModel(repository, name);
  } else {
    const { parameters } = await readOptional(c, LoadBody, options);
    await loadModel(repository, name, parameters.url);
  }
  return respondJson(c, {});
}

/** @throws RuntimeError `FORBIDDEN` or `UNAUTHORIZED`. */
function mayChange(c: AppContext, { repository }: OpenInferenceOptions): RepositoryRights {
  if (repository === undefined) throw notManaged();
  const { kind, refusal } = repositoryRule;
  if (repository.tokens?.accepts(kind, c.req.header("authorization")) === false) {
    setHeader(c, "www-authenticate", `Bearer realm="hubserve ${kind}"`);
    throw new RuntimeError("UNAUTHORIZED", refusal);
  }
  return repository;
}

/** A body that may be left out. */
async function readOptional<S extends z.ZodType>(
  c: AppContext,
  schema: S,
  { maxBodyBytes }: OpenInferenceOptions,
): Promise<z.output<S>> {
  const bytes = await readBodyBytes(c.req.raw, maxBodyBytes);
  return checkBody(schema, bytes.byteLength === 0 ? {} : parseJson(bytes));
}

function pathOf(c: AppContext): readonly string[] {
  return segmentsOf(new URL(c.req.url).pathname);
}

function noRoute({ req }: AppContext): RuntimeError {
  return new RuntimeError(
    "ROUTE_NOT_FOUND",
    `Cannot answer: there is no ${req.method} ${req.path.slice(0, 200)} here; the Open Inference Protocol has /v2, /v2/health/live, ` +
      "/v2/health/ready, /v2/models/{model}[/versions/{version}][/ready|/infer] and /v2/repository/index",
  );
}
