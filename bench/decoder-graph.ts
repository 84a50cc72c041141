/**
 * The graph of a decoder with a cache and random weights, as it is exported for transformers.js: GPT-2's kind and Llama's.
 *
 * Node for node what PyTorch's eager attention becomes; nothing is fused. Keys and values come in as `past_key_values.<layer>.key` and
 * `.value` and go out as `present.…`, one column longer for each token read. Speed does not depend on the weights' values, so
 * they are drawn. The scores' matrix is that of the embedding, transposed.
 *
 * Letters: `B` rows, `N` new tokens of each, `T` tokens in the cache afterwards, `H` hidden size, `D` a head's dimensions, `V` vocabulary.
 */
import { drawWeights } from "./encoder-graph.ts";
import { createGraphWriter, type GraphWriter } from "./onnx-writer.ts";
import { createRandom } from "./random.ts";

/** What a model is in numbers. */
export interface DecoderShape {
  /** `gpt2`: learned positions, LayerNorm, GELU, biases. `llama`: rotated ones (RoPE), RMSNorm, SwiGLU, shared heads of keys and values. */
  readonly kind: "gpt2" | "llama";
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Heads of keys and values; as many as `heads` where each has its own. */
  readonly keyHeads: number;
  /** Width of the feed-forward layer. */
  readonly intermediate: number;
  readonly vocabulary: number;
  /** The most tokens of a sequence. */
  readonly positions: number;
  /** The weights' standard deviation; BERT's where absent. Larger ones make small models write more than one token. */
  readonly deviation?: number;
}

/** LayerNormalization came with 17. */
const OPSET = 17;
/** What a score gets that may not be looked at: the lowest float32, as PyTorch's exports have it. */
const MASKED = -3.4028234663852886e38;
/** Of both kinds' normalizations, in their configurations. */
const EPSILON = 1e-5;
/** Llama's `rope_theta`. */
const ROTATION_BASE = 10_000;

