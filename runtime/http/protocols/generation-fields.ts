/**
 * Fields of a generation, for the schemas of the protocols that have them: every error text says what is wanted. Absent and `null`
 * mean the same.
 */
import { z } from "zod";

export const flag = z.boolean("true or false").nullish();

export function numberFrom(low: number, high: number) {
  const text = `a number from ${low} to ${high}`;
  return z.number(text).min(low, text).max(high, text).nullish();
}

export function wholeFrom(low: number, high: number) {
  const text = `a whole number from ${low} to ${high}`;
  return z.int(text).min(low, text).max(high, text).nullish();
}

export function wholeAtLeast(low: number) {
  const text = `a whole number of at least ${low}`;
  return z.int(text).min(low, text).nullish();
}

export const aboveZero = z.number("a number above 0").gt(0, "a number above 0").nullish();

/** OpenAI allows 4 texts; more of them, or longer ones, would make a token cost more to check than to compute. */
const MAX_STOPS = 16;
const MAX_STOP_CHARACTERS = 1000;
const stops = `up to ${MAX_STOPS} texts of 1 to ${MAX_STOP_CHARACTERS} characters`;
const StopText = z.string(stops).min(1, stops).max(MAX_STOP_CHARACTERS, stops);
export const StopTexts = z
  .union([StopText, z.array(StopText, stops).max(MAX_STOPS, stops)], stops)
  .nullish();

/** The most sequences of one prompt. */
export const MAX_SEQUENCES = 32;
/** The most tokens that are told beside each chosen one. */
export const MAX_TOP_TOKENS = 20;

/** Without what is not given. */
export function given<T extends object>(fields: {
  readonly [K in keyof T]: T[K] | null | undefined;
}): Partial<T> {
  const all = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(all) as Partial<T>; // what is left has the type that its key has in T
}
