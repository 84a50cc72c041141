/**
 * No small ViLT exists in ONNX, and Optimum exports none (in Python the model draws its patches in an order of chance).
 * So the graph is written here, with ViLT's inputs and output, and its answers are reckoned by hand: each of six answers
 * gets a number from the question's words and one from the image's colours.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { decodeImage } from "../../../runtime/handler/media/image.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, assertNear, modelPath, quietLog, variantOf } from "../../support/goldens.ts";
import { encodeGraph } from "../../support/onnx-graph.ts";
import { askTogether, askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const BASE = modelPath("tiny-bert-mlm"); // for its tokenizer, which is of ViLT's kind
const V = 600;
const ANSWERS = ["yes", "no", "2", "cat", "red", "hat"];
const L = ANSWERS.length;

const wave = (count: number, step: number, height: number) =>
  Array.from({ length: count }, (_, i) => Math.sin(i * step + 1) * height);
const WORDS = wave(V * L, 1.7, 2);
const COLOURS = wave(3 * L, 2.3, 3);

function viltGraph(): Uint8Array {
  const constant = (name: string, shape: readonly number[], values: readonly number[]) => ({
    name,
    element: "float" as const,
    shape,
    values,
  });
  const axes = (name: string, values: readonly number[]) => ({
    name,
    element: "int64" as const,
    shape: [values.length],
    values,
  });
  const toFloat = (name: string) => ({
    op: "Cast",
    inputs: [name],
    outputs: [`${name}.float`],
    attributes: { to: 1 },
  });
  return encodeGraph({
    inputs: [
      { name: "input_ids", element: "int64", shape: ["B", "T"] },
      { name: "attention_mask", element: "int64", shape: ["B", "T"] },
      { name: "token_type_ids", element: "int64", shape: ["B", "T"] },
      { name: "pixel_values", element: "float", shape: ["B", 3, "H", "W"] },
      { name: "pixel_mask", element: "int64", shape: ["B", "H", "W"] },
    ],
    outputs: [{ name: "logits", element: "float", shape: ["B", L] }],
    constants: [
      constant("words", [V, L], WORDS),
      constant("colours", [3, L], COLOURS),
      constant("much", [], [1000]),
      axes("last", [2]),
      axes("second", [1]),
    ],
    nodes: [
      ...["attention_mask", "token_type_ids", "pixel_mask"].map(toFloat),
      // The mean of the words that are no padding.
      { op: "Gather", inputs: ["words", "input_ids"], outputs: ["read"] },
      { op: "Unsqueeze", inputs: ["attention_mask.float", "last"], outputs: ["kept"] },
      { op: "Mul", inputs: ["read", "kept"], outputs: ["masked"] },
      {
        op: "ReduceSum",
        inputs: ["masked", "second"],
        outputs: ["sum"],
        attributes: { keepdims: 0 },
      },
      {
        op: "ReduceSum",
        inputs: ["attention_mask.float", "second"],
        outputs: ["count"],
        attributes: { keepdims: 1 },
      },
      { op: "Div", inputs: ["sum", "count"], outputs: ["text"] },
      // The mean of the pixels, as far as the mask has them.
      { op: "Unsqueeze", inputs: ["pixel_mask.float", "second"], outputs: ["shown"] },
      { op: "Mul", inputs: ["pixel_values", "shown"], outputs: ["visible"] },
      {
        op: "ReduceMean",
        inputs: ["visible"],
        outputs: ["seen"],
        attributes: { axes: [2, 3], keepdims: 0 },
      },
      { op: "MatMul", inputs: ["seen", "colours"], outputs: ["image"] },
      { op: "Add", inputs: ["text", "image"], outputs: ["both"] },
      // A question is one text: types other than 0 would spoil everything.
      {
        op: "ReduceSum",
        inputs: ["token_type_ids.float", "second"],
        outputs: ["types"],
        attributes: { keepdims: 1 },
      },
      { op: "Mul", inputs: ["types", "much"], outputs: ["spoilt"] },
      { op: "Add", inputs: ["both", "spoilt"], outputs: ["logits"] },
    ],
  });
}

const CHANGES = {
  "README.md": null,
  "config.json": {
    model_type: "vilt",
    architectures: ["ViltForQuestionAnswering"],
    max_position_embeddings: 40,
    id2label: Object.fromEntries(ANSWERS.map((answer, index) => [index, answer])),
  },
  "preprocessor_config.json": {
    image_processor_type: "ViltImageProcessor",
    size: { shortest_edge: 64 },
    size_divisor: 32,
    do_pad: true,
    do_resize: true,
    resample: 3,
  },
  "onnx/model.onnx": viltGraph(),
  "onnx/model_quantized.onnx": null,
};
const repository = await variantOf(BASE, CHANGES);
const vilt = await loadDefaultHandler({ repository: repository.path }, silentLog());
const tokenizer = await AutoTokenizer.from_pretrained(BASE);
after(async () => {
  await vilt.dispose();
  await repository[Symbol.asyncDispose]();
});

const Scored = z.array(z.strictObject({ score: z.number(), answer: z.string() }));

/** Every answer's score, by hand. */
async function expectedOf(path: string, question: string): Promise<Map<string, number>> {
  const names = { action: "test", name: "inputs" };
  const whole = await decodeImage(imageFile(path), names);
  // 120 × 80 becomes 96 × 64; 64 × 64 stays.
  const { data, width, height } = await whole.resize((whole.width * 64) / whole.height, 64, {
    resample: 3,
  });
  const colours = [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let i = channel; i < data.length; i += 3) sum += ((data[i] ?? 0) / 255 - 0.5) / 0.5;
    return sum / (width * height);
  });
  const ids: number[] = tokenizer(question, { return_tensor: false }).input_ids;
  return new Map(
    ANSWERS.map((answer, l) => {
      const text = ids.reduce((sum, id) => sum + (WORDS[id * L + l] ?? Number.NaN), 0) / ids.length;
      const image = colours.reduce((sum, value, c) => sum + value * (COLOURS[c * L + l] ?? 0), 0);
      return [answer, 1 / (1 + Math.exp(-(text + image)))];
    }),
  );
}

