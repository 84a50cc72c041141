/**
 * Sums, means and their kin over some axes, and the operators that are made of them.
 *
 * `g↑` is `g` brought back to the shape of the operand: the axes that were dropped are put back with size 1, then
 * stretched.
 */
import { floatOf, intOf, intsOf } from "../attributes.ts";
import type { Node } from "../onnx-schema.ts";
import { normalizeAxis } from "../shapes/value.ts";
import { productOf } from "../shapes/symbols.ts";
import { axisOf, notSupported, sumTo, type Rule, type Step } from "./rule.ts";

/** `g` and `y` with the dropped axes put back; broadcasting does the stretching. */
function keepAxes({ node, graph, x: [x = "", axes = ""] }: Step, name: string): string {
  if (intOf(node, "keepdims", 1) === 1) return name;
  const list = intsOf(node, "axes") ?? graph.value(axes).contents;
  if (list?.every((axis) => typeof axis === "number") && list.length > 0) {
    const rank = graph.rank(x);
    return graph.unsqueeze(
      name,
      (list as number[]).map((axis) => normalizeAxis(axis, rank)),
    );
  }
  if (axes !== "") return graph.op("Unsqueeze", [name, axes]);
  const all = Array.from({ length: graph.rank(x) }, (_, axis) => axis);
  return graph.unsqueeze(name, all);
}

/** Makes a rule of the formula for `∂x`, given `g` and `y` with all axes. */
function reduction(gradient: (step: Step, g: string, y: string) => string): Rule {
  return (step) => {
    // Sums over no axes at all that are meant as "leave it" keep every axis.
    const { node, graph, x } = step;
    const isEmpty = (x[1] ?? "") === "" || graph.value(x[1] ?? "").shape?.[0] === 0;
    if (isEmpty && intOf(node, "noop_with_empty_axes", 0) === 1)
      return [gradient(step, step.g, step.output(0))];
    return [gradient(step, keepAxes(step, step.g), keepAxes(step, step.output(0)))];
  };
}

function stretch({ graph, x: [x = ""] }: Step, g: string): string {
  return graph.op("Expand", [g, graph.shapeOf(x)]);
}

/** `y = Σ x`: `∂x = g↑`. */
const sum = reduction((step, g) => stretch(step, g));

/** `y = Σ x / n`: `∂x = g↑ / n`. */
const mean = reduction((step, g, y) => {
  const { graph, x } = step;
  const count = countOf(step, y);
  if (typeof count === "number") return stretch(step, graph.op("Div", [g, count]));
  const size = graph.op("Div", [graph.op("Size", [x[0] ?? ""]), graph.op("Size", [y])]);
  return stretch(step, graph.op("Div", [g, graph.op("CastLike", [size, g])]));
});

/** How many elements of `x` went into each of `y`, where that is known. */
function countOf({ graph, x: [x = ""] }: Step, y: string): number | undefined {
  const [from, to] = [graph.shape(x), graph.shape(y)];
  if (from === undefined || to?.length !== from.length) return undefined;
  const reduced = from.filter((size, axis) => size !== to[axis]);
  const isKnown = from.every((size, axis) => size === to[axis] || to[axis] === 1);
  const count = productOf(reduced);
  return isKnown && typeof count === "number" ? count : undefined;
}

/** `y = max x` or the least: `∂x = g↑ ⊙ [x = y↑] / #{x = y↑}`; equal elements share, as in PyTorch's `amax`. */
const extreme = reduction((step, g, y) => {
  const { graph, x } = step;
  const hits = graph.op("CastLike", [graph.op("Equal", [x[0] ?? "", y]), g]);
  const count = sumTo(graph, hits, y);
  return graph.op("Mul", [hits, graph.op("Div", [g, count])]);
});

/** `y = Σ |x|`: `∂x = g↑ ⊙ sign(x)`. */
const l1 = reduction(({ graph, x }, g) => graph.op("Mul", [g, graph.op("Sign", [x[0] ?? ""])]));

/** `y = √Σx²`: `∂x = g↑ ⊙ x / y↑`. */
const l2 = reduction(({ graph, x }, g, y) =>
  graph.op("Mul", [x[0] ?? "", graph.op("Div", [g, y])]),
);

/** `y = Σ x²`: `∂x = 2 g↑ ⊙ x`. */
const sumSquare = reduction(({ graph, x }, g) =>
  graph.op("Mul", [x[0] ?? "", graph.op("Mul", [g, 2])]),
);

