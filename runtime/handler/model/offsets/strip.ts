/**
 * What `Strip` leaves of a text: white space as Unicode has it, where `trim` of JavaScript takes U+FEFF and leaves U+0085.
 */
import type { PartConfig } from "./library.ts";

/** Where the rest begins and ends, in UTF-16 units. */
export function strippedSpan(
  text: string,
  { strip_left: left, strip_right: right }: PartConfig,
): { readonly start: number; readonly end: number } {
  const start = left ? (/^\p{White_Space}*/u.exec(text)?.[0].length ?? 0) : 0;
  let end = text.length;
  while (right && end > start && /\p{White_Space}/u.test(text[end - 1] ?? "")) end--;
  return { start, end };
}
