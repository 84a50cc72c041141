/**
 * Pixels as PNG files: masks, depth maps and pictures that models make.
 */
import sharp from "sharp";

import type { Raster } from "./resample.ts";

/** Fast rather than small: level 6 takes three times as long for a few percent. */
const COMPRESSION_LEVEL = 3;

/** A PNG of one (grey), three (RGB) or four (RGBA) channels, as they are. */
export async function toPng({ data, width, height, channels }: Raster): Promise<Uint8Array> {
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new TypeError(`A PNG of ${channels} channels`);
  const image = sharp(data, { raw: { width, height, channels } });
  return image
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .png({ compressionLevel: COMPRESSION_LEVEL })
    .toBuffer();
}

/** The same as text, which is how images stand inside JSON. */
export async function toPngBase64(raster: Raster): Promise<string> {
  return Buffer.from(await toPng(raster)).toString("base64");
}

/** The same as a file. */
export async function toPngBlob(raster: Raster): Promise<Blob> {
  return new Blob([new Uint8Array(await toPng(raster))], { type: "image/png" });
}
