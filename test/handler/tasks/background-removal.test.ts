import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { resample } from "../../../runtime/handler/media/resample.ts";
import { toMatte } from "../../../runtime/handler/tasks/matte.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import {
  filesOf,
  fixedGraph,
  pngOf,
  readPng,
  SHAPES,
  WIDE,
  type Picture,
} from "../../support/images.ts";
import { largestDifference } from "../../support/pillow.ts";
import { askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const modnet = await loadDefaultHandler(
  { repository: modelPath("tiny-modnet"), dtype: "fp32" },
  silentLog(),
);
after(() => modnet.dispose());

const { cases } = readGolden(
  "tiny-modnet",
  z.object({ cases: z.array(z.object({ image: z.string(), alpha_bytes: z.array(z.number()) })) }),
);

const channelOf = ({ data, channels }: Picture, channel: number) =>
  data.filter((_, i) => i % channels === channel);

test("tiny-modnet keeps the colours and adds PyTorch's mask, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const list = z.array(z.string()).parse(await ask(modnet, { inputs }));
  for (const [index, { alpha_bytes }] of cases.entries()) {
    const single = await ask(modnet, { inputs: inputs[index] });
    assert.ok(single instanceof Blob);
    assert.equal(single.type, "image/png");
    const original = await readPng(inputs[index]);
    for (const answer of [single, list[index]]) {
      const picture = await readPng(answer);
      assert.deepEqual([picture.width, picture.height, picture.channels], [64, 64, 4]);
      const alpha = channelOf(picture, 3).subarray(0, alpha_bytes.length);
      // The mask is cut to whole bytes: float32 kernels may fall on either side.
      assert.ok(largestDifference(alpha, alpha_bytes) <= 1);
      for (const channel of [0, 1, 2]) {
        assert.deepEqual(channelOf(picture, channel), channelOf(original, channel));
      }
    }
  }
});

test("the answer has the original image's size", async () => {
  const answer = await askWithFile(modnet, imageFile(WIDE));
  const picture = await readPng(answer);
  const original = await readPng(imageText(WIDE));
  assert.deepEqual([picture.width, picture.height, picture.channels], [120, 80, 4]);
  assert.deepEqual(channelOf(picture, 1), channelOf(original, 1));
});

test("images of several sizes in one list keep their own masks", async () => {
  const names = [WIDE, ...SHAPES];
  const list = z.array(z.string()).parse(await ask(modnet, { inputs: names.map(imageText) }));
  for (const [index, name] of names.entries()) {
    const single = await readPng(await ask(modnet, { inputs: imageText(name) }));
    assert.ok(largestDifference((await readPng(list[index])).data, single.data) <= 1);
  }
  assert.deepEqual(await ask(modnet, { inputs: [] }), []);
});

test("the mask is stretched to the image as Pillow stretches", async () => {
  const graph = fixedGraph([{ name: "output", shape: [1, 1, 2], values: [0, 0.5] }]);
  await using repository = await variantOf(modelPath("tiny-modnet"), filesOf(graph));
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const inputs = await pngOf(6, 3, Array(54).fill(7));
  const picture = await readPng(await ask(handler, { inputs }));
  const small = { data: Uint8ClampedArray.of(0, 127), width: 2, height: 1, channels: 1 };
  assert.deepEqual([...channelOf(picture, 3)], [...resample(small, 6, 3, "bilinear").data]);
  await handler.dispose();
});

test("toMatte() takes numbers outside 0 … 1 for logits, image by image", () => {
  const probabilities = Float32Array.of(0, 0.5, 1.000001, 0.25);
  const output = { data: probabilities, dims: [2, 1, 1, 2] };
  assert.deepEqual([...toMatte(output, 0).data], [0, 127]);
  assert.deepEqual([...toMatte(output, 1).data], [255, 63]);
  const logits = { data: Float32Array.of(0, 0.5, -3, 3), dims: [2, 1, 2] };
  assert.deepEqual([...toMatte(logits, 0).data], [0, 127]);
  assert.deepEqual([...toMatte(logits, 1).data], [12, 242]);
  assert.throws(() => toMatte({ ...output, dims: [1, 2, 1, 2] }, 0), /one channel/);
});

test("there are no parameters", async () => {
  const data = { inputs: imageText(SHAPES[0]), parameters: { threshold: 0.5 } };
  await assert.rejects(ask(modnet, data), {
    code: "INVALID_INPUT",
    message: `Cannot remove the background of the image: there is no parameter "threshold", nor any other`,
  });
});
