import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { encodeGraph } from "../../support/onnx-graph.ts";
import { askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const MODEL = modelPath("tiny-owlvit");
const TASK = "zero-shot-object-detection";
const Detections = z.array(
  z.strictObject({
    score: z.number(),
    label: z.string(),
    box: z.strictObject({ xmin: z.int(), ymin: z.int(), xmax: z.int(), ymax: z.int() }),
  }),
);
const { cases } = readGolden(
  "tiny-owlvit",
  z.object({
    cases: z.array(
      z.object({
        image: z.string(),
        candidate_labels: z.array(z.string()),
        threshold: z.number(),
        detections: Detections,
      }),
    ),
  }),
);
const owl = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
after(() => owl.dispose());

const FILE = cases[0]?.image ?? "";
const first = imageText(FILE);
const candidate_labels = cases[0]?.candidate_labels ?? [];

const detect = async (data: Readonly<Record<string, unknown>>) =>
  Detections.parse(await ask(owl, data));

for (const [dtype, tolerance] of [
  ["fp32", 1e-4],
  ["q8", 0.05],
] as const) {
  test(`in ${dtype} answers as Python does, one by one and as a list`, async () => {
    const handler = await loadDefaultHandler({ repository: MODEL, dtype }, silentLog());
    const inputs = cases.map(({ image }) => imageText(image));
    const parameters = { candidate_labels, threshold: cases[0]?.threshold };
    const list = Detections.array().parse(await ask(handler, { inputs, parameters }));
    for (const [index, { detections }] of cases.entries()) {
      const single = Detections.parse(await ask(handler, { inputs: inputs[index], parameters }));
      assert.deepEqual(list[index], single);
      assertNear(
        single.map(({ score }) => score),
        detections.map(({ score }) => score),
        tolerance,
      );
      // int8 moves near scores past each other, and corners by a pixel; the label of the best stays.
      if (dtype === "q8") assert.equal(single[0]?.label, detections[0]?.label);
      else {
        const places = (found: typeof single) => found.map(({ label, box }) => ({ label, box }));
        assert.deepEqual(places(single), places(detections));
      }
    }
    await handler.dispose();
  });
}

test("labels do not see each other: asked alone, each finds the same", async () => {
  const parameters = { candidate_labels, threshold: 0.5 };
  const together = await detect({ inputs: first, parameters });
  for (const label of candidate_labels) {
    const alone = await detect({
      inputs: first,
      parameters: { ...parameters, candidate_labels: [label] },
    });
    const expected = together.filter((found) => found.label === label);
    assert.deepEqual(
      alone.map(({ box }) => box),
      expected.map(({ box }) => box),
    );
    assertNear(
      alone.map(({ score }) => score),
      expected.map(({ score }) => score),
      1e-6, // other texts in the pass: the last digits of float32
    );
  }
});

test("threshold is 0.1 by default, and top_k keeps the likeliest", async () => {
  const all = await detect({ inputs: first, parameters: { candidate_labels, threshold: 0 } });
  assert.equal(all.length, 16 * candidate_labels.length);
  const usual = await detect({ inputs: first, parameters: { candidate_labels } });
  assert.deepEqual(
    usual,
    all.filter(({ score }) => score > 0.1),
  );
  const three = { candidate_labels, top_k: 3, threshold: null };
  assert.deepEqual(await detect({ inputs: first, parameters: three }), usual.slice(0, 3));
  const none = { candidate_labels, threshold: 1 };
  assert.deepEqual(await detect({ inputs: first, parameters: none }), []);
});

test("an answer has at most 10 000 objects, and says so", async () => {
  const lines: string[] = [];
  // 16 places × 1000 labels, of which 900 are the same.
  const many = Array.from({ length: 1000 }, (_, n) => candidate_labels[n < 100 ? 0 : 1] ?? "");
  const data = { inputs: first, parameters: { candidate_labels: many, threshold: 0 } };
  const found = Detections.parse(await ask(owl, data, { log: quietLog(lines) }));
  assert.equal(found.length, 10_000);
  assert.match(lines.join(), /Only the 10000 likeliest of 16000 objects are answered/);
  const all = await detect({ inputs: first, parameters: { candidate_labels, threshold: 0 } });
  const [likeliest] = all.filter(({ label }) => label !== candidate_labels[2]);
  assertNear([found[0]?.score ?? Number.NaN], [likeliest?.score ?? Number.NaN], 1e-6);
  lines.length = 0;
  const few = { ...data, parameters: { ...data.parameters, top_k: 5 } };
  assert.deepEqual(await ask(owl, few, { log: quietLog(lines) }), found.slice(0, 5));
  assert.deepEqual(lines, []);
});

test("boxes are in pixels of the image as it was sent", async () => {
  const wide = {
    inputs: imageText("images/shapes-120x80-2.png"),
    parameters: { candidate_labels, threshold: 0 },
  };
  const found = await detect(wide);
  assert.ok(Math.max(...found.map(({ box }) => box.xmax)) > 100, "as wide as the image");
  assert.ok(Math.max(...found.map(({ box }) => box.ymax)) < 120, "no higher");
});

test("an image may be the body, and labels stand elsewhere", async () => {
  const expected = await detect({ inputs: first, parameters: { candidate_labels } });
  const forms = [
    { inputs: { image: first, candidate_labels } },
    { inputs: first, candidateLabels: candidate_labels.join(",") },
    { inputs: first, parameters: { text_queries: candidate_labels } },
  ];
  for (const data of forms) assert.deepEqual(await detect(data), expected);
  const parameters = { candidate_labels };
  assert.deepEqual(await askWithFile(owl, imageFile(FILE), { parameters }), expected);
});

/** Logits `[1, 2, K]` and boxes as constants, whatever is read. */
function fixedGraph(logits: readonly number[], boxes: readonly number[]) {
  const K = logits.length / 2;
  return encodeGraph({
    inputs: [
      { name: "input_ids", element: "int64", shape: ["N", "T"] },
      { name: "pixel_values", element: "float", shape: [1, 3, "height", "width"] },
    ],
    outputs: [
      { name: "logits", element: "float", shape: [1, 2, "K"] },
      { name: "pred_boxes", element: "float", shape: [1, 2, 4] },
    ],
    constants: [
      { name: "scores", element: "float", shape: [1, 2, K], values: logits },
      { name: "places", element: "float", shape: [1, 2, 4], values: boxes },
      { name: "axes", element: "int64", shape: [2], values: [0, 1] },
    ],
    nodes: [
      // As many texts as were read, so that a test sees how many came together.
      { op: "Shape", inputs: ["input_ids"], outputs: ["shape"] },
      { op: "Cast", inputs: ["shape"], outputs: ["sizes"], attributes: { to: 1 } },
      { op: "ReduceMin", inputs: ["sizes"], outputs: ["texts"], attributes: { keepdims: 1 } },
      { op: "Div", inputs: ["scores", "texts"], outputs: ["logits"] },
      { op: "Identity", inputs: ["places"], outputs: ["pred_boxes"] },
    ],
  });
}

const BOXES = [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5];

test("OWLv2 sees a square: boxes are shares of the longer side", async () => {
  await using repository = await variantOf(MODEL, {
    "config.json": configOf(MODEL, {
      model_type: "owlv2",
      architectures: ["Owlv2ForObjectDetection"],
    }),
    "onnx/model.onnx": fixedGraph([2, 1], BOXES),
    "onnx/model_quantized.onnx": null,
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const found = Detections.parse(
    await ask(handler, {
      inputs: imageText("images/shapes-120x80-2.png"),
      parameters: { candidate_labels: ["a"] },
    }),
  );
  assert.deepEqual(
    found.map(({ box }) => box),
    [
      { xmin: 30, ymin: 30, xmax: 90, ymax: 90 },
      { xmin: 0, ymin: 0, xmax: 60, ymax: 60 },
    ],
  );
  await handler.dispose();
});

test("OWLv2 sees black where the image does not reach", async () => {
  const graph = encodeGraph({
    inputs: [
      { name: "input_ids", element: "int64", shape: ["N", "T"] },
      { name: "pixel_values", element: "float", shape: [1, 3, 64, 64] },
    ],
    outputs: [
      { name: "logits", element: "float", shape: [1, 1, 1] },
      { name: "pred_boxes", element: "float", shape: [1, 1, 4] },
    ],
    constants: [
      { name: "from", element: "int64", shape: [1], values: [44] }, // 80 of 120 rows are 42.7 of 64
      { name: "to", element: "int64", shape: [1], values: [64] },
      { name: "rows", element: "int64", shape: [1], values: [2] },
      { name: "scalar", element: "int64", shape: [3], values: [1, 1, 1] },
      { name: "places", element: "float", shape: [1, 1, 4], values: BOXES.slice(0, 4) },
    ],
    nodes: [
      { op: "Slice", inputs: ["pixel_values", "from", "to", "rows"], outputs: ["below"] },
      { op: "ReduceMax", inputs: ["below"], outputs: ["brightest"], attributes: { keepdims: 0 } },
      { op: "Reshape", inputs: ["brightest", "scalar"], outputs: ["logits"] },
      { op: "Identity", inputs: ["places"], outputs: ["pred_boxes"] },
    ],
  });
  await using repository = await variantOf(MODEL, {
    "config.json": configOf(MODEL, {
      model_type: "owlv2",
      architectures: ["Owlv2ForObjectDetection"],
    }),
    "onnx/model.onnx": graph,
    "onnx/model_quantized.onnx": null,
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const parameters = { candidate_labels: ["a"] };
  const inputs = imageText("images/shapes-120x80-2.png");
  const [found] = Detections.parse(await ask(handler, { inputs, parameters }));
  const black = -0.40821073 / 0.27577711; // the brightest of the three channels: -mean / std
  assertNear([found?.score ?? Number.NaN], [1 / (1 + Math.exp(-black))], 1e-6);
  await handler.dispose();
});

test("Grounding DINO reads one label at a time, and its best token counts", async () => {
  await using repository = await variantOf(MODEL, {
    "config.json": configOf(MODEL, {
      model_type: "grounding-dino",
      architectures: ["GroundingDinoForObjectDetection"],
    }),
    "onnx/model.onnx": fixedGraph([-Infinity, 2, -1, -3, -2, -Infinity], BOXES),
    "onnx/model_quantized.onnx": null,
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const parameters = { candidate_labels: ["a", "b"], threshold: 0.1 };
  const found = Detections.parse(await ask(handler, { inputs: first, parameters }));
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  assert.deepEqual(
    found.map(({ label }) => label),
    ["a", "b", "a", "b"],
  );
  assertNear(
    found.map(({ score }) => score),
    [2, 2, -2, -2].map(sigmoid),
    1e-6,
  );
  await handler.dispose();
});

test("a model without boxes is refused at the start", async () => {
  await assert.rejects(
    loadDefaultHandler(
      { repository: modelPath("tiny-clip"), task: TASK, dtype: "fp32" },
      silentLog(),
    ),
    {
      code: "MODEL_INVALID",
      message:
        /^Cannot serve zero-shot-object-detection with onnx\/model\.onnx: its outputs are .*, wanted "logits" of 3$/,
    },
  );
});

const WANTED = "a list of 1 to 1000 labels, or one string with commas between them";
const labels = { candidate_labels: ["a"] };

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{ parameters: labels }, `"inputs" is missing, wanted an image in base64`],
  [{ inputs: first }, `"candidate_labels" is missing, wanted ${WANTED}`],
  [
    { inputs: first, parameters: { ...labels, threshold: 2 } },
    `"threshold" is 2, wanted a number from 0 to 1`,
  ],
  [
    { inputs: first, parameters: { ...labels, threshold: "low" } },
    `"threshold" is "low", wanted a number from 0 to 1`,
  ],
  [
    { inputs: first, parameters: { ...labels, top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1, or null for all`,
  ],
  [
    { inputs: first, parameters: { ...labels, treshold: 0.5 } },
    `there is no parameter "treshold", perhaps you mean "threshold"; known are candidate_labels, threshold, top_k`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(owl, data), {
      code: "INVALID_INPUT",
      message: `Cannot detect objects in the image: ${sentence}`,
    });
  });
}
