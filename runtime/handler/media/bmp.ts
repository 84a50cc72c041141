/**
 * Windows bitmaps, which sharp does not read and Pillow does: one, four or eight bits with a palette, 24 and 32 bits.
 *
 * Uncompressed ones only: others are hardly ever seen outside test suites. Layout: Microsoft's `BITMAPFILEHEADER` (14
 * bytes) and `BITMAPINFOHEADER` (40 bytes or more).
 */
import type { Raster } from "./resample.ts";

export function isBmp(bytes: Uint8Array): boolean {
  return bytes[0] === 0x42 && bytes[1] === 0x4d && bytes.length >= 26; // "BM"
}

/**
 * @param mostPixels More are refused before anything is allocated.
 * @returns RGB from the top; a reason, as part of a sentence, when it cannot be decoded.
 */
export function decodeBmp(bytes: Uint8Array, mostPixels: number): Raster | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerSize = view.getUint32(14, true);
  if (headerSize < 40 || bytes.length < 54) return "a bitmap without a full header";
  const width = view.getInt32(18, true);
  const signedHeight = view.getInt32(22, true); // negative: rows from the top
  const height = Math.abs(signedHeight);
  const bits = view.getUint16(28, true);
  const compression = view.getUint32(30, true);
  if (width < 1 || height < 1) return "a bitmap without pixels";
  if (width * height > mostPixels)
    return `${width} × ${height} pixels, wanted at most ${mostPixels}`;
  if (![1, 4, 8, 24, 32].includes(bits)) return `a bitmap of ${bits} bits a pixel`;
  // 3 says where the bits of each colour lie; files of 32 bits name the usual places.
  if (compression !== 0 && !(compression === 3 && bits === 32)) return "a compressed bitmap";

  const start = view.getUint32(10, true);
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (start + stride * height > bytes.length) return "a bitmap that is cut off";
  const palette = 14 + headerSize;
  const out = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = start + (signedHeight > 0 ? height - 1 - y : y) * stride;
    for (let x = 0; x < width; x++) {
      const source = bits >= 24 ? row + x * (bits / 8) : palette + 4 * indexAt(bytes, row, x, bits);
      const target = (y * width + x) * 3;
      out[target] = bytes[source + 2] ?? 0; // stored as blue, green, red
      out[target + 1] = bytes[source + 1] ?? 0;
      out[target + 2] = bytes[source] ?? 0;
    }
  }
  return { data: out, width, height, channels: 3 };
}

/** A palette index of 1, 4 or 8 bits; the first pixel of a byte lies in its upper bits. */
function indexAt(bytes: Uint8Array, row: number, x: number, bits: number): number {
  const byte = bytes[row + ((x * bits) >> 3)] ?? 0;
  return (byte >> (8 - bits - ((x * bits) & 7))) & ((1 << bits) - 1);
}
