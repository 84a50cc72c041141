/**
 * Images as models read them: decoded with sharp, upright, RGB.
 */
import { RawImage } from "@huggingface/transformers";
import sharp from "sharp";

import type { Media } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";

/** An image is refused before it is decoded when it has more pixels: 64 megapixels are 192 MB of RGB. */
const MOST_PIXELS = 64_000_000;

export interface DecodeOptions {
  /** What is being done, for a refusal: `classify the image`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`, or `the body`. */
  readonly name: string;
}

/**
 * Decodes an image file: the first frame, turned as its EXIF data says, without its alpha channel.
 *
 * @returns `[height, width, 3]` in 8 bits.
 * @throws `INVALID_INPUT` when the bytes are no image, or one of too many pixels.
 */
export async function decodeImage(
  { bytes }: Media,
  { action, name }: DecodeOptions,
): Promise<RawImage> {
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: MOST_PIXELS })
      .rotate()
      .toColourspace("srgb")
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    return new RawImage(new Uint8ClampedArray(data), info.width, info.height, 3).rgb();
  } catch (error) {
    throw invalidInput(action, `"${name}" is not an image that can be decoded`, error);
  }
}
