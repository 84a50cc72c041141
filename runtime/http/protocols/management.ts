/**
 * TorchServe's Management API: register, describe, list, scale, set the default version, unregister; and traffic, which
 * is hubserve's own.
 *
 * Wire facts: TorchServe 0.12 (paths, sentences, statuses, key order). A scale-down or a removal never ends a request
 * that runs. In the original's manner a list ends with a token that leads nowhere, and whatever is no number is as if it
 * had not been said.
 */
import { Hono } from "hono";

import type { LaunchedModel, Launcher } from "../../engine/launcher.ts";
import { isRuntimeError, messageOf, RuntimeError } from "../../errors.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { RENEWED_KINDS, type RenewedKind, type TokenAuthority } from "../token-auth.ts";
import { answerJson, answerStatus, answerText } from "./management-answers.ts";
import { describeModel } from "./management-describe.ts";
import { describeApi } from "./management-openapi.ts";
import {
  DescribeParameters,
  ListParameters,
  readJsonBody,
  readParameters,
  ScaleParameters,
  TrafficBody,
} from "./management-parameters.ts";
import { PROCESSING, register, startFailure } from "./management-register.ts";
import type { Manner } from "./torchserve-errors.ts";

export interface ManagementOptions {
  readonly launcher: Launcher;
  /** Whether models may be registered and removed. */
  readonly isModelApiEnabled: boolean;
  readonly manner: Manner;
  /** Whose keys `GET /token` renews; without it there is no such route. */
  readonly tokens?: TokenAuthority | undefined;
  readonly version: string;
  /** How long a removal waits for what runs before it answers 408, in milliseconds; it goes on all the same. */
  readonly removalTimeoutMs?: number;
}

/** TorchServe's `unregister_model_timeout`. */
const REMOVAL_TIMEOUT_MS = 120_000;

export function createManagementRoutes(options: ManagementOptions): Hono<AppEnv> {
  const { launcher, manner } = options;
  const isOriginal = manner === "original";
  const routes = new Hono<AppEnv>({ strict: false });

  routes.options("/", (c) => answerJson(c, describeApi(options.version)));
  routes.all("/api-description", (c) => answerJson(c, describeApi(options.version)));
  routes.options("/models/:model", (c) => answerJson(c, describeApi(options.version, modelOf(c))));
  if (options.isModelApiEnabled) {
    routes.post("/models", (c) => register(c, options));
    for (const path of ["/models/:model", "/models/:model/:version"])
      routes.delete(path, (c) => unregister(c, options));
  }
  routes.get("/models", (c) => list(c, isOriginal));
  routes.get("/models/:model/traffic", (c) => answerJson(c, trafficOf(c)));
  routes.put("/models/:model/traffic", (c) => setTraffic(c));
  for (const path of ["/models/:model", "/models/:model/:version"]) {
    routes.get(path, (c) => describe(c, options));
    routes.put(path, (c) => scale(c, options));
  }
  routes.put("/models/:model/:version/set-default", setDefault);
  routes.get("/v1/models/:model", (c) => {
    const { entry } = findModel(launcher, modelOf(c));
    return answerJson(c, { name: entry.name, ready: entry.isReady });
  });
  const { tokens } = options;
  if (tokens !== undefined) routes.get("/token", (c) => renew(c, tokens, isOriginal));
  if (!isOriginal) {
    for (const path of ["/workflows", "/workflows/*"])
      routes.all(path, () => {
        const text =
          "Cannot answer: workflows are not served here; a handler may call other models";
        throw new RuntimeError("NOT_SUPPORTED", text);
      });
  }
  for (const path of KNOWN_PATHS) {
    routes.all(path, () => {
      throw new RuntimeError(
        "METHOD_NOT_ALLOWED",
        "Requested method is not allowed, please refer to API document.",
      );
    });
  }
  return routes;
}

/** What answers 405 to a method that it does not know. */
const KNOWN_PATHS = [
  "/",
  "/models",
  "/models/:model",
  "/models/:model/:version",
  "/models/:model/:version/set-default",
  "/v1/models/:model",
];

async function unregister(
  c: AppContext,
  { launcher, removalTimeoutMs = REMOVAL_TIMEOUT_MS }: ManagementOptions,
): Promise<Response> {
  const [name, version] = [modelOf(c), c.req.param("version")];
  findModel(launcher, name, version);
  const removal = launcher.remove(name, version).catch((error: unknown) => {
    if (!isRuntimeError(error) || error.code !== "CONFLICT") throw error;
    const text = `Cannot remove default version for model ${name}`;
    throw new RuntimeError("FORBIDDEN", text, { cause: error });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const text = `Timed out while cleaning resources: ${name}`;
    timer = setTimeout(() => reject(new RuntimeError("DEADLINE_EXCEEDED", text)), removalTimeoutMs);
  });
  try {
    await Promise.race([removal, late]);
  } finally {
    clearTimeout(timer);
  }
  return answerStatus(c, `Model "${name}" unregistered`);
}

function list(c: AppContext, isOriginal: boolean): Response {
  const sent = readParameters(ListParameters, c.req.query(), isOriginal);
  const { limit, next_page_token: from } = sent;
  const models = c.get("models");
  const names = [...new Set(models.list.map(({ name }) => name))].sort();
  const end = from + limit;
  // The original's token at the very end leads to an empty page.
  const hasMore = isOriginal ? end <= names.length : end < names.length;
  return answerJson(c, {
    ...(hasMore && { nextPageToken: String(end) }),
    models: names.slice(from, end).map((name) => ({
      modelName: name,
      modelUrl: models.find(name).origin,
    })),
  });
}

