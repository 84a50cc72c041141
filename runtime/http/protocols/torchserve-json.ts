/**
 * JSON as TorchServe prints it: its own answers as Gson does, a handler's as Python's `json.dumps(value, indent=2)` does.
 */
import type { JsonValue } from "../../inference.ts";

/** TorchServe's own: two spaces, HTML's characters escaped, a line feed at the end. */
export function toPlatformJson(value: JsonValue): string {
  const text = JSON.stringify(value, null, 2).replace(/[<>&='\u2028\u2029]/g, escaped);
  return `${text}\n`;
}

/** Numbers under these names are floating-point in Python even where they are whole: `0.0`. */
const FLOATS: ReadonlySet<string> = new Set([
  "score",
  "scores",
  "importance",
  "importances",
  "importance_answer_start",
  "importance_answer_end",
  "importances_answer_start",
  "importances_answer_end",
  "delta",
  "delta_start",
  "delta_end",
]);

/**
 * A handler's: two spaces, ASCII only, numbers as Python writes them.
 *
 * @param knowsFloats Whether names such as `score` mean what they mean in the default handler's answers.
 */
export function toPythonJson(value: JsonValue, knowsFloats: boolean): string {
  return print(value, "\n", false, knowsFloats);
}

/** The same on one line, as `json.dumps(value)` prints it. */
export function toPythonLine(value: JsonValue, knowsFloats: boolean): string {
  return print(value, "", false, knowsFloats);
}

/** @param line Nothing where all stands on one line, else a line feed and the indentation of where the value stands. */
function print(value: JsonValue, line: string, isFloat: boolean, knowsFloats: boolean): string {
  if (typeof value === "number") return printNumber(value, isFloat);
  if (typeof value === "string") return printString(value);
  if (typeof value !== "object" || value === null) return String(value);
  const inner = line === "" ? "" : `${line}  `;
  const isList = Array.isArray(value);
  const parts: string[] = [];
  if (isList) {
    for (const each of value as readonly JsonValue[])
      parts.push(print(each, inner, isFloat, knowsFloats));
  } else {
    for (const [key, each] of Object.entries(value))
      parts.push(
        `${printString(key)}: ${print(each, inner, knowsFloats && FLOATS.has(key), knowsFloats)}`,
      );
  }
  const [open, close] = isList ? "[]" : "{}";
  if (parts.length === 0) return `${open}${close}`;
  return `${open}${inner}${parts.join(inner === "" ? ", " : `,${inner}`)}${line}${close}`;
}

function printString(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/g, escaped);
}

/** As Python's `repr`: an exponent below 0.0001 and from 1e16, of two digits at least. */
function printNumber(value: number, isFloat: boolean): string {
  const size = Math.abs(value);
  const isWhole = Number.isInteger(value);
  if (isWhole && !isFloat) return size < 1e21 ? BigInt(value).toString() : String(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16))
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  const text = Object.is(value, -0) ? "-0" : String(value);
  return isWhole ? `${text}.0` : text;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
