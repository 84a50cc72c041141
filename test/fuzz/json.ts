/**
 * Mutations of JSON that keep it JSON, or nearly: a tree that may hold what no parser would give, such as a key twice.
 */
import { pick, spread, type Step } from "./recipe.ts";

export type Tree =
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, Tree])[] }
  | { readonly kind: "list"; readonly items: readonly Tree[] }
  /** As it is printed: a number of any size, a string with its quotes, or what is not JSON at all. */
  | { readonly kind: "text"; readonly text: string };

export function toTree(value: unknown): Tree {
  if (Array.isArray(value)) return { kind: "list", items: value.map(toTree) };
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, inner]) => [key, toTree(inner)] as const);
    return { kind: "object", entries };
  }
  return { kind: "text", text: JSON.stringify(value) ?? "null" };
}

export function printTree(tree: Tree): string {
  switch (tree.kind) {
    case "object": {
      const entries = tree.entries.map(
        ([key, inner]) => `${JSON.stringify(key)}:${printTree(inner)}`,
      );
      return `{${entries.join(",")}}`;
    }
    case "list":
      return `[${tree.items.map(printTree).join(",")}]`;
    case "text":
      return tree.text;
  }
}

const text = (value: string): Tree => ({ kind: "text", text: value });

/** Values that code forgets. */
const VALUES: readonly Tree[] = [
  ...[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "0.5",
    "1.5",
    "1e999",
    "-1e999",
    "1e-400",
    "NaN",
    "Infinity",
    "undefined",
    "9007199254740993",
    "18446744073709551616",
    "4294967296",
    "123456789012345678901234567890",
    "1e308",
    "-2147483649",
    "65536",
    "1000000",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "[{}]",
    '[1,"a",null]',
    "[[1],[1,2]]",
    '{"a":{"b":[1,{"c":2}]}}',
    '""',
    '"a"',
    '" "',
    '"0"',
    '"1.5"',
    '"true"',
    '"null"',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\\u202e"',
    '"\\ud83d\\ude00"',
    '"\\r\\nx: y"',
    '"data: x\\n\\n"',
    '"__proto__"',
    '"constructor"',
    '"toString"',
    '{"__proto__":{"a":1}}',
    '{"constructor":{"prototype":{"a":1}}}',
    '{"toString":null}',
    '{"length":-1}',
    '{"then":1}',
    '{"toJSON":1}',
    '{"bytes":[1],"contentType":"image/png"}',
    '{"b64":"AAAA"}',
    '"http://127.0.0.1:9/x"',
    '"file:///etc/hostname"',
    '"data:image/png;base64,AAAA"',
    '"data:,"',
    '"AAAA"',
    '"iVBORw0KGgo="',
    '"../../../../etc/hostname"',
    '"%2e%2e"',
    '"[MASK]"',
    '"<|im_start|>"',
  ].map(text),
  text(JSON.stringify("x".repeat(30_000))),
  text(JSON.stringify("word ".repeat(5000))),
  text(JSON.stringify("\u0301".repeat(3000))),
  text(JSON.stringify("😀".repeat(2000))),
  text("[".repeat(150) + "]".repeat(150)),
  text("[".repeat(260) + "]".repeat(260)),
  text('{"a":'.repeat(150) + "1" + "}".repeat(150)),
  text(`[${"0,".repeat(3000)}0]`),
  text(`[${'"a",'.repeat(1200)}"a"]`),
  text(`{${Array.from({ length: 1500 }, (_, i) => `"k${i}":0`).join(",")}}`),
];

export interface JsonOptions {
  /** Keys that somebody reads. */
  readonly keys: readonly string[];
  /** Other documents, to take pieces from. */
  readonly others: readonly Tree[];
}

const KEYS = ["__proto__", "constructor", "toString", "", "length", "0", "\u0000", "a.b", "ключ"];

/** A place in a tree: which entry or item at each level. */
type Place = readonly number[];