const QUESTIONS = [
  ["images/shapes-64x64-0.png", "Who is the cat?"],
  ["images/shapes-64x64-1.png", "Is the little dog in the park, and what does it do there?"],
  ["images/shapes-120x80-2.png", "What?"],
] as const;
const [[FILE, question]] = QUESTIONS;
const image = imageText(FILE);

test("every answer has a score of its own, one by one and as a list", async () => {
  assert.equal(vilt.description.task, "visual-question-answering");
  const parameters = { top_k: 6 };
  const inputs = QUESTIONS.map(([path, asked]) => ({ image: imageText(path), question: asked }));
  const list = z.array(Scored).parse(await ask(vilt, { inputs, parameters }));
  for (const [index, [path, asked]] of QUESTIONS.entries()) {
    const expected = await expectedOf(path, asked);
    const single = Scored.parse(await ask(vilt, { inputs: inputs[index], parameters }));
    for (const answer of [single, list[index] ?? []]) {
      assertNear(
        answer.map(({ score }) => score),
        [...expected.values()].sort((a, b) => b - a),
        1e-5, // float32 sums in another order
      );
      assert.equal(answer.length, L);
      for (const { answer: text, score } of answer) {
        assertNear([score], [expected.get(text) ?? Number.NaN], 1e-5);
      }
    }
  }
});

test("questions of several requests share a pass where their images are of one size", async () => {
  const bodies = QUESTIONS.map(([path], index) => ({
    inputs: {
      image: imageText(path),
      question: ["Who is the cat?", "Is it a cat?", "What?"][index],
    },
  }));
  const { answers, passes } = await askTogether(vilt, bodies);
  assert.deepEqual(passes, [2, 1]);
  for (const [index, body] of bodies.entries()) {
    const alone = Scored.parse(await ask(vilt, body));
    const together = Scored.parse(answers[index]);
    assert.deepEqual(
      together.map(({ answer }) => answer),
      alone.map(({ answer }) => answer),
    );
  }
});

test("top_k answers, five by default, and no more than there are", async () => {
  const all = Scored.parse(
    await ask(vilt, { inputs: { image, question }, parameters: { top_k: 99 } }),
  );
  assert.equal(all.length, L);
  assert.deepEqual(await ask(vilt, { inputs: { image, question } }), all.slice(0, 5));
  const one = { inputs: { image, question }, parameters: { top_k: 1 } };
  assert.deepEqual(await ask(vilt, one), all.slice(0, 1));
});

test("a question comes with its image, in each of the clients' forms", async () => {
  const expected = await ask(vilt, { inputs: { image, question } });
  const forms = [
    { inputs: image, parameters: {}, question, image },
    { inputs: { question, image: `data:image/png;base64,${image}` } },
    { inputs: { question, image: imageFile(FILE) } },
  ];
  for (const data of forms) assert.deepEqual(await ask(vilt, data), expected);
  assert.deepEqual(await askWithFile(vilt, imageFile(FILE), { question }), expected);
});

test("a long question is cut, or refused where that is asked", async () => {
  const lines: string[] = [];
  const long = "cat ".repeat(60);
  const cut = await ask(vilt, { inputs: { image, question: long } }, { log: quietLog(lines) });
  assert.deepEqual(cut, await ask(vilt, { inputs: { image, question: "cat ".repeat(38) } }));
  assert.match(lines.join(), /inputs\.question\\?" was cut from 62 to 40 tokens/);
  await assert.rejects(
    ask(vilt, { inputs: { image, question: long }, parameters: { truncation: false } }),
    {
      code: "INVALID_INPUT",
      message: `Cannot answer the question about the image: "inputs.question" is 62 tokens long, wanted at most 40 as truncation is off`,
    },
  );
});

test("a graph that gives no logits is refused at the start", async () => {
  await using other = await variantOf(modelPath("tiny-clip"), {
    "onnx/model_quantized.onnx": null,
  });
  await assert.rejects(loadDefaultHandler({ repository: other.path, task: "vqa" }, silentLog()), {
    code: "MODEL_INVALID",
    message:
      /^Cannot serve visual-question-answering with onnx\/model\.onnx: its outputs are .*, wanted "logits" of 2$/,
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted {"image", "question"}, or a list of such`],
  [{ inputs: image }, `"question" is missing, wanted a string`],
  [{ inputs: { image } }, `"inputs.question" is missing, wanted a string`],
  [{ inputs: { question } }, `"inputs.image" is missing, wanted an image in base64`],
  [{ inputs: { image: "bm8=", question } }, `"inputs.image" is not an image that can be decoded`],
  [
    { inputs: { image, question }, parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1`,
  ],
  [
    { inputs: { image, question }, parameters: { topk: 1 } },
    `there is no parameter "topk", perhaps you mean "top_k"; known are top_k, truncation`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(vilt, data), {
      code: "INVALID_INPUT",
      message: `Cannot answer the question about the image: ${sentence}`,
    });
  });
}
