/**
 * Hugging Face's own clients against real servers, one for each task on images that they have a method for.
 *
 * Python's sends bytes without a content type, or base64 with parameters; JavaScript's a Blob with its type or without,
 * or base64 where the task's method says so.
 */
import assert from "node:assert/strict";
import { assertList, golden, testClients } from "../support/clients.ts";

const PNG = golden("images/shapes-64x64-0.png");
const BASE64 = Buffer.from(PNG.bytes).toString("base64");
const LABEL = { label: "string", score: "number" } as const;

/** With its type, as a file input gives it, and without. */
const BLOBS = [
  new Blob([PNG.bytes as BlobPart], { type: "image/png" }),
  new Blob([PNG.bytes as BlobPart]),
];

testClients({
  task: "image-classification",
  model: "tiny-vit",
  async run({ javascript, wire }) {
    for (const inputs of BLOBS) {
      const labels = await javascript.imageClassification({ inputs });
      assertList(labels, LABEL);
      assert.deepEqual(await javascript.imageClassification({ data: inputs }), labels);
      assert.deepEqual(await (await wire(PNG.bytes)).json(), labels);
    }
    for (const inputs of [BASE64, `data:image/png;base64,${BASE64}`]) {
      const two = await wire({ inputs, parameters: { top_k: 2 } });
      assert.equal(((await two.json()) as unknown[]).length, 2);
    }
    assertList(await (await wire({ inputs: BASE64 })).json(), LABEL);
  },
  python: [
    {
      method: "image_classification",
      arguments: { image: { $file: PNG.path } },
      check: (labels: unknown) => assertList(labels, LABEL),
    },
    {
      method: "image_classification",
      arguments: { image: { $file: PNG.path }, top_k: 2, function_to_apply: "softmax" },
      check: (labels: unknown[]) => assert.equal(labels.length, 2),
    },
  ],
});

testClients({
  task: "object-detection",
  model: "tiny-detr",
  async run({ javascript, wire }) {
    const [inputs] = BLOBS;
    assert.ok(inputs);
    // The threshold is low, as the tiny model is sure of nothing; the client has no way to say so beside a Blob.
    const none = await javascript.objectDetection({ inputs });
    assert.ok(Array.isArray(none));
    const recorded = await wire({ inputs: BASE64, parameters: { threshold: 0.01 } });
    const objects: unknown = await recorded.json();
    assertList(objects, { ...LABEL, box: "object" });
    const [{ box }] = objects as [{ box: object }];
    assert.deepEqual(Object.keys(box).sort(), ["xmax", "xmin", "ymax", "ymin"]);
  },
  python: [
    {
      method: "object_detection",
      arguments: { image: { $file: PNG.path }, threshold: 0.01 },
      check: (objects: unknown) => assertList(objects, { ...LABEL, box: "object" }),
    },
    {
      method: "object_detection",
      arguments: { image: { $file: PNG.path } },
      check: (objects: unknown) => assert.ok(Array.isArray(objects)),
    },
  ],
});

testClients({
  task: "image-segmentation",
  model: "tiny-segformer",
  async run({ javascript, wire }) {
    const [inputs] = BLOBS;
    assert.ok(inputs);
    const segments = await javascript.imageSegmentation({ inputs });
    assertList(segments, { ...LABEL, mask: "string" });
    assert.deepEqual(await (await wire(PNG.bytes)).json(), segments);
    const recorded = await wire({ inputs: BASE64, parameters: { subtask: "semantic" } });
    assert.deepEqual(await recorded.json(), segments);
  },
  python: [
    {
      method: "image_segmentation",
      arguments: { image: { $file: PNG.path }, subtask: "semantic" },
      check: ([segment]: [{ mask: object; label: string }]) => {
        assert.equal(typeof segment.label, "string");
        assert.deepEqual(segment.mask, { width: 64, height: 64 });
      },
    },
  ],
});

const SHAPES = { candidate_labels: ["circle", "square", "triangle"] };

testClients({
  task: "zero-shot-image-classification",
  model: "tiny-clip",
  async run({ javascript, wire }) {
    const [image] = BLOBS;
    assert.ok(image);
    const labels = await javascript.zeroShotImageClassification({
      inputs: { image },
      parameters: SHAPES,
    });
    assert.equal(labels.length, 3);
    assertList(labels, LABEL);
    const recorded = await wire({ inputs: BASE64, parameters: SHAPES });
    assert.deepEqual(await recorded.json(), labels);
  },
  python: [
    {
      method: "zero_shot_image_classification",
      arguments: {
        image: { $file: PNG.path },
        ...SHAPES,
        hypothesis_template: "A photo of a {}.",
      },
      check: (labels: unknown) => assertList(labels, LABEL),
    },
  ],
});

testClients({
  task: "image-to-text",
  model: "tiny-vit-gpt2",
  async run({ javascript, wire }) {
    for (const inputs of BLOBS)
      assertList([await javascript.imageToText({ data: inputs })], { generated_text: "string" });
    assertList(await (await wire(PNG.bytes)).json(), { generated_text: "string" });
  },
  python: [
    {
      method: "image_to_text",
      arguments: { image: { $file: PNG.path } },
      check: (answer: unknown) => assertList([answer], { generated_text: "string" }),
    },
  ],
});

testClients({
  task: "document-question-answering",
  model: "tiny-donut",
  async run({ javascript, wire }) {
    const [image] = BLOBS;
    assert.ok(image);
    const question = "What is the total?";
    const answer = await javascript.documentQuestionAnswering({ inputs: { question, image } });
    assertList([answer], { answer: "string" });
    const recorded = await wire({ inputs: { question, image: BASE64 }, parameters: {} });
    assert.deepEqual(await recorded.json(), [answer]);
  },
  python: [
    {
      method: "document_question_answering",
      arguments: { image: { $file: PNG.path }, question: "What is the total?" },
      check: (answers: unknown) => assertList(answers, { answer: "string" }),
    },
  ],
});

testClients({
  task: "image-to-image",
  model: "tiny-swin2sr",
  async run({ javascript, wire }) {
    const [inputs] = BLOBS;
    assert.ok(inputs);
    const larger = await javascript.imageToImage({ inputs });
    assert.equal(larger.type, "image/png");
    const recorded = await wire(PNG.bytes, { accept: "image/png" });
    assert.equal(recorded.headers.get("content-type"), "image/png");
    assert.deepEqual(await recorded.arrayBuffer(), await larger.arrayBuffer());
  },
  python: [
    {
      method: "image_to_image",
      arguments: { image: { $file: PNG.path } },
      check: (image: { width: number }) => assert.ok(image.width > 64, String(image.width)),
    },
  ],
});