/** A tree with one step done to it. */
export function mutateTree(tree: Tree, [kind, place, value]: Step, options: JsonOptions): Tree {
  const places = placesIn(tree);
  const at = pick(places, place);
  const here = treeAt(tree, at);
  const replace = (by: Tree): Tree => withTree(tree, at, by);
  const key = pick([...options.keys, ...KEYS], spread(value, 1));
  switch (kind % 10) {
    case 0:
    case 1:
      return replace(pick(VALUES, value));
    case 2: // another part of itself
      return replace(treeAt(tree, pick(places, value)));
    case 3: {
      if (options.others.length === 0) return tree;
      const other = pick(options.others, value);
      return replace(treeAt(other, pick(placesIn(other), spread(value, 2))));
    }
    case 4:
      return replace(value % 2 === 0 ? { kind: "list", items: [here] } : asOnly(key, here));
    case 5: {
      if (here.kind === "object")
        return replace({ ...here, entries: [...here.entries, [key, pick(VALUES, value)]] });
      if (here.kind === "list")
        return replace({ ...here, items: [...here.items, pick(VALUES, value)] });
      return replace(asOnly(key, here));
    }
    case 6: // without one of its own
      if (here.kind === "object")
        return replace({ ...here, entries: without(here.entries, value) });
      return here.kind === "list" ? replace({ ...here, items: without(here.items, value) }) : tree;
    case 7: {
      const times = pick([2, 3, 20, 1100], spread(value, 1));
      if (here.kind === "object") {
        if (here.entries.length === 0) return tree;
        const [name, inner] = pick(here.entries, value); // the same key twice
        return replace({ ...here, entries: [...here.entries, [name, inner]] });
      }
      if (here.kind === "list" && here.items.length > 0) {
        const item = pick(here.items, value);
        if (printTree(item).length * times > 100_000) return tree;
        return replace({ ...here, items: [...here.items, ...Array<Tree>(times).fill(item)] });
      }
      return replace({ kind: "list", items: Array<Tree>(times).fill(here) });
    }
    case 8: {
      if (here.kind !== "object" || here.entries.length === 0) return replace(pick(VALUES, value));
      const index = value % here.entries.length; // another key
      const entries = here.entries.map((entry, i) =>
        i === index ? ([key, entry[1]] as const) : entry,
      );
      return replace({ ...here, entries });
    }
    default: {
      if (here.kind !== "text" || !here.text.startsWith('"')) return replace(pick(VALUES, value));
      const word = pick(WITHIN, value);
      const cut = 1 + (spread(value, 1) % Math.max(1, here.text.length - 1));
      const spoiled = here.text.slice(0, cut) + word + here.text.slice(cut);
      return replace(text(spoiled));
    }
  }
}

/** What is put inside a string; some of it breaks the string. */
const WITHIN = [
  "\\u0000",
  "\\ud800",
  "\\",
  '"',
  "\u0007",
  "\\u2028",
  "é",
  "😀",
  "\\n",
  "  ",
  "{{",
  "%",
  "\u00ad",
];

function asOnly(key: string, value: Tree): Tree {
  return { kind: "object", entries: [[key, value]] };
}

function without<T>(list: readonly T[], number: number): readonly T[] {
  return list.length === 0 ? list : list.toSpliced(number % list.length, 1);
}

function childrenOf(tree: Tree): readonly Tree[] {
  if (tree.kind === "list") return tree.items;
  return tree.kind === "object" ? tree.entries.map(([, inner]) => inner) : [];
}

/** Enough of a long list's places: the others are like them. */
const MOST_PLACES = 300;

function placesIn(tree: Tree): readonly Place[] {
  const found: Place[] = [[]];
  for (let next = 0; next < found.length && found.length < MOST_PLACES; next++) {
    const place = found[next] ?? [];
    for (const index of childrenOf(treeAt(tree, place)).keys()) found.push([...place, index]);
  }
  return found;
}

function treeAt(tree: Tree, place: Place): Tree {
  return place.reduce((here, index) => childrenOf(here)[index] ?? here, tree);
}

function withTree(tree: Tree, [index, ...rest]: Place, by: Tree): Tree {
  if (index === undefined) return by;
  if (tree.kind === "list")
    return {
      ...tree,
      items: tree.items.map((item, i) => (i === index ? withTree(item, rest, by) : item)),
    };
  if (tree.kind === "object") {
    const entries = tree.entries.map(([key, inner], i) =>
      i === index ? ([key, withTree(inner, rest, by)] as const) : ([key, inner] as const),
    );
    return { ...tree, entries };
  }
  return tree;
}

/** Every key of a tree. */
export function keysOf(tree: Tree): readonly string[] {
  const own = tree.kind === "object" ? tree.entries.map(([key]) => key) : [];
  return [...own, ...childrenOf(tree).flatMap(keysOf)];
}
