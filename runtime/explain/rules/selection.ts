/**
 * Operators that choose elements: the way back puts their gradients where they came from, into zeros, and adds up
 * where an element was chosen more than once.
 */
import { intOf, stringOf } from "../attributes.ts";
import { normalizeAxis } from "../shapes/value.ts";
import { axisOf, notSupported, zerosLike, type Rule, type Step } from "./rule.ts";

const ADDING = { reduction: "add" };

/** Zeros like `x`, with `g` added along `axis` at `indices`, which have one axis and name places along that axis. */
function addAlong({ graph }: Step, x: string, axis: number, indices: string, g: string): string {
  const shape = Array.from({ length: graph.rank(x) }, (_, index) => (index === axis ? -1 : 1));
  const places = graph.op("Expand", [graph.reshape(indices, shape), graph.shapeOf(g)]);
  return graph.op("ScatterElements", [zerosLike(graph, x), places, g], {
    attributes: { axis, ...ADDING },
  });
}

/** `y[…, i, …] = x[…, index[i], …]` along an axis: `∂x[…, j, …] = Σ g[…, i, …]` over all `i` with `index[i] = j`. */
const gather: Rule = (step) => {
  const { node, graph, g, x } = step;
  const [name = "", indices = ""] = x;
  const axis = axisOf(graph, name, intOf(node, "axis", 0));
  const count = graph.rank(indices);
  if (count === 1) return [addAlong(step, name, axis, indices, g)];
  const flat = graph.reshape(indices, [-1]);
  if (count === 0) return [addAlong(step, name, axis, flat, graph.unsqueeze(g, [axis]))];
  // Several axes of indices become one, as in `x` itself.
  const part = (start: number, end?: number): string =>
    graph.op("Shape", [name], { attributes: { start, ...(end !== undefined && { end }) } });
  const parts = [graph.integers([-1]), ...(axis + 1 < graph.rank(name) ? [part(axis + 1)] : [])];
  const sizes = axis === 0 ? parts : [part(0, axis), ...parts];
  const shape = graph.op("Concat", sizes, { attributes: { axis: 0 } });
  return [addAlong(step, name, axis, flat, graph.op("Reshape", [g, shape]))];
};

/** `y[i, j] = x[index[i, j], j]` along an axis: `∂x` is zeros with `g` added at the same places. */
const gatherElements: Rule = ({ node, graph, g, x: [x = "", indices = ""] }) => {
  const axis = axisOf(graph, x, intOf(node, "axis", 0));
  const attributes = { axis, ...ADDING };
  return [graph.op("ScatterElements", [zerosLike(graph, x), indices, g], { attributes })];
};

/** `y[i] = x[index[i, 0], index[i, 1], …]`: `∂x` is zeros with `g` added at the same places. */
const gatherND: Rule = ({ node, graph, g, x: [x = "", indices = ""] }) => {
  if (intOf(node, "batch_dims", 0) !== 0)
    throw notSupported(node, "chooses within a batch, which has no gradient rule");
  return [graph.op("ScatterND", [zerosLike(graph, x), indices, g], { attributes: ADDING })];
};

/** `y` is `x` with `u` put, or added, at some places: `∂x` is `g`, with zeros there if `u` was put; `∂u` is `g` there. */
function scatter(isND: boolean): Rule {
  return ({ node, graph, g, x: [, indices = "", updates = ""], wants }) => {
    const reduction = stringOf(node, "reduction", "none");
    if (reduction !== "none" && reduction !== "add")
      throw notSupported(node, `combines by "${reduction}", which has no gradient rule`);
    const attributes = isND ? {} : { axis: intOf(node, "axis", 0) };
    const [put, take] = isND ? ["ScatterND", "GatherND"] : ["ScatterElements", "GatherElements"];
    const cleared = (): string =>
      graph.op(put ?? "", [g, indices, zerosLike(graph, updates)], { attributes });
    return [
      wants(0) ? (reduction === "add" ? g : cleared()) : undefined,
      undefined,
      wants(2) ? graph.op(take ?? "", [g, indices], { attributes }) : undefined,
    ];
  };
}

