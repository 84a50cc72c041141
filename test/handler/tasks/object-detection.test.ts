import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { toDetections } from "../../../runtime/handler/tasks/detection.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  modelPath,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { filesOf, fixedGraph, SHAPES, WIDE } from "../../support/images.ts";
import { imageText } from "../../support/shapes.ts";

const Box = z.strictObject({ xmin: z.int(), ymin: z.int(), xmax: z.int(), ymax: z.int() });
const Objects = z.array(z.strictObject({ score: z.number(), label: z.string(), box: Box }));
const Golden = z.object({
  cases: z.array(
    z.object({
      image: z.string(),
      threshold: z.number(),
      logits: z.array(z.array(z.number())),
      pred_boxes: z.array(z.array(z.number())),
      detections: Objects,
    }),
  ),
});

const YOLOS = modelPath("tiny-yolos");
const yolos = await loadDefaultHandler({ repository: YOLOS, dtype: "fp32" }, silentLog());
after(() => yolos.dispose());

/** int8 keeps the labels; a box may move by a pixel. */
const MODELS = [
  { name: "tiny-yolos", dtype: "fp32", tolerance: 1e-4, pixels: 0 },
  { name: "tiny-yolos", dtype: "q8", tolerance: 0.05, pixels: 1 },
  { name: "tiny-detr", dtype: "fp32", tolerance: 1e-4, pixels: 0 },
  { name: "tiny-detr", dtype: "q8", tolerance: 0.05, pixels: 1 },
] as const;

for (const { name, dtype, tolerance, pixels } of MODELS) {
  test(`${name} in ${dtype} finds what PyTorch finds, one by one and as a list`, async () => {
    const handler = await loadDefaultHandler({ repository: modelPath(name), dtype }, silentLog());
    const { cases } = readGolden(name, Golden);
    const parameters = { threshold: cases[0]?.threshold };
    const inputs = cases.map(({ image }) => imageText(image));
    const list = z.array(Objects).parse(await ask(handler, { inputs, parameters }));
    for (const [index, { image, detections }] of cases.entries()) {
      const single = Objects.parse(await ask(handler, { inputs: imageText(image), parameters }));
      for (const answer of [single, list[index] ?? []]) {
        assert.deepEqual(
          answer.map(({ label }) => label),
          detections.map(({ label }) => label),
        );
        const scores = (found: typeof answer) => found.map(({ score }) => score);
        assertNear(scores(answer), scores(detections), tolerance);
        const corners = (found: typeof answer) => found.flatMap(({ box }) => Object.values(box));
        assertNear(corners(answer), corners(detections), pixels);
      }
    }
    await handler.dispose();
  });
}

const { cases } = readGolden("tiny-yolos", Golden);
const inputs = imageText(SHAPES[0]);

test("objects with a score above the threshold are answered, 0.5 by default", async () => {
  const countAt = async (threshold?: number | null) =>
    Objects.parse(await ask(yolos, { inputs, parameters: { threshold } })).length;
  const scores = (cases[0]?.detections ?? []).map(({ score }) => score);
  for (const threshold of [0, 0.26, 0.3, 1]) {
    assert.equal(await countAt(threshold), scores.filter((score) => score > threshold).length);
  }
  assert.equal(await countAt(), 0);
  assert.equal(await countAt(null), 0);
});

test("boxes are in pixels of the original image, also where it was resized", async () => {
  const answer = Objects.parse(
    await ask(yolos, { inputs: imageText(WIDE), parameters: { threshold: 0.2 } }),
  );
  assert.ok(answer.length > 0);
  // The network's boxes hardly depend on the image: those of the golden, at 120 × 80 in place of 64 × 64.
  const [x = 0, y = 0, w = 0, h = 0] = cases[0]?.pred_boxes[0] ?? [];
  const expected = [(x - w / 2) * 120, (y - h / 2) * 80, (x + w / 2) * 120, (y + h / 2) * 80];
  assertNear(Object.values(answer[0]?.box ?? {}), expected, 2.5);
});

