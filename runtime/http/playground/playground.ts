/**
 * The playground: a page on which the served models can be tried, at `GET /` for whoever likes HTML better than JSON.
 *
 * The page is one response that loads nothing else, and knows nothing of any model: so it needs no key. What it shows it
 * fetches with the visitor's own key from the two routes below and from those that all clients use. Its sources are in
 * `client/`; `npm run docs` bundles them into `generated-page.ts`.
 */
import { gzipSync } from "node:zlib";

import { Hono } from "hono";

import type { Model, Models } from "../../engine/models.ts";
import { chooseOffer } from "../accept.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { onlyMethods } from "../middleware.ts";
import { respond, respondJson, setHeader } from "../respond.ts";
import { PAGE, SCRIPT_HASH, STYLE_HASH } from "./generated-page.ts";
import type { ListedModel, ModelIndex, ShownModel } from "./wire.ts";

const HTML_TYPE = "text/html";

/** The page runs and looks as it was built, and talks to nobody but this server. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src '${SCRIPT_HASH}'`,
  `style-src '${STYLE_HASH}'`,
  "img-src data: blob:",
  "media-src data: blob:",
  "connect-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join("; ");

const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-type": `${HTML_TYPE}; charset=utf-8`,
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
  "cache-control": "no-cache",
  etag: `"${SCRIPT_HASH.slice(7, 23)}${STYLE_HASH.slice(7, 23)}"`,
};

/** To be named before whatever else answers `GET /`. */
export function createPlaygroundRoutes(): Hono<AppEnv> {
  const routes = new Hono<AppEnv>({ strict: false });
  routes.get("/", async (c, next) => {
    const before = c.get("responseHeaders")["vary"];
    setHeader(c, "vary", before === undefined ? "accept" : `${before}, accept`);
    return likesHtml(c) ? respondPage(c) : next();
  });
  routes.get("/playground/models", (c) => respondFresh(c, listModels(c.get("models"))));
  routes.get("/playground/model", (c) => {
    const models = c.get("models");
    const { name, version } = c.req.query();
    return respondFresh(c, showModel(models.find(name, version), models));
  });
  for (const path of ["/playground/models", "/playground/model"])
    routes.all(path, onlyMethods("GET", "HEAD"));
  return routes;
}

/** Whether a request gets the page, which knows nothing of any model, and so needs no key. */
export function asksForPage(c: AppContext): boolean {
  return (c.req.method === "GET" || c.req.method === "HEAD") && c.req.path === "/" && likesHtml(c);
}

/** Made when the first browser comes. */
let zipped: Uint8Array<ArrayBuffer> | undefined;

function respondPage(c: AppContext): Response {
  const headers: Record<string, string> = { ...PAGE_HEADERS, vary: "accept, accept-encoding" };
  if (c.req.header("if-none-match") === headers["etag"])
    return respond(c, { body: "", headers }, 304);
  if (!/\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(c.req.header("accept-encoding") ?? ""))
    return respond(c, { body: PAGE, headers });
  zipped ??= new Uint8Array(gzipSync(PAGE, { level: 9 }));
  return respond(c, { body: zipped, headers: { ...headers, "content-encoding": "gzip" } });
}

/** Browsers name HTML first. Whoever takes anything (`*\/*`) gets JSON, as ever. */
function likesHtml(c: AppContext): boolean {
  return chooseOffer(c.req.header("accept"), ["application/json", HTML_TYPE]) === HTML_TYPE;
}

function respondFresh(c: AppContext, value: ModelIndex | ShownModel): Response {
  setHeader(c, "cache-control", "no-store");
  setHeader(c, "x-content-type-options", "nosniff");
  return respondJson(c, value);
}

function listModels(models: Models): ModelIndex {
  return { models: models.list.map((model) => toListed(model, models)) };
}

function toListed({ name, version, state, isReady, detail }: Model, models: Models): ListedModel {
  const isDefaultVersion = models.defaultVersion(name) === version;
  const isFirst = isDefaultVersion && models.list[0]?.name === name;
  return { name, version, isDefaultVersion, isFirst, state, isReady, detail };
}

function showModel(model: Model, models: Models): ShownModel {
  const { revision, description, card } = model;
  const { handler, task, dtype, modelType, example, schemas, signature, generation } =
    description ?? {};
  return {
    ...toListed(model, models),
    ...(revision !== undefined && { revision }),
    ...(handler !== undefined && { handler }),
    ...(task !== undefined && { task }),
    ...(dtype !== undefined && { dtype }),
    ...(modelType !== undefined && { modelType }),
    ...(example !== undefined && { example }),
    ...(schemas !== undefined && { schemas }),
    ...(signature !== undefined && { signature }),
    ...(generation !== undefined && { generation }),
    ...(card !== undefined && { card }),
  };
}
