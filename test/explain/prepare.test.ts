/**
 * Older, fused and half-precise graphs: the gradient graph made of them against central differences through the graph as
 * it was, with onnxruntime's own kernels.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { expandFused } from "../../runtime/explain/expand-fused.ts";
import { fusePatterns } from "../../runtime/explain/fuse-patterns.ts";
import { buildGradientGraphs } from "../../runtime/explain/gradient-graph.ts";
import {
  assertGradient,
  int64,
  node,
  openModel,
  pick,
  random,
  smallModel,
  toTensor,
  type Numbers,
  type SmallModel,
} from "../support/gradients.ts";

const out = { outputs: ["out"] };
const x = random([2, 3, 4], 1);
const ones: Numbers = { dims: [4], values: [1, 0.5, 2, 1.5] };

const OLD: Readonly<Record<string, SmallModel>> = {
  "Softmax over several axes at once (set 11)": {
    opset: 11,
    inputs: { x },
    nodes: [node("Softmax", "x", "out")],
    ...out,
  },
  "Softmax over the last axis (set 12)": {
    opset: 12,
    inputs: { x },
    nodes: [node("Softmax", "x", "out", { axis: 2 })],
    ...out,
  },
  "axes as attributes (set 11)": {
    opset: 11,
    inputs: { x },
    nodes: [
      node("Unsqueeze", "x", "wide", { axes: [0] }),
      node("Squeeze", "wide", "same", { axes: [0] }),
      node("ReduceSum", "same", "sum", { axes: [1], keepdims: 1 }),
      node("ReduceMean", "same", "mean", { axes: [-1], keepdims: 1 }),
      node("Mul", "same sum", "a"),
      node("Mul", "a mean", "b"),
      node("Split", "b", "c d", { axis: 2, split: [1, 3] }),
      node("Mul", "c d", "out"),
    ],
    ...out,
  },
  "Dropout with its ratio (set 11)": {
    opset: 11,
    inputs: { x },
    nodes: [
      node("Dropout", "x", "kept", { ratio: { float: 0.1 } }),
      node("Mul", "kept kept", "out"),
    ],
    ...out,
  },
  "equal parts (set 17)": {
    opset: 17,
    inputs: { x },
    nodes: [node("Split", "x", "a b", { axis: -1 }), node("Mul", "a b", "out")],
    ...out,
  },
  "an operand of which it shows at run time that it is stretched (set 12)": {
    opset: 12,
    inputs: { a: random([1, 4], 1), b: random([3, 4], 2) },
    nodes: [node("Mul", "a b", "out")],
    ...out,
  },
};

for (const [name, model] of Object.entries(OLD))
  test(`the gradient of an older graph equals differences: ${name}`, async () => {
    await assertGradient(model);
  });

/** LayerNorm as PyTorch exported it before set 17. */
const LAYER_NORM = [
  node("ReduceMean", "x axis", "mean"),
  node("Sub", "x mean", "centred"),
  node("Pow", "centred two", "square"),
  node("ReduceMean", "square axis", "variance"),
  node("Add", "variance epsilon", "sum"),
  node("Sqrt", "sum", "root"),
  node("Div", "centred root", "normal"),
  node("Mul", "normal scale", "scaled"),
  node("Add", "scaled bias", "out"),
];
const NORM_CONSTANTS = {
  axis: int64([1], -1),
  two: { dims: [], values: [2] },
  one: { dims: [], values: [1] },
  half: { dims: [], values: [0.5] },
  root2: { dims: [], values: [Math.SQRT2] },
  epsilon: { dims: [], values: [1e-5] },
  scale: ones,
  bias: random([4], 2),
};

const PATTERNS: Readonly<Record<string, { readonly model: SmallModel; readonly becomes: string }>> =
  {
    LayerNorm: {
      model: { inputs: { x }, constants: NORM_CONSTANTS, nodes: LAYER_NORM, ...out },
      becomes: "LayerNormalization",
    },
    RMSNorm: {
      model: {
        inputs: { x },
        constants: NORM_CONSTANTS,
        nodes: [
          node("Pow", "x two", "square"),
          node("ReduceMean", "square axis", "mean"),
          node("Add", "mean epsilon", "sum"),
          node("Sqrt", "sum", "root"),
          node("Reciprocal", "root", "inverse"),
          node("Mul", "x inverse", "normal"),
          node("Mul", "scale normal", "out"),
        ],
        ...out,
      },
      becomes: "SimplifiedLayerNormalization",
    },
    "RMSNorm by division": {
      model: {
        inputs: { x },
        constants: NORM_CONSTANTS,
        nodes: [
          node("Mul", "x x", "square"),
          node("ReduceMean", "square axis", "mean"),
          node("Add", "epsilon mean", "sum"),
          node("Sqrt", "sum", "root"),
          node("Div", "one root", "inverse"),
          node("Mul", "inverse x", "normal"),
          node("Mul", "normal scale", "out"),
        ],
        ...out,
      },
      becomes: "SimplifiedLayerNormalization",
    },
    ...Object.fromEntries(
      (
        [
          ["Mul x sum t", "Mul t half out"],
          ["Mul half x t", "Mul t sum out"],
          ["Mul sum half t", "Mul x t out"],
        ] as const
      ).map((products) => [
        `Gelu as ${products.join(", ")}`,
        {
          model: {
            inputs: { x },
            constants: NORM_CONSTANTS,
            nodes: [
              node("Div", "x root2", "scaled"),
              node("Erf", "scaled", "erf"),
              node("Add", "erf one", "sum"),
              ...products.map((text) => {
                const [op = "", a = "", b = "", to = ""] = text.split(" ");
                return node(op, `${a} ${b}`, to);
              }),
            ],
            ...out,
          } satisfies SmallModel,
          becomes: "Gelu",
        },
      ]),
    ),
  };

