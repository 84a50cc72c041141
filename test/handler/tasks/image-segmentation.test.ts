import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, configOf, modelPath, readGolden, variantOf } from "../../support/goldens.ts";
import {
  filesOf,
  fixedGraph,
  pngOf,
  readPng,
  SHAPES,
  WIDE,
  type FixedOutput,
} from "../../support/images.ts";
import { imageText } from "../../support/shapes.ts";

const SEGFORMER = modelPath("tiny-segformer");
const segformer = await loadDefaultHandler({ repository: SEGFORMER, dtype: "fp32" }, silentLog());
after(() => segformer.dispose());

const Segments = z.array(
  z.strictObject({ score: z.number().nullable(), label: z.string(), mask: z.string() }),
);
const { cases } = readGolden(
  "tiny-segformer",
  z.object({
    cases: z.array(z.object({ image: z.string(), label_pixels: z.record(z.string(), z.number()) })),
  }),
);

/** The masks of an answer, each with how many of its pixels are white; all others must be black. */
async function whitePixels(answer: unknown): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { label, mask } of Segments.parse(answer)) {
    const { data, channels } = await readPng(mask);
    assert.equal(channels, 1);
    assert.ok(data.every((value) => value === 0 || value === 255));
    counts[label] = data.filter((value) => value === 255).length;
  }
  return counts;
}

test("tiny-segformer gives each label the pixels that PyTorch gives it, one by one and as a list", async () => {
  const inputs = cases.map(({ image }) => imageText(image));
  const list = z.array(Segments).parse(await ask(segformer, { inputs }));
  for (const [index, { label_pixels }] of cases.entries()) {
    const single = await ask(segformer, { inputs: inputs[index] });
    for (const answer of [single, list[index]]) {
      assert.deepEqual(await whitePixels(answer), label_pixels);
      assert.ok(Segments.parse(answer).every(({ score }) => score === null));
    }
  }
});

test("masks have the original image's size and share out its pixels", async () => {
  const answer = Segments.parse(await ask(segformer, { inputs: imageText(WIDE) }));
  const total = new Uint32Array(120 * 80);
  for (const { mask } of answer) {
    const { width, height, data } = await readPng(mask);
    assert.deepEqual([width, height], [120, 80]);
    for (const [i, value] of data.entries()) total[i] = (total[i] ?? 0) + value;
  }
  assert.ok(total.every((value) => value === 255));
});

test("semantic is what a grid of classes is for, and the other subtasks are not", async () => {
  const inputs = imageText(SHAPES[0]);
  const expected = await ask(segformer, { inputs });
  assert.deepEqual(await ask(segformer, { inputs, parameters: { subtask: "semantic" } }), expected);
  assert.deepEqual(await ask(segformer, { inputs, parameters: { subtask: null } }), expected);
  for (const subtask of ["instance", "panoptic"]) {
    await assert.rejects(ask(segformer, { inputs, parameters: { subtask } }), {
      code: "INVALID_INPUT",
      message: `Cannot segment the image: "subtask" is "${subtask}", this model is for "semantic"`,
    });
  }
});

// A network with queries, on an image of 4 × 1 pixels whose masks need no stretching. Classes a, b and "no object".

/** The logit of a probability. */
const logit = (p: number) => Math.log(p / (1 - p));
const CLASSES = [
  [0.96, 0.03, 0.01], // a
  [0.02, 0.95, 0.03], // b
  [0.05, 0.92, 0.03], // b
  [0.3, 0.1, 0.6], // nothing
].flat();
const MASKS = [
  [0.9, 0.8, 0.2, 0.1],
  [0.1, 0.1, 0.9, 0.6],
  [0.1, 0.75, 0.7, 0.2], // mostly taken by the others
  [0.9, 0.9, 0.9, 0.99],
].flat();
const outputsOf = (classes: string, masks: string): FixedOutput[] => [
  { name: classes, shape: [4, 3], values: CLASSES.map((p) => Math.log(p)) },
  { name: masks, shape: [4, 1, 4], values: MASKS.map(logit) },
];

