import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { CLIPModel } from "@huggingface/transformers";
import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { decodeImage } from "../../../runtime/handler/media/image.ts";
import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { loadVisionText } from "../../../runtime/handler/model/vision-text.ts";
import { stackPixels } from "../../../runtime/handler/model/vision.ts";
import { chooseModelWeights } from "../../../runtime/handler/model/weights.ts";
import { softmax } from "../../../runtime/handler/tasks/scores.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  Labels,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";
import { encodeGraph, type Graph } from "../../support/onnx-graph.ts";
import { askTogether, askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const MODEL = modelPath("tiny-clip");
const TASK = "zero-shot-image-classification";
const GOLDEN = readGolden(
  "tiny-clip",
  z.object({
    cases: z.array(
      z.object({
        image: z.string(),
        candidate_labels: z.array(z.string()),
        input_ids: z.array(z.array(z.number())),
        scores: z.record(z.string(), z.number()),
      }),
    ),
  }),
);
/** The goldens' sentences have no full stop. */
const hypothesis_template = "This is a photo of {}";

const clip = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
after(() => clip.dispose());

const [first, second] = GOLDEN.cases.map(({ image }) => imageText(image));
const FILE = GOLDEN.cases[0]?.image ?? "";
const LABELS = GOLDEN.cases[0]?.candidate_labels ?? [];

test("answers as Python does, one by one and as a list", async () => {
  const inputs = GOLDEN.cases.map(({ image }) => imageText(image));
  const parameters = { candidate_labels: LABELS, hypothesis_template };
  const list = Labels.array().parse(await ask(clip, { inputs, parameters }));
  assert.equal(list.length, 2);
  for (const [index, { scores, image }] of GOLDEN.cases.entries()) {
    const single = Labels.parse(await ask(clip, { inputs: inputs[index], parameters }));
    const best = Object.entries(scores).sort(([, a], [, b]) => b - a);
    for (const answer of [single, list[index] ?? []]) {
      assert.deepEqual(
        answer.map(({ label }) => label),
        best.map(([label]) => label),
        image,
      );
      assertNear(
        answer.map(({ score }) => score),
        best.map(([, score]) => score),
        1e-4,
      );
    }
  }
});

test("int8 weights give the same order, and the scores that their graph gives when asked alone", async () => {
  // The goldens are of fp32; the quantized graph, asked for everything at once, is itself up to 0.062 away from them.
  const handler = await loadDefaultHandler({ repository: MODEL, dtype: "q8" }, silentLog());
  const folder = await readModelFolder(MODEL);
  const model = { folder, weights: chooseModelWeights(folder, "q8") };
  const bare = await loadVisionText(
    model,
    { supports: () => true, from_pretrained: CLIPModel.from_pretrained.bind(CLIPModel) },
    TASK,
  );
  const names = { action: "test", name: "inputs" };
  for (const { image, scores } of GOLDEN.cases) {
    const answer = Labels.parse(
      await ask(handler, {
        inputs: imageText(image),
        parameters: { candidate_labels: LABELS, hypothesis_template },
      }),
    );
    const best = Object.entries(scores).sort(([, a], [, b]) => b - a);
    assert.deepEqual(
      answer.map(({ label }) => label),
      best.map(([label]) => label),
    );
    const pixels = await bare.images.read(await decodeImage(imageFile(image), names), names);
    const texts = LABELS.map((label) => bare.encodeText(`This is a photo of ${label}`, names));
    const [logits] = await bare.encoder.run(texts, ["logits_per_image"], {
      pixel_values: stackPixels([pixels]),
    });
    const own = softmax(logits.data);
    assertNear(
      answer.map(({ score }) => score),
      answer.map(({ label }) => own[LABELS.indexOf(label)] ?? Number.NaN),
      1e-4,
    );
  }
  await bare.encoder.dispose();
  await handler.dispose();
});

test("an image may be the body, base64, a data URL, or in an object of inputs", async () => {
  const parameters = { candidate_labels: ["circle", "star"] };
  const expected = await ask(clip, { inputs: first, parameters });
  const forms = [
    { inputs: `data:image/png;base64,${first}`, parameters },
    { inputs: { image: first }, parameters },
    { inputs: { image: imageFile(FILE) }, parameters },
  ];
  for (const data of forms) assert.deepEqual(await ask(clip, data), expected);
  assert.deepEqual(await askWithFile(clip, imageFile(FILE), { parameters }), expected);
});

test("labels may be written with commas, under older names, and in other places", async () => {
  const expected = await ask(clip, {
    inputs: first,
    parameters: { candidate_labels: ["circle", "star"] },
  });
  const forms = [
    { inputs: first, parameters: { candidate_labels: " circle,star , " } },
    { inputs: first, parameters: { candidateLabels: ["circle", "star"] } },
    { inputs: first, candidate_labels: ["circle", "star"] },
    { inputs: first, parameters: {}, candidateLabels: "circle,star" },
    { inputs: { image: first, candidate_labels: ["circle", "star"] } },
    { inputs: first, candidate_labels: ["x"], parameters: { candidateLabels: ["circle", "star"] } },
  ];
  for (const data of forms) assert.deepEqual(await ask(clip, data), expected);
  const list = await ask(clip, {
    inputs: [
      { image: first, candidate_labels: ["circle", "star"] },
      { image: second, candidate_labels: ["square"] },
    ],
  });
  assert.deepEqual(list, [expected, [{ score: 1, label: "square" }]]);
});

test("the label goes into the template, with a full stop by default", async () => {
  const scoreOf = async (parameters: object) =>
    Labels.parse(await ask(clip, { inputs: first, parameters }))[0]?.score;
  const candidate_labels = ["circle", "star"];
  const plain = await scoreOf({ candidate_labels });
  assert.equal(
    await scoreOf({ candidate_labels, hypothesis_template: "This is a photo of {}." }),
    plain,
  );
  assert.equal(
    await scoreOf({
      candidate_labels: ["a circle $& x", "a star $& x"],
      hypothesis_template: "{}",
    }),
    await scoreOf({ candidate_labels, hypothesis_template: "a {} $& x" }),
  );
  assert.notEqual(await scoreOf({ candidate_labels, hypothesis_template: "{}" }), plain);
});

test("images of several requests share a pass, each with its own labels", async () => {
  const bodies = [
    { inputs: first, parameters: { candidate_labels: ["circle", "star"] } },
    { inputs: second, parameters: { candidate_labels: ["star", "square", "x"] } },
    { inputs: "bm8=", parameters: { candidate_labels: ["circle"] } },
  ];
  const { answers, passes } = await askTogether(clip, bodies);
  assert.deepEqual(passes, [2]);
  for (const [index, body] of bodies.slice(0, 2).entries()) {
    const [together, alone] = [answers[index], await ask(clip, body)].map((answer) =>
      Labels.parse(answer),
    );
    const labels = (answer = together) => answer?.map(({ label }) => label);
    const scores = (answer = together) => answer?.map(({ score }) => score) ?? [];
    assert.deepEqual(labels(together), labels(alone));
    assertNear(scores(together), scores(alone), 1e-6); // other neighbours: the last digits of float32
  }
  assert.match(String(answers[2]), /is not an image that can be decoded/);
});

test("a label that is too long is cut, and the caller is told", async () => {
  const lines: string[] = [];
  const long = "circle ".repeat(60);
  const data = { inputs: first, parameters: { candidate_labels: ["star", long] } };
  const answer = Labels.parse(await ask(clip, data, { log: quietLog(lines) }));
  assert.equal(answer.length, 2);
  assert.match(lines.join(), /candidate_labels\[1\].* was cut from \d+ to 32 tokens/);
});

test("an answer does not depend on what was asked before", async () => {
  const fresh = await loadDefaultHandler({ repository: MODEL, dtype: "fp32" }, silentLog());
  const data = {
    inputs: second,
    parameters: { candidate_labels: ["triangle", "old star", "circle"] },
  };
  const alone = Labels.parse(await ask(fresh, data));
  await ask(clip, { inputs: first, parameters: { candidate_labels: ["circle", "old star", "x"] } });
  const later = Labels.parse(await ask(clip, data));
  assert.deepEqual(
    later.map(({ label }) => label),
    alone.map(({ label }) => label),
  );
  // A text's vector is computed among other neighbours: the last digits of float32.
  assertNear(
    later.map(({ score }) => score),
    alone.map(({ score }) => score),
    1e-6,
  );
  await fresh.dispose();
});

const V = 700;
const H = 4;
const SCALE = 30;
const BIAS = -7;

const wave = (count: number, step: number) =>
  Array.from({ length: count }, (_, i) => Math.sin(i * step + 1));
const WORDS = wave(V * H, 1.7);
const COLOURS = wave(3 * H, 2.3);

/**
 * A SigLIP of the smallest kind: means of word vectors, and of colours, made comparable.
 *
 * @param square Whether similarities are squared, which no SigLIP does.
 */
function siglipGraph(square = false): Graph {
  return {
    inputs: [
      { name: "input_ids", element: "int64", shape: ["N", "T"] },
      { name: "pixel_values", element: "float", shape: ["B", 3, "height", "width"] },
    ],
    outputs: [
      { name: "logits_per_image", element: "float", shape: ["B", "N"] },
      { name: "image_embeds", element: "float", shape: ["B", H] },
      { name: "text_embeds", element: "float", shape: ["N", H] },
    ],
    constants: [
      { name: "words", element: "float", shape: [V, H], values: WORDS },
      { name: "colours", element: "float", shape: [3, H], values: COLOURS },
      { name: "scale", element: "float", shape: [], values: [SCALE] },
      { name: "bias", element: "float", shape: [], values: [BIAS] },
    ],
    nodes: [
      { op: "Gather", inputs: ["words", "input_ids"], outputs: ["read"] },
      {
        op: "ReduceMean",
        inputs: ["read"],
        outputs: ["text"],
        attributes: { axes: [1], keepdims: 0 },
      },
      {
        op: "LpNormalization",
        inputs: ["text"],
        outputs: ["text_embeds"],
        attributes: { axis: 1, p: 2 },
      },
      {
        op: "ReduceMean",
        inputs: ["pixel_values"],
        outputs: ["seen"],
        attributes: { axes: [2, 3], keepdims: 0 },
      },
      { op: "MatMul", inputs: ["seen", "colours"], outputs: ["image"] },
      {
        op: "LpNormalization",
        inputs: ["image"],
        outputs: ["image_embeds"],
        attributes: { axis: 1, p: 2 },
      },
      {
        op: "Transpose",
        inputs: ["text_embeds"],
        outputs: ["turned"],
        attributes: { perm: [1, 0] },
      },
      { op: "MatMul", inputs: ["image_embeds", "turned"], outputs: ["similarity"] },
      ...(square ? [{ op: "Mul", inputs: ["similarity", "similarity"], outputs: ["square"] }] : []),
      { op: "Mul", inputs: [square ? "square" : "similarity", "scale"], outputs: ["scaled"] },
      { op: "Add", inputs: ["scaled", "bias"], outputs: ["logits_per_image"] },
    ],
  };
}

/** What the graph computes, from the tokens and the pixels. */
function siglipScore(ids: readonly number[], pixels: Float32Array, square: boolean): number {
  const unit = (vector: readonly number[]) => {
    const length = Math.hypot(...vector);
    return vector.map((value) => value / length);
  };
  const axes = Array.from({ length: H }, (_, h) => h);
  const words = axes.map((h) =>
    ids.reduce((sum, id) => sum + (WORDS[id * H + h] ?? Number.NaN), 0),
  );
  const colours = [0, 1, 2].map((c) => {
    const area = pixels.length / 3;
    return pixels.subarray(c * area, (c + 1) * area).reduce((a, b) => a + b, 0) / area;
  });
  const image = axes.map((h) =>
    colours.reduce((sum, value, c) => sum + value * (COLOURS[c * H + h] ?? Number.NaN), 0),
  );
  const [text, seen] = [unit(words), unit(image)];
  const similarity = axes.reduce((sum, h) => sum + (text[h] ?? 0) * (seen[h] ?? 0), 0);
  return 1 / (1 + Math.exp(-(SCALE * (square ? similarity ** 2 : similarity) + BIAS)));
}

const SIGLIP = {
  "config.json": configOf(MODEL, {
    model_type: "siglip",
    architectures: ["SiglipModel"],
    text_config: { max_position_embeddings: 64 },
  }),
  "tokenizer_config.json": {
    tokenizer_class: "CLIPTokenizer",
    model_max_length: 64,
    pad_token: "<|endoftext|>",
  },
  "onnx/model.onnx": encodeGraph(siglipGraph()),
  "onnx/model_quantized.onnx": null,
};

for (const square of [false, true]) {
  const kind = square ? "a graph whose scores are no scaled similarity" : "SigLIP";
  test(`${kind} reads padded labels, and scores each for itself`, async () => {
    await using repository = await variantOf(MODEL, {
      ...SIGLIP,
      "onnx/model.onnx": encodeGraph(siglipGraph(square)),
    });
    const handler = await loadDefaultHandler(
      { repository: repository.path, task: TASK },
      silentLog(),
    );
    const notes = handler.description.notes.map(({ text }) => text);
    assert.equal(
      notes.some((text) => text.includes("labels are read anew")),
      square,
    );
    const folder = await readModelFolder(MODEL);
    const model = { folder, weights: chooseModelWeights(folder, "fp32") };
    const reader = await loadVisionText(
      model,
      { supports: () => true, from_pretrained: CLIPModel.from_pretrained.bind(CLIPModel) },
      TASK,
    );
    const names = { action: "test", name: "inputs" };
    for (const { image, input_ids } of GOLDEN.cases) {
      const answer = Labels.parse(
        await ask(handler, {
          inputs: imageText(image),
          parameters: { candidate_labels: LABELS, hypothesis_template },
        }),
      );
      const { data } = await reader.images.read(await decodeImage(imageFile(image), names), names);
      const expected = new Map(
        LABELS.map((label, n) => {
          const ids = input_ids[n] ?? [];
          return [
            label,
            siglipScore([...ids, ...Array<number>(64 - ids.length).fill(3)], data, square),
          ];
        }),
      );
      assertNear(
        answer.map(({ score }) => score),
        answer.map(({ label }) => expected.get(label) ?? Number.NaN),
        1e-5,
      );
      const scores = answer.map(({ score }) => score);
      assert.deepEqual(
        scores,
        scores.toSorted((a, b) => b - a),
      );
      assert.ok(Math.abs(scores.reduce((a, b) => a + b) - 1) > 0.01, "no shares of 1");
    }
    await reader.encoder.dispose();
    await handler.dispose();
  });
}

test("towers apart, or a graph that compares nothing, are refused at the start", async () => {
  const model = encodeGraph(siglipGraph());
  await using apart = await variantOf(MODEL, {
    ...SIGLIP,
    "onnx/model.onnx": null,
    "onnx/text_model.onnx": model,
    "onnx/vision_model.onnx": model,
  });
  await assert.rejects(loadDefaultHandler({ repository: apart.path, task: TASK }, silentLog()), {
    code: "MODEL_INVALID",
    message: `Cannot serve ${TASK}: found text_model and vision_model apart, wanted one graph "model" that reads texts and images, as the scale of its scores is in no other file`,
  });
  await using other = await variantOf(MODEL, {
    "onnx/model.onnx": readFileSync(modelPath("tiny-vit-gpt2/onnx/encoder_model.onnx")),
    "onnx/model_quantized.onnx": null,
  });
  await assert.rejects(loadDefaultHandler({ repository: other.path, task: TASK }, silentLog()), {
    code: "MODEL_INVALID",
    message: `Cannot serve ${TASK} with onnx/model.onnx: its inputs are pixel_values, wanted "input_ids" among them`,
  });
});

test("a graph that wants what nobody can give is refused at the start", async () => {
  const graph = siglipGraph();
  const more = { name: "spatial_shapes", element: "int64", shape: ["B", 2] } as const;
  await using repository = await variantOf(MODEL, {
    ...SIGLIP,
    "onnx/model.onnx": encodeGraph({ ...graph, inputs: [...graph.inputs, more] }),
  });
  await assert.rejects(
    loadDefaultHandler({ repository: repository.path, task: TASK }, silentLog()),
    {
      code: "MODEL_INVALID",
      message: `Cannot serve ${TASK} with onnx/model.onnx: its inputs are input_ids, pixel_values, spatial_shapes, and nothing is known that "spatial_shapes" could be given`,
    },
  );
});

const KNOWN = "known are candidate_labels, hypothesis_template";
const WANTED = "a list of 1 to 1000 labels, or one string with commas between them";
const labels = { candidate_labels: ["a", "b"] };

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{ parameters: labels }, `"inputs" is missing, wanted an image in base64`],
  [{ inputs: {}, parameters: labels }, `"inputs.image" is missing, wanted an image in base64`],
  [
    { inputs: [first, null], parameters: labels },
    `"inputs[1]" is missing, wanted an image in base64`,
  ],
  [{ inputs: 5, parameters: labels }, `"inputs" is not a string, wanted an image in base64`],
  [{ inputs: "/etc/passwd", parameters: labels }, `"inputs" is not an image that can be decoded`],
  [{ inputs: first }, `"candidate_labels" is missing, wanted ${WANTED}`],
  [
    { inputs: first, parameters: { candidate_labels: [] } },
    `"candidate_labels" is an empty list, wanted ${WANTED}`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: " , " } },
    `"candidate_labels" is " , ", wanted ${WANTED}`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: 5 } },
    `"candidate_labels" is 5, wanted ${WANTED}`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: ["a", 5] } },
    `"candidate_labels[1]" is 5, wanted a string`,
  ],
  [
    { inputs: first, parameters: { candidate_labels: Array(1001).fill("a") } },
    `"candidate_labels" is a list, wanted ${WANTED}`,
  ],
  [
    { inputs: first, parameters: { ...labels, hypothesis_template: "a photo" } },
    `"hypothesis_template" is "a photo", wanted a string with "{}" where the label goes`,
  ],
  [
    { inputs: first, parameters: { ...labels, multi_label: true } },
    `there is no parameter "multi_label"; ${KNOWN}`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(clip, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the image: ${sentence}`,
    });
  });
}