for (const [name, { model, becomes }] of Object.entries(PATTERNS))
  test(`${name} in small nodes becomes one, with the gradient of the small ones`, async () => {
    const last = fusePatterns(smallModel(model).graph).node.at(-1);
    assert.equal(last?.opType, becomes);
    await assertGradient(model);
  });

test("what only looks like a norm keeps its nodes", async () => {
  // A large ε, as the differences of two values that are nearly equal would make the function steep.
  const constants = { ...NORM_CONSTANTS, epsilon: { dims: [], values: [0.5] } };
  const model = { inputs: { x }, constants, ...out };
  // The first axis, and another value below the root.
  const wrongAxis = { ...constants, axis: int64([1], 0) };
  const first = { ...model, constants: wrongAxis, nodes: LAYER_NORM };
  const other = {
    ...model,
    nodes: [node("Exp", "x", "e"), ...LAYER_NORM.with(2, node("Pow", "e two", "square"))],
  };
  for (const changed of [first, other]) {
    assert.equal(fusePatterns(smallModel(changed).graph).node.at(-1)?.opType, "Add");
    await assertGradient(changed);
  }
});

const H = 8; // hidden, in two heads of four
const query = random([2, 3, H], 1);
const MASK = int64([2, 3], 1, 1, 1, 1, 1, 0);
const heads = { num_heads: 2 };

