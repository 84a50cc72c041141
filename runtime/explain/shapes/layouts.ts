/**
 * Shapes of what is made, moved and chosen.
 */
import { intOf, intsOf } from "../attributes.ts";
import { ELEMENT } from "../onnx-schema.ts";
import {
  add,
  divideExactly,
  multiply,
  productOf,
  subtract,
  UNKNOWN,
  type Dim,
  type Shape,
} from "./symbols.ts";
import {
  broadcastShapes,
  listOf,
  normalizeAxis,
  ofTensor,
  type ShapeRule,
  type Value,
} from "./value.ts";

/** More axes than onnxruntime knows. */
const MOST_AXES = 64;

export const LAYOUTS: Readonly<Record<string, ShapeRule>> = {
  Constant: (node) => {
    for (const { name, t, f, ints, floats } of node.attribute ?? []) {
      if (name === "value" && t !== undefined) return [ofTensor(t)];
      if (name === "value_int") return [{ element: ELEMENT.int64, shape: [] }];
      if (name === "value_float" && f !== undefined)
        return [{ element: ELEMENT.float32, shape: [] }];
      if (name === "value_ints") return [{ element: ELEMENT.int64, shape: [ints?.length ?? 0] }];
      if (name === "value_floats")
        return [{ element: ELEMENT.float32, shape: [floats?.length ?? 0] }];
    }
    return [];
  },

  ConstantOfShape: (node, [size]) => {
    const element = node.attribute?.find(({ name }) => name === "value")?.t?.dataType;
    return [{ element: element ?? ELEMENT.float32, shape: known(size?.contents) }];
  },

  Shape: (node, [x]) => {
    if (x?.shape === undefined) return [{ element: ELEMENT.int64, shape: [UNKNOWN] }];
    const count = x.shape.slice(intOf(node, "start", 0), intOf(node, "end")).length;
    return [{ element: ELEMENT.int64, shape: [count] }];
  },

  Size: () => [{ element: ELEMENT.int64, shape: [] }],

  Range: (_, [start, limit, delta]) => {
    const [from, to, step] = [start?.contents?.[0], limit?.contents?.[0], delta?.contents?.[0]];
    const isCounting = from !== undefined && to !== undefined && step === 1;
    return [{ element: start?.element, shape: [isCounting ? subtract(to, from) : UNKNOWN] }];
  },

  Reshape: (node, [x, target]) => {
    const wanted = target?.contents;
    if (wanted === undefined) {
      const rank = target?.shape?.[0];
      const shape =
        typeof rank === "number" && rank <= MOST_AXES
          ? Array.from({ length: rank }, () => UNKNOWN)
          : undefined;
      return [{ element: x?.element, shape }];
    }
    const copiesZero = intOf(node, "allowzero", 0) === 0;
    const shape: Dim[] = wanted.map((dim, axis) =>
      dim === 0 && copiesZero ? (x?.shape?.[axis] ?? UNKNOWN) : (dim ?? UNKNOWN),
    );
    const free = shape.indexOf(-1);
    if (free !== -1) shape[free] = remainder(x?.shape, shape.toSpliced(free, 1)) ?? UNKNOWN;
    return [{ element: x?.element, shape }];
  },

  Flatten: (node, [x]) => {
    if (x?.shape === undefined) return [{ element: x?.element, shape: [UNKNOWN, UNKNOWN] }];
    const axis = normalizeAxis(intOf(node, "axis", 1), x.shape.length);
    const shape = [productOf(x.shape.slice(0, axis)), productOf(x.shape.slice(axis))];
    return [{ element: x.element, shape }];
  },

  Squeeze: (node, inputs) => {
    const [x] = inputs;
    const isNamed = intsOf(node, "axes") !== undefined || (node.input[1] ?? "") !== "";
    const axes = listOf(node, inputs, "axes", 1);
    const isDecided = isNamed
      ? axes !== undefined
      : x?.shape?.every((dim) => typeof dim === "number");
    if (x?.shape === undefined || isDecided !== true) return [{ element: x?.element }];
    const gone = new Set(axes?.map((axis) => normalizeAxis(axis, x.shape?.length ?? 0)));
    const isGone = (dim: Dim, axis: number): boolean => (isNamed ? gone.has(axis) : dim === 1);
    return [{ element: x.element, shape: x.shape.filter((dim, axis) => !isGone(dim, axis)) }];
  },

  Unsqueeze: (node, inputs) => {
    const [x] = inputs;
    const axes = listOf(node, inputs, "axes", 1);
    if (x?.shape === undefined || axes === undefined) return [{ element: x?.element }];
    const rank = x.shape.length + axes.length;
    const shape: Dim[] = [...x.shape];
    for (const axis of axes.map((entry) => normalizeAxis(entry, rank)).sort((a, b) => a - b))
      shape.splice(axis, 0, 1);
    return [{ element: x.element, shape }];
  },

  Transpose: (node, [x]) => {
    const { shape } = x ?? {};
    const order = intsOf(node, "perm") ?? shape?.map((_, axis) => axis).toReversed();
    return [{ element: x?.element, shape: shape && order?.map((axis) => shape[axis] ?? UNKNOWN) }];
  },

  Expand: (_, [x, size]) => [
    { element: x?.element, shape: broadcastShapes([x?.shape, known(size?.contents)]) },
  ],

  Tile: (_, [x, repeats]) => [
    {
      element: x?.element,
      shape: x?.shape?.map((dim, axis) => {
        const times = repeats?.contents?.[axis];
        return times === undefined ? UNKNOWN : multiply(dim, times);
      }),
    },
  ],

  Concat: (node, inputs) => {
    const [first] = inputs;
    const shapes = inputs.map(({ shape }) => shape);
    const base = shapes.find((shape) => shape !== undefined);
    if (base === undefined) return [{ element: first?.element }];
    const axis = normalizeAxis(intOf(node, "axis", 0), base.length);
    const size = shapes.every((shape) => shape !== undefined)
      ? shapes.map((shape) => shape?.[axis] ?? 0).reduce(add, 0)
      : UNKNOWN;
    return [{ element: first?.element, shape: base.with(axis, size) }];
  },

  Split: (node, inputs) => {
    const [x] = inputs;
    const sizes = listOf(node, inputs, "split", 1);
    return node.output.map((_, index) => {
      if (x?.shape === undefined) return { element: x?.element };
      const axis = normalizeAxis(intOf(node, "axis", 0), x.shape.length);
      const isEven = intsOf(node, "split") === undefined && (node.input[1] ?? "") === "";
      const whole = x.shape[axis] ?? UNKNOWN;
      const even = isEven ? divideExactly(whole, node.output.length) : undefined;
      return { element: x.element, shape: x.shape.with(axis, sizes?.[index] ?? even ?? UNKNOWN) };
    });
  },

  Slice: (node, inputs) => {
    const [x] = inputs;
    if (x?.shape === undefined) return [{ element: x?.element }];
    const starts = intsOf(node, "starts") ?? inputs[1]?.contents;
    const ends = intsOf(node, "ends") ?? inputs[2]?.contents;
    const axes = listOf(node, inputs, "axes", 3) ?? starts?.map((_, axis) => axis);
    const steps = inputs[4]?.contents ?? starts?.map(() => 1);
    if (axes === undefined || steps === undefined)
      return [{ element: x.element, shape: x.shape.map(() => UNKNOWN) }];
    const shape: Dim[] = [...x.shape];
    for (const [index, entry] of axes.entries()) {
      const axis = normalizeAxis(entry, shape.length);
      const whole = shape[axis] ?? UNKNOWN;
      shape[axis] =
        steps[index] === 1 ? (sliced(whole, starts?.[index], ends?.[index]) ?? UNKNOWN) : UNKNOWN;
    }
    return [{ element: x.element, shape }];
  },

  Gather: (node, [x, indices]) => {
    if (x?.shape === undefined || indices?.shape === undefined) return [{ element: x?.element }];
    const axis = normalizeAxis(intOf(node, "axis", 0), x.shape.length);
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return [{ element: x.element, shape }];
  },

  GatherElements: (_, [x, indices]) => [{ element: x?.element, shape: indices?.shape }],

  GatherND: (node, [x, indices]) => {
    const depth = indices?.shape?.at(-1);
    if (x?.shape === undefined || indices?.shape === undefined || typeof depth !== "number")
      return [{ element: x?.element }];
    const rest = x.shape.slice(intOf(node, "batch_dims", 0) + depth);
    return [{ element: x.element, shape: [...indices.shape.slice(0, -1), ...rest] }];
  },

  Pad: (_, [x]) => [{ element: x?.element, shape: x?.shape?.map(() => UNKNOWN) }],
  NonZero: (_, [x]) => [{ element: ELEMENT.int64, shape: x?.shape && [x.shape.length, UNKNOWN] }],
};

