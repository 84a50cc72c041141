/**
 * Makes the response, once, from everything that was said about it on the way.
 *
 * Headers gather in `c.get("responseHeaders")`, a plain object, and the response is made at the end: Hono's own helpers
 * make a `Headers` for the first header and a web `Response` whose body is read again as a stream, which for a small
 * answer costs more than everything else. Who listens may bring a class that carries its body as it is (`ResponseClass`).
 */
import type { AppContext } from "./context.ts";
import type { Rendered } from "./render.ts";

/** What makes a response: the web's `Response`, or the server adaptor's lighter one. */
export type ResponseClass = new (
  body: Rendered["body"] | null,
  init: { readonly status: number; readonly headers: Record<string, string> },
) => Response;

/** Adds a header to the response that will be made. */
export function setHeader(c: AppContext, name: string, value: string): void {
  c.get("responseHeaders")[name] = value;
}

/** Statuses whose responses have no body (RFC 9110); a handler may ask for them. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

export function respond(c: AppContext, { body, headers }: Rendered, status = 200): Response {
  const all: Record<string, string> = { ...c.get("responseHeaders"), ...headers };
  if (BODILESS.has(status)) delete all["content-type"];
  const isBare = c.req.method === "HEAD" || BODILESS.has(status);
  return new (c.get("ResponseClass"))(isBare ? null : body, {
    status,
    headers: all,
  });
}

export function respondJson(c: AppContext, value: unknown, status = 200): Response {
  const headers = { "content-type": "application/json" };
  return respond(c, { body: JSON.stringify(value), headers }, status);
}
