/**
 * A property: the gradient of any graph of the supported operators equals central differences.
 *
 * Graphs are grown from seeds, so a failure names the one to repeat. Every step chooses an operator that fits values made
 * before, which so are read more than once; what could grow passes through Tanh.
 */
import { test } from "node:test";

import {
  assertGradient,
  createRandom,
  int64,
  node,
  random,
  type Numbers,
  type SmallModel,
  type SmallNode,
} from "../support/gradients.ts";

const SEEDS = 60;
const STEPS = 9;

/** A graph in the making. */
interface Growth {
  readonly next: () => number;
  readonly nodes: SmallNode[];
  readonly constants: Record<string, Numbers>;
  readonly shapes: Map<string, readonly number[]>;
}

function choose<T>({ next }: Growth, from: readonly T[]): T {
  const chosen = from[Math.floor(next() * from.length)];
  if (chosen === undefined) throw new RangeError("nothing to choose from");
  return chosen;
}

function constant(growth: Growth, numbers: Numbers): string {
  const name = `c${Object.keys(growth.constants).length}`;
  growth.constants[name] = numbers;
  return name;
}

function put(
  growth: Growth,
  op: string,
  inputs: readonly string[],
  shape: readonly number[],
  attributes: SmallNode["attributes"] = {},
): string {
  const name = `v${growth.nodes.length}`;
  growth.nodes.push(node(op, inputs.join(" "), name, attributes));
  growth.shapes.set(name, shape);
  return name;
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}

type Grow = (growth: Growth, x: string, shape: readonly number[]) => void;

/** Each appends nodes that read `x`. */
const GROWTHS: Readonly<Record<string, Grow>> = {
  unary(growth, x, shape) {
    const ops = ["Tanh", "Sigmoid", "Sin", "Neg", "Identity", "Softmax", "LogSoftmax"];
    const op = choose(growth, ops);
    if (op.endsWith("Softmax") && shape.length === 0) return;
    put(growth, op, [x], shape);
  },
  bounded(growth, x, shape) {
    const tanh = put(growth, "Tanh", [x], shape);
    const op = choose(growth, ["Exp", "Mul", "Sqrt", "Log", "Reciprocal"]);
    if (op === "Exp") put(growth, op, [tanh], shape);
    else if (op === "Mul") put(growth, op, [tanh, tanh], shape);
    else {
      const two = constant(growth, { dims: [], values: [2] });
      put(growth, op, [put(growth, "Add", [tanh, two], shape)], shape);
    }
  },
  binary(growth, x, shape) {
    const others = [...growth.shapes].filter(([, other]) => fits(shape, other));
    const [other, otherShape] = choose(growth, others);
    const whole = broadcast(shape, otherShape);
    if (size(whole) > 200) return;
    const op = choose(growth, ["Add", "Sub", "Mul"]);
    const [a, b] = growth.next() < 0.5 ? [x, other] : [other, x];
    put(growth, "Tanh", [put(growth, op, [a, b], whole)], whole);
  },
  quotient(growth, x, shape) {
    const below = constant(growth, random(shape.slice(-1), growth.nodes.length, 1, 2));
    if (shape.length > 0) put(growth, "Div", [x, below], shape);
  },
  weights(growth, x, shape) {
    const inner = shape.at(-1);
    if (inner === undefined || inner === 0) return;
    const weights = constant(growth, random([inner, 3], growth.nodes.length, -0.5, 0.5));
    put(growth, "MatMul", [x, weights], [...shape.slice(0, -1), 3]);
  },
  product(growth, x, shape) {
    if (shape.length < 2) return;
    const order = shape.map((_, axis) => axis);
    const [rows = 1, columns = 1] = shape.slice(-2);
    const perm = [...order.slice(0, -2), shape.length - 1, shape.length - 2];
    const turned = put(growth, "Transpose", [x], [...shape.slice(0, -2), columns, rows], { perm });
    const square = [...shape.slice(0, -2), rows, rows];
    put(growth, "Tanh", [put(growth, "MatMul", [x, turned], square)], square);
  },
  reduction(growth, x, shape) {
    if (shape.length === 0) return;
    const axis = Math.floor(growth.next() * shape.length);
    const keepdims = growth.next() < 0.5 ? 1 : 0;
    const op = choose(growth, ["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceLogSumExp"]);
    const axes = constant(growth, int64([1], growth.next() < 0.5 ? axis : axis - shape.length));
    const left = shape.flatMap((dim, at) => (at !== axis ? [dim] : keepdims ? [1] : []));
    put(growth, op, [x, axes], left, { keepdims });
  },
  reshape(growth, x, shape) {
    const [first = 1] = shape;
    const choices = [[size(shape)], [first, size(shape) / first], [1, ...shape]];
    const to = choose(growth, choices);
    put(growth, "Reshape", [x, constant(growth, int64([to.length], ...to))], to);
  },
  transpose(growth, x, shape) {
    const perm = shape
      .map((_, axis) => [growth.next(), axis] as const)
      .sort(([a], [b]) => a - b)
      .map(([, axis]) => axis);
    put(
      growth,
      "Transpose",
      [x],
      perm.map((axis) => shape[axis] ?? 1),
      { perm },
    );
  },
  parts(growth, x, shape) {
    const axis = shape.findIndex((dim) => dim >= 2);
    const whole = shape[axis];
    if (whole === undefined) return;
    const sizes = [1, whole - 1];
    const [one, rest] = [`v${growth.nodes.length}`, `w${growth.nodes.length}`];
    const list = constant(growth, int64([2], ...sizes));
    growth.nodes.push(node("Split", `${x} ${list}`, `${one} ${rest}`, { axis }));
    growth.shapes.set(one, shape.with(axis, 1));
    growth.shapes.set(rest, shape.with(axis, whole - 1));
    if (growth.next() < 0.7)
      put(growth, "Concat", [rest, one, rest], shape.with(axis, 2 * whole - 1), { axis });
  },
  slice(growth, x, shape) {
    const axis = shape.findIndex((dim) => dim >= 2);
    if (axis === -1) return;
    const bounds = [int64([1], 1), int64([1], 99), int64([1], axis)];
    const names = bounds.map((bound) => constant(growth, bound));
    put(growth, "Slice", [x, ...names], shape.with(axis, (shape[axis] ?? 1) - 1));
  },
  gather(growth, x, shape) {
    if (shape.length === 0 || shape.length > 3) return;
    const axis = Math.floor(growth.next() * shape.length);
    const whole = shape[axis] ?? 1;
    const places = [0, whole - 1, -1, Math.floor(growth.next() * whole)];
    const isOne = growth.next() < 0.5;
    const indices = isOne ? int64([], places[3] ?? 0) : int64([2, 2], ...places);
    const to = [...shape.slice(0, axis), ...indices.dims, ...shape.slice(axis + 1)];
    if (size(to) <= 200) put(growth, "Gather", [x, constant(growth, indices)], to, { axis });
  },
  where(growth, x, shape) {
    const values = Array.from({ length: size(shape) }, () => Number(growth.next() < 0.6));
    const condition = constant(growth, { dims: shape, values, type: "bool" });
    put(growth, "Where", [condition, x, constant(growth, { dims: [], values: [0.3] })], shape);
  },
  expand(growth, x, shape) {
    if (size(shape) > 60) return;
    const to = [2, ...shape];
    put(growth, "Expand", [x, constant(growth, int64([to.length], ...to))], to);
  },
  // The same shape again, which the graph computes with as exported models do.
  computedShape(growth, x, shape) {
    const sizes = put(growth, "Shape", [x], [shape.length]);
    const zeros = put(
      growth,
      "Expand",
      [constant(growth, { dims: [], values: [0] }), sizes],
      shape,
    );
    put(growth, "Add", [zeros, x], shape);
    for (const name of [sizes, zeros]) growth.shapes.delete(name); // do not depend on `x`
  },
};

