/**
 * What an API key may look like, and how several stand in one variable.
 */

/** Keys go into headers: visible ASCII. */
export const API_KEY = /^[\x21-\x7e]{1,512}$/;

/** What is sent is compared with each. */
export const MOST_KEYS = 1000;

export const WANTED_KEYS = `1 to ${MOST_KEYS} keys of visible ASCII characters without spaces, at most 512 each`;

/**
 * The keys of a variable's text, between commas or line ends.
 *
 * @throws RangeError with what was wanted; never with what was found.
 */
export function splitKeys(text: string): readonly string[] {
  const keys = text
    .split(/[,\r\n]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (keys.length === 0 || keys.length > MOST_KEYS || !keys.every((key) => API_KEY.test(key)))
    throw new RangeError(WANTED_KEYS);
  return keys;
}
