/**
 * Where an automaton of JSON stands between two bytes.
 */

/** What is open: an object or a list, and what it lies in. */
export interface Frame {
  readonly isObject: boolean;
  readonly outer: Frame | undefined;
}

export type NumberPlace =
  | "minus"
  | "zero"
  | "integer"
  | "point"
  | "fraction"
  | "exponent"
  | "exponent sign"
  | "exponent digit";

export type StringPlace =
  | "string"
  | "escape"
  | "hex digit"
  | "second half"
  | "second half's u"
  | "rest of character";

export type Place =
  | NumberPlace
  | StringPlace
  | "beginning"
  | "first key"
  | "key"
  | "colon"
  | "first value"
  | "value"
  | "after value"
  | "end"
  | "rest of word";

/** Where the bytes have led; a copy of it is a place to come back to. */
export interface Position {
  place: Place;
  frame: Frame | undefined;
  depth: number;
  /** White space, or digits, in a row. */
  run: number;
  /** Line breaks among them. */
  breaks: number;
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

export function beginning(): Position {
  return {
    place: "beginning",
    frame: undefined,
    depth: 0,
    run: 0,
    breaks: 0,
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
export function copy(from: Position, to: Position): Position {
  to.place = from.place;
  to.frame = from.frame;
  to.depth = from.depth;
  to.run = from.run;
  to.breaks = from.breaks;
  to.isKey = from.isKey;
  to.left = from.left;
  to.word = from.word;
  to.unit = from.unit;
  to.isSecondHalf = from.isSecondHalf;
  to.least = from.least;
  to.most = from.most;
  return to;
}

export function goTo(position: Position, place: Place): true {
  position.place = place;
  position.run = 0;
  position.breaks = 0;
  return true;
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
