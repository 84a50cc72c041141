/**
 * Java's `.properties` files, as `java.util.Properties.load` reads them.
 *
 * Comments with `#` and `!`, keys that end at `=`, `:` or blanks, lines that go on behind a backslash, escapes with
 * `\t \n \r \f \uXXXX`; any other escaped character is itself.
 */

/** Key → value, in the file's order; the last of several wins. @throws RangeError for a `\u` without four digits. */
export function parseProperties(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const line of logicalLines(text)) {
    // The key ends at the first `=`, `:` or blank that is not escaped.
    const [, key = "", value = ""] =
      /^((?:\\[^]|[^\\=: \t\f])*)(?:[ \t\f]*[=:])?[ \t\f]*([^]*)$/.exec(line) ?? [];
    found.set(unescape(key), unescape(value));
  }
  return found;
}

/** One line of a file that `parseProperties` reads as that key and value. */
export function formatProperty(key: string, value: string): string {
  return `${escape(key).replaceAll(/[ =:#!]/g, "\\$&")}=${escape(value).replace(/^ /, "\\ ")}`;
}

function* logicalLines(text: string): Generator<string> {
  let pending: string | undefined;
  for (const natural of text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/)) {
    const line = natural.replace(/^[ \t\f]+/, ""); // also where a line goes on
    if (pending === undefined && (line === "" || /^[#!]/.test(line))) continue;
    const whole: string = (pending ?? "") + line;
    const backslashes = /\\*$/.exec(line)?.[0].length ?? 0;
    if (backslashes % 2 === 1) pending = whole.slice(0, -1);
    else {
      pending = undefined;
      yield whole;
    }
  }
  if (pending !== undefined) yield pending;
}

const ESCAPES: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f" };

function unescape(text: string): string {
  return text.replaceAll(/\\(?:u([^]{0,4})|([^]))?/g, (_match, digits?: string, other?: string) => {
    if (digits === undefined) return other === undefined ? "" : (ESCAPES[other] ?? other);
    if (!/^[\da-fA-F]{4}$/.test(digits)) throw new RangeError("four hexadecimal digits behind \\u");
    return String.fromCharCode(Number.parseInt(digits, 16));
  });
}

function escape(text: string): string {
  const named = Object.entries(ESCAPES);
  return text.replaceAll(/[\\\t\n\r\f]/g, (found) => {
    const letter = named.find(([, character]) => character === found)?.[0];
    return `\\${letter ?? found}`;
  });
}
