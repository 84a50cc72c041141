/**
 * Python literals, as `ast.literal_eval` reads them: what clients of TorchServe's transformer handler send.
 *
 * `{'text': "…", "target": (1, 2)}`: dictionaries, lists, tuples, sets, strings with their prefixes and escapes, numbers, `True`,
 * `False` and `None`. Tuples and sets become lists, bytes text, a dictionary's keys strings. JSON's `true`, `false` and
 * `null` are read besides, where Python refuses them, so any JSON is understood as well. Complex numbers, `\N{…}` and
 * expressions are not. Nothing is evaluated.
 *
 * Python's reference, sections 2.4 to 2.6 (literals) and `ast.literal_eval`.
 *
 * @example
 * parseLiteral(`{'text': "It's fine", "target": (1, 2)}`); // {text: "It's fine", target: [1, 2]}
 */
import { RuntimeError } from "../../errors.ts";

/** As deep as JSON bodies may be. */
const MAX_DEPTH = 200;

const WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
};

const NUMBER =
  /(?:[+-]\s*)?(?:0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(?:\d(?:_?\d)*(?:\.(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?)(?![\w.])/y;
const WORD = /[A-Za-z_]\w*/y;
/** White space and comments: a literal may go over several lines. */
const SPACE = /(?:[\s\ufeff]|#[^\n]*|\\\r?\n)*/y;
const STRING_START = /(?:[uU]|[rR]|[bB]|[bB][rR]|[rR][bB])?(?:"""|'''|"|')/y;

/** @throws RuntimeError `INVALID_INPUT`, with the place where it breaks; the text is not quoted. */
export function parseLiteral(text: string): unknown {
  const reader = createReader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

interface Reader {
  value(depth: number): unknown;
  end(): void;
}

function createReader(text: string): Reader {
  let at = 0;

  function fail(): never {
    throw new RuntimeError(
      "INVALID_INPUT",
      `Cannot read the body: it is neither JSON nor a Python literal; it breaks off at character ${at}`,
    );
  }

  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  }

  /** The next character that is no space. */
  function peek(): string {
    match(SPACE);
    return text.charAt(at);
  }

  function take(character: string): boolean {
    if (peek() !== character) return false;
    at++;
    return true;
  }

  function value(depth: number): unknown {
    if (depth > MAX_DEPTH) fail();
    switch (peek()) {
      case "{":
        at++;
        return braces(depth + 1);
      case "[":
        at++;
        return items("]", depth + 1).values;
      case "(": {
        at++;
        const { values, hasComma } = items(")", depth + 1);
        return values.length === 1 && !hasComma ? values[0] : values; // (1) is 1, (1,) a tuple
      }
      default:
        return scalar();
    }
  }

  /** Values up to `close`, whose bracket is open already. */
  function items(close: string, depth: number): { values: unknown[]; hasComma: boolean } {
    const values: unknown[] = [];
    let hasComma = false;
    while (!take(close)) {
      if (values.length > 0 && !hasComma) fail();
      values.push(value(depth));
      hasComma = take(",");
      if (!hasComma && peek() !== close) fail();
    }
    return { values, hasComma };
  }

  /** A dictionary or a set. */
  function braces(depth: number): unknown {
    if (take("}")) return {};
    const first = value(depth);
    if (!take(":")) {
      if (take("}")) return [first];
      if (!take(",")) fail();
      return [first, ...items("}", depth).values];
    }
    const entries: [string, unknown][] = [[keyOf(first), value(depth)]];
    while (!take("}")) {
      if (!take(",")) fail();
      if (take("}")) break;
      const key = keyOf(value(depth));
      if (!take(":")) fail();
      entries.push([key, value(depth)]);
    }
    return Object.fromEntries(entries); // which makes even `__proto__` a key like others
  }

  function keyOf(key: unknown): string {
    if (typeof key === "object" && key !== null) fail();
    return String(key);
  }

  function scalar(): unknown {
    const number = match(NUMBER);
    if (number !== undefined) return toNumber(number);
    STRING_START.lastIndex = at;
    if (STRING_START.test(text)) return strings();
    const word = match(WORD);
    if (word === undefined || !Object.hasOwn(WORDS, word)) {
      at -= word?.length ?? 0;
      return fail();
    }
    return WORDS[word];
  }

  /** One string, or several that follow each other: Python joins them. */
  function strings(): string {
    let joined = "";
    for (;;) {
      match(SPACE);
      const start = match(STRING_START);
      if (start === undefined) return joined;
      joined += string(start);
    }
  }

  function string(start: string): string {
    const quote = /["']+$/.exec(start)?.[0] ?? "";
    const isRaw = /r/i.test(start);
    const from = at;
    for (;;) {
      const next = text.charAt(at);
      if (next === "" || (quote.length === 1 && next === "\n")) fail();
      if (text.startsWith(quote, at)) break;
      at += next === "\\" ? 2 : 1;
    }
    const body = text.slice(from, at);
    at += quote.length;
    if (isRaw) return body;
    const unescaped = unescape(body, /b/i.test(start));
    return unescaped ?? fail();
  }

  return {
    value,
    end() {
      if (peek() !== "") fail();
    },
  };
}

function toNumber(text: string): number {
  const digits = text.replaceAll("_", "");
  const isNegative = digits.startsWith("-");
  const size = Number(digits.replace(/^[+-]\s*/, ""));
  return isNegative ? -size : size;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "/": "/", // JSON's; Python would keep the backslash
};

/**
 * What is no escape stays as it is, with its backslash.
 *
 * @returns `undefined` for a number that is not complete, or no character's.
 */
function unescape(body: string, isBytes: boolean): string | undefined {
  if (!body.includes("\\")) return body;
  let isBroken = false;
  const text = body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(\r\n|[\s\S]))/g,
    (whole, x?: string, u?: string, U?: string, octal?: string, other?: string) => {
      const hex = x ?? (isBytes ? undefined : (u ?? U));
      const point = Number.parseInt(hex ?? "0", 16);
      if (point > 0x10ffff || (other !== undefined && (isBytes ? /x/ : /[xuUN]/).test(other)))
        isBroken = true;
      else if (hex !== undefined) return String.fromCodePoint(point);
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      if (other === "\r\n") return "";
      return (other !== undefined ? ESCAPES[other] : undefined) ?? whole;
    },
  );
  if (isBroken) return undefined;
  // Bytes are text in UTF-8: b'caf\xc3\xa9'.
  return isBytes ? Buffer.from(text, "latin1").toString("utf8") : text;
}
