/**
 * Images as models read them: decoded with sharp, upright, RGB, and resized as Pillow does.
 *
 * What Pillow's `exif_transpose` and `convert("RGB")` do is done here: the first frame, turned as its EXIF data says,
 * alpha dropped (not blended), colour profiles ignored, CMYK by the plain formula. 16-bit values keep their upper 8
 * bits, also in greyscale, which Pillow clips to white.
 */
import { RawImage } from "@huggingface/transformers";
import sharp, { type Sharp } from "sharp";
import { codecsMissing } from "./no-codecs.ts";

import { isRuntimeError } from "../../errors.ts";
import type { Media } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { decodeBmp, isBmp } from "./bmp.ts";
import { FILTERS, resample, type Filter, type Raster } from "./resample.ts";

/** An image is refused before it is decoded when it has more pixels: 64 megapixels are 192 MB of RGB. */
export const MOST_PIXELS = 64_000_000;
/**
 * No network is given more: a line of one by ten thousand pixels would grow without bound as its shortest edge becomes
 * 224, and networks that resize nothing need kilobytes for each pixel. Donut's 2560 × 1920 are the most that known
 * processors make.
 */
export const MOST_PREPARED_PIXELS = 8_388_608;
/** Files that take longer to decode were made for that (progressive JPEGs of a thousand scans). */
const DECODE_TIMEOUT_S = 20;

/** What is decoded. Vector formats, which sharp could draw, are programs more than pictures. */
const FORMATS: ReadonlySet<string> = new Set(["jpeg", "png", "webp", "gif", "tiff", "heif"]);

const WANTED = "wanted JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP";

export interface DecodeOptions {
  /** What is being done, for a refusal: `classify the image`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`, or `BODY`. */
  readonly name: string;
}

/** The name of an image that is the whole body. */
export const BODY = "the body";

/** An input's name in a sentence: in quotes where the client wrote it. */
export function shownName({ name }: Pick<DecodeOptions, "name">): string {
  return name === BODY ? name : `"${name}"`;
}

/**
 * Decodes an image file.
 *
 * @returns `[height, width, 3]` in 8 bits.
 * @throws `INVALID_INPUT` when the bytes are no image, are cut off, or hold too many pixels.
 */
export async function decodeImage({ bytes }: Media, options: DecodeOptions): Promise<RawImage> {
  const { action } = options;
  const fail = (problem: string, cause?: unknown) =>
    invalidInput(action, `${shownName(options)} is ${problem}`, cause);
  if (isBmp(bytes)) {
    const image = decodeBmp(bytes, MOST_PIXELS);
    if (typeof image !== "string") return new PillowImage(image);
    throw fail(`not an image that can be decoded (${image})`);
  }
  if (isXml(bytes)) throw fail(`XML, ${WANTED}`);
  try {
    const file = sharp(bytes, {
      limitInputPixels: false, // checked below, with a sentence of its own
      ignoreIcc: true,
      failOn: "error", // a warning is no more than a warning to Pillow either
    }).timeout({ seconds: DECODE_TIMEOUT_S });
    const { format, width, height, space } = await file.metadata();
    if (!FORMATS.has(format)) throw fail(`${format}, ${WANTED}`);
    if (width * height > MOST_PIXELS)
      throw fail(`${width} × ${height} pixels large, wanted at most ${MOST_PIXELS} pixels`);
    return space === "cmyk" ? await decodeCmyk(file) : await decodeRgb(file);
  } catch (error) {
    if (isRuntimeError(error)) throw error;
    const missing = codecsMissing(error);
    if (missing !== undefined) throw missing;
    throw fail("not an image that can be decoded", error);
  }
}

/** SVG, which sharp would parse to tell its size; packed with gzip too. */
function isXml(bytes: Uint8Array): boolean {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return true;
  return /^(?:\xef\xbb\xbf)?\s*</.test(Buffer.from(bytes.subarray(0, 64)).toString("latin1"));
}

async function decodeRgb(file: Sharp): Promise<RawImage> {
  const { data, info } = await file
    .autoOrient()
    .toColourspace("srgb")
    .removeAlpha()
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return new PillowImage({ data, ...info }).rgb();
}