/** A shape of which every size is known or an expression. */
function known(contents: Value["contents"]): Shape | undefined {
  return contents?.map((dim) => dim ?? UNKNOWN);
}

/** What `-1` stands for in a Reshape. */
function remainder(from: Shape | undefined, others: Shape): Dim | undefined {
  if (from === undefined || others.includes(UNKNOWN)) return undefined;
  // Sizes that stay are crossed out first: `B·(T+1)·H` to `[B, T+1, -1]` divides without a rule for sums.
  const left = [...from];
  const rest = others.filter((dim) => {
    const at = left.indexOf(dim);
    if (at !== -1) left.splice(at, 1);
    return at === -1;
  });
  return divideExactly(productOf(left), productOf(rest));
}

function sliced(whole: Dim, start: Dim | undefined, end: Dim | undefined): Dim | undefined {
  if (start === undefined || end === undefined) return undefined;
  const isEnd = typeof end === "number" && end >= 2 ** 31 - 1;
  if (typeof whole === "number") {
    // The first entries of a table, as many as there are tokens: where the table is shorter the model does not run.
    if (start === 0 && typeof end === "string") return end;
    if (typeof start !== "number" || typeof end !== "number") return undefined;
    const clamp = (at: number): number => Math.min(Math.max(at < 0 ? at + whole : at, 0), whole);
    return Math.max(clamp(end) - clamp(start), 0);
  }
  if (start === 0 && (isEnd || end === whole)) return whole;
  // `[:-1]` and `[1:]` of an unknown length: it has at least one, or the model would not run.
  if (start === 0 && end === -1) return subtract(whole, 1);
  if (start === 1 && isEnd) return subtract(whole, 1);
  return undefined;
}
