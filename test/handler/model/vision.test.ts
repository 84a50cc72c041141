import assert from "node:assert/strict";
import { test } from "node:test";

import { z } from "zod";

import {
  decodeImage,
  MOST_PREPARED_PIXELS,
  PillowImage,
} from "../../../runtime/handler/media/image.ts";
import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { imageCost, loadImageReader, loadVision } from "../../../runtime/handler/model/vision.ts";
import { chooseModelWeights } from "../../../runtime/handler/model/weights.ts";
import type { TaskModel } from "../../../runtime/handler/tasks/task.ts";
import { assertNear, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import { filesOf, Sample, sampled } from "../../support/images.ts";
import { encodeGraph } from "../../support/onnx-graph.ts";
import { imageFile as fileOf, PILLOW } from "../../support/pillow.ts";
import { imageFile } from "../../support/shapes.ts";

const OPTIONS = { action: "classify the image", name: "inputs" };

async function modelOf(path: string): Promise<TaskModel> {
  const folder = await readModelFolder(path);
  return { folder, weights: chooseModelWeights(folder, "fp32") };
}

const Golden = z.object({ cases: z.array(z.object({ image: z.string(), pixel_values: Sample })) });

for (const name of [
  "tiny-vit",
  "tiny-yolos",
  "tiny-detr",
  "tiny-segformer",
  "tiny-glpn",
  "tiny-swin2sr",
]) {
  test(`${name}'s image processor makes the pixel values of Python's`, async () => {
    const reader = await loadImageReader(await modelOf(modelPath(name)));
    for (const { image, pixel_values } of readGolden(name, Golden).cases) {
      const { data, dims } = await reader.read(
        await decodeImage(imageFile(image), OPTIONS),
        OPTIONS,
      );
      assert.deepEqual([1, ...dims], pixel_values.dims);
      assertNear(sampled(data, pixel_values), pixel_values.sample_values, 1e-6);
    }
  });
}

const PREPROCESSOR = {
  image_processor_type: "ViTImageProcessor",
  do_resize: true,
  size: { height: 16, width: 16 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.25, 0.25, 0.25],
};

/** A model that differs in how its images are prepared. */
async function readerWith(changes: object) {
  await using repository = await variantOf(modelPath("tiny-vit"), {
    "preprocessor_config.json": { ...PREPROCESSOR, ...changes },
  });
  return loadImageReader(await modelOf(repository.path));
}

for (const [resample, filter] of ["nearest", "lanczos", "bilinear", "bicubic"].entries()) {
  test(`an image that is resized with ${filter} has Pillow's pixels`, async () => {
    const reader = await readerWith({ resample });
    const source = { bytes: fileOf("source.png"), contentType: "image/png" };
    const pixels = await reader.read(await decodeImage(source, OPTIONS), OPTIONS);
    const golden = PILLOW.resized.find((one) => one.filter === filter && one.height === 16);
    const rgb = golden?.rgb ?? new Uint8Array();
    assert.deepEqual(pixels.dims, [3, 16, 16]);
    assert.deepEqual(pixels.original, { width: 41, height: 29 });
    const planes = [0, 1, 2].flatMap((c) => [...rgb].filter((_, i) => i % 3 === c));
    assertNear(
      [...pixels.data],
      planes.map((level) => (level / 255 - 0.5) / 0.25),
      1e-6,
    );
  });
}

test("an image that would grow beyond all bounds, or shrink to nothing, is refused", async () => {
  const line = new PillowImage({
    data: new Uint8Array(3 * 20_000),
    width: 20_000,
    height: 1,
    channels: 3,
  });
  const clip = await readerWith({
    image_processor_type: "CLIPImageProcessor",
    size: { shortest_edge: 224 },
  });
  await assert.rejects(clip.read(line, OPTIONS), {
    code: "INVALID_INPUT",
    message: `Cannot classify the image: "inputs" cannot be made the model's size: 20000 × 1 pixels would become 4480000 × 224`,
  });
  const yolos = await readerWith({
    image_processor_type: "YolosImageProcessor",
    size: { shortest_edge: 64, longest_edge: 64 },
  });
  await assert.rejects(yolos.read(line, OPTIONS), {
    code: "INVALID_INPUT",
    message: `Cannot classify the image: "inputs" cannot be made the model's size: 20000 × 1 pixels would become 64 × 0`,
  });
});

test("an image that is not resized may not be larger than MOST_PREPARED_PIXELS", async () => {
  const reader = await readerWith({ do_resize: false });
  const imageOf = (width: number, height: number) =>
    new PillowImage({ data: new Uint8Array(width * height * 3), width, height, channels: 3 });
  await assert.rejects(reader.read(imageOf(4096, 2049), OPTIONS), {
    code: "INVALID_INPUT",
    message: `Cannot classify the image: "inputs" cannot be made the model's size: 4096 × 2049 pixels are more than ${MOST_PREPARED_PIXELS}`,
  });
  assert.deepEqual((await reader.read(imageOf(20, 10), OPTIONS)).dims, [3, 10, 20]);
});

test("images of equal prepared size share a group, others do not", async () => {
  const reader = await readerWith({ size: { shortest_edge: 16, longest_edge: 64 } });
  const costOf = async (width: number, height: number) => {
    const data = new Uint8Array(width * height * 3);
    return imageCost(
      await reader.read(new PillowImage({ data, width, height, channels: 3 }), OPTIONS),
    );
  };
  assert.deepEqual(await costOf(32, 16), { tokens: 2, group: "32x16" });
  assert.deepEqual(await costOf(64, 32), { tokens: 2, group: "32x16" });
  assert.deepEqual(await costOf(16, 32), { tokens: 2, group: "16x32" });
});

test("forward() gives the asked outputs, a row for each image", async () => {
  const vision = await loadVision(await modelOf(modelPath("tiny-detr")));
  const images = [];
  for (const { image } of readGolden("tiny-detr", Golden).cases) {
    images.push(await vision.reader.read(await decodeImage(imageFile(image), OPTIONS), OPTIONS));
  }
  const [boxes, logits] = await vision.forward(images, ["pred_boxes", "logits"]);
  assert.deepEqual(boxes.dims, [2, 6, 4]);
  assert.deepEqual(logits.dims, [2, 6, 5]);
  await assert.rejects(vision.forward(images, ["masks"]), /the graph gave no output "masks"/);
  await vision.dispose();
});

test("a pixel mask is all ones, of the images' size or of the one that the graph names", async () => {
  for (const [shape, expected] of [
    [
      ["batch", "height", "width"],
      [1, 16, 16],
    ],
    [
      ["batch", 64, 64],
      [1, 64, 64],
    ],
  ] as const) {
    const mask = { name: "pixel_mask", element: "int64", shape } as const;
    const graph = encodeGraph({
      inputs: [
        { name: "pixel_values", element: "float", shape: ["batch", 3, "height", "width"] },
        mask,
      ],
      outputs: [{ ...mask, name: "seen" }],
      nodes: [{ op: "Identity", inputs: ["pixel_mask"], outputs: ["seen"] }],
      constants: [],
    });
    await using repository = await variantOf(modelPath("tiny-vit"), {
      ...filesOf(graph),
      "preprocessor_config.json": PREPROCESSOR,
    });
    const vision = await loadVision(await modelOf(repository.path));
    const source = { bytes: fileOf("source.png"), contentType: "image/png" };
    const pixels = await vision.reader.read(await decodeImage(source, OPTIONS), OPTIONS);
    const [seen] = await vision.forward([pixels], ["seen"]);
    assert.deepEqual(seen.dims, expected);
    assert.ok(seen.data.every((value) => value === 1));
    await vision.dispose();
  }
});

test("a graph that wants more than pixels is refused at the start", async () => {
  await assert.rejects(loadVision(await modelOf(modelPath("tiny-clip"))), {
    code: "MODEL_INVALID",
    message: /^Cannot load onnx\/model\.onnx: its inputs are .*, wanted pixel values alone$/,
  });
});
