/**
 * Bytes written as text: base64, with or without the prefix of a data URL.
 *
 * Strict, as a wrong guess would feed a decoder with noise: characters outside the alphabet are refused, both alphabets
 * (RFC 4648, sections 4 and 5) and missing padding are accepted, white space is skipped.
 */

/** What was decoded. */
export interface Decoded {
  readonly bytes: Uint8Array;
  /** The media type of a data URL, where it names one. */
  readonly contentType?: string;
}

/** @returns `undefined` where the text is neither base64 nor a data URL in base64, or holds nothing. */
export function decodeBase64(text: string): Decoded | undefined {
  const header = /^data:([^,;]*)(?:;[^,;]*)*?;base64,/i.exec(text.slice(0, 200));
  if (header === null && text.startsWith("data:")) return undefined;
  const body = text.slice(header?.[0].length ?? 0).replace(/\s+/g, "");
  const digits = body.replace(/={1,2}$/, "");
  if (digits === "" || digits.length % 4 === 1 || !/^[\w+/-]+$/.test(digits)) return undefined;
  const bytes = new Uint8Array(Buffer.from(digits, "base64")); // takes both alphabets
  const contentType = header?.[1] ?? "";
  return { bytes, ...(contentType !== "" && { contentType }) };
}
