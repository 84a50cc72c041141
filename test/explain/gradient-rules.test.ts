/**
 * Every gradient rule against central differences, through onnxruntime: in float64 where its kernels know it, where
 * the two agree to seven digits; in float32 elsewhere, to three.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RULES } from "../../runtime/explain/rules/registry.ts";
import {
  assertGradient,
  int64,
  node,
  random,
  type FloatType,
  type Numbers,
  type SmallNode,
} from "../support/gradients.ts";

interface Case {
  readonly inputs: Readonly<Record<string, Numbers>>;
  readonly constants?: Readonly<Record<string, Numbers>>;
  readonly nodes: readonly SmallNode[];
  readonly opset?: number;
  readonly type?: FloatType;
  readonly from?: readonly string[];
}

const x = random([2, 3], 1);
const y = random([2, 3], 2);
/** Away from zero, for what has a pole or a bend there. */
const positive = random([2, 3], 3, 0.5, 2);
const apart: Numbers = { dims: [2, 3], values: [-1.3, 0.4, 2.1, -0.6, 1.2, -2.4] };

/** An operator on `x` alone. */
function unary(
  op: string,
  from: Numbers = x,
  more: Partial<Case> & { readonly attributes?: SmallNode["attributes"] } = {},
): Case {
  const { attributes = {}, ...rest } = more;
  return {
    type: "float64",
    inputs: { x: from },
    nodes: [node(op, "x", "out", attributes)],
    ...rest,
  };
}

/** An operator on `a` and `b`. */
function binary(op: string, a: Numbers, b: Numbers, more: Partial<Case> = {}): Case {
  return { type: "float64", inputs: { a, b }, nodes: [node(op, "a b", "out")], ...more };
}

const FLOAT32 = { type: "float32" } as const;

