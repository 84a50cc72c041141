/**
 * Gradient graphs of whole models, against central differences through the original graph, and what the graphs
 * look like from outside.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Tensor } from "onnxruntime-node";

import { buildGradientGraphs, findEmbeddingLayer } from "../../runtime/explain/gradient-graph.ts";
import { readOnnxModel } from "../../runtime/explain/onnx-model.ts";
import { isRuntimeError } from "../../runtime/errors.ts";
import {
  createRandom,
  int64,
  node,
  openModel,
  pick,
  random,
  smallModel,
  type SmallModel,
} from "../support/gradients.ts";

function modelFile(name: string, file = "model.onnx"): string {
  return fileURLToPath(new URL(`../fixtures/models/${name}/onnx/${file}`, import.meta.url));
}

const [N, T] = [2, 7];

/** Two rows of made-up ids, the second with two tokens of padding. */
function feedsOf(cache: Whole["cache"]): Record<string, Tensor> {
  const next = createRandom(5);
  const list = (make: (t: number, n: number) => number): Tensor =>
    new Tensor(
      "int64",
      BigInt64Array.from({ length: N * T }, (_, at) => BigInt(make(at % T, Math.floor(at / T)))),
      [N, T],
    );
  const empty = (): Tensor => new Tensor("float32", new Float32Array(), cache?.dims ?? []);
  return {
    input_ids: list(() => 2 + Math.floor(next() * 90)), // every model has as many
    attention_mask: list((t, n) => (n === 1 && t >= T - 2 ? 0 : 1)),
    token_type_ids: list((t) => (t > 3 ? 1 : 0)),
    position_ids: list((t) => t),
    ...Object.fromEntries(cacheOf(cache?.layers ?? 0).map((name) => [name, empty()])),
  };
}

interface Whole {
  readonly name: string;
  readonly file?: string;
  readonly output: string;
  readonly layer: string;
  /** What the gradient graph reads besides the layer and the selection. */
  readonly inputs: readonly string[];
  /** A cache of no tokens, by its inputs' pattern, and the shape of each. */
  readonly cache?: { readonly layers: number; readonly dims: readonly number[] };
  /** The step of the differences: small where the function is curved. */
  readonly step?: number;
}

const ENCODER = { layer: "layer_norm", inputs: ["attention_mask", "input_ids"] } as const;

/** The names of a cache's inputs. */
function cacheOf(layers: number): string[] {
  return Array.from({ length: layers }, (_, layer) =>
    ["key", "value"].map((kind) => `past_key_values.${layer}.${kind}`),
  ).flat();
}

const WHOLE: readonly Whole[] = [
  { name: "seqcls-bert-2way", output: "logits", ...ENCODER },
  { name: "tiny-bert-nli", output: "logits", ...ENCODER },
  { name: "tiny-bert-mlm", output: "logits", ...ENCODER },
  { name: "ner-bert", output: "logits", ...ENCODER },
  { name: "qa-bert", output: "start_logits", ...ENCODER },
  { name: "qa-bert", output: "end_logits", ...ENCODER },
  { name: "minilm-embed", output: "last_hidden_state", ...ENCODER },
  {
    name: "tiny-t5",
    file: "encoder_model.onnx",
    output: "last_hidden_state",
    layer: "embedding",
    inputs: ["attention_mask", "input_ids"],
    step: 0.003, // the bends of its Relu are near
  },
  {
    name: "tiny-gpt2",
    output: "logits",
    layer: "add_55",
    inputs: ["attention_mask", "input_ids", ...cacheOf(4)],
    cache: { layers: 4, dims: [N, 4, 0, 32] },
    step: 0.02,
  },
  {
    name: "tiny-llama",
    output: "logits",
    layer: "embedding",
    inputs: ["attention_mask", "input_ids", "position_ids", ...cacheOf(4)],
    cache: { layers: 4, dims: [N, 2, 0, 32] },
    step: 0.02,
  },
];