/** `cmyk2rgb` of Pillow's `Convert.c`: black takes away from what the other inks have left. */
async function decodeCmyk(file: Sharp): Promise<RawImage> {
  const { data, info } = await file
    .autoOrient()
    .pipelineColourspace("cmyk")
    .toColourspace("cmyk")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const rgb = new Uint8ClampedArray(info.width * info.height * 3);
  for (let pixel = 0; pixel < info.width * info.height; pixel++) {
    const at = pixel * info.channels;
    const white = 255 - (data[at + 3] ?? 0);
    for (let ink = 0; ink < 3; ink++) {
      rgb[pixel * 3 + ink] = white - multiply255(data[at + ink] ?? 0, white);
    }
  }
  return new PillowImage({ data: rgb, width: info.width, height: info.height, channels: 3 });
}

/** `a * b / 255`, rounded, as Pillow's `MULDIV255`. */
function multiply255(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/**
 * An image whose resizing and cropping are Python's, so that the library's processors, which call these methods, prepare
 * it as Python's do.
 */
export class PillowImage extends RawImage {
  constructor({ data, width, height, channels }: Raster) {
    super(clamped(data), width, height, toChannels(channels));
  }

  /** @throws RangeError when the result would be larger than `MOST_PREPARED_PIXELS`, or empty. */
  override async resize(
    width: number,
    height: number,
    { resample: filter = 2 }: Parameters<RawImage["resize"]>[2] = {},
  ): Promise<RawImage> {
    if (width === this.width && height === this.height) return this;
    if (!(width >= 1 && height >= 1 && width * height <= MOST_PREPARED_PIXELS)) {
      throw new RangeError(
        `${this.width} × ${this.height} pixels would become ${width} × ${height}`,
      );
    }
    return new PillowImage(resample(this, width, height, toFilter(filter)));
  }

  override async crop([left, top, right, bottom]: [number, number, number, number]) {
    const from: Corner = [Math.max(left, 0), Math.max(top, 0)];
    const to: Corner = [Math.min(right, this.width - 1), Math.min(bottom, this.height - 1)];
    return new PillowImage(cut(this, from, to[0] - from[0] + 1, to[1] - from[1] + 1));
  }

  /** What lies outside the image is black. */
  override async center_crop(width: number, height: number) {
    if (width === this.width && height === this.height) return this;
    const from: Corner = [
      Math.floor((this.width - width) / 2),
      Math.floor((this.height - height) / 2),
    ];
    return new PillowImage(cut(this, from, width, height));
  }

  override clone(): RawImage {
    const { data, width, height, channels } = this;
    return new PillowImage({ data: data.slice(), width, height, channels });
  }
}

/** The same bytes, not a copy. */
function clamped(data: Raster["data"]): Uint8ClampedArray {
  if (data instanceof Uint8ClampedArray) return data;
  return new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength);
}

type Corner = readonly [x: number, y: number];

/** A rectangle of an image; black where it reaches over the edge. */
function cut(image: Raster, [left, top]: Corner, width: number, height: number): Raster {
  const { data, channels } = image;
  const out = new Uint8ClampedArray(width * height * channels);
  const [firstX, endX] = [Math.max(left, 0), Math.min(left + width, image.width)];
  const [firstY, endY] = [Math.max(top, 0), Math.min(top + height, image.height)];
  for (let y = firstY; y < endY; y++) {
    const row = y * image.width;
    const line = data.subarray((row + firstX) * channels, (row + endX) * channels);
    out.set(line, ((y - top) * width + firstX - left) * channels);
  }
  return { data: out, width, height, channels };
}

function toFilter(filter: string | number): Filter {
  const found =
    typeof filter === "number" ? FILTERS[filter] : FILTERS.find((name) => name === filter);
  if (found === undefined) throw new TypeError(`There is no filter "${filter}"`);
  return found;
}

function toChannels(count: number): 1 | 2 | 3 | 4 {
  if (count === 1 || count === 2 || count === 3 || count === 4) return count;
  throw new TypeError(`An image of ${count} channels`);
}
