import assert from "node:assert/strict";
import { test } from "node:test";

import sharp from "sharp";

import {
  BODY,
  decodeImage,
  MOST_PIXELS,
  MOST_PREPARED_PIXELS,
  PillowImage,
} from "../../../runtime/handler/media/image.ts";
import { imageFile, largestDifference, PILLOW } from "../../support/pillow.ts";

const OPTIONS = { action: "classify the image", name: "inputs" };
const decode = (bytes: Uint8Array, options = OPTIONS) =>
  decodeImage({ bytes, contentType: "application/octet-stream" }, options);

/** AVIF stores colours at half the resolution, and decoders stretch them differently: libheif smooths, Pillow's does not. */
const TOLERANCE: Readonly<Record<string, number>> = { "smooth.avif": 48 };

for (const [file, { width, height, rgb }] of Object.entries(PILLOW.decoded)) {
  test(`${file} becomes the pixels that Pillow gives`, async () => {
    const image = await decode(imageFile(file));
    assert.deepEqual([image.width, image.height, image.channels], [width, height, 3]);
    const difference = largestDifference(image.data, rgb);
    assert.ok(difference <= (TOLERANCE[file] ?? 0), `differs by ${difference}`);
  });
}

test("16 bits become the upper 8, in colour and in grey", async () => {
  const values = [0, 256, 32768, 65535, 255, 511];
  const upper = [0, 1, 128, 255, 0, 1];
  const png = (channels: 1 | 3, space: string) =>
    sharp(Uint16Array.from(values), { raw: { width: 6 / channels, height: 1, channels } })
      .toColourspace(space)
      .png()
      .toBuffer();
  assert.deepEqual([...(await decode(await png(3, "rgb16"))).data], upper);
  const grey = await decode(await png(1, "grey16"));
  assert.deepEqual(
    [...grey.data],
    upper.flatMap((level) => [level, level, level]),
  );
});

for (const file of [
  "plain.jpg",
  "progressive.jpg",
  "source.png",
  "alpha.webp",
  "rgb.tiff",
  "smooth.avif",
  "rgb.bmp",
]) {
  test(`${file} is refused when it is cut off anywhere`, async () => {
    const bytes = imageFile(file);
    for (const share of [0.02, 0.3, 0.6, 0.95]) {
      await assert.rejects(decode(bytes.subarray(0, Math.floor(bytes.length * share))), {
        code: "INVALID_INPUT",
        message: /^Cannot classify the image: "inputs" is not an image that can be decoded/,
      });
    }
  });
}

/** A PNG whose header promises another size; nothing of that size is ever made. */
function promising(width: number, height: number): Uint8Array {
  const bytes = Buffer.from(imageFile("rgb.png"));
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
}

function bitmapPromising(width: number, height: number): Uint8Array {
  const bytes = Buffer.from(imageFile("rgb.bmp"));
  bytes.writeInt32LE(width, 18);
  bytes.writeInt32LE(height, 22);
  return bytes;
}

test("an image of too many pixels is refused before it is decoded", async () => {
  const before = process.memoryUsage().arrayBuffers;
  await assert.rejects(decode(promising(60_000, 50_000)), {
    code: "INVALID_INPUT",
    message: `Cannot classify the image: "inputs" is 60000 × 50000 pixels large, wanted at most ${MOST_PIXELS} pixels`,
  });
  await assert.rejects(decode(bitmapPromising(60_000, -50_000)), {
    code: "INVALID_INPUT",
    message: `Cannot classify the image: "inputs" is not an image that can be decoded (60000 × 50000 pixels, wanted at most ${MOST_PIXELS})`,
  });
  assert.ok(process.memoryUsage().arrayBuffers - before < 50_000_000);
});

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>`;

const REFUSALS: readonly (readonly [what: string, bytes: Uint8Array, sentence: string])[] = [
  ["nothing", new Uint8Array(), "is not an image that can be decoded"],
  ["text", Buffer.from("hello"), "is not an image that can be decoded"],
  ["SVG", Buffer.from(SVG), "is XML, wanted JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP"],
  [
    "SVG after a byte order mark",
    Buffer.from(`\uFEFF  <?xml version="1.0"?>${SVG}`),
    "is XML, wanted JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP",
  ],
  [
    "a bitmap of no width",
    bitmapPromising(0, 7),
    "is not an image that can be decoded (a bitmap without pixels)",
  ],
  [
    "a bitmap shorter than it says",
    bitmapPromising(11, 8),
    "is not an image that can be decoded (a bitmap that is cut off)",
  ],
];

for (const [what, bytes, sentence] of REFUSALS) {
  test(`${what} is refused`, async () => {
    await assert.rejects(decode(bytes), {
      code: "INVALID_INPUT",
      message: `Cannot classify the image: "inputs" ${sentence}`,
    });
  });
}

test("a refusal names the body without quotes", async () => {
  await assert.rejects(decode(Buffer.from("hello"), { ...OPTIONS, name: BODY }), {
    message: "Cannot classify the image: the body is not an image that can be decoded",
  });
});

/** 3 × 2 grey pixels: 1 2 3 / 4 5 6. */
const SMALL = new PillowImage({
  data: Uint8Array.of(1, 2, 3, 4, 5, 6),
  width: 3,
  height: 2,
  channels: 1,
});

test("center_crop() cuts and pads as Python's image_transforms do", async () => {
  // From `center_crop` of image_transforms.py, worked by hand: floors on both sides, black outside.
  const cases: readonly [width: number, height: number, pixels: number[]][] = [
    [2, 1, [1, 2]],
    [1, 2, [2, 5]],
    [5, 2, [0, 1, 2, 3, 0, 0, 4, 5, 6, 0]],
    [4, 3, [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6]],
    [2, 4, [0, 0, 1, 2, 4, 5, 0, 0]],
  ];
  for (const [width, height, pixels] of cases) {
    const cropped = await SMALL.center_crop(width, height);
    assert.deepEqual([cropped.width, cropped.height], [width, height]);
    assert.deepEqual([...cropped.data], pixels);
  }
});

test("crop() keeps both corners, within the image", async () => {
  const cropped = await SMALL.crop([1, 0, 9, 9]);
  assert.deepEqual([cropped.width, cropped.height, ...cropped.data], [2, 2, 2, 3, 5, 6]);
});

test("a clone has pixels of its own", () => {
  const clone = SMALL.clone();
  clone.data[0] = 99;
  assert.equal(SMALL.data[0], 1);
});

test("resize() refuses results that are empty or larger than MOST_PREPARED_PIXELS", async () => {
  const side = Math.ceil(Math.sqrt(MOST_PREPARED_PIXELS));
  await assert.rejects(SMALL.resize(side, side), RangeError);
  await assert.rejects(SMALL.resize(0, 5), RangeError);
  await assert.rejects(SMALL.resize(5, 5, { resample: 9 as 0 }), TypeError);
});
