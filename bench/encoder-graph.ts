/**
 * The graph of a BERT-like encoder with random weights, node for node as PyTorch exports it.
 *
 * Speed does not depend on the weights' values, so they are drawn. In int8 every product with a weight is what
 * onnxruntime's `quantize_dynamic` makes of it: activations to uint8 at run time, weights to int8 per tensor.
 *
 * Letters: `B` texts, `T` tokens, `H` hidden size, `N` heads, `D` dimensions of a head (`H = N·D`), `V` vocabulary.
 */
import { createGraphWriter, type GraphWriter } from "./onnx-writer.ts";
import { createRandom, type Random } from "./random.ts";

/** What a model is in numbers. */
export interface EncoderShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Width of the feed-forward layer. */
  readonly intermediate: number;
  readonly vocabulary: number;
  /** The most tokens of a text. */
  readonly positions: number;
  /** Whether it has token types, as BERT does and DistilBERT does not. */
  readonly hasTokenTypes: boolean;
  /** The labels of a sequence classifier; absent for an encoder that answers with its last hidden state. */
  readonly labels?: number;
}

export type Precision = "fp32" | "int8";

/** LayerNormalization came with 17. */
const OPSET = 17;
/** BERT's `initializer_range`. */
const WEIGHT_DEVIATION = 0.02;
/** What a masked position's score gets: the lowest float32, as PyTorch's exports have it. */
const MASKED = -3.4028234663852886e38;

/**
 * Writes the model's graph.
 *
 * @param seed The same seed gives the same weights in both precisions.
 */
export function writeEncoder(
  file: string,
  shape: EncoderShape,
  precision: Precision,
  seed: number,
): void {
  const graph = createGraphWriter("encoder");
  const layer = createLayers(graph, precision, createRandom(seed));
  const { hidden: H, heads: N } = shape;
  const D = H / N;

  const ids = graph.input({ name: "input_ids", type: "int64", shape: ["B", "T"] });
  const mask = graph.input({ name: "attention_mask", type: "int64", shape: ["B", "T"] });
  let x = layer.embed(ids, shape.vocabulary, H);
  const length = graph.node("Gather", [graph.node("Shape", [ids]), layer.ints([1])], { axis: 0 });
  const positions = layer.floats([shape.positions, H]);
  const slice = graph.node("Slice", [positions, layer.ints([0]), length, layer.ints([0])]);
  x = graph.node("Add", [x, slice]);
  if (shape.hasTokenTypes) {
    const types = graph.input({ name: "token_type_ids", type: "int64", shape: ["B", "T"] });
    x = graph.node("Add", [x, layer.embed(types, 2, H)]);
  }
  x = layer.normalize(x, H);

  // 0 where a token is, MASKED where padding is: [B, 1, 1, T].
  const wide = graph.node("Unsqueeze", [mask, layer.ints([1, 2])]);
  const present = graph.node("Cast", [wide], { to: 1 });
  const absent = graph.node("Sub", [layer.scalar(1), present]);
  const bias = graph.node("Mul", [absent, layer.scalar(MASKED)]);

  const toHeads = layer.ints([0, 0, N, D]); // 0 keeps the dimension
  const toHidden = layer.ints([0, 0, H]);
  for (let i = 0; i < shape.layers; i++) {
    const feed = layer.feed(x);
    const [query, key, value] = [
      [0, 2, 1, 3],
      [0, 2, 3, 1],
      [0, 2, 1, 3],
    ].map((perm) =>
      graph.node("Transpose", [graph.node("Reshape", [layer.linear(feed, H, H), toHeads])], {
        perm,
      }),
    );
    const products = graph.node("MatMul", [query!, key!]);
    const scaled = graph.node("Div", [products, layer.scalar(Math.sqrt(D))]);
    const weights = graph.node("Softmax", [graph.node("Add", [scaled, bias])], { axis: -1 });
    const mixed = graph.node("MatMul", [weights, value!]);
    const joined = graph.node("Transpose", [mixed], { perm: [0, 2, 1, 3] });
    const context = graph.node("Reshape", [joined, toHidden]);
    const attended = layer.linear(layer.feed(context), H, H);
    x = layer.normalize(graph.node("Add", [attended, x]), H);
    const widened = layer.gelu(layer.linear(layer.feed(x), H, shape.intermediate));
    const narrowed = layer.linear(layer.feed(widened), shape.intermediate, H);
    x = layer.normalize(graph.node("Add", [narrowed, x]), H);
  }

  if (shape.labels === undefined) {
    graph.node("Identity", [x], {}, "last_hidden_state");
    graph.output({ name: "last_hidden_state", type: "float32", shape: ["B", "T", H] });
  } else {
    const first = graph.node("Gather", [x, layer.index(0)], { axis: 1 }); // [CLS]: [B, H]
    const dense = graph.node("Relu", [layer.linear(layer.feed(first), H, H)]);
    const logits = layer.linear(layer.feed(dense), H, shape.labels);
    graph.node("Identity", [logits], {}, "logits");
    graph.output({ name: "logits", type: "float32", shape: ["B", shape.labels] });
  }
  graph.write(file, OPSET);
}