/** Rule → its cases; a test below says that no rule is missing. */
const CASES: Readonly<Record<string, Readonly<Record<string, Case>>>> = {
  Add: {
    "equal shapes": binary("Add", x, y),
    "a row": binary("Add", x, random([3], 4)),
    "both stretched": binary("Add", random([2, 1, 3], 5), random([4, 1], 6)),
    "a scalar": binary("Add", random([], 5), x),
    "the same value twice": { inputs: { x }, nodes: [node("Add", "x x", "out")], type: "float64" },
  },
  Sub: { "equal shapes": binary("Sub", x, y), "a column": binary("Sub", random([2, 1], 4), x) },
  Mul: {
    "equal shapes": binary("Mul", x, y),
    "both stretched": binary("Mul", random([2, 1, 3], 5), random([4, 1], 6)),
    "a square": { inputs: { x }, nodes: [node("Mul", "x x", "out")], type: "float64" },
  },
  Div: {
    "equal shapes": binary("Div", x, positive),
    "by a column": binary("Div", x, random([2, 1], 4, 0.5, 2)),
  },
  Pow: {
    "two operands": binary("Pow", positive, y),
    "a square": {
      ...unary("Pow", x),
      nodes: [node("Pow", "x two", "out")],
      constants: { two: { dims: [], values: [2] } },
    },
    "a cube by an int64": {
      ...unary("Pow", x),
      nodes: [node("Pow", "x three", "out")],
      constants: { three: int64([], 3) },
    },
  },
  Sum: {
    "three operands": {
      type: "float32",
      inputs: { a: x, b: y, c: random([3], 9) },
      nodes: [node("Sum", "a b c", "out")],
    },
  },
  Mean: {
    "three operands": {
      type: "float32",
      inputs: { a: x, b: y, c: random([3], 9) },
      nodes: [node("Mean", "a b c", "out")],
    },
  },
  Max: {
    "two operands": binary("Max", apart, random([3], 4, -0.1, 0.1)),
    "three operands": {
      type: "float64",
      inputs: { a: apart, b: random([3], 4, -0.1, 0.1), c: { dims: [], values: [0.9] } },
      nodes: [node("Max", "a b c", "out")],
    },
  },
  Min: { "two operands": binary("Min", apart, random([3], 4, -0.1, 0.1)) },
  Where: {
    "stretched operands": {
      type: "float64",
      inputs: {
        c: { dims: [2, 1], values: [1, 0], type: "bool" },
        a: random([3], 1),
        b: x,
      },
      nodes: [node("Where", "c a b", "out")],
    },
  },

  Identity: { plain: unary("Identity") },
  Dropout: { plain: unary("Dropout") },
  Neg: { plain: unary("Neg") },
  Abs: { plain: unary("Abs", apart) },
  Exp: { plain: unary("Exp") },
  Log: { plain: unary("Log", positive) },
  Sqrt: { plain: unary("Sqrt", positive) },
  Reciprocal: { plain: unary("Reciprocal", positive) },
  Erf: { plain: unary("Erf", x, FLOAT32) },
  Tanh: { plain: unary("Tanh") },
  Sigmoid: { plain: unary("Sigmoid") },
  Softplus: { plain: unary("Softplus", x, FLOAT32) },
  Sin: { plain: unary("Sin") },
  Cos: { plain: unary("Cos", x, FLOAT32) },
  Relu: { plain: unary("Relu", apart) },
  LeakyRelu: {
    plain: unary("LeakyRelu", apart, { ...FLOAT32, attributes: { alpha: { float: 0.2 } } }),
  },
  Clip: {
    "both bounds": {
      ...unary("Clip", apart),
      nodes: [node("Clip", "x least most", "out")],
      constants: { least: { dims: [], values: [-1] }, most: { dims: [], values: [1] } },
    },
    "the upper bound": {
      ...unary("Clip", apart),
      nodes: [node("Clip", "x _ most", "out")],
      constants: { most: { dims: [], values: [1] } },
    },
    "no bound": unary("Clip", apart),
  },
  Gelu: {
    exact: unary("Gelu", x, { ...FLOAT32, opset: 20 }),
    "by tanh": unary("Gelu", x, { ...FLOAT32, opset: 20, attributes: { approximate: "tanh" } }),
  },
  "com.microsoft.Gelu": { plain: unary("microsoft.Gelu", x, FLOAT32) },
  "com.microsoft.FastGelu": { plain: unary("microsoft.FastGelu", x, FLOAT32) },
  "com.microsoft.QuickGelu": { plain: unary("microsoft.QuickGelu", x, FLOAT32) },
  Swish: { plain: unary("Swish", x, { ...FLOAT32, opset: 24 }) },
  Cast: {
    "to float64 and back": {
      type: "float32",
      inputs: { x },
      nodes: [
        node("Cast", "x", "wide", { to: 11 }),
        node("Mul", "wide wide", "s"),
        node("Cast", "s", "out", { to: 1 }),
      ],
    },
    "to an integer beside": {
      ...unary("Cast"),
      nodes: [
        node("Cast", "x", "whole", { to: 7 }), // carries no gradient
        node("Cast", "whole", "back", { to: 11 }),
        node("Mul", "x x", "s"),
        node("Add", "s back", "out"),
      ],
    },
  },
  CastLike: {
    plain: { ...binary("CastLike", x, y), from: ["a"] },
  },

  MatMul: {
    "two matrices": binary("MatMul", random([2, 3], 1), random([3, 4], 2)),
    "a batch by a matrix": binary("MatMul", random([2, 2, 3], 1), random([3, 4], 2)),
    "a batch by a batch": binary("MatMul", random([2, 2, 3], 1), random([2, 3, 2], 2)),
    "stretched batches": binary("MatMul", random([2, 1, 2, 3], 1), random([3, 3, 2], 2)),
    "a row by a matrix": binary("MatMul", random([3], 1), random([3, 2], 2)),
    "a matrix by a column": binary("MatMul", random([2, 2, 3], 1), random([3], 2)),
    "a row by a column": binary("MatMul", random([3], 1), random([3], 2)),
  },
  Gemm: Object.fromEntries(
    [0, 1].flatMap((transA) =>
      [0, 1].map((transB) => [
        `transA ${transA}, transB ${transB}`,
        {
          type: "float64",
          inputs: {
            a: random(transA ? [3, 2] : [2, 3], 1),
            b: random(transB ? [4, 3] : [3, 4], 2),
            c: random([4], 3),
          },
          nodes: [
            node("Gemm", "a b c", "out", {
              transA,
              transB,
              alpha: { float: 0.5 },
              beta: { float: 2 },
            }),
          ],
        } satisfies Case,
      ]),
    ),
  ),
  "com.microsoft.FusedMatMul": Object.fromEntries(
    [0, 1].flatMap((transA) =>
      [0, 1].map((transB) => [
        `transA ${transA}, transB ${transB}`,
        {
          type: "float32",
          inputs: {
            a: random(transA ? [2, 3, 2] : [2, 2, 3], 1),
            b: random(transB ? [2, 4, 3] : [2, 3, 4], 2),
          },
          nodes: [
            node("microsoft.FusedMatMul", "a b", "out", { transA, transB, alpha: { float: 0.5 } }),
          ],
        } satisfies Case,
      ]),
    ),
  ),
  Einsum: {
    "scores of heads": {
      type: "float64",
      inputs: { a: random([2, 2, 2, 3], 1), b: random([2, 3, 2, 3], 2) },
      nodes: [node("Einsum", "a b", "out", { equation: "bind,bjnd->bnij" })],
    },
    "a product with a transposed matrix": {
      type: "float64",
      inputs: { a: random([2, 3], 1), b: random([4, 3], 2) },
      nodes: [node("Einsum", "a b", "out", { equation: "ij,kj->ki" })],
    },
  },

  ...Object.fromEntries(
    (
      [
        ["ReduceSum", x, "float64"],
        ["ReduceMean", x, "float64"],
        ["ReduceMax", apart, "float64"],
        ["ReduceMin", apart, "float64"],
        ["ReduceL1", apart, "float32"],
        ["ReduceL2", positive, "float32"],
        ["ReduceSumSquare", x, "float64"],
        ["ReduceLogSumExp", x, "float64"],
      ] as const
    ).map(([op, from, type]) => [
      op,
      Object.fromEntries(
        [0, 1].flatMap((keepdims) => [
          [
            `the last axis, keepdims ${keepdims}`,
            {
              type,
              inputs: { x: from },
              constants: { axes: int64([1], -1) },
              nodes: [node(op, "x axes", "out", { keepdims })],
            } satisfies Case,
          ],
          [
            `all axes, keepdims ${keepdims}`,
            {
              type,
              inputs: { x: from },
              nodes: [node(op, "x", "out", { keepdims })],
            } satisfies Case,
          ],
        ]),
      ),
    ]),
  ),
  Softmax: {
    "the last axis": unary("Softmax"),
    "the first axis": unary("Softmax", x, { attributes: { axis: 0 } }),
  },
  LogSoftmax: { "the last axis": unary("LogSoftmax") },
  LayerNormalization: {
    "the last axis, by all inputs": {
      type: "float32",
      inputs: { x: random([2, 2, 4], 1), scale: random([4], 2), bias: random([4], 3) },
      nodes: [node("LayerNormalization", "x scale bias", "out", { epsilon: { float: 1e-5 } })],
    },
    "two axes, no bias": {
      type: "float32",
      inputs: { x: random([2, 2, 3], 1), scale: random([2, 3], 2) },
      nodes: [node("LayerNormalization", "x scale", "out", { axis: 1 })],
    },
  },
  SimplifiedLayerNormalization: {
    "by all inputs": {
      type: "float32",
      inputs: { x: random([2, 2, 4], 1), scale: random([4], 2) },
      nodes: [node("SimplifiedLayerNormalization", "x scale", "out", { axis: -1 })],
    },
  },
  RMSNormalization: {
    "by all inputs": {
      type: "float32",
      opset: 23,
      inputs: { x: random([2, 2, 4], 1), scale: random([4], 2) },
      nodes: [node("RMSNormalization", "x scale", "out", { axis: -1 })],
    },
  },

  Reshape: {
    "to fewer axes": {
      ...unary("Reshape", random([2, 3, 2], 1)),
      constants: { shape: int64([2], 0, -1) },
      nodes: [node("Reshape", "x shape", "s"), node("Mul", "s s", "out")],
    },
  },
  Flatten: { plain: unary("Flatten", random([2, 3, 2], 1), { attributes: { axis: 2 } }) },
  Squeeze: {
    "a named axis": {
      ...unary("Squeeze", random([2, 1, 3], 1)),
      constants: { axes: int64([1], 1) },
      nodes: [node("Squeeze", "x axes", "out")],
    },
  },
  Unsqueeze: {
    "two axes": {
      ...unary("Unsqueeze"),
      constants: { axes: int64([2], 0, -1) },
      nodes: [node("Unsqueeze", "x axes", "out")],
    },
  },
  Transpose: {
    "a cycle": unary("Transpose", random([2, 3, 4], 1), { attributes: { perm: [1, 2, 0] } }),
    "no order named": unary("Transpose", random([2, 3, 4], 1)),
  },
  Expand: {
    "an axis of 1 and new axes": {
      ...unary("Expand", random([2, 1], 1)),
      constants: { shape: int64([3], 2, 1, 3) },
      nodes: [node("Expand", "x shape", "out")],
    },
  },
  Tile: {
    "both axes": {
      ...unary("Tile"),
      constants: { repeats: int64([2], 2, 3) },
      nodes: [node("Tile", "x repeats", "out")],
    },
  },
  Concat: {
    "three parts": {
      type: "float64",
      inputs: { a: x, b: random([2, 1], 2), c: random([2, 2], 3) },
      nodes: [node("Concat", "a b c", "out", { axis: -1 })],
    },
    "one part": unary("Concat", x, { attributes: { axis: 0 } }),
  },
  Split: {
    "named sizes, one part unread": {
      ...unary("Split", random([2, 4], 1)),
      constants: { sizes: int64([3], 1, 2, 1) },
      nodes: [
        node("Split", "x sizes", "a b c", { axis: 1 }),
        node("MatMul", "c_t a", "out"),
        node("Transpose", "c", "c_t"),
      ].sort((left, right) => Number(right.op !== "MatMul") - Number(left.op !== "MatMul")),
    },
    "equal parts": {
      ...unary("Split", random([2, 4], 1)),
      nodes: [node("Split", "x", "a b", { axis: -1, num_outputs: 2 }), node("Mul", "a b", "out")],
    },
  },
  Trilu: {
    upper: unary("Trilu", random([2, 3, 3], 1)),
    "lower, one below the diagonal": {
      ...unary("Trilu", random([3, 3], 1)),
      constants: { k: int64([], -1) },
      nodes: [node("Trilu", "x k", "out", { upper: 0 })],
    },
  },
  CumSum: Object.fromEntries(
    [0, 1].flatMap((reverse) =>
      [0, 1].map((exclusive) => [
        `reverse ${reverse}, exclusive ${exclusive}`,
        {
          ...unary("CumSum"),
          constants: { axis: int64([], 1) },
          nodes: [node("CumSum", "x axis", "out", { reverse, exclusive })],
        } satisfies Case,
      ]),
    ),
  ),

  Gather: {
    "one place": {
      ...unary("Gather", random([2, 3, 2], 1)),
      constants: { place: int64([], -1) },
      nodes: [node("Gather", "x place", "out", { axis: 1 })],
    },
    "a list with repeats": {
      ...unary("Gather", random([2, 3, 2], 1)),
      constants: { places: int64([4], 0, 2, 2, -3) },
      nodes: [node("Gather", "x places", "out", { axis: 1 })],
    },
    "a table": {
      ...unary("Gather", random([3, 2], 1)),
      constants: { places: int64([2, 2], 0, 2, 2, 1) },
      nodes: [node("Gather", "x places", "out")],
    },
    "a table along the last axis": {
      ...unary("Gather", random([2, 3], 1)),
      constants: { places: int64([2, 2], 0, 2, 2, 1) },
      nodes: [node("Gather", "x places", "out", { axis: -1 })],
    },
  },
  GatherElements: {
    "with repeats": {
      ...unary("GatherElements"),
      constants: { places: int64([2, 4], 0, 2, 2, 1, 1, 1, 0, -1) },
      nodes: [node("GatherElements", "x places", "out", { axis: 1 })],
    },
  },
  GatherND: {
    "with repeats": {
      ...unary("GatherND", random([2, 3, 2], 1)),
      constants: { places: int64([3, 2], 0, 1, 1, 2, 0, 1) },
      nodes: [node("GatherND", "x places", "out")],
    },
  },
  ScatterElements: {
    put: {
      type: "float64",
      inputs: { x, u: random([2, 1], 4) },
      constants: { places: int64([2, 1], 2, 0) },
      nodes: [node("ScatterElements", "x places u", "out", { axis: 1 })],
    },
    added: {
      type: "float64",
      inputs: { x, u: random([2, 2], 4) },
      constants: { places: int64([2, 2], 2, 2, 0, 1) },
      nodes: [node("ScatterElements", "x places u", "out", { axis: 1, reduction: "add" })],
    },
  },
  ScatterND: {
    put: {
      type: "float64",
      inputs: { x, u: random([2], 4) },
      constants: { places: int64([2, 2], 0, 1, 1, 2) },
      nodes: [node("ScatterND", "x places u", "out")],
    },
  },
  Slice: {
    "a fixed part of two axes": {
      ...unary("Slice", random([3, 4], 1)),
      constants: { starts: int64([2], 1, 1), ends: int64([2], 3, 9), axes: int64([2], 0, -1) },
      nodes: [node("Slice", "x starts ends axes", "out")],
    },
    "no axes named": {
      ...unary("Slice", random([3, 4], 1)),
      constants: { starts: int64([1], 1), ends: int64([1], 2) },
      nodes: [node("Slice", "x starts ends", "out")],
    },
    "from the end": {
      ...unary("Slice", random([2, 4], 1)),
      constants: { starts: int64([1], -3), ends: int64([1], -1), axes: int64([1], 1) },
      nodes: [node("Slice", "x starts ends axes", "out")],
    },
    "every second, backwards": {
      ...unary("Slice", random([2, 5], 1)),
      constants: {
        starts: int64([1], -1),
        ends: int64([1], -6),
        axes: int64([1], 1),
        steps: int64([1], -2),
      },
      nodes: [node("Slice", "x starts ends axes steps", "out")],
    },
    "bounds that the graph computes": {
      type: "float64",
      inputs: { x: random([4, 2], 1), starts: int64([1], 1), ends: int64([1], 3) },
      nodes: [node("Slice", "x starts ends", "out")],
    },
  },
  Pad: {
    "before and after": {
      ...unary("Pad"),
      constants: { pads: int64([4], 1, 0, 0, 2) },
      nodes: [node("Pad", "x pads", "out")],
    },
  },
};

test("every rule has a case", () => {
  assert.deepEqual(Object.keys(CASES).sort(), [...RULES.keys()].sort());
});

for (const [operator, cases] of Object.entries(CASES)) {
  for (const [name, { from, ...model }] of Object.entries(cases)) {
    test(`${operator}: the gradient equals differences (${name})`, async () => {
      const options = from === undefined ? {} : { from };
      await assertGradient({ ...model, outputs: ["out"] }, options);
      await assertGradient({ ...model, outputs: ["out"], isStatic: true }, options);
    });
  }
}