for (const { name, file, output, layer, inputs, cache, step = 0.1 } of WHOLE) {
  test(`${name}: the gradient of ${output} at the embeddings equals differences in random directions`, async () => {
    const model = await readOnnxModel(modelFile(name, file));
    assert.equal(findEmbeddingLayer(model), layer);
    const graphs = buildGradientGraphs(model, { layer, output });
    const [original, embedding, gradient] = await Promise.all(
      [model, graphs.embedding, graphs.gradient].map(openModel),
    );
    assert.ok(original && embedding && gradient);
    assert.deepEqual([...gradient.inputNames].sort(), [...inputs, layer, "selection"].sort());
    assert.deepEqual(gradient.outputNames, [output, "gradient"]);
    assert.deepEqual(embedding.outputNames, [layer]);

    const feeds = feedsOf(cache);
    const whole = (await original.run(pick(original, feeds)))[output];
    const embedded = (await embedding.run(pick(embedding, feeds)))[layer];
    assert.ok(whole && embedded);
    const selection = Float32Array.from(random(whole.dims, 3).values);
    const run = async (values: Float32Array) => {
      const at = {
        ...feeds,
        [layer]: new Tensor("float32", values, embedded.dims),
        selection: new Tensor("float32", selection, whole.dims),
      };
      const answer = await gradient.run(pick(gradient, at));
      const logits = answer[output]?.data as Float32Array;
      return {
        logits,
        chosen: logits.reduce((total, value, at) => total + value * (selection[at] ?? 0), 0),
        slope: answer["gradient"],
      };
    };

    const start = embedded.data as Float32Array;
    const { logits, slope } = await run(start);
    // The forward half is the model: other fusions round differently, no more.
    for (const [index, value] of logits.entries())
      assert.ok(Math.abs(value - Number((whole.data as Float32Array)[index])) < 2e-5);
    assert.deepEqual(slope?.dims, embedded.dims);
    const g = slope?.data as Float32Array;
    const norm = Math.hypot(...g);
    assert.ok(norm > 1e-4, "a gradient arrives");

    const directions = [g, ...[1, 2, 3].map((seed) => random([g.length], seed).values)];
    for (const direction of directions) {
      const length = Math.hypot(...direction);
      const at = async (by: number): Promise<number> =>
        (await run(start.map((value, index) => value + (by * (direction[index] ?? 0)) / length)))
          .chosen;
      const near = (await at(step)) - (await at(-step));
      const far = (await at(2 * step)) - (await at(-2 * step));
      const wanted = (8 * near - far) / (12 * step);
      const found = g.reduce(
        (total, value, at) => total + (value * (direction[at] ?? 0)) / length,
        0,
      );
      // Logits of size 10 are rounded by 1e-6, and divided by the step: 2e-5. A curved function adds its fifth derivative.
      assert.ok(
        Math.abs(found - wanted) < 2e-5 + 2e-3 * norm,
        `${found} by the graph, ${wanted} by differences, of a gradient of length ${norm}`,
      );
    }
    await Promise.all([original, embedding, gradient].map((session) => session.release()));
  });
}

/** Embeddings of `input_ids` and of places, and what follows. */
function embedder(more: SmallModel["nodes"], outputs = ["out"]): SmallModel {
  return {
    inputs: {
      input_ids: int64([2, 3], 1, 2, 3, 4, 5, 0),
      attention_mask: int64([2, 3], 1, 1, 1, 1, 1, 0),
    },
    constants: {
      "bert.embeddings.word_embeddings.weight": random([6, 4], 1),
      "bert.embeddings.position_embeddings.weight": random([9, 4], 2),
      scale: random([4], 3, 0.5, 1),
      shift: random([4], 4),
      project: random([4, 2], 5),
      pad: int64([], 0),
      one: int64([], 1),
      axis: int64([], 1),
      last: int64([1], 2),
    },
    nodes: [
      node("Gather", "bert.embeddings.word_embeddings.weight input_ids", "words"),
      // RoBERTa counts the places of what is no padding.
      node("Equal", "input_ids pad", "is_padding"),
      node("Not", "is_padding", "is_word"),
      node("Cast", "is_word", "words_01", { to: 7 }),
      node("CumSum", "words_01 axis", "counted"),
      node("Mul", "counted words_01", "places"),
      node("Gather", "bert.embeddings.position_embeddings.weight places", "positions"),
      node("Add", "words positions", "sum"),
      ...more,
    ],
    outputs,
  };
}

const NORM = node("LayerNormalization", "sum scale shift", "normal");

const LAYERS: Readonly<Record<string, readonly [model: SmallModel, layer: string]>> = {
  "RoBERTa, XLM-R and CamemBERT: the norm of words and counted places": [
    embedder([NORM, node("Tanh", "normal", "a"), node("Add", "a normal", "out")]),
    "normal",
  ],
  "ELECTRA and ALBERT: before the projection": [
    embedder([NORM, node("MatMul", "normal project", "out")]),
    "normal",
  ],
  "DeBERTa: after the mask": [
    embedder([
      NORM,
      node("Unsqueeze", "attention_mask last", "mask"),
      node("Cast", "mask", "mask_float", { to: 1 }),
      node("Mul", "normal mask_float", "masked"),
      node("Tanh", "masked", "a"),
      node("Add", "a masked", "out"),
    ]),
    "masked",
  ],
  "GPT-2: the sum, which its first layer normalizes": [
    embedder([NORM, node("Tanh", "normal", "a"), node("Add", "a sum", "out")]),
    "sum",
  ],
};

for (const [name, [model, layer]] of Object.entries(LAYERS))
  test(`findEmbeddingLayer() finds the embeddings of ${name}`, () => {
    assert.equal(findEmbeddingLayer(smallModel(model)), layer);
  });

test("findEmbeddingLayer() takes a part of a name, or the name of a value", () => {
  const model = smallModel(embedder([NORM, node("Tanh", "normal", "out")]));
  assert.equal(findEmbeddingLayer(model, "bert"), "normal");
  assert.equal(findEmbeddingLayer(model, "bert/embeddings"), "normal");
  assert.equal(findEmbeddingLayer(model, "words"), "words");
  assert.throws(
    () => findEmbeddingLayer(model, "distilbert"),
    refused(
      "INVALID_INPUT",
      /nothing of the graph is named "distilbert", found "bert.embeddings.word_embeddings.weight"$/,
    ),
  );
});

