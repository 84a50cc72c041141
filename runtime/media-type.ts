/**
 * What bytes are, told from their beginning: for bodies whose media type says nothing.
 *
 * Signatures as in the WHATWG MIME Sniffing Standard, section 6, with FLAC, Matroska's audio and TIFF added.
 */

interface Signature {
  readonly contentType: string;
  /** Pairs of offset and bytes that must all be there. */
  readonly parts: readonly (readonly [offset: number, bytes: string])[];
}

const SIGNATURES: readonly Signature[] = [
  { contentType: "image/png", parts: [[0, "\x89PNG\r\n\x1a\n"]] },
  { contentType: "image/jpeg", parts: [[0, "\xff\xd8\xff"]] },
  { contentType: "image/gif", parts: [[0, "GIF8"]] },
  {
    contentType: "image/webp",
    parts: [
      [0, "RIFF"],
      [8, "WEBP"],
    ],
  },
  {
    contentType: "image/bmp",
    parts: [
      [0, "BM"],
      [6, "\0\0\0\0"],
    ],
  },
  { contentType: "image/tiff", parts: [[0, "II*\0"]] },
  { contentType: "image/tiff", parts: [[0, "MM\0*"]] },
  { contentType: "image/avif", parts: [[4, "ftypavif"]] },
  {
    contentType: "audio/wav",
    parts: [
      [0, "RIFF"],
      [8, "WAVE"],
    ],
  },
  { contentType: "audio/flac", parts: [[0, "fLaC"]] },
  { contentType: "audio/ogg", parts: [[0, "OggS"]] },
  { contentType: "audio/mpeg", parts: [[0, "ID3"]] },
  { contentType: "audio/mpeg", parts: [[0, "\xff\xfb"]] },
  { contentType: "audio/mpeg", parts: [[0, "\xff\xf3"]] },
  { contentType: "audio/mp4", parts: [[4, "ftypM4A"]] },
  { contentType: "audio/webm", parts: [[0, "\x1a\x45\xdf\xa3"]] },
];

/** The longest reach of a signature, and room for white space before JSON. */
const HEAD_BYTES = 64;

/** @returns `application/json`, a media type, or `undefined` when the bytes tell nothing. */
export function sniffMediaType(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(
    bytes.buffer,
    bytes.byteOffset,
    Math.min(HEAD_BYTES, bytes.byteLength),
  ).toString("latin1");
  const found = SIGNATURES.find(({ parts }) =>
    parts.every(([offset, part]) => head.startsWith(part, offset)),
  );
  if (found !== undefined) return found.contentType;
  return /^(?:\xef\xbb\xbf)?[\t\n\r ]*[{["]/.test(head) ? "application/json" : undefined;
}