/** `y = ln Σ eˣ`: `∂x = g↑ ⊙ e^(x − y↑)`. */
const logSumExp = reduction(({ graph, x }, g, y) =>
  graph.op("Mul", [g, graph.op("Exp", [graph.op("Sub", [x[0] ?? "", y])])]),
);

/** `y = softmax(x)` along an axis: `∂x = y ⊙ (g − Σ g ⊙ y)`. */
const softmax: Rule = ({ node, graph, g, output }) => {
  const axis = axisOf(graph, g, intOf(node, "axis", -1));
  const product = graph.op("Mul", [g, output(0)]);
  const total = graph.op("Mul", [output(0), graph.sum(product, [axis])]);
  return [graph.op("Sub", [product, total])];
};

/** `y = ln softmax(x)` along an axis: `∂x = g − e^y ⊙ Σ g`. */
const logSoftmax: Rule = ({ node, graph, g, output }) => {
  const axis = axisOf(graph, g, intOf(node, "axis", -1));
  const total = graph.op("Mul", [graph.op("Exp", [output(0)]), graph.sum(g, [axis])]);
  return [graph.op("Sub", [g, total])];
};

/**
 * `y = x̂ ⊙ γ + β`, `x̂ = (x − μ) s`, with the mean `μ` and `s = 1/√(σ² + ε)` over the last axes: with `h = g ⊙ γ`,
 * `∂x = s ⊙ (h − mean(h) − x̂ ⊙ mean(h ⊙ x̂))`, `∂γ = Σ g ⊙ x̂`, `∂β = Σ g`.
 *
 * Ba, Kiros and Hinton, Layer Normalization, 2016. `μ` and `s` are the operator's second and third output.
 */
const layerNormalization: Rule = ({ node, graph, g, x, wants, output }) => {
  const [name = "", scale = "", bias = ""] = x;
  const axes = normalizedAxes(node, graph.rank(name));
  const [mean, inverse] = [output(1), output(2)];
  const normal = graph.op("Mul", [graph.op("Sub", [name, mean]), inverse]);
  const toX = (): string => {
    const h = graph.op("Mul", [g, scale]);
    const along = graph.op("Mul", [normal, graph.mean(graph.op("Mul", [h, normal]), axes)]);
    const centred = graph.op("Sub", [h, graph.mean(h, axes)]);
    return graph.op("Mul", [graph.op("Sub", [centred, along]), inverse]);
  };
  return [
    wants(0) ? toX() : undefined,
    wants(1) ? sumTo(graph, graph.op("Mul", [g, normal]), scale) : undefined,
    wants(2) ? sumTo(graph, g, bias) : undefined,
  ];
};

/** From the node's `axis` on to the last. */
function normalizedAxes(node: Node, rank: number): number[] {
  const first = normalizeAxis(intOf(node, "axis", -1), rank);
  if (!(first >= 0 && first < rank))
    throw notSupported(node, `has an axis that is none of the ${rank} of its input`);
  return Array.from({ length: rank - first }, (_, index) => first + index);
}

/**
 * `y = x̂ ⊙ γ`, `x̂ = x r`, `r = 1/√(mean(x²) + ε)`: with `h = g ⊙ γ`, `∂x = r ⊙ (h − x̂ ⊙ mean(h ⊙ x̂))`,
 * `∂γ = Σ g ⊙ x̂`.
 *
 * Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
 */
const rmsNormalization: Rule = ({ node, graph, g, x: [x = "", scale = ""], wants }) => {
  const axes = normalizedAxes(node, graph.rank(x));
  const square = graph.mean(graph.op("Mul", [x, x]), axes);
  const epsilon = floatOf(node, "epsilon", 1e-5);
  const inverse = graph.op("Reciprocal", [graph.op("Sqrt", [graph.op("Add", [square, epsilon])])]);
  const normal = graph.op("Mul", [x, inverse]);
  const toX = (): string => {
    const h = graph.op("Mul", [g, scale]);
    const along = graph.op("Mul", [normal, graph.mean(graph.op("Mul", [h, normal]), axes)]);
    return graph.op("Mul", [graph.op("Sub", [h, along]), inverse]);
  };
  return [
    wants(0) ? toX() : undefined,
    wants(1) ? sumTo(graph, graph.op("Mul", [g, normal]), scale) : undefined,
  ];
};

export const REDUCTIONS: Readonly<Record<string, Rule>> = {
  ReduceSum: sum,
  ReduceMean: mean,
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceL1: l1,
  ReduceL2: l2,
  ReduceSumSquare: sumSquare,
  ReduceLogSumExp: logSumExp,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  SimplifiedLayerNormalization: rmsNormalization,
};
