/**
 * The manifests of `deploy/`, as data: every document of every file, and what `kubectl kustomize` would make of them as far as
 * the tests look.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseAllDocuments } from "yaml";
import { ROOT } from "./hubserve.ts";

export const DEPLOY = join(ROOT, "deploy");

/** What every object of Kubernetes has; the rest is read by path. */
export interface Manifest {
  readonly file: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly body: unknown;
}

/** Every manifest below a folder of `deploy/`; what has no kind (values for a chart) is left out. */
export function readManifests(folder = ""): readonly Manifest[] {
  return readdirSync(join(DEPLOY, folder), { recursive: true })
    .map((file) => join(DEPLOY, folder, String(file)))
    .filter((path) => path.endsWith(".yaml"))
    .sort()
    .flatMap((path) => parseManifests(readFileSync(path, "utf8"), relative(DEPLOY, path)));
}

/** @throws when the text is no YAML: a key twice, a tab. */
export function parseManifests(text: string, file: string): readonly Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    const body: unknown = document.toJS();
    const [apiVersion, kind] = [at(body, "apiVersion"), at(body, "kind")];
    if (typeof apiVersion !== "string" || typeof kind !== "string") return [];
    return [{ file, apiVersion, kind, body }];
  });
}

/** What lies at a path of keys and numbers; `undefined` where there is nothing. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const step of path) {
    if (typeof found !== "object" || found === null) return undefined;
    found = Object.entries(found).find(([key]) => key === String(step))?.[1];
  }
  return found;
}

/** As `at`, where a list is wanted; empty where there is none. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? found : [];
}

/** As `at`, where a text is wanted; empty where there is none. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
}

/** Every text in a value, however deep. */
export function textsIn(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((each) => textsIn(each));
}
