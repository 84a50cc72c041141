/**
 * A request's route as a pattern, for metrics, traces and the log: whoever asks for random paths must not fill them.
 */
import { matchedRoutes } from "hono/route";

import type { AppContext } from "./context.ts";

/** Says the route where the router's pattern does not: a model's name may have slashes, so some paths are taken apart later. */
export function noteRoute(c: AppContext, pattern: string): void {
  c.set("route", pattern);
}

/** @returns `undefined` for a path that no route has. */
export function routeOf(c: AppContext): string | undefined {
  const noted = c.get("route");
  if (noted !== undefined) return noted;
  const handled = matchedRoutes(c).findLast(
    ({ method, path }) => method !== "ALL" || path !== "/*",
  );
  return handled?.path.replace(/\{[^}]*\}/g, ""); // `:model{.+}`
}

/** The path as it was asked for, still encoded, without its query: what a router decodes may hold newlines. */
export function pathOf({ req }: AppContext): string {
  const { url } = req;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  return start === -1 ? "/" : url.slice(start, end === -1 ? undefined : end);
}
