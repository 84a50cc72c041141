/**
 * HTTP requests and what can be done to them: to the body's JSON, its bytes, the headers, the path, the query and the method.
 */
import { mutateBytes } from "./bytes.ts";
import { BODY_WORDS, HEADERS, METHODS, QUERIES, SEGMENTS } from "./http-words.ts";
import { keysOf, mutateTree, printTree, toTree, type Tree } from "./json.ts";
import { pick, spread, type Recipe, type Step } from "./recipe.ts";

export interface SeedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly bytes?: Uint8Array;
}

export interface FuzzedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | undefined;
  /** Whether the path is still the seed's. */
  readonly isPathKept: boolean;
}

interface Draft {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly tree: Tree | undefined;
  readonly bytes: Uint8Array | undefined;
}

export interface Grammar {
  readonly seeds: readonly SeedRequest[];
  readonly trees: readonly Tree[];
  readonly keys: readonly string[];
  readonly bodies: readonly Uint8Array[];
}

export function toGrammar(seeds: readonly SeedRequest[]): Grammar {
  const trees = seeds.flatMap(({ json }) => (json === undefined ? [] : [toTree(json)]));
  const keys = [...new Set(trees.flatMap(keysOf))];
  return { seeds, trees, keys, bodies: seeds.flatMap(({ bytes }) => bytes ?? []) };
}

export function makeRequest({ seed, steps }: Recipe, grammar: Grammar): FuzzedRequest {
  const from = pick(grammar.seeds, seed);
  const type = from.json === undefined ? {} : { "content-type": "application/json" };
  const draft: Draft = {
    method: from.method,
    path: from.path,
    headers: Object.entries({ ...type, ...from.headers }),
    tree: from.json === undefined ? undefined : toTree(from.json),
    bytes: from.bytes,
  };
  const { method, path, headers, tree, bytes } = steps.reduce(
    (here, step) => mutateRequest(here, step, grammar),
    draft,
  );
  const body =
    bytes ?? (tree === undefined ? undefined : new Uint8Array(Buffer.from(printTree(tree))));
  return {
    method,
    path,
    headers,
    body: ["GET", "HEAD"].includes(method) ? undefined : body,
    isPathKept: path === from.path,
  };
}

/** Mostly the body: what is above it has fewer ways to be wrong. */
function mutateRequest(draft: Draft, [kind, place, value]: Step, grammar: Grammar): Draft {
  const choice = kind % 16;
  const inner: Step = [spread(kind, 1), place, value];
  if (choice < 9) {
    if (draft.tree !== undefined && draft.bytes === undefined && choice < 8) {
      const options = { keys: grammar.keys, others: grammar.trees };
      return { ...draft, tree: mutateTree(draft.tree, inner, options) };
    }
    const bytes = draft.bytes ?? Buffer.from(draft.tree === undefined ? "" : printTree(draft.tree));
    const options = { words: BODY_WORDS, others: grammar.bodies };
    return { ...draft, bytes: mutateBytes(bytes, inner, options) };
  }
  if (choice < 12) return { ...draft, headers: mutateHeaders(draft.headers, inner) };
  if (choice === 12) {
    const [path = "", query = ""] = draft.path.split("?", 2);
    const segments = path.split("/");
    const at = 1 + (place % Math.max(1, segments.length - 1));
    const segment = pick(SEGMENTS, value);
    const changed =
      inner[0] % 3 === 0
        ? segments.with(Math.min(at, segments.length - 1), segment)
        : inner[0] % 3 === 1
          ? segments.toSpliced(at, 0, segment)
          : segments.with(Math.min(at, segments.length - 1), (segments[at] ?? "") + segment);
    const whole = changed.join("/") || "/";
    return {
      ...draft,
      path: `${whole.startsWith("/") ? "" : "/"}${whole}${query === "" ? "" : `?${query}`}`,
    };
  }
  if (choice === 13) {
    const mark = draft.path.includes("?") ? "&" : "?";
    return { ...draft, path: `${draft.path}${mark}${pick(QUERIES, value)}` };
  }
  if (choice === 14) return { ...draft, method: pick(METHODS, value) };
  return { ...draft, path: pick(grammar.seeds, value).path }; // this body on another's route
}

function mutateHeaders(headers: Draft["headers"], [kind, place, value]: Step): Draft["headers"] {
  if (kind % 5 === 0 && headers.length > 0) return headers.toSpliced(place % headers.length, 1);
  // The two that decide how a body is read have their turn more often.
  const header = pick(kind % 5 < 3 ? HEADERS.slice(0, 8) : HEADERS, place);
  const [name, values] = header;
  return [...headers.filter(([known]) => known !== name), [name, pick(values, value)]];
}

/** As a person would write it down. */
export function showRequest({ method, path, headers, body }: FuzzedRequest): Uint8Array {
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body ?? new Uint8Array()]);
}
