/**
 * Values that came out of JSON, looked at without trust.
 */
import type { JsonValue } from "../../../inference.ts";

export type Fields = Readonly<Record<string, JsonValue>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isList(value: unknown): value is readonly JsonValue[] {
  return Array.isArray(value);
}

export function isNumbers(value: unknown): value is readonly number[] {
  return isList(value) && value.length > 0 && value.every((each) => typeof each === "number");
}

/** A list of one list is that list: the shape of some answers to a single input. */
export function unwrap(value: JsonValue): JsonValue {
  return isList(value) && value.length === 1 && isList(value[0]) ? value[0] : value;
}

export function textIn(fields: Fields, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = fields[name];
    if (typeof value === "string") return value;
  }
  return undefined;
}

export function numberIn(fields: Fields, name: string): number | undefined {
  const value = fields[name];
  return typeof value === "number" ? value : undefined;
}

/** Longer strings and lists are cut where they are shown; nobody reads a picture in base64. */
const LONG_TEXT = 400;
const LONG_LIST = 60;

/** For people's eyes: indented, lists of numbers in a line, what is long cut short. */
export function pretty(value: JsonValue, indent = ""): string {
  if (typeof value === "string") {
    return JSON.stringify(
      value.length > LONG_TEXT
        ? `${value.slice(0, 60)}… (${value.length.toLocaleString("en")} characters)`
        : value,
    );
  }
  if (!isList(value) && !isFields(value)) return JSON.stringify(value);
  const inner = `${indent}  `;
  const isShort = isList(value) && value.every((each) => typeof each !== "object" || each === null);
  const all = isList(value)
    ? value.map((each) => pretty(each, inner))
    : Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${pretty(each, inner)}`);
  const shown = all.slice(0, LONG_LIST);
  if (all.length > shown.length) shown.push(`… (${all.length.toLocaleString("en")} in all)`);
  const [open, close] = isList(value) ? "[]" : "{}";
  if (shown.length === 0) return `${open}${close}`;
  if (isShort) return `[${shown.join(", ")}]`;
  return `${open}\n${shown.map((line) => inner + line).join(",\n")}\n${indent}${close}`;
}
