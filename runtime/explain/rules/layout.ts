/**
 * Operators that move elements without choosing among them: the way back moves them the other way.
 */
import { intOf, intsOf } from "../attributes.ts";
import { axisOf, reshapeTo, sumTo, zerosLike, type Rule, type Step } from "./rule.ts";

/** `y` has the elements of `x` in the same order: `∂x` is `g` in the shape of `x`. */
const reshape: Rule = ({ graph, g, x: [x = ""] }) => [reshapeTo(graph, g, x)];

/** `y = xᵖ`, axes permuted: `∂x` is `g` permuted by the inverse. */
const transpose: Rule = ({ node, graph, g }) => {
  const rank = graph.rank(g);
  const order = intsOf(node, "perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const inverse = Array.from({ length: rank }, (_, axis) => order.indexOf(axis));
  return [graph.transpose(g, inverse)];
};

/** `y` is `x` stretched: `∂x = Σ g`. */
const expand: Rule = ({ graph, g, x: [x = ""] }) => [sumTo(graph, g, x)];

/**
 * `y` is `x` repeated `r` times along each axis: `∂x = Σ g` over the repetitions, which become axes of their own:
 * `[r₀d₀, r₁d₁, …]` → `[r₀, d₀, r₁, d₁, …]`.
 */
const tile: Rule = ({ graph, g, x: [x = "", repeats = ""] }) => {
  const columns = [graph.unsqueeze(repeats, [1]), graph.unsqueeze(graph.shapeOf(x), [1])];
  const pairs = graph.op("Concat", columns, { attributes: { axis: 1 } });
  const split = graph.op("Reshape", [g, graph.reshape(pairs, [-1])]);
  const axes = Array.from({ length: graph.rank(x) }, (_, axis) => 2 * axis);
  return [graph.sum(split, axes, "drop")];
};

/** The size of one axis, as an int64 list of one. */
function sizeOf({ graph }: Step, name: string, axis: number): string {
  const size = graph.shape(name)?.[axis];
  if (typeof size === "number") return graph.integers([size]);
  return graph.op("Shape", [name], { attributes: { start: axis, end: axis + 1 } });
}

/** `y = [x₀; x₁; …]` along an axis: `∂xᵢ` is the part of `g` where `xᵢ` stands. */
const concat: Rule = (step) => {
  const { node, graph, g, x } = step;
  const axis = axisOf(graph, g, intOf(node, "axis", 0));
  const known = x.map((name) => graph.shape(name)?.[axis]);
  const sizes = known.every((size) => typeof size === "number")
    ? graph.integers(known)
    : graph.op(
        "Concat",
        x.map((name) => sizeOf(step, name, axis)),
        { attributes: { axis: 0 } },
      );
  if (x.length === 1) return [g];
  return graph.ops("Split", [g, sizes], x.length, { attributes: { axis } });
};

/** `y₀, y₁, …` are parts of `x` along an axis: `∂x = [g₀; g₁; …]`, zeros where no gradient arrives. */
const split: Rule = ({ node, graph, gradients, output, x: [x = ""] }) => {
  const axis = axisOf(graph, x, intOf(node, "axis", 0));
  const parts = gradients.map((gradient, index) => gradient ?? zerosLike(graph, output(index)));
  return [graph.op("Concat", parts, { attributes: { axis } })];
};

/** `y` is the upper or lower triangle of `x`: `∂x` is the same triangle of `g`. */
const trilu: Rule = ({ node, graph, g, x: [, k = ""] }) => {
  const attributes = { upper: intOf(node, "upper", 1) };
  return [graph.op("Trilu", k === "" ? [g] : [g, k], { attributes })];
};

/** `yᵢ = Σ xⱼ, j ≤ i` along an axis: `∂x` is the same sum of `g` from the other end. */
const cumSum: Rule = ({ node, graph, g, x: [, axis = ""] }) => {
  const attributes = {
    exclusive: intOf(node, "exclusive", 0),
    reverse: 1 - intOf(node, "reverse", 0),
  };
  return [graph.op("CumSum", [g, axis], { attributes })];
};

export const LAYOUT: Readonly<Record<string, Rule>> = {
  Reshape: reshape,
  Flatten: reshape,
  Squeeze: reshape,
  Unsqueeze: reshape,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Split: split,
  Trilu: trilu,
  CumSum: cumSum,
};
