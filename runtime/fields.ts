/**
 * Data with keys, told from everything else that JSON may be.
 */
import type { JsonValue } from "./inference.ts";

/** Whether a value is an object with keys: neither a list nor null. */
export function isFields(
  value: JsonValue | undefined,
): value is { readonly [key: string]: JsonValue };
export function isFields(value: unknown): value is Readonly<Record<string, unknown>>;
export function isFields(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