async function askQueries(
  model_type: string,
  parameters: Record<string, unknown>,
  outputs = outputsOf("logits", "pred_masks"),
): Promise<readonly (readonly [label: string, score: number | null, pixels: string])[]> {
  await using repository = await variantOf(SEGFORMER, {
    ...filesOf(fixedGraph(outputs)),
    "config.json": configOf(SEGFORMER, { model_type, id2label: { 0: "a", 1: "b" } }),
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const inputs = await pngOf(4, 1, new Uint8Array(12));
  const answer = Segments.parse(await ask(handler, { inputs, parameters }));
  await handler.dispose();
  const found: [string, number | null, string][] = [];
  for (const { label, score, mask } of answer) {
    const { data } = await readPng(mask);
    found.push([label, score, [...data].map((value) => (value === 255 ? "#" : ".")).join("")]);
  }
  return found;
}

test("panoptic: each pixel goes to the surest query, one that keeps too little is dropped", async () => {
  // Weighted: a .864 .768 .192 .096, b .095 .095 .855 .57, the third .092 .69 .644 .184 wins nowhere.
  const expected = [
    ["a", 0.96, "##.."],
    ["b", 0.95, "..##"],
  ];
  assert.deepEqual(await askQueries("detr", {}), expected);
  assert.deepEqual(await askQueries("detr", { subtask: "panoptic" }), expected);
  assert.deepEqual(await askQueries("detr", { subtask: "instance" }), expected);
  const names = outputsOf("class_queries_logits", "masks_queries_logits");
  assert.deepEqual(await askQueries("maskformer", {}, names), expected);
});

test("threshold decides which queries count, before pixels are shared out", async () => {
  assert.deepEqual(await askQueries("detr", { threshold: 0.955 }), [["a", 0.96, "####"]]);
  assert.deepEqual(await askQueries("detr", { threshold: 0.99 }), []);
  assert.deepEqual(await askQueries("detr", { threshold: 0.3 }), await askQueries("detr", {}));
});

test("mask_threshold and overlap_mask_area_threshold decide who keeps enough", async () => {
  const alone = outputsOf("logits", "pred_masks").map((output) =>
    output.name === "logits"
      ? output
      : {
          ...output,
          values: [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.95, 0.1, ...MASKS.slice(8)].map(logit),
        },
  );
  // The first claims all four pixels and wins three of them.
  const both = [
    ["a", 0.96, "##.#"],
    ["b", 0.95, "..#."],
  ];
  assert.deepEqual(await askQueries("detr", {}, alone), both);
  assert.deepEqual(await askQueries("detr", { overlap_mask_area_threshold: 0.74 }, alone), both);
  assert.deepEqual(await askQueries("detr", { overlap_mask_area_threshold: 0.75 }, alone), [
    both[1],
  ]);
  // Nobody's weighted probability reaches it: no claim, no segment.
  assert.deepEqual(await askQueries("detr", { mask_threshold: 0.91 }, alone), []);
  assert.deepEqual(await askQueries("detr", { mask_threshold: 0.9 }, alone), [both[1]]);
});

test("semantic from queries: each class is the sum of the masks, by its share of them", async () => {
  const shares = [0, 1].map((label) =>
    [0, 1, 2, 3].map((pixel) =>
      [0, 1, 2, 3].reduce(
        (sum, query) => sum + (CLASSES[query * 3 + label] ?? 0) * (MASKS[query * 4 + pixel] ?? 0),
        0,
      ),
    ),
  );
  const row = (label: 0 | 1) =>
    [0, 1, 2, 3]
      .map((i) => ((shares[label]?.[i] ?? 0) > (shares[1 - label]?.[i] ?? 0) ? "#" : "."))
      .join("");
  assert.deepEqual(await askQueries("detr", { subtask: "semantic" }), [
    ["a", null, row(0)],
    ["b", null, row(1)],
  ]);
});

test("instances of MaskFormer are scored by class and mask, and may lie over each other", async () => {
  const names = outputsOf("class_queries_logits", "masks_queries_logits");
  // Pairs by class: a .96 over the mean of .9 and .8, b .95 over .9 and .6, b .92 over .75 and .7, then a .3 at .9225.
  const parameters = { subtask: "instance", threshold: 0.6 };
  assert.deepEqual(await askQueries("maskformer", parameters, names), [
    ["a", 0.816, "#..."],
    ["b", 0.7125, "...#"],
    ["b", 0.667, ".##."],
  ]);
  assert.deepEqual(await askQueries("maskformer", { ...parameters, threshold: 0.8 }, names), [
    ["a", 0.816, "##.."],
  ]);
});

test("Mask2Former's masks pass through 384 × 384", async () => {
  const names = outputsOf("class_queries_logits", "masks_queries_logits");
  // Stretched and shrunk again without smoothing, they stay what they were, but for places between pixels.
  assert.deepEqual(await askQueries("mask2former", {}, names), await askQueries("detr", {}));
  const instances = await askQueries("mask2former", { subtask: "instance", threshold: 0.6 }, names);
  assert.deepEqual(
    instances.map(([label]) => label),
    ["a", "b", "b"],
  );
});

test("a network that parts foreground from background answers one segment with shades", async () => {
  const values = [0, 0.25, 0.5, 1];
  await using repository = await variantOf(
    SEGFORMER,
    filesOf(fixedGraph([{ name: "alphas", shape: [1, 1, 4], values }])),
  );
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const inputs = await pngOf(4, 1, new Uint8Array(12));
  const answer = Segments.parse(await ask(handler, { inputs }));
  assert.deepEqual(
    answer.map(({ label, score }) => ({ label, score })),
    [{ label: "foreground", score: null }],
  );
  assert.deepEqual([...(await readPng(answer[0]?.mask)).data], [0, 63, 127, 255]);
  await handler.dispose();
});

test("a network that answers something else is refused at the start", async () => {
  const graph = fixedGraph([{ name: "logits", shape: [4], values: [1, 2, 3, 4] }]);
  await using repository = await variantOf(SEGFORMER, filesOf(graph));
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: `Cannot serve image-segmentation with onnx/model.onnx: its outputs are "logits" of 2 dimensions, wanted "logits" of 4, or classes and masks of queries`,
  });
});

const inputs = imageText(SHAPES[0]);
const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted an image in base64, or a list of them`],
  [
    { inputs, parameters: { subtask: "parts" } },
    `"subtask" is "parts", wanted "semantic", "instance" or "panoptic"`,
  ],
  [{ inputs, parameters: { threshold: -1 } }, `"threshold" is -1, wanted a number from 0 to 1`],
  [
    { inputs, parameters: { mask_threshold: 2 } },
    `"mask_threshold" is 2, wanted a number from 0 to 1`,
  ],
  [
    { inputs, parameters: { overlap_mask_area_threshold: "0.5" } },
    `"overlap_mask_area_threshold" is "0.5", wanted a number from 0 to 1`,
  ],
  [
    { inputs, parameters: { subtasks: "semantic" } },
    `there is no parameter "subtasks", perhaps you mean "subtask"; known are subtask, threshold, mask_threshold, overlap_mask_area_threshold`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(segformer, data), {
      code: "INVALID_INPUT",
      message: `Cannot segment the image: ${sentence}`,
    });
  });
}