/** @param seed The same seed gives the same weights. */
export function writeDecoder(file: string, shape: DecoderShape, seed: number): void {
  const graph = createGraphWriter("decoder");
  const layer = createLayers(graph, seed, shape.deviation);
  const { hidden: H, heads, keyHeads, vocabulary: V } = shape;
  const D = H / heads;

  const rows = ["batch_size", "sequence_length"]; // the names that transformers.js knows
  const ids = graph.input({ name: "input_ids", type: "int64", shape: rows });
  const all = ["batch_size", "total_sequence_length"];
  const mask = graph.input({ name: "attention_mask", type: "int64", shape: all });
  const positions = graph.input({ name: "position_ids", type: "int64", shape: rows });
  const table = layer.weights([V, H]);
  let x = graph.node("Gather", [table, ids]);
  if (shape.kind === "gpt2")
    x = graph.node("Add", [
      x,
      graph.node("Gather", [layer.weights([shape.positions, H]), positions]),
    ]);
  const rotate = shape.kind === "llama" ? layer.rotation(positions, D) : (heads: string) => heads;
  const bias = layer.causalBias(ids, mask);

  /** `[B, N, width]` → `[B, heads, N, D]`. */
  const toHeads = (x: string, count: number): string =>
    graph.node("Transpose", [graph.node("Reshape", [x, layer.ints([0, 0, count, D])])], {
      perm: [0, 2, 1, 3],
    });

  /** Puts what was read before in front: `[B, heads, T, D]`. */
  function cached(index: number, part: "key" | "value", fresh: string): string {
    const shapeOf = (columns: string) => ["batch_size", keyHeads, columns, D];
    const past = graph.input({
      name: `past_key_values.${index}.${part}`,
      type: "float32",
      shape: shapeOf("past_sequence_length"),
    });
    const present = `present.${index}.${part}`;
    graph.node("Concat", [past, fresh], { axis: 2 }, present);
    graph.output({ name: present, type: "float32", shape: shapeOf("total_sequence_length") });
    if (keyHeads === heads) return present;
    const apart = graph.node("Unsqueeze", [present, layer.ints([2])]);
    const repeated = graph.node("Expand", [apart, layer.ints([1, 1, heads / keyHeads, 1, 1])]);
    return graph.node("Reshape", [repeated, layer.ints([0, heads, -1, D])]);
  }

  function attend(index: number, x: string): string {
    const [query, key, value] = layer.project(shape.kind, x, H, keyHeads * D);
    const keys = cached(index, "key", rotate(toHeads(key, keyHeads)));
    const values = cached(index, "value", toHeads(value, keyHeads));
    const turned = graph.node("Transpose", [keys], { perm: [0, 1, 3, 2] });
    const products = graph.node("MatMul", [rotate(toHeads(query, heads)), turned]);
    const scaled = graph.node("Mul", [products, layer.scalar(1 / Math.sqrt(D))]);
    const shares = graph.node("Softmax", [graph.node("Add", [scaled, bias])], { axis: -1 });
    const mixed = graph.node("Transpose", [graph.node("MatMul", [shares, values])], {
      perm: [0, 2, 1, 3],
    });
    const joined = graph.node("Reshape", [mixed, layer.ints([0, 0, H])]);
    return layer.linear(joined, H, H, shape.kind === "gpt2");
  }

  function feedForward(x: string): string {
    const W = shape.intermediate;
    if (shape.kind === "gpt2")
      return layer.linear(layer.gelu(layer.linear(x, H, W, true)), W, H, true);
    const gate = layer.linear(x, H, W, false);
    const opened = graph.node("Mul", [gate, graph.node("Sigmoid", [gate])]);
    const widened = graph.node("Mul", [opened, layer.linear(x, H, W, false)]);
    return layer.linear(widened, W, H, false);
  }

  for (let index = 0; index < shape.layers; index++) {
    x = graph.node("Add", [x, attend(index, layer.normalize(shape.kind, x, H))]);
    x = graph.node("Add", [x, feedForward(layer.normalize(shape.kind, x, H))]);
  }
  const turned = graph.node("Transpose", [table], { perm: [1, 0] });
  graph.node("MatMul", [layer.normalize(shape.kind, x, H), turned], {}, "logits");
  graph.output({ name: "logits", type: "float32", shape: [...rows, V] });
  graph.write(file, OPSET);
}

interface Layers {
  readonly ints: (values: readonly number[]) => string;
  readonly scalar: (value: number) => string;
  readonly weights: (dims: readonly number[]) => string;
  readonly linear: (x: string, from: number, to: number, hasBias: boolean) => string;
  /** Query `[B, N, H]`, key and value `[B, N, width]`. */
  readonly project: (
    kind: DecoderShape["kind"],
    x: string,
    H: number,
    width: number,
  ) => readonly [query: string, key: string, value: string];
  readonly normalize: (kind: DecoderShape["kind"], x: string, H: number) => string;
  readonly gelu: (x: string) => string;
  /** 0 where a new token may look, `MASKED` elsewhere: `[B, 1, N, T]`. */
  readonly causalBias: (ids: string, mask: string) => string;
  /** What turns heads `[B, heads, N, D]` by their positions. */
  readonly rotation: (positions: string, D: number) => (heads: string) => string;
}

