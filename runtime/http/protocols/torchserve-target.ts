/**
 * Which model a path means: `/predictions/{model}[/{version}[/rest]]`.
 *
 * TorchServe's names have no slash; hubserve's may (`owner/name`), so the longest name that is registered counts. As there,
 * the path is decoded before it is taken apart: `owner%2Fname` is the same.
 */
import type { Models } from "../../engine/models.ts";

export interface Target {
  readonly name: string;
  /** `undefined`: the default version, or by weight. */
  readonly version: string | undefined;
  /** What follows the version: a handler sees it as the header `url_path`. */
  readonly rest: string;
}

/** A path's parts: `/predictions/a%20b/` → `["predictions", "a b"]`. */
export function segmentsOf(path: string): readonly string[] {
  const segments = decode(path).split("/").slice(1);
  while (segments.at(-1) === "") segments.pop();
  return segments;
}

/**
 * @param segments What follows the route's own part; not empty.
 * @returns A name that is registered, or else the first segment.
 */
export function findTarget(segments: readonly string[], models: Models): Target {
  const names = new Set(models.list.map(({ name }) => name));
  const longest = Math.max(1, ...[...names].map((name) => name.split("/").length));
  for (let count = Math.min(longest, segments.length); count > 0; count--) {
    const name = segments.slice(0, count).join("/");
    if (names.has(name)) return toTarget(name, segments.slice(count));
  }
  const [name = "", ...others] = segments;
  return toTarget(name, others);
}

function toTarget(name: string, [version, ...rest]: readonly string[]): Target {
  return { name, version: version || undefined, rest: rest.join("/") };
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a stray percent sign; it will name no model
  }
}
