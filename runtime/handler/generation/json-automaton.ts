/**
 * Whether bytes, taken one after the other, may still become a JSON object (RFC 8259), and when they have.
 *
 * Beside the grammar there are bounds, so that a model which is made to write JSON cannot go on for ever without saying anything: for
 * white space in a row, digits in a row, and how deep values are nested. Strings are whole UTF-8, and `\u` escapes whole
 * characters, so that every reader takes them and not only JavaScript's.
 */

/** Of white space in a row: line breaks with the indentation of deep values. */
export const MOST_SPACES = 64;
/** Of digits in a row: more than any number type tells apart. */
export const MOST_DIGITS = 64;
/** Objects and lists within each other. */
export const MOST_DEPTH = 64;

/** What is open: an object or a list, and what it lies in. */
interface Frame {
  readonly isObject: boolean;
  readonly outer: Frame | undefined;
}

type Place =
  | "beginning"
  | "first key"
  | "key"
  | "colon"
  | "first value"
  | "value"
  | "after value"
  | "end"
  | "string"
  | "escape"
  | "hex digit"
  | "second half"
  | "second half's u"
  | "rest of character"
  | "rest of word"
  | "minus"
  | "zero"
  | "integer"
  | "point"
  | "fraction"
  | "exponent"
  | "exponent sign"
  | "exponent digit";

/** Where the bytes have led; a copy of it is a place to come back to. */
interface Position {
  place: Place;
  frame: Frame | undefined;
  depth: number;
  /** White space, or digits, in a row. */
  run: number;
  isKey: boolean;
  /** Bytes of the word, hex digits of the escape, or bytes of the character that are still to come. */
  left: number;
  /** Of a word: its text. */
  word: string;
  /** Of an escape: what its digits say so far. */
  unit: number;
  /** Whether the first half of a pair of escapes has been read. */
  isSecondHalf: boolean;
  /** What the next byte of a character may be. */
  least: number;
  most: number;
}

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

function beginning(): Position {
  return {
    place: "beginning",
    frame: undefined,
    depth: 0,
    run: 0,
    isKey: false,
    left: 0,
    word: "",
    unit: 0,
    isSecondHalf: false,
    least: 0,
    most: 0,
  };
}