function createLayers(graph: GraphWriter, seed: number, deviation?: number): Layers {
  const random = createRandom(seed);
  const ints = (values: readonly number[]): string =>
    graph.constant("int64", [values.length], BigInt64Array.from(values, BigInt));
  const index = (value: number): string =>
    graph.constant("int64", [], BigInt64Array.of(BigInt(value)));
  const scalar = (value: number): string => graph.constant("float32", [], Float32Array.of(value));
  const ones = (H: number): string => graph.constant("float32", [H], new Float32Array(H).fill(1));
  const weights = (dims: readonly number[]): string =>
    graph.constant("float32", dims, drawWeights(random, dims, deviation));

  function linear(x: string, from: number, to: number, hasBias: boolean): string {
    const product = graph.node("MatMul", [x, weights([from, to])]);
    return hasBias ? graph.node("Add", [product, weights([to])]) : product;
  }

  /** The second dimension's size, a scalar. */
  const lengthOf = (x: string): string =>
    graph.node("Gather", [graph.node("Shape", [x]), index(1)], { axis: 0 });

  return {
    ints,
    scalar,
    weights,
    linear,
    project(kind, x, H, width) {
      if (kind === "llama")
        return [linear(x, H, H, false), linear(x, H, width, false), linear(x, H, width, false)];
      const joint = linear(x, H, H + 2 * width, true);
      const query = graph.node("Split", [joint, ints([H, width, width])], { axis: 2 }, 3);
      return [query, `${query}.1`, `${query}.2`];
    },
    normalize(kind, x, H) {
      if (kind === "gpt2") {
        const shift = graph.constant("float32", [H], new Float32Array(H));
        return graph.node("LayerNormalization", [x, ones(H), shift], {
          axis: -1,
          epsilon: { float: EPSILON },
        });
      }
      const squares = graph.node("Pow", [x, scalar(2)]);
      const mean = graph.node("ReduceMean", [squares], { axes: [-1], keepdims: 1 });
      const root = graph.node("Sqrt", [graph.node("Add", [mean, scalar(EPSILON)])]);
      const scaled = graph.node("Mul", [x, graph.node("Div", [scalar(1), root])]);
      return graph.node("Mul", [ones(H), scaled]);
    },
    /** By the hyperbolic tangent, GPT-2's `gelu_new`. */
    gelu(x) {
      const cubed = graph.node("Mul", [graph.node("Pow", [x, scalar(3)]), scalar(0.044715)]);
      const inner = graph.node("Mul", [
        graph.node("Add", [x, cubed]),
        scalar(Math.sqrt(2 / Math.PI)),
      ]);
      const opened = graph.node("Add", [graph.node("Tanh", [inner]), scalar(1)]);
      return graph.node("Mul", [graph.node("Mul", [x, scalar(0.5)]), opened]);
    },
    causalBias(ids, mask) {
      const total = lengthOf(mask);
      const before = graph.node("Sub", [total, lengthOf(ids)]);
      const columns = graph.node("Range", [index(0), total, index(1)]);
      const own = graph.node("Range", [before, total, index(1)]);
      const ownColumn = graph.node("Unsqueeze", [own, ints([1])]); // [N, 1]
      const isBefore = graph.node("LessOrEqual", [columns, ownColumn]); // [N, T]
      const wide = graph.node("Unsqueeze", [mask, ints([1, 2])]);
      const isToken = graph.node("Cast", [wide], { to: 9 }); // bool, [B, 1, 1, T]
      const isSeen = graph.node("And", [isBefore, isToken]);
      return graph.node("Where", [isSeen, scalar(0), scalar(MASKED)]);
    },
    rotation(positions, D) {
      const half = D / 2;
      const rates = Float32Array.from({ length: half }, (_, i) => ROTATION_BASE ** (-(2 * i) / D));
      const rate = graph.constant("float32", [1, 1, half], rates);
      const place = graph.node("Cast", [graph.node("Unsqueeze", [positions, ints([2])])], {
        to: 1,
      });
      const angles = graph.node("MatMul", [place, rate]); // [B, N, D / 2]
      const twice = graph.node("Concat", [angles, angles], { axis: -1 });
      const [cosine, sine] = ["Cos", "Sin"].map((op) =>
        graph.node("Unsqueeze", [graph.node(op, [twice]), ints([1])]),
      );
      return (heads) => {
        const part = (from: number, to: number): string =>
          graph.node("Slice", [heads, ints([from]), ints([to]), ints([3])]);
        const turned = graph.node("Concat", [graph.node("Neg", [part(half, D)]), part(0, half)], {
          axis: -1,
        });
        return graph.node("Add", [
          graph.node("Mul", [heads, cosine!]),
          graph.node("Mul", [turned, sine!]),
        ]);
      };
    },
  };
}
