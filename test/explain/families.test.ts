/**
 * The ways in which families of models differ, as their exports write them, in miniature: the gradient against central
 * differences. Whole models are in `gradient-graph.test.ts`.
 *
 * Letters: `N` 2 texts, `T` 3 tokens, `H` 4 hidden, 2 heads of 2.
 */
import { test } from "node:test";

import {
  assertGradient,
  int64,
  node,
  random,
  type Numbers,
  type SmallModel,
  type SmallNode,
} from "../support/gradients.ts";

const [N, T, H] = [2, 3, 4];
const x = random([N, T, H], 1);
const MASK = int64([N, T], 1, 1, 1, 1, 1, 0);

function weight(seed: number, dims: readonly number[] = [H, H]): Numbers {
  return random(dims, seed);
}

const COMMON = {
  wq: weight(2),
  wk: weight(3),
  wv: weight(4),
  to_heads: int64([4], 0, 0, 2, 2),
  from_heads: int64([3], 0, 0, -1),
  root: { dims: [], values: [Math.SQRT2] },
  least: { dims: [], values: [-3.4e38] },
  zero: { dims: [], values: [0] },
  one: { dims: [], values: [1] },
  axis: int64([1], -1),
  axes: int64([2], 1, 2),
} satisfies Record<string, Numbers>;

/** `q`, `k` (turned) and `v` by heads. */
const HEADS = [
  ...["q", "k", "v"].flatMap((name) => [
    node("MatMul", `x w${name}`, `${name}_flat`),
    node("Reshape", `${name}_flat to_heads`, `${name}_wide`),
  ]),
  node("Transpose", "q_wide", "q", { perm: [0, 2, 1, 3] }),
  node("Transpose", "k_wide", "kt", { perm: [0, 2, 3, 1] }),
  node("Transpose", "v_wide", "v", { perm: [0, 2, 1, 3] }),
];

const MIX = [
  node("MatMul", "weights v", "mixed"),
  node("Transpose", "mixed", "together", { perm: [0, 2, 1, 3] }),
  node("Reshape", "together from_heads", "out"),
];

/** `[N, T]` → `[N, 1, 1, T]`: 0 or the least float32. */
const KEY_BIAS = [
  node("Unsqueeze", "attention_mask axes", "seen"),
  node("Cast", "seen", "seen_float", { to: 1 }),
  node("Sub", "one seen_float", "hidden"),
  node("Mul", "hidden least", "bias"),
];

interface Family {
  readonly opset?: number;
  readonly constants?: Readonly<Record<string, Numbers>>;
  readonly inputs?: Readonly<Record<string, Numbers>>;
  readonly nodes: readonly SmallNode[];
}