/** An activation on its way into one or more products; in int8 they share its quantized form. */
type Feed =
  | { readonly kind: "float"; readonly name: string }
  | {
      readonly kind: "uint8";
      readonly data: string;
      readonly scale: string;
      readonly zero: string;
    };

interface Layers {
  readonly ints: (values: readonly number[]) => string;
  readonly index: (value: number) => string;
  readonly scalar: (value: number) => string;
  readonly floats: (dims: readonly number[]) => string;
  readonly embed: (ids: string, rows: number, H: number) => string;
  readonly feed: (x: string) => Feed;
  readonly linear: (x: Feed, from: number, to: number) => string;
  readonly normalize: (x: string, H: number) => string;
  readonly gelu: (x: string) => string;
}

function createLayers(graph: GraphWriter, precision: Precision, random: Random): Layers {
  const ints = (values: readonly number[]): string =>
    graph.constant("int64", [values.length], BigInt64Array.from(values, BigInt));
  const scalar = (value: number): string => graph.constant("float32", [], Float32Array.of(value));
  const floats = (dims: readonly number[]): string =>
    graph.constant("float32", dims, drawWeights(random, dims));

  return {
    ints,
    scalar,
    floats,
    index: (value) => graph.constant("int64", [], BigInt64Array.of(BigInt(value))),
    embed(ids, rows, H) {
      const table = drawWeights(random, [rows, H]);
      if (precision === "fp32")
        return graph.node("Gather", [graph.constant("float32", [rows, H], table), ids]);
      const { data, scale } = quantize(table);
      const row = graph.node("Gather", [graph.constant("int8", [rows, H], data), ids]);
      const zero = graph.constant("int8", [], Int8Array.of(0));
      return graph.node("DequantizeLinear", [row, scalar(scale), zero]);
    },
    feed(x) {
      if (precision === "fp32") return { kind: "float", name: x };
      const data = graph.node("DynamicQuantizeLinear", [x], {}, 3);
      return { kind: "uint8", data, scale: `${data}.1`, zero: `${data}.2` };
    },
    linear(x, from, to) {
      const weights = drawWeights(random, [from, to]);
      const bias = floats([to]);
      if (x.kind === "float") {
        const product = graph.node("MatMul", [
          x.name,
          graph.constant("float32", [from, to], weights),
        ]);
        return graph.node("Add", [product, bias]);
      }
      const { data, scale } = quantize(weights);
      const product = graph.node("MatMulInteger", [
        x.data,
        graph.constant("int8", [from, to], data),
        x.zero,
        graph.constant("int8", [], Int8Array.of(0)),
      ]);
      const factor = graph.node("Mul", [x.scale, scalar(scale)]);
      const real = graph.node("Mul", [graph.node("Cast", [product], { to: 1 }), factor]);
      return graph.node("Add", [real, bias]);
    },
    normalize(x, H) {
      const scale = graph.constant("float32", [H], new Float32Array(H).fill(1));
      const shift = graph.constant("float32", [H], new Float32Array(H));
      const epsilon = { float: 1e-12 }; // BERT's layer_norm_eps
      return graph.node("LayerNormalization", [x, scale, shift], { axis: -1, epsilon });
    },
    gelu(x) {
      const erf = graph.node("Erf", [graph.node("Div", [x, scalar(Math.SQRT2)])]);
      const product = graph.node("Mul", [x, graph.node("Add", [erf, scalar(1)])]);
      return graph.node("Mul", [product, scalar(0.5)]);
    },
  };
}

/** Uniform, with BERT's standard deviation unless told. */
export function drawWeights(
  random: Random,
  dims: readonly number[],
  deviation = WEIGHT_DEVIATION,
): Float32Array {
  const size = dims.reduce((product, dim) => product * dim, 1);
  const reach = deviation * Math.sqrt(12);
  const weights = new Float32Array(size);
  for (let i = 0; i < size; i++) weights[i] = (random() - 0.5) * reach;
  return weights;
}

/** Symmetric, one scale for the whole tensor. */
function quantize(weights: Float32Array): { data: Int8Array; scale: number } {
  const most = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  const scale = most / 127;
  return { data: Int8Array.from(weights, (weight) => Math.round(weight / scale)), scale };
}
