/**
 * Shapes of what is computed: elementwise, reduced, multiplied.
 */
import { intOf, intsOf } from "../attributes.ts";
import { ELEMENT } from "../onnx-schema.ts";
import { UNKNOWN, type Shape } from "./symbols.ts";
import { broadcastShapes, listOf, normalizeAxis, type ShapeRule } from "./value.ts";

const same: ShapeRule = (_, [x]) => [{ element: x?.element, shape: x?.shape }];

const broadcast: ShapeRule = (_, inputs) => [
  {
    element: inputs.find(({ element }) => element !== undefined)?.element,
    shape: broadcastShapes(inputs.map(({ shape }) => shape)),
  },
];

const compare: ShapeRule = (node, inputs) => [
  { ...broadcast(node, inputs)[0], element: ELEMENT.bool },
];

const reduce: ShapeRule = (node, inputs) => {
  const [x] = inputs;
  const keepsDims = intOf(node, "keepdims", 1) === 1;
  const isEmptyNoop = intOf(node, "noop_with_empty_axes", 0) === 1;
  const hasAxes = intsOf(node, "axes") !== undefined || (node.input[1] ?? "") !== "";
  const listed = hasAxes ? listOf(node, inputs, "axes", 1) : [];
  if (x?.shape === undefined) return [{ element: x?.element }];
  const { shape } = x;
  if (listed === undefined)
    return [{ element: x.element, shape: keepsDims ? shape.map(() => UNKNOWN) : undefined }];
  const all = listed.length === 0 && !isEmptyNoop;
  const axes = new Set(listed.map((axis) => normalizeAxis(axis, shape.length)));
  const isReduced = (axis: number): boolean => all || axes.has(axis);
  const reduced = keepsDims
    ? shape.map((dim, axis) => (isReduced(axis) ? 1 : dim))
    : shape.filter((_, axis) => !isReduced(axis));
  return [{ element: x.element, shape: reduced }];
};

const argument: ShapeRule = (node, [x]) => {
  if (x?.shape === undefined) return [{ element: ELEMENT.int64 }];
  const axis = normalizeAxis(intOf(node, "axis", 0), x.shape.length);
  const keepsDims = intOf(node, "keepdims", 1) === 1;
  const shape = x.shape.flatMap((dim, index) => (index !== axis ? [dim] : keepsDims ? [1] : []));
  return [{ element: ELEMENT.int64, shape }];
};

const layerNormalization: ShapeRule = (node, [x]) => {
  const rank = x?.shape?.length;
  const axis = rank === undefined ? 0 : normalizeAxis(intOf(node, "axis", -1), rank);
  const element = x?.element === ELEMENT.float64 ? ELEMENT.float64 : ELEMENT.float32;
  const one = { element, shape: x?.shape?.map((dim, i) => (i < axis ? dim : 1)) };
  return [{ element: x?.element, shape: x?.shape }, one, one];
};

const matMul: ShapeRule = (node, [a, b]) => {
  const element = a?.element ?? b?.element;
  if (a?.shape === undefined || b?.shape === undefined) return [{ element }];
  const turn = (shape: Shape, isTurned: boolean): Shape => {
    const [rows = 1, columns = 1] = shape.slice(-2);
    return isTurned ? [...shape.slice(0, -2), columns, rows] : shape;
  };
  const left = turn(a.shape, intOf(node, "transA", 0) === 1);
  const right = turn(b.shape, intOf(node, "transB", 0) === 1);
  const batch = broadcastShapes([left.slice(0, -2), right.slice(0, -2)]) ?? [];
  const rows = left.length > 1 ? left.slice(-2, -1) : [];
  const columns = right.length > 1 ? right.slice(-1) : [];
  return [{ element, shape: [...batch, ...rows, ...columns] }];
};
/** The same rule for every operator of a list. */
function all(operators: string, rule: ShapeRule): Record<string, ShapeRule> {
  return Object.fromEntries(operators.split(" ").map((operator) => [operator, rule]));
}

export const COMPUTATIONS: Readonly<Record<string, ShapeRule>> = {
  ...all("Abs Neg Exp Log Sqrt Reciprocal Erf Sin Cos Sign Floor Ceil Round", same),
  ...all("Tanh Sigmoid Relu LeakyRelu ThresholdedRelu Elu Selu Celu Softplus Softsign Mish", same),
  ...all("HardSigmoid HardSwish Swish Gelu FastGelu QuickGelu BiasGelu Clip Softmax", same),
  ...all("LogSoftmax Identity Dropout CumSum Trilu ScatterND ScatterElements Not CastLike", same),
  ...all("RotaryEmbedding", same),
  ...all("Add Sub Mul Div Pow Min Max Mod Sum Mean PRelu", broadcast),
  ...all("Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor", compare),
  ...all("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2", reduce),
  ...all("ReduceSumSquare ReduceLogSum ReduceLogSumExp", reduce),
  ArgMax: argument,
  ArgMin: argument,
  LayerNormalization: layerNormalization,
  SimplifiedLayerNormalization: layerNormalization,
  RMSNormalization: layerNormalization,
  MatMul: matMul,
  Gemm: matMul,
  FusedMatMul: matMul,
  IsNaN: (_, [x]) => [{ element: ELEMENT.bool, shape: x?.shape }],
  IsInf: (_, [x]) => [{ element: ELEMENT.bool, shape: x?.shape }],

  Where: (_, [condition, x, y]) => [
    {
      element: x?.element ?? y?.element,
      shape: broadcastShapes([condition?.shape, x?.shape, y?.shape]),
    },
  ],

  Cast: (node, [x]) => [{ element: intOf(node, "to"), shape: x?.shape }],
};