test("a list mixes images of several sizes, and keeps their order", async () => {
  const images = [imageText(WIDE), inputs, imageText(SHAPES[1])];
  const parameters = { threshold: 0.2 };
  const singles = [];
  for (const image of images) singles.push(await ask(yolos, { inputs: image, parameters }));
  assert.deepEqual(await ask(yolos, { inputs: images, parameters }), singles);
  assert.deepEqual(await ask(yolos, { inputs: [], parameters }), []);
});

/** Two queries, two classes and "no object". */
const LOGITS = Float32Array.of(2, 1, 3, 0, 4, 1);
/** The left half, and a box over the right edge. */
const BOXES = Float32Array.of(0.25, 0.5, 0.5, 1, 0.9, 0.1, 0.4, 0.2);

test("a query's best class counts even where 'no object' is better, as in Python", () => {
  const found = toDetections(LOGITS, BOXES, {
    threshold: 0.2,
    width: 10,
    height: 20,
    focalPairs: undefined,
  });
  const total = (logits: number[]) => logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  assertNear(
    found.map(({ score }) => score),
    [Math.exp(2) / total([2, 1, 3]), Math.exp(4) / total([0, 4, 1])],
    1e-12,
  );
  assert.deepEqual(
    found.map(({ label, box }) => ({ label, box })),
    [
      { label: 0, box: { xmin: 0, ymin: 0, xmax: 5, ymax: 20 } },
      { label: 1, box: { xmin: 7, ymin: 0, xmax: 11, ymax: 4 } },
    ],
  );
});

test("with a focal loss each pair of query and class counts by itself, the best first", () => {
  const options = { threshold: 0.6, width: 10, height: 20, focalPairs: 3 };
  const found = toDetections(LOGITS, BOXES, options);
  const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));
  assert.deepEqual(
    found.map(({ label, box }) => [label, box.xmin]),
    [
      [1, 7],
      [2, 0],
      [0, 0],
    ],
  );
  assertNear(
    found.map(({ score }) => score),
    [sigmoid(4), sigmoid(3), sigmoid(2)],
    1e-12,
  );
});

for (const [model_type, count] of [
  ["detr", 2],
  ["rt_detr", 2],
  ["deformable_detr", 4],
] as const) {
  test(`a model of type ${model_type} is read as its processor in Python reads it`, async () => {
    const graph = fixedGraph([
      { name: "logits", shape: [2, 3], values: [...LOGITS] },
      { name: "pred_boxes", shape: [2, 4], values: [...BOXES] },
    ]);
    await using repository = await variantOf(YOLOS, {
      ...filesOf(graph),
      "config.json": configOf(YOLOS, { model_type, id2label: { 0: "a", 1: "b", 2: "c" } }),
    });
    const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
    const parameters = { threshold: 0.2 };
    const answer = Objects.parse(await ask(handler, { inputs, parameters }));
    // RT-DETR keeps as many pairs as there are queries, Deformable DETR a hundred: of six, four score above 0.5.
    const expected = {
      detr: ["a", "b"],
      rt_detr: ["b", "c"],
      deformable_detr: ["b", "c", "a", "b"],
    };
    assert.deepEqual(
      answer.slice(0, count).map(({ label }) => label),
      expected[model_type],
    );
    assert.equal(answer.length, model_type === "deformable_detr" ? 6 : 2);
    await handler.dispose();
  });
}

test("a network that answers something else is refused at the start", async () => {
  const graph = fixedGraph([
    { name: "logits", shape: [4], values: [1, 2, 3, 4] },
    { name: "pooled", shape: [1], values: [0] },
  ]);
  await using repository = await variantOf(YOLOS, filesOf(graph));
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: `Cannot serve object-detection with onnx/model.onnx: its outputs are "logits" of 2 dimensions, "pooled" of 2 dimensions, wanted "logits" of 3`,
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted an image in base64, or a list of them`],
  [{ inputs, parameters: { threshold: 1.5 } }, `"threshold" is 1.5, wanted a number from 0 to 1`],
  [
    { inputs, parameters: { threshold: "high" } },
    `"threshold" is "high", wanted a number from 0 to 1`,
  ],
  [
    { inputs, parameters: { treshold: 0.5 } },
    `there is no parameter "treshold", perhaps you mean "threshold"; known are threshold`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(yolos, data), {
      code: "INVALID_INPUT",
      message: `Cannot detect objects in the image: ${sentence}`,
    });
  });
}