/** Tables of a rotation for ten places. */
function rotation(pairs: number): Record<"cos" | "sin", Numbers> {
  const table = (of: (angle: number) => number): Numbers => ({
    dims: [10, pairs],
    values: Array.from({ length: 10 * pairs }, (_, at) => of(at / 7)),
  });
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

const FUSED: Readonly<Record<string, SmallModel>> = {
  "SkipLayerNormalization with a bias": {
    inputs: { x, skip: random([2, 3, 4], 2) },
    constants: { scale: ones, beta: random([4], 3), bias: random([4], 4) },
    nodes: [node("microsoft.SkipLayerNormalization", "x skip scale beta bias", "out")],
    ...out,
  },
  "SkipLayerNormalization that gives its sum out": {
    inputs: { x, skip: random([2, 3, 4], 2) },
    constants: { scale: ones, beta: random([4], 3) },
    nodes: [
      node("microsoft.SkipLayerNormalization", "x skip scale beta", "y _ _ sum"),
      node("Mul", "y sum", "out"),
    ],
    ...out,
  },
  SkipSimplifiedLayerNormalization: {
    inputs: { x, skip: random([2, 3, 4], 2) },
    constants: { scale: ones },
    nodes: [
      node("microsoft.SkipSimplifiedLayerNormalization", "x skip scale", "y _ _ sum"),
      node("Mul", "y sum", "out"),
    ],
    ...out,
  },
  BiasGelu: {
    inputs: { x },
    constants: { bias: random([4], 4) },
    nodes: [node("microsoft.BiasGelu", "x bias", "out")],
    ...out,
  },
  "FastGelu with a bias": {
    inputs: { x },
    constants: { bias: random([4], 4) },
    nodes: [node("microsoft.FastGelu", "x bias", "out")],
    ...out,
  },
  FusedGemm: {
    inputs: { x: random([2, 3], 1) },
    constants: { w: random([3, 2], 2), b: random([2], 3) },
    nodes: [node("microsoft.FusedGemm", "x w b", "out", { activation: "Tanh" })],
    ...out,
  },
  "Attention with a mask": {
    inputs: { query, mask: { ...MASK, type: "int32" } },
    constants: { w: random([H, 3 * H], 2), b: random([3 * H], 3) },
    nodes: [node("microsoft.Attention", "query w b mask", "out", heads)],
    ...out,
  },
  "Attention, causal, with lengths": {
    inputs: { query, mask: { dims: [2], values: [3, 2], type: "int32" } },
    constants: { w: random([H, 3 * H], 2), b: random([3 * H], 3) },
    nodes: [node("microsoft.Attention", "query w b mask", "out", { ...heads, unidirectional: 1 })],
    ...out,
  },
  "MultiHeadAttention with a bias and a mask": {
    inputs: {
      query,
      key: random([2, 3, H], 2),
      value: random([2, 3, H], 3),
      mask: { ...MASK, type: "int32" },
    },
    constants: { b: random([3 * H], 4), added: random([1, 2, 3, 3], 5) },
    nodes: [node("microsoft.MultiHeadAttention", "query key value b mask added", "out", heads)],
    ...out,
  },
  ...Object.fromEntries(
    [0, 1].map((packed) => [
      `GroupQueryAttention that rotates${packed ? ", packed" : ""}`,
      {
        inputs: {
          query: random([2, 3, packed ? 64 : 32], 1), // two heads of 16, and one for keys and values
          ...(packed === 0 && { key: random([2, 3, 16], 2), value: random([2, 3, 16], 3) }),
          past_key: { dims: [2, 1, 0, 16], values: [] },
          past_value: { dims: [2, 1, 0, 16], values: [] },
        },
        constants: {
          ...rotation(8),
          lengths: { dims: [2], values: [2, 2], type: "int32" },
          total: { dims: [], values: [3], type: "int32" },
        },
        nodes: [
          node(
            "microsoft.GroupQueryAttention",
            `query ${packed ? "_ _" : "key value"} past_key past_value lengths total cos sin`,
            "out present_key present_value",
            { num_heads: 2, kv_num_heads: 1, do_rotary: 1, local_window_size: packed ? 2 : -1 },
          ),
        ],
        ...out,
      } satisfies SmallModel,
    ]),
  ),
  ...Object.fromEntries(
    [0, 1].map((interleaved) => [
      `RotaryEmbedding, interleaved ${interleaved}`,
      {
        inputs: { x: random([2, 2, 3, 4], 1) },
        constants: { ...rotation(2), places: int64([2, 3], 0, 1, 2, 3, 4, 5) },
        nodes: [node("microsoft.RotaryEmbedding", "x places cos sin", "out", { interleaved })],
        isStatic: true,
        ...out,
      } satisfies SmallModel,
    ]),
  ),
};

for (const [name, fused] of Object.entries(FUSED)) {
  const model = { isStatic: true, ...fused };
  test(`${name}: the gradient of its parts equals differences of the whole`, async () => {
    const types = expandFused(smallModel(model).graph).node.map(({ domain, opType }) => [
      domain,
      opType,
    ]);
    const kept = types.filter(([domain]) => domain === "com.microsoft");
    assert.ok(
      kept.every(([, op]) => op === "Gelu" || op === "FastGelu"),
      `everything but Gelu is taken apart: ${String(types)}`,
    );
    const isFloat = ({ type }: Numbers): boolean => type === undefined;
    const from = Object.entries(model.inputs)
      .filter(([, numbers]) => isFloat(numbers) && numbers.values.length > 0)
      .map(([input]) => input);
    await assertGradient(model, { from });
  });
}

test("a graph in float16 computes its gradient in float32", async () => {
  const model: SmallModel = {
    inputs: { x: random([2, 4], 1) },
    constants: { w: { ...random([4, 3], 2), type: "float16" } },
    nodes: [
      node("Cast", "x", "h", { to: 10 }),
      node("MatMul", "h w", "y"),
      node("Tanh", "y", "t"),
      node("Cast", "t", "out", { to: 1 }),
    ],
    ...out,
  };
  const { gradient } = buildGradientGraphs(smallModel(model), { layer: "h", output: "out" });
  const session = await openModel(gradient);
  const h = random([2, 4], 1);
  const answer = await session.run(
    pick(session, {
      h: toTensor(h, "float32"),
      selection: toTensor(random([2, 3], 3), "float32"),
    }),
  );
  assert.equal(answer["gradient"]?.type, "float32");
  assert.deepEqual(answer["gradient"]?.dims, [2, 4]);
  // By hand: g = (s ⊙ (1 − tanh²(h W))) Wᵀ, with W as float16 holds it: to three digits that of float32.
  const w = random([4, 3], 2).values;
  const s = random([2, 3], 3).values;
  const wanted = Array.from({ length: 8 }, (_, at) => {
    const [row, column] = [Math.floor(at / 4), at % 4];
    let sum = 0;
    for (let j = 0; j < 3; j++) {
      let product = 0;
      for (let k = 0; k < 4; k++) product += (h.values[row * 4 + k] ?? 0) * (w[k * 3 + j] ?? 0);
      sum += (s[row * 3 + j] ?? 0) * (1 - Math.tanh(product) ** 2) * (w[column * 3 + j] ?? 0);
    }
    return sum;
  });
  for (const [at, value] of (answer["gradient"].data as Float32Array).entries())
    assert.ok(Math.abs(value - (wanted[at] ?? NaN)) < 1e-3, `${value} is ${wanted[at]}`);
  await session.release();
});