/** Field by field: for every token of a vocabulary, `Object.assign` would take longer than the walk. */
function copy(from: Position, to: Position): Position {
  to.place = from.place;
  to.frame = from.frame;
  to.depth = from.depth;
  to.run = from.run;
  to.isKey = from.isKey;
  to.left = from.left;
  to.word = from.word;
  to.unit = from.unit;
  to.isSecondHalf = from.isSecondHalf;
  to.least = from.least;
  to.most = from.most;
  return to;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const LEFT_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const RIGHT_BRACKET = 0x5d;
const LEFT_BRACE = 0x7b;
const RIGHT_BRACE = 0x7d;
/** `"\/bfnrt`: what stands for one character after a backslash; `u` is apart. */
const ESCAPED = new Set(Buffer.from(`"\\/bfnrt`));
const LETTER_U = 0x75;
const WORDS = ["true", "false", "null"];

/** @returns Whether the byte may come; where not, the position means nothing any more. */
function step(position: Position, byte: number): boolean {
  switch (position.place) {
    case "string":
      return stepInString(position, byte);
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
    case "escape":
      if (byte !== LETTER_U) return ESCAPED.has(byte) && goTo(position, "string");
      return openHex(position, false);
    case "hex digit":
      return stepInHex(position, byte);
    case "second half":
      return byte === BACKSLASH && goTo(position, "second half's u");
    case "second half's u":
      return byte === LETTER_U && openHex(position, true);
    case "rest of character":
      return stepInCharacter(position, byte);
    case "rest of word":
      if (byte !== position.word.charCodeAt(position.word.length - position.left)) return false;
      return --position.left > 0 || goTo(position, "after value");
    default:
      return stepInNumber(position, byte);
  }
}

function goTo(position: Position, place: Place): true {
  position.place = place;
  position.run = 0;
  return true;
}

/** Space, line feed, carriage return, tab; not too many of them. */
function isSpace(position: Position, byte: number): boolean {
  if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return false;
  return ++position.run <= MOST_SPACES;
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

function openString(position: Position, isKey: boolean): true {
  position.isKey = isKey;
  return goTo(position, "string");
}

function openValue(position: Position, byte: number): boolean {
  if (byte === QUOTE) return openString(position, false);
  if (byte === LEFT_BRACE) return openFrame(position, true);
  if (byte === LEFT_BRACKET) return openFrame(position, false);
  if (byte === MINUS) return goTo(position, "minus");
  if (byte === ZERO) return goTo(position, "zero");
  if (isDigit(byte)) return goTo(position, "integer");
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

function stepInString(position: Position, byte: number): boolean {
  if (byte === QUOTE) return goTo(position, position.isKey ? "colon" : "after value");
  if (byte === BACKSLASH) return goTo(position, "escape");
  if (byte < 0x20) return false;
  return byte < 0x80 || openCharacter(position, byte);
}

/** The first of several bytes: Unicode 17, table 3-7, which leaves out detours and halves of pairs. */
function openCharacter(position: Position, byte: number): boolean {
  if (byte < 0xc2 || byte > 0xf4) return false;
  position.left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  position.least = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80;
  position.most = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf;
  return goTo(position, "rest of character");
}

function stepInCharacter(position: Position, byte: number): boolean {
  if (byte < position.least || byte > position.most) return false;
  position.least = 0x80;
  position.most = 0xbf;
  return --position.left > 0 || goTo(position, "string");
}

function openHex(position: Position, isSecondHalf: boolean): true {
  position.left = 4;
  position.unit = 0;
  position.isSecondHalf = isSecondHalf;
  return goTo(position, "hex digit");
}

function stepInHex(position: Position, byte: number): boolean {
  const digit = isDigit(byte) ? byte - ZERO : (byte | 0x20) - 0x57; // "a" is 10
  if (digit < 0 || digit > 15 || (!isDigit(byte) && digit < 10)) return false;
  position.unit = position.unit * 16 + digit;
  position.left--;
  // Two digits tell the halves of a pair: the first is D8 to DB, the second DC to DF.
  if (position.left === 2) {
    const isSecond = position.unit >= 0xdc && position.unit <= 0xdf;
    if (isSecond !== position.isSecondHalf) return false;
  }
  if (position.left > 0) return true;
  const isFirst = position.unit >= 0xd800 && position.unit <= 0xdbff;
  return goTo(position, isFirst ? "second half" : "string");
}

/** A number ends with what follows it. */
function stepInNumber(position: Position, byte: number): boolean {
  switch (position.place) {
    case "minus":
      return byte === ZERO ? goTo(position, "zero") : isDigit(byte) && goTo(position, "integer");
    case "integer":
      if (isDigit(byte)) return isFewDigits(position);
      break;
    case "point":
      return isDigit(byte) && goTo(position, "fraction");
    case "fraction":
    case "exponent digit":
      if (isDigit(byte)) return isFewDigits(position);
      break;
    case "exponent":
      if (byte === MINUS || byte === 0x2b) return goTo(position, "exponent sign");
      return isDigit(byte) && goTo(position, "exponent digit");
    case "exponent sign":
      return isDigit(byte) && goTo(position, "exponent digit");
    default: // "zero"
  }
  const isWhole = position.place === "zero" || position.place === "integer";
  if (byte === POINT && isWhole) return goTo(position, "point");
  if ((byte | 0x20) === 0x65 && position.place !== "exponent digit")
    return goTo(position, "exponent");
  goTo(position, "after value");
  return step(position, byte);
}

/** One has come before the first that is counted. */
function isFewDigits(position: Position): boolean {
  return ++position.run < MOST_DIGITS;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}