test("findEmbeddingLayer() says that a graph has no words", async () => {
  const images = await readOnnxModel(modelFile("tiny-vit"));
  const wanted =
    /no node of the graph chooses rows of a table of weights by an input of token ids$/;
  assert.throws(() => findEmbeddingLayer(images), refused("NOT_SUPPORTED", wanted));
});

test("a quantized graph says that the float32 file is needed", async () => {
  const model = await readOnnxModel(modelFile("ner-bert", "model_quantized.onnx"));
  const wanted = /quantized graph has no gradient: the float32 file of the model is needed$/;
  assert.throws(
    () => findEmbeddingLayer(model),
    refused(
      "NOT_SUPPORTED",
      /is quantized, and has no gradient: the float32 file of the model is needed$/,
    ),
  );
  const layer = "layer_norm";
  assert.throws(
    () => buildGradientGraphs(model, { layer, output: "logits" }),
    refused("NOT_SUPPORTED", wanted),
  );
});

/** What is asked of `x`, whose layer is `a`. */
function refusalOf(
  nodes: SmallModel["nodes"],
  options = { layer: "a", output: "out" },
): () => unknown {
  const model = smallModel({
    inputs: { x: random([2, 3], 1) },
    nodes: [node("Identity", "x", "a"), ...nodes],
    outputs: ["out"],
  });
  return () => buildGradientGraphs(model, options);
}

const REFUSED: Readonly<
  Record<string, readonly [attempt: () => unknown, code: string, wanted: RegExp]>
> = {
  "an operator without a rule": [
    refusalOf([node("Det", "a", "out")]),
    "NOT_SUPPORTED",
    /^Cannot compute the gradient: Det \("Det_1"\) has no gradient rule$/,
  ],
  "an operator of a foreign domain": [
    refusalOf([node("org.example.Tanh", "a", "out")]),
    "NOT_SUPPORTED",
    /: example\.Tanh \("Tanh_1"\) has no gradient rule$/,
  ],
  "a form that an operator's rule does not know": [
    refusalOf([node("Einsum", "a", "out", { equation: "...i->..." })]),
    "NOT_SUPPORTED",
    /Einsum \("Einsum_1"\) has the equation "\.\.\.i->\.\.\.", which has no gradient rule$/,
  ],
  "an output that does not depend on the layer": [
    refusalOf([node("Shape", "a", "sizes"), node("Cast", "sizes", "out", { to: 1 })]),
    "NOT_SUPPORTED",
    /the output "out" does not depend on "a"$/,
  ],
  "a layer that is not there": [
    refusalOf([node("Tanh", "a", "out")], { layer: "b", output: "out" }),
    "INVALID_INPUT",
    /the graph has no layer "b"$/,
  ],
  "an output that is not there": [
    refusalOf([node("Tanh", "a", "out")], { layer: "a", output: "b" }),
    "INVALID_INPUT",
    /the graph has no output "b", wanted one of "out"$/,
  ],
  "a value with a name that the gradient needs": [
    refusalOf([node("Tanh", "a", "selection"), node("Tanh", "selection", "out")]),
    "NOT_SUPPORTED",
    /the graph has a value named "selection", a name that the gradient needs$/,
  ],
};

for (const [what, [attempt, code, wanted]] of Object.entries(REFUSED))
  test(`buildGradientGraphs() refuses ${what}`, () => {
    assert.throws(attempt, refused(code, wanted));
  });

test("sizes that a graph multiplies without end cost no time", async () => {
  const double = Array.from({ length: 80 }, (_, at) => node("Mul", `s${at} s${at}`, `s${at + 1}`));
  const sum = Array.from({ length: 80 }, (_, at) => node("Add", `t${at} t${at}`, `t${at + 1}`));
  const model = smallModel({
    inputs: { x: random([2, 3], 1) },
    nodes: [
      node("Identity", "x", "a"),
      node("Shape", "a", "s0"),
      ...double,
      node("Identity", "s80", "t0"),
      ...sum,
      node("Expand", "a t80", "out"),
    ],
    outputs: ["out"],
  });
  const started = performance.now();
  buildGradientGraphs(model, { layer: "a", output: "out" });
  assert.ok(performance.now() - started < 5000, "the sizes are given up, not multiplied out");
});

test("a graph older than operator set 11 is refused", () => {
  const model = smallModel({
    opset: 10,
    inputs: { x: random([2, 3], 1) },
    nodes: [node("Identity", "x", "a"), node("Tanh", "a", "out")],
    outputs: ["out"],
  });
  assert.throws(
    () => buildGradientGraphs(model, { layer: "a", output: "out" }),
    refused("NOT_SUPPORTED", /the graph is written in operator set 10, wanted 11 or later$/),
  );
});

function refused(code: string, wanted: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isRuntimeError(error), String(error));
    assert.equal(error.code, code);
    assert.match(error.message, wanted);
    return true;
  };
}