function describe(c: AppContext, { launcher, manner }: ManagementOptions): Response {
  const [name, version] = [modelOf(c), c.req.param("version")];
  const { customized } = readParameters(DescribeParameters, c.req.query(), manner === "original");
  const versions =
    version === "all"
      ? allVersions(c, name).map((each) => findModel(launcher, name, each))
      : [findModel(launcher, name, version)];
  if (customized && versions.some(({ isIdle }) => isIdle)) {
    throw new RuntimeError(
      "NOT_READY",
      `Model "${name}" has no worker to serve describe request. Please use scale workers API to add workers.`,
    );
  }
  return answerJson(
    c,
    versions.map((model) => describeModel(model, customized)),
  );
}

async function scale(c: AppContext, { launcher, manner }: ManagementOptions): Promise<Response> {
  const name = modelOf(c);
  const parameters = readParameters(ScaleParameters, c.req.query(), manner === "original");
  const { min_worker: least, max_worker: most = least, synchronous } = parameters;
  if (most < least)
    throw new RuntimeError("INVALID_INPUT", "max_worker cannot be less than min_worker.");
  const named = c.req.param("version") ?? parameters.model_version;
  const launched = findModel(launcher, name, named);
  const { version } = launched.entry;
  const scaled = launched.scale(least, most).catch((error: unknown) => {
    throw startFailure(error, name, version, manner);
  });
  if (!synchronous) {
    scaled.catch((error: unknown) => c.get("log").error(messageOf(error)));
    return answerStatus(c, PROCESSING, 202);
  }
  await scaled;
  const of = named === undefined ? "" : `, version: ${version}`;
  return answerStatus(c, `Workers scaled to ${least} for model: ${name}${of}`);
}

function setDefault(c: AppContext): Response {
  const [name, version] = [modelOf(c), c.req.param("version") ?? ""];
  const models = c.get("models");
  if (!allVersions(c, name).includes(version)) {
    const text = `Model version ${version} does not exist for model ${name}`;
    throw new RuntimeError("VERSION_NOT_FOUND", text);
  }
  models.setDefault(name, version);
  const text = `Default version successfully updated for model "${name}" to "${version}"`;
  return answerStatus(c, text);
}

/** The shares as they are: all to the default version where nobody has said otherwise. */
function trafficOf(c: AppContext): Readonly<Record<string, number>> {
  const name = modelOf(c);
  allVersions(c, name);
  const models = c.get("models");
  return models.traffic(name) ?? { [models.defaultVersion(name)]: 100 };
}

async function setTraffic(c: AppContext): Promise<Response> {
  const name = modelOf(c);
  const versions = allVersions(c, name);
  const read = TrafficBody.safeParse(await readJsonBody(c));
  if (!read.success) {
    throw new RuntimeError(
      "INVALID_INPUT",
      'Cannot share the traffic: wanted weights by version, one of them above 0, such as {"1.0": 90, "2.0": 10}',
    );
  }
  const weights = read.data;
  const unknown = Object.keys(weights).find((version) => !versions.includes(version));
  if (unknown !== undefined) throw noVersion(name, unknown);
  c.get("models").setTraffic(name, Object.keys(weights).length === 0 ? undefined : weights);
  return answerJson(c, trafficOf(c));
}

async function renew(
  c: AppContext,
  tokens: TokenAuthority,
  isOriginal: boolean,
): Promise<Response> {
  const type = c.req.query("type");
  const kind = RENEWED_KINDS.find((known): known is RenewedKind => known === type);
  if (kind === undefined) {
    const text = "Parameter type is required: management or inference.";
    throw new RuntimeError("INVALID_INPUT", text);
  }
  const key = await tokens.renew(kind);
  c.get("log").info(`Renewed the ${kind} key`);
  // There the answer is an empty line, and the key is in the file alone; who holds the API key may have it at once.
  return isOriginal ? answerText(c, "\n") : answerJson(c, { ...key });
}

function modelOf(c: AppContext): string {
  return c.req.param("model") ?? "";
}

function findModel(launcher: Launcher, name: string, version?: string): LaunchedModel {
  try {
    return launcher.find(name, version);
  } catch (error) {
    throw inTheirWords(error, name, version);
  }
}

function allVersions(c: AppContext, name: string): readonly string[] {
  try {
    return c
      .get("models")
      .versions(name)
      .map(({ version }) => version);
  } catch (error) {
    throw inTheirWords(error, name);
  }
}

function inTheirWords(error: unknown, name: string, version = ""): unknown {
  if (!isRuntimeError(error)) return error;
  if (error.code === "VERSION_NOT_FOUND") return noVersion(name, version);
  if (error.code !== "MODEL_NOT_FOUND") return error;
  return new RuntimeError("MODEL_NOT_FOUND", `Model not found: ${name}`, { cause: error });
}

function noVersion(name: string, version: string): RuntimeError {
  const text = `Model version: ${version} does not exist for model: ${name}`;
  return new RuntimeError("VERSION_NOT_FOUND", text);
}