const FAMILIES: Readonly<Record<string, Family>> = {
  "BERT: scores, mask, Softmax": {
    inputs: { attention_mask: MASK },
    nodes: [
      ...HEADS,
      ...KEY_BIAS,
      node("MatMul", "q kt", "products"),
      node("Div", "products root", "scaled"),
      node("Add", "scaled bias", "scores"),
      node("Softmax", "scores", "weights", { axis: -1 }),
      ...MIX,
    ],
  },

  "DistilBERT before 2024: what is masked is filled in by Where and Expand": {
    inputs: { attention_mask: MASK },
    nodes: [
      ...HEADS,
      node("MatMul", "q kt", "products"),
      node("Unsqueeze", "attention_mask axes", "seen"),
      node("Cast", "seen", "seen_float", { to: 1 }),
      node("Equal", "seen_float zero", "is_hidden"),
      node("Shape", "products", "size"),
      node("Expand", "is_hidden size", "everywhere"),
      node("Where", "everywhere least products", "scores"),
      node("Softmax", "scores", "weights", { axis: 3 }),
      ...MIX,
    ],
  },

  "MPNet: a bias by relative position, from a table": {
    constants: {
      table: weight(5, [3, 2]),
      begin: int64([], 0),
      step: int64([], 1),
      low: int64([], -1),
      high: int64([], 1),
      first: int64([1], 0),
      last: int64([1], 1),
    },
    nodes: [
      ...HEADS,
      node("MatMul", "q kt", "products"),
      node("Shape", "x", "sizes"),
      node("Gather", "sizes step", "T"),
      node("Range", "begin T step", "places"),
      node("Unsqueeze", "places last", "rows"),
      node("Unsqueeze", "places first", "columns"),
      node("Sub", "columns rows", "distance"),
      node("Min", "distance high", "below"),
      node("Max", "below low", "bounded"),
      node("Add", "bounded step", "buckets"),
      node("Gather", "table buckets", "by_place"),
      node("Transpose", "by_place", "by_head", { perm: [2, 0, 1] }),
      node("Unsqueeze", "by_head first", "bias"),
      node("Add", "products bias", "scores"),
      node("Softmax", "scores", "weights", { axis: -1 }),
      ...MIX,
    ],
  },

  "DeBERTa: content by position and position by content, chosen by GatherElements": {
    constants: {
      positions: weight(6, [4, H]), // relative embeddings of span 2
      begin: int64([], 0),
      step: int64([], 1),
      span: int64([], 2),
      most: int64([], 3),
      first: int64([1], 0),
      last: int64([1], 1),
      flat: int64([3], -1, T, 2),
      by_head: int64([3], 4, 2, 2),
      batch: int64([4], N, 2, T, T),
      rest: int64([3], N * 2, T, T),
    },
    inputs: { attention_mask: MASK },
    nodes: [
      ...HEADS,
      node("Reshape", "q flat", "queries"),
      node("Transpose", "kt", "k", { perm: [0, 1, 3, 2] }),
      node("Reshape", "k flat", "keys"),
      node("Transpose", "keys", "keys_t", { perm: [0, 2, 1] }),
      node("MatMul", "queries keys_t", "content"),
      // δ(i, j) = clip(i − j + span, 0, 2 span − 1)
      node("Shape", "x", "sizes"),
      node("Gather", "sizes step", "T"),
      node("Range", "begin T step", "places"),
      node("Unsqueeze", "places last", "rows"),
      node("Unsqueeze", "places first", "columns"),
      node("Sub", "rows columns", "distance"),
      node("Add", "distance span", "shifted"),
      node("Clip", "shifted begin most", "delta"),
      node("Unsqueeze", "delta first", "delta_3"),
      node("Expand", "delta_3 rest", "chosen"),
      // Content by position: keys of the positions.
      node("MatMul", "positions wk", "pos_k"),
      node("Reshape", "pos_k by_head", "pos_k_wide"),
      node("Transpose", "pos_k_wide", "pos_k_t", { perm: [1, 2, 0] }),
      node("Concat", "pos_k_t pos_k_t", "pos_k_n", { axis: 0 }),
      node("MatMul", "queries pos_k_n", "c2p_all"),
      node("GatherElements", "c2p_all chosen", "c2p", { axis: -1 }),
      // Position by content: queries of the positions.
      node("MatMul", "positions wq", "pos_q"),
      node("Reshape", "pos_q by_head", "pos_q_wide"),
      node("Transpose", "pos_q_wide", "pos_q_t", { perm: [1, 2, 0] }),
      node("Concat", "pos_q_t pos_q_t", "pos_q_n", { axis: 0 }),
      node("MatMul", "keys pos_q_n", "p2c_all"),
      node("GatherElements", "p2c_all chosen", "p2c_turned", { axis: -1 }),
      node("Transpose", "p2c_turned", "p2c", { perm: [0, 2, 1] }),
      node("Add", "content c2p", "some"),
      node("Add", "some p2c", "all"),
      node("Div", "all root", "scaled"),
      node("Reshape", "scaled batch", "scores"),
      // XSoftmax: fill, Softmax, fill again.
      node("Unsqueeze", "attention_mask axes", "seen"),
      node("Cast", "seen", "is_seen", { to: 9 }),
      node("Not", "is_seen", "is_hidden"),
      node("Where", "is_hidden least scores", "filled"),
      node("Softmax", "filled", "soft", { axis: -1 }),
      node("Where", "is_hidden zero soft", "weights"),
      ...MIX,
    ],
  },

  "ALBERT: the same weights in every layer": {
    nodes: [
      node("MatMul", "x wq", "a"),
      node("Tanh", "a", "b"),
      node("Add", "b x", "c"),
      node("MatMul", "c wq", "d"),
      node("Tanh", "d", "e"),
      node("Add", "e c", "out"),
    ],
  },

  "GPT-2: one Gemm for three, a triangle cut from a table, Gelu by Tanh": {
    constants: {
      w: weight(5, [H, 3 * H]),
      b: weight(6, [3 * H]),
      rows: int64([2], -1, H),
      triangle: {
        dims: [1, 1, 5, 5],
        values: Array.from({ length: 25 }, (_, at) => Number(at % 5 <= Math.floor(at / 5))),
        type: "bool",
      },
      begin: int64([1], 0),
      one_1: int64([1], 1),
      two_1: int64([1], 2),
      three_1: int64([1], 3),
      width: int64([1], 3 * H),
      half: { dims: [], values: [0.5] },
      three: { dims: [], values: [3] },
      cubic: { dims: [], values: [0.044715] },
      factor: { dims: [], values: [Math.sqrt(2 / Math.PI)] },
    },
    nodes: [
      node("Reshape", "x rows", "flat"),
      node("Gemm", "flat w b", "all_flat"),
      node("Shape", "x", "sizes"),
      node("Slice", "sizes begin two_1", "lead"),
      node("Concat", "lead width", "whole", { axis: 0 }),
      node("Reshape", "all_flat whole", "all"),
      node("Split", "all", "q_flat k_flat v_flat", { axis: 2, num_outputs: 3 }),
      ...HEADS.filter(({ op }) => op !== "MatMul"),
      node("MatMul", "q kt", "products"),
      node("Div", "products root", "scaled"),
      node("Slice", "sizes one_1 two_1", "T"),
      node("Slice", "triangle begin T two_1 one_1", "tall"),
      node("Slice", "tall begin T three_1 one_1", "seen"),
      node("Where", "seen scaled least", "scores"),
      node("Softmax", "scores", "weights", { axis: 3 }),
      ...MIX.slice(0, 2),
      node("Reshape", "together from_heads", "h"),
      node("Pow", "h three", "cube"),
      node("Mul", "cube cubic", "bent"),
      node("Add", "h bent", "sum"),
      node("Mul", "sum factor", "inner"),
      node("Tanh", "inner", "tanh"),
      node("Add", "tanh one", "shifted"),
      node("Mul", "h half", "halved"),
      node("Mul", "halved shifted", "out"),
    ],
  },

  "Llama: rotated pairs, keys of few heads, SiLU": {
    constants: {
      wide: weight(5, [H, 2]),
      frequencies: { dims: [1, 1, 1], values: [0.7] },
      key_heads: int64([4], 0, 0, 1, 2),
      repeat: int64([5], 1, 1, 2, 1, 1),
      all_heads: int64([4], 0, 2, -1, 2),
      begin: int64([], 0),
      step: int64([], 1),
      first: int64([1], 0),
      second: int64([1], 1),
      third: int64([1], 2),
      end: int64([1], 9e15),
      last: int64([1], 3),
    },
    nodes: [
      node("MatMul", "x wq", "q_flat"),
      node("Reshape", "q_flat to_heads", "q_wide"),
      node("Transpose", "q_wide", "q_plain", { perm: [0, 2, 1, 3] }),
      node("MatMul", "x wide", "k_flat"),
      node("Reshape", "k_flat key_heads", "k_wide"),
      node("Transpose", "k_wide", "k_plain", { perm: [0, 2, 1, 3] }),
      node("Shape", "x", "sizes"),
      node("Gather", "sizes step", "T"),
      node("Range", "begin T step", "places"),
      node("Cast", "places", "angles", { to: 1 }),
      node("Unsqueeze", "angles second", "column"),
      node("Mul", "column frequencies", "phase"),
      node("Concat", "phase phase", "phases", { axis: -1 }),
      node("Cos", "phases", "cos_3"),
      node("Sin", "phases", "sin_3"),
      node("Unsqueeze", "cos_3 second", "cos"),
      node("Unsqueeze", "sin_3 second", "sin"),
      ...["q", "k"].flatMap((name) => [
        node("Mul", `${name}_plain cos`, `${name}_cos`),
        node("Slice", `${name}_plain first second last`, `${name}_left`),
        node("Slice", `${name}_plain second end last`, `${name}_right`),
        node("Neg", `${name}_right`, `${name}_minus`),
        node("Concat", `${name}_minus ${name}_left`, `${name}_turned`, { axis: -1 }),
        node("Mul", `${name}_turned sin`, `${name}_sin`),
        node("Add", `${name}_cos ${name}_sin`, name),
      ]),
      node("Unsqueeze", "k third", "k_5"),
      node("Expand", "k_5 repeat", "k_many"),
      node("Reshape", "k_many all_heads", "keys"),
      node("Transpose", "keys", "kt", { perm: [0, 1, 3, 2] }),
      node("MatMul", "q kt", "products"),
      node("Trilu", "products", "triangle", { upper: 0 }),
      node("Softmax", "triangle", "weights", { axis: -1 }),
      node("MatMul", "weights keys", "mixed"),
      node("Transpose", "mixed", "together", { perm: [0, 2, 1, 3] }),
      node("Reshape", "together from_heads", "h"),
      node("Sigmoid", "h", "gate"),
      node("Mul", "h gate", "silu"),
      node("Mul", "silu x", "out"),
    ],
  },

  "a sentence's embedding: the mean of what is not masked, of length 1": {
    inputs: { attention_mask: MASK },
    constants: {
      two: int64([1], 2),
      tokens: int64([1], 1),
      least_length: { dims: [], values: [1e-9] },
    },
    nodes: [
      node("Unsqueeze", "attention_mask two", "mask"),
      node("Shape", "x", "sizes"),
      node("Expand", "mask sizes", "mask_all"),
      node("Cast", "mask_all", "mask_float", { to: 1 }),
      node("Mul", "x mask_float", "kept"),
      node("ReduceSum", "kept tokens", "sum", { keepdims: 0 }),
      node("ReduceSum", "mask_float tokens", "count", { keepdims: 0 }),
      node("Clip", "count least_length", "counted"),
      node("Div", "sum counted", "mean"),
      node("ReduceL2", "mean axis", "length", { keepdims: 1 }),
      node("Clip", "length least_length", "long"),
      node("Shape", "mean", "mean_sizes"),
      node("Expand", "long mean_sizes", "lengths"),
      node("Div", "mean lengths", "out"),
    ],
  },
};

for (const [name, { nodes, constants, inputs, ...rest }] of Object.entries(FAMILIES)) {
  test(`${name}: the gradient equals differences`, async () => {
    const model: SmallModel = {
      ...rest,
      inputs: { x, ...inputs },
      constants: { ...COMMON, ...constants },
      nodes,
      outputs: ["out"],
    };
    await assertGradient(model);
    await assertGradient({ ...model, isStatic: true });
  });
}
