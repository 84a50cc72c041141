import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import { pngOf, readPng, Sample, SHAPES } from "../../support/images.ts";
import { largestDifference } from "../../support/pillow.ts";
import { askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const SWIN = modelPath("tiny-swin2sr");
const swin = await loadDefaultHandler({ repository: SWIN, dtype: "fp32" }, silentLog());
after(() => swin.dispose());

const { cases } = readGolden(
  "tiny-swin2sr",
  z.object({ cases: z.array(z.object({ image: z.string(), reconstruction: Sample })) }),
);

/** What Python's pipeline makes of a number between 0 and 1. */
const toLevel = (value: number) => Math.round(Math.min(1, Math.max(0, value)) * 255);

test("tiny-swin2sr makes PyTorch's picture of twice the size, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const list = z.array(z.string()).parse(await ask(swin, { inputs }));
  for (const [index, { reconstruction }] of cases.entries()) {
    const [, , height = 0, width = 0] = reconstruction.dims;
    const single = await ask(swin, { inputs: inputs[index] });
    assert.ok(single instanceof Blob);
    assert.equal(single.type, "image/png");
    for (const answer of [single, list[index]]) {
      const picture = await readPng(answer);
      assert.deepEqual([picture.width, picture.height, picture.channels], [width, height, 3]);
      const levels = reconstruction.sample_indices.map((at) => {
        const channel = Math.floor(at / (width * height));
        return picture.data[(at % (width * height)) * 3 + channel] ?? NaN;
      });
      assert.equal(largestDifference(levels, reconstruction.sample_values.map(toLevel)), 0);
    }
  }
});

test("an image whose size the windows do not divide is continued for them, and cut to its own size", async () => {
  // 61 × 59: padded to 64 × 64 by its mirror image. What the padding is made of shows only near it.
  const { data } = await readPng(imageText(SHAPES[0]));
  const rows = Array.from({ length: 59 }, (_, y) => [...data.subarray(y * 192, y * 192 + 183)]);
  const picture = await readPng(await ask(swin, { inputs: await pngOf(61, 59, rows.flat()) }));
  assert.deepEqual([picture.width, picture.height], [122, 118]);
  const whole = await readPng(await ask(swin, { inputs: imageText(SHAPES[0]) }));
  const corner = (image: typeof picture) =>
    Array.from({ length: 64 }, (_, y) => {
      const start = y * image.width * 3;
      return [...image.data.subarray(start, start + 64 * 3)];
    }).flat();
  assert.ok(largestDifference(corner(picture), corner(whole)) <= 1);
});

test("transformers 5's name for the window is understood", async () => {
  await using repository = await variantOf(SWIN, {
    "preprocessor_config.json": {
      image_processor_type: "Swin2SRImageProcessorFast",
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_pad: true,
      size_divisor: 8,
    },
  });
  const handler = await loadDefaultHandler(
    { repository: repository.path, dtype: "fp32" },
    silentLog(),
  );
  const inputs = await pngOf(61, 59, Array(61 * 59 * 3).fill(99));
  const [ours, theirs] = await Promise.all(
    [handler, swin].map(async (one) => readPng(await ask(one, { inputs }))),
  );
  assert.deepEqual([ours?.width, ours?.height], [122, 118]);
  assert.deepEqual(ours, theirs);
  await handler.dispose();
});

test("the body may be the image, and a list stays a list", async () => {
  const answer = await askWithFile(swin, imageFile(SHAPES[0]));
  assert.ok(answer instanceof Blob);
  const [only] = z
    .array(z.string())
    .length(1)
    .parse(await ask(swin, { inputs: [imageText(SHAPES[0])] }));
  assert.deepEqual(await readPng(answer), await readPng(only));
  assert.deepEqual(await ask(swin, { inputs: [] }), []);
});

test("a graph of one size refuses images of another, and its example has that size", async () => {
  await assert.rejects(ask(swin, { inputs: [await pngOf(10, 6, Array(180).fill(99))] }), {
    code: "INVALID_INPUT",
    message: `Cannot make an image of the image: "inputs[0]" is 16 × 8 pixels large as the network would see it, this model takes 64 × 64`,
  });
  const { example } = swin.description;
  const { width } = await readPng(await ask(swin, z.looseObject({}).parse(example)));
  assert.equal(width, 128);
});

test("what clients send for diffusion models is passed over, other parameters are refused", async () => {
  const inputs = imageText(SHAPES[0]);
  const parameters = { prompt: "sharper", guidance_scale: 3, target_size: { width: 9, height: 9 } };
  const answer = await readPng(await ask(swin, { inputs, parameters }));
  assert.deepEqual([answer.width, answer.height], [128, 128]);
  await assert.rejects(ask(swin, { inputs, parameters: { upscale: 4 } }), {
    code: "INVALID_INPUT",
    message: `Cannot make an image of the image: there is no parameter "upscale", nor any other`,
  });
});