function fits(a: readonly number[], b: readonly number[]): boolean {
  const [left, right] = [a.toReversed(), b.toReversed()];
  return left.every((dim, at) => {
    const other = right[at] ?? 1;
    return dim === other || dim === 1 || other === 1;
  });
}

function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const [left, right] = [a.toReversed(), b.toReversed()];
  const rank = Math.max(a.length, b.length);
  const dim = (at: number): number => Math.max(left[at] ?? 1, right[at] ?? 1);
  return Array.from({ length: rank }, (_, at) => dim(rank - 1 - at));
}

function grow(seed: number): SmallModel {
  const start = random([2, 3, 4], seed);
  const growth: Growth = {
    next: createRandom(seed + 1000),
    nodes: [],
    constants: {},
    shapes: new Map([["x", start.dims]]),
  };
  let value = "x";
  for (let step = 0; step < STEPS; step++) {
    const before = growth.nodes.length;
    const shape = growth.shapes.get(value) ?? [];
    GROWTHS[choose(growth, Object.keys(GROWTHS))]?.(growth, value, shape);
    if (growth.nodes.length === before) continue;
    // Mostly on from what was made last, so that the graph is deep; at times from further back.
    const known = [...growth.shapes.keys()];
    value = growth.next() < 0.8 ? (known.at(-1) ?? "x") : choose(growth, known);
  }
  const last = [...growth.shapes.keys()].at(-1) ?? "x";
  const nodes = [...growth.nodes, node("Sin", last, "out")];
  return {
    type: "float64",
    inputs: { x: start },
    constants: growth.constants,
    nodes,
    outputs: ["out"],
  };
}

for (let seed = 0; seed < SEEDS; seed++) {
  test(`the gradient of a random graph equals differences (seed ${seed})`, async () => {
    const model = grow(seed);
    // Up to ten functions within one another have derivatives of fifth order in the thousands: a wider tolerance than
    // for a single operator, still four digits below what a wrong term would show.
    const options = { tolerance: 1e-5 };
    await assertGradient(model, options);
    await assertGradient({ ...model, isStatic: true }, options);
  });
}