/**
 * `y = x[start:end]` on some axes: `∂x` is `g` between zeros.
 *
 * Steps other than 1 add `g` at the places that the same slice takes of `0, 1, 2, …`, one axis after the other.
 */
const slice: Rule = (step) => {
  const { node, graph, g, x } = step;
  const [name = "", starts = "", ends = "", axes = "", steps = ""] = x;
  const rank = graph.rank(name);
  const from = graph.value(starts).contents;
  const count = from?.length ?? graph.value(starts).shape?.[0];
  if (typeof count !== "number") throw notSupported(node, "slices axes that only show at run time");
  const listed =
    axes === ""
      ? Array.from({ length: count }, (_, axis) => axis)
      : graph.value(axes).contents?.map((axis) => normalizeAxis(Number(axis), rank));
  const strides = steps === "" ? [] : graph.value(steps).contents;
  const isContiguous = strides?.every((stride) => stride === 1) === true;
  if (listed === undefined || listed.some((axis) => Number.isNaN(axis)))
    throw notSupported(node, "slices axes that only show at run time");
  const isFixed = from?.every((start) => typeof start === "number" && start >= 0) === true;
  if (isContiguous && isFixed) return [padBack(step, listed, from as number[])]; // just checked
  if (listed.length > 1)
    throw notSupported(node, "slices several axes at once from places that only show at run time");
  const [axis = 0] = listed;
  const size = graph.op("Squeeze", [
    graph.op("Shape", [name], { attributes: { start: axis, end: axis + 1 } }),
  ]);
  const zero = graph.scalarInteger(0);
  const places = graph.op("Range", [zero, size, graph.scalarInteger(1)]);
  const bounds = [starts, ends, graph.integers([0]), ...(steps === "" ? [] : [steps])];
  return [addAlong(step, name, axis, graph.op("Slice", [places, ...bounds]), g)];
};

/** `g` between zeros, in the shape of `x`: it begins at `starts` on `axes`, and at 0 elsewhere. */
function padBack({ graph, g, x: [x = ""] }: Step, axes: number[], starts: number[]): string {
  const [whole, part] = [graph.shape(x), graph.shape(g)];
  const rank = graph.rank(x);
  const before = Array.from({ length: rank }, (_, axis) => starts[axes.indexOf(axis)] ?? 0);
  const after = before.map((start, axis) => {
    const [size, kept] = [whole?.[axis], part?.[axis]];
    if (!axes.includes(axis)) return 0;
    return typeof size === "number" && typeof kept === "number" ? size - kept - start : undefined;
  });
  if (after.every((count) => count !== undefined))
    return graph.op("Pad", [g, graph.integers([...before, ...after])]);
  const begins = graph.integers(before);
  const rest = graph.op("Sub", [graph.op("Sub", [graph.shapeOf(x), graph.shapeOf(g)]), begins]);
  const pads = graph.op("Concat", [begins, rest], { attributes: { axis: 0 } });
  return graph.op("Pad", [g, pads]);
}

/** `y` is `x` between constants: `∂x` is the part of `g` where `x` stands. */
const pad: Rule = ({ node, graph, g, x: [x = "", pads = "", , axes = ""] }) => {
  if (stringOf(node, "mode", "constant") !== "constant" || axes !== "")
    throw notSupported(node, "does not pad all axes with a constant, which has no gradient rule");
  const rank = graph.integers([graph.rank(x)]);
  const starts = graph.op("Slice", [pads, graph.integers([0]), rank]);
  const ends = graph.op("Add", [starts, graph.shapeOf(x)]);
  return [graph.op("Slice", [g, starts, ends])];
};

export const SELECTION: Readonly<Record<string, Rule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatter(false),
  ScatterND: scatter(true),
  Slice: slice,
  Pad: pad,
};
