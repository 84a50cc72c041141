/**
 * Whether bytes, taken one after the other, may still become a JSON object (RFC 8259), and when they have.
 *
 * Beside the grammar there are bounds, so that a model which is made to write JSON cannot go on for ever without saying anything: for
 * white space in a row, digits in a row, and how deep values are nested. Strings are whole UTF-8, and `\u` escapes whole
 * characters, so that every reader takes them and not only JavaScript's.
 */

import { openNumber, stepThroughNumber } from "./json-number.ts";
import { beginning, copy, goTo, type Position } from "./json-position.ts";
import { openString, stepThroughString } from "./json-string.ts";

/** Of white space in a row: a line break with the indentation of deep values. */
export const MOST_SPACES = 64;
/** Of line breaks among it: one empty line. */
export const MOST_BREAKS = 2;
/** Of white space before the object. */
export const MOST_LEADING = 4;
/** Objects and lists within each other. */
export const MOST_DEPTH = 64;

export interface JsonAutomaton {
  /** Whether the object is whole: nothing but white space can follow. */
  readonly isComplete: boolean;
  /** Whether `bytes`, from `start` to `end`, may come next. Changes nothing. */
  accepts(bytes: Uint8Array, start?: number, end?: number): boolean;
  /** Goes on. @throws `RangeError` where the bytes may not come. */
  take(bytes: Uint8Array, start?: number, end?: number): void;
}

export function createJsonAutomaton(): JsonAutomaton {
  const here = beginning();
  const ahead = beginning();

  function walk(position: Position, bytes: Uint8Array, start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (!step(position, bytes[at] ?? 0)) return false;
    return true;
  }

  return {
    get isComplete() {
      return here.place === "end";
    },
    accepts: (bytes, start = 0, end = bytes.length) => walk(copy(here, ahead), bytes, start, end),
    take(bytes, start = 0, end = bytes.length) {
      if (!walk(copy(here, ahead), bytes, start, end))
        throw new RangeError("these bytes cannot come next");
      copy(ahead, here);
    },
  };
}

const LINE_FEED = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const LEFT_BRACKET = 0x5b;
const RIGHT_BRACKET = 0x5d;
const LEFT_BRACE = 0x7b;
const RIGHT_BRACE = 0x7d;
const WORDS = ["true", "false", "null"];

/** @returns Whether the byte may come; where not, the position means nothing any more. */
function step(position: Position, byte: number): boolean {
  const { place } = position;
  switch (place) {
    case "beginning":
      return isSpace(position, byte) || (byte === LEFT_BRACE && openFrame(position, true));
    case "first key":
      if (byte === RIGHT_BRACE) return closeFrame(position, true);
      return isSpace(position, byte) || (byte === QUOTE && openString(position, true));
    case "key":
      return isSpace(position, byte) || (byte === QUOTE && openString(position, true));
    case "colon":
      return isSpace(position, byte) || (byte === COLON && goTo(position, "value"));
    case "first value":
      if (byte === RIGHT_BRACKET) return closeFrame(position, false);
      return isSpace(position, byte) || openValue(position, byte);
    case "value":
      return isSpace(position, byte) || openValue(position, byte);
    case "after value":
      return isSpace(position, byte) || stepAfterValue(position, byte);
    case "end":
      return isSpace(position, byte);
    case "rest of word":
      if (byte !== position.word.charCodeAt(position.word.length - position.left)) return false;
      return --position.left > 0 || goTo(position, "after value");
    case "string":
    case "escape":
    case "hex digit":
    case "second half":
    case "second half's u":
    case "rest of character":
      return stepThroughString(position, place, byte);
    case "minus":
    case "zero":
    case "integer":
    case "point":
    case "fraction":
    case "exponent":
    case "exponent sign":
    case "exponent digit": {
      const goesOn = stepThroughNumber(position, place, byte);
      if (goesOn !== "over") return goesOn;
      goTo(position, "after value");
      return step(position, byte);
    }
  }
}

/** Space, line feed, carriage return, tab; not too many of them. */
function isSpace(position: Position, byte: number): boolean {
  if (byte !== 0x20 && byte !== LINE_FEED && byte !== 0x0d && byte !== 0x09) return false;
  if (byte === LINE_FEED && ++position.breaks > MOST_BREAKS) return false;
  return ++position.run <= (position.place === "beginning" ? MOST_LEADING : MOST_SPACES);
}

function openFrame(position: Position, isObject: boolean): boolean {
  if (++position.depth > MOST_DEPTH) return false;
  position.frame = { isObject, outer: position.frame };
  return goTo(position, isObject ? "first key" : "first value");
}

function closeFrame(position: Position, isObject: boolean): boolean {
  if (position.frame?.isObject !== isObject) return false;
  position.depth--;
  position.frame = position.frame.outer;
  return goTo(position, position.frame === undefined ? "end" : "after value");
}

function openValue(position: Position, byte: number): boolean {
  if (byte === QUOTE) return openString(position, false);
  if (byte === LEFT_BRACE) return openFrame(position, true);
  if (byte === LEFT_BRACKET) return openFrame(position, false);
  if (openNumber(position, byte)) return true;
  const word = WORDS.find((one) => one.charCodeAt(0) === byte);
  if (word === undefined) return false;
  position.word = word;
  position.left = word.length - 1;
  return goTo(position, "rest of word");
}

function stepAfterValue(position: Position, byte: number): boolean {
  if (byte === RIGHT_BRACE) return closeFrame(position, true);
  if (byte === RIGHT_BRACKET) return closeFrame(position, false);
  return byte === COMMA && goTo(position, position.frame?.isObject === true ? "key" : "value");
}
