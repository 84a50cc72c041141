/**
 * Where a text stops being JSON.
 *
 * `JSON.parse` says it in other words in each version of Node, and in some not at all.
 */

export interface SyntaxPlace {
  /** Counted from 1. */
  readonly line: number;
  /** Counted from 1, in UTF-16 units. */
  readonly column: number;
  /** What stands there, for a sentence: `"}"` or `the end of the file`. */
  readonly found: string;
}

/** Finds the first place that breaks JSON (RFC 8259), in a text that `JSON.parse` refuses. */
export function locateSyntaxError(text: string): SyntaxPlace {
  const offset = skipValue(text, 0);
  const end = offset < 0 ? -offset - 1 : skip(text, offset, SPACE);
  const before = text.slice(0, end).split("\n");
  const rest = text.slice(end).split("\n", 1)[0] ?? "";
  const token = /^(?:[\w$.+-]+|"[^"]*"?|.)/u.exec(rest)?.[0] ?? "";
  const isShort = token.length <= 20;
  const found = isShort ? token : `${token.slice(0, 20)}…`;
  return {
    line: before.length,
    column: (before.at(-1) ?? "").length + 1,
    found:
      end >= text.length ? "the end of the file" : found === "" ? "a line break" : quote(found),
  };
}

function quote(text: string): string {
  return text.startsWith('"') ? text : `"${text}"`;
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR =
  /"(?:[^"\\\n\r\t]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const KEY = /"(?:[^"\\\n\r\t]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;

/** Deeper texts are not looked into: the place of their outermost value will do. */
const MAX_DEPTH = 500;

/** @returns The offset after the value at `start`, or `-1 - offset` of what breaks it. */
function skipValue(text: string, start: number, depth = 0): number {
  let at = skip(text, start, SPACE);
  const open = text[at];
  if ((open !== "{" && open !== "[") || depth > MAX_DEPTH) {
    const end = skip(text, at, SCALAR);
    return end === at ? -1 - at : end;
  }
  const close = open === "{" ? "}" : "]";
  at = skip(text, at + 1, SPACE);
  if (text[at] === close) return at + 1;
  for (;;) {
    if (open === "{") {
      const key = skip(text, skip(text, at, SPACE), KEY);
      if (text[key - 1] !== '"' || key === skip(text, at, SPACE)) return -1 - skip(text, at, SPACE);
      at = skip(text, key, SPACE);
      if (text[at] !== ":") return -1 - at;
      at += 1;
    }
    const end = skipValue(text, at, depth + 1);
    if (end < 0) return end;
    at = skip(text, end, SPACE);
    if (text[at] === close) return at + 1;
    if (text[at] !== ",") return -1 - at;
    at += 1;
  }
}

/** The offset after `pattern`, if it stands at `at`, else `at`. */
function skip(text: string, at: number, pattern: RegExp): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
