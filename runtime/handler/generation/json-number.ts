/**
 * Numbers of JSON, byte by byte. A number ends with what follows it.
 */
import { goTo, isDigit, type NumberPlace, type Position } from "./json-position.ts";

/** Of digits in a row: more than any number type tells apart. */
export const MOST_DIGITS = 64;
const PLUS = 0x2b;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Begins with a digit or a minus. */
export function openNumber(position: Position, byte: number): boolean {
  if (byte === MINUS) return goTo(position, "minus");
  if (byte === ZERO) return goTo(position, "zero");
  return isDigit(byte) && goTo(position, "integer");
}

/** @returns Whether the byte may come; `"over"` where the number has ended before it. */
export function stepThroughNumber(
  position: Position,
  place: NumberPlace,
  byte: number,
): boolean | "over" {
  switch (place) {
    case "minus":
      return byte !== MINUS && openNumber(position, byte);
    case "zero":
      return stepToFraction(position, byte) || stepToExponent(position, byte) || "over";
    case "integer":
      if (isDigit(byte)) return isFewDigits(position);
      return stepToFraction(position, byte) || stepToExponent(position, byte) || "over";
    case "point":
      return isDigit(byte) && goTo(position, "fraction");
    case "fraction":
      if (isDigit(byte)) return isFewDigits(position);
      return stepToExponent(position, byte) || "over";
    case "exponent":
      if (byte === MINUS || byte === PLUS) return goTo(position, "exponent sign");
      return isDigit(byte) && goTo(position, "exponent digit");
    case "exponent sign":
      return isDigit(byte) && goTo(position, "exponent digit");
    case "exponent digit":
      return isDigit(byte) ? isFewDigits(position) : "over";
  }
}

function stepToFraction(position: Position, byte: number): boolean {
  return byte === POINT && goTo(position, "point");
}

/** `e` or `E`. */
function stepToExponent(position: Position, byte: number): boolean {
  return (byte | 0x20) === 0x65 && goTo(position, "exponent");
}

/** One has come before the first that is counted. */
function isFewDigits(position: Position): boolean {
  return ++position.run < MOST_DIGITS;
}
