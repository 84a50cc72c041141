/**
 * Strings of JSON, byte by byte: whole characters of UTF-8, and escapes that are whole characters.
 */
import { goTo, isDigit, type Position, type StringPlace } from "./json-position.ts";

const QUOTE = 0x22;
const ZERO = 0x30;
const BACKSLASH = 0x5c;
/** `"\/bfnrt`: what stands for one character after a backslash; `u` is apart. */
const ESCAPED = new Set(Buffer.from(`"\\/bfnrt`));
const LETTER_U = 0x75;

export function openString(position: Position, isKey: boolean): true {
  position.isKey = isKey;
  return goTo(position, "string");
}

/** @returns Whether the byte may come. */
export function stepThroughString(position: Position, place: StringPlace, byte: number): boolean {
  switch (place) {
    case "string":
      return stepInString(position, byte);
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
  }
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
