/**
 * `GET /openapi.json`, the description of this server, and `GET /docs`, the same as a page.
 *
 * Models come and go, so both are written anew when one has, and kept until then: making them takes as long as a hundred small
 * requests. With keys they need one as most routes do; as a browser cannot send it, the page is kept as a file
 * (`curl -H "Authorization: Bearer …" …/docs > docs.html`): it loads nothing else.
 */
import { Hono } from "hono";

import type { Models } from "../../engine/models.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { PAGE_HEADERS, renderPage } from "../docs/page.ts";
import { onlyMethods } from "../middleware.ts";
import { respond } from "../respond.ts";
import { describeApi, type Description } from "./document.ts";

export function createDescriptionRoutes(description: Description): Hono<AppEnv> {
  const read = keepWhileSame(description);
  const routes = new Hono<AppEnv>({ strict: false });
  routes.get("/openapi.json", (c) => {
    const headers = { "content-type": "application/json", "cache-control": "no-cache" };
    return respond(c, { body: read(c.get("models")).json, headers });
  });
  routes.get("/docs", (c) => {
    const page = read(c.get("models")).page().replaceAll(SOMEWHERE, originOf(c));
    return respond(c, { body: page, headers: { ...PAGE_HEADERS } });
  });
  for (const path of ["/openapi.json", "/docs"]) routes.all(path, onlyMethods("GET", "HEAD"));
  return routes;
}

interface Written {
  readonly json: string;
  /** With `SOMEWHERE` for the server's address; made when it is first asked for. */
  readonly page: () => string;
}

/** Stands for the server's address until it is known. */
const SOMEWHERE = "http://server.invalid";

function keepWhileSame(description: Description): (models: Models) => Written {
  let before: readonly unknown[] = [];
  let written: Written | undefined;
  return (models) => {
    const now = factsOf(models);
    const isSame = now.length === before.length && now.every((fact, at) => fact === before[at]);
    if (written !== undefined && isSame) return written;
    const api = describeApi(models, description);
    let page: string | undefined;
    before = now;
    written = { json: JSON.stringify(api), page: () => (page ??= renderPage(api, SOMEWHERE)) };
    return written;
  };
}

/** All that the description tells of models. */
function factsOf(models: Models): readonly unknown[] {
  return models.list.flatMap(({ name, version, description }) => [
    name,
    version,
    description,
    models.defaultVersion(name),
  ]);
}

/** Where the client found the server; somewhere near, where that is no plain address. */
function originOf(c: AppContext): string {
  const { origin } = new URL(c.req.url);
  return /^https?:\/\/[\w.:[\]-]+$/.test(origin) ? origin : "http://localhost";
}
