/**
 * Integers that a JavaScript number does not hold exactly, kept as strings of their digits.
 */

/** 2^53 has 16 digits: whatever has fewer is exact. */
const FIRST_LONG = 16;

const [QUOTE, BACKSLASH, MINUS, ZERO, NINE] = [0x22, 0x5c, 0x2d, 0x30, 0x39];

/**
 * Puts quotation marks around every whole number of sixteen digits and more. Strings stay as they are, and so do numbers with a
 * fraction or an exponent.
 *
 * @param json Valid JSON.
 */
export function quoteLongIntegers(json: string): string {
  const pieces: string[] = [];
  let taken = 0;
  let at = 0;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfString(json, at);
    else if (code === MINUS || isDigit(code)) {
      const end = endOfDigits(json, code === MINUS ? at + 1 : at);
      const digits = end - at - (code === MINUS ? 1 : 0);
      if (digits >= FIRST_LONG && !/[.eE]/.test(json.charAt(end))) {
        pieces.push(json.slice(taken, at), '"', json.slice(at, end), '"');
        taken = end;
      }
      at = endOfNumber(json, end);
    } else at++;
  }
  return pieces.length === 0 ? json : pieces.join("") + json.slice(taken);
}

function endOfString(json: string, start: number): number {
  let at = start + 1;
  while (at < json.length && json.charCodeAt(at) !== QUOTE)
    at += json.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at + 1;
}

function endOfDigits(json: string, start: number): number {
  let at = start;
  while (isDigit(json.charCodeAt(at))) at++;
  return at;
}

/** Beyond a fraction and an exponent. */
function endOfNumber(json: string, start: number): number {
  let at = start;
  while (/[\d.eE+-]/.test(json.charAt(at))) at++;
  return at;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}
