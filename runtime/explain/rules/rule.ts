/**
 * What a gradient rule is, and the three steps that many rules share.
 *
 * For a node `y = f(x₀, x₁, …)` and the gradient `g = ∂L/∂y` of a scalar `L`, a rule appends the nodes that compute
 * `∂L/∂xᵢ = g · ∂y/∂xᵢ`, which has the shape of `xᵢ`. Rules see operator set 18 and later only. `⊙` is the elementwise
 * product, `Σ` sums over the axes that broadcasting added or stretched.
 */
import { RuntimeError } from "../../errors.ts";
import type { GraphBuilder } from "../graph-builder.ts";
import type { Node } from "../onnx-schema.ts";

/** One node on the way back. */
export interface Step {
  readonly node: Node;
  readonly graph: GraphBuilder;
  /** The inputs' names; empty where an optional one is left out. */
  readonly x: readonly string[];
  /** The gradient of the first output. */
  readonly g: string;
  /** The gradients of all outputs; only rules of `MULTIPLE` see others than the first. */
  readonly gradients: readonly (string | undefined)[];
  /** Whether the gradient of this input is asked for. */
  readonly wants: (input: number) => boolean;
  /** The name of an output, which is added to the node where it was left out. */
  readonly output: (index: number) => string;
}

/** The gradients of the inputs, in their order; holes and what is beyond the end carry none. */
export type Rule = (step: Step) => readonly (string | undefined)[];

/** `g` summed to the shape of `like`: the way back through broadcasting. */
export function sumTo(graph: GraphBuilder, g: string, like: string): string {
  const [from, to] = [graph.shape(g), graph.shape(like)];
  if (from === undefined || to === undefined || to.length > from.length)
    return sumAtRunTime(graph, g, like);
  const lead = from.length - to.length;
  const stretched: number[] = [];
  for (const [axis, size] of to.entries()) {
    const whole = from[lead + axis];
    if (size === whole) continue;
    if (size === 1) stretched.push(lead + axis);
    else if (typeof size === "string" && whole !== 1) return sumAtRunTime(graph, g, like);
  }
  const kept = stretched.length === 0 ? g : graph.sum(g, stretched);
  const added = Array.from({ length: lead }, (_, axis) => axis);
  return lead === 0 ? kept : graph.sum(kept, added, "drop");
}

/** The same where it shows only at run time which axes were stretched: those of size 1 in `like` but not in `g`. */
function sumAtRunTime(graph: GraphBuilder, g: string, like: string): string {
  const [from, to] = [graph.shapeOf(g), graph.shapeOf(like)];
  const added = graph.op("Sub", [graph.op("Shape", [from]), graph.op("Shape", [to])]);
  const ones = graph.op("Expand", [graph.integers([1]), added]);
  const padded = graph.op("Concat", [ones, to], { attributes: { axis: 0 } });
  const differs = graph.op("Not", [graph.op("Equal", [padded, from])]);
  const axes = graph.op("Squeeze", [graph.op("NonZero", [differs]), graph.integers([0])]);
  const sum = graph.op("ReduceSum", [g, axes], { attributes: { noop_with_empty_axes: 1 } });
  return graph.op("Reshape", [sum, to], { attributes: { allowzero: 1 } });
}

/** `g`, whose elements are those of `like` in the same order, in the shape of `like`. */
export function reshapeTo(graph: GraphBuilder, g: string, like: string): string {
  const [from, to] = [graph.shape(g), graph.shape(like)];
  if (
    to !== undefined &&
    from?.length === to.length &&
    to.every((size, axis) => size === from[axis])
  )
    return g;
  // A constant is readable and needs no value of the way there: 0 copies a size of `g`, one -1 is what remains.
  const sizes = to?.map((size, axis) =>
    typeof size === "number" ? size : size === from?.[axis] ? 0 : -1,
  );
  const isPlain = sizes !== undefined && !to?.includes(0);
  if (isPlain && sizes.filter((size) => size === -1).length <= 1) return graph.reshape(g, sizes);
  return graph.op("Reshape", [g, graph.shapeOf(like)], { attributes: { allowzero: 1 } });
}

/** Zeros in the shape and type of `like`. */
export function zerosLike(graph: GraphBuilder, like: string): string {
  return graph.op("Expand", [graph.scalar(0, like), graph.shapeOf(like)]);
}

/** `-1` → the last axis of `name`. */
export function axisOf(graph: GraphBuilder, name: string, axis: number): number {
  return axis < 0 ? axis + graph.rank(name) : axis;
}

/** The refusal of a node, for reasons that its operator alone does not show. */
export function notSupported(node: Node, problem: string): RuntimeError {
  return new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot compute the gradient: ${describe(node)} ${problem}`,
  );
}

/** `MatMul ("node_linear")` or `com.microsoft.Attention ("attn_0")`. */
export function describe({ opType, domain = "", name = "", output }: Node): string {
  const operator = domain === "" || domain === "ai.onnx" ? opType : `${domain}.${opType}`;
  return `${operator} ("${name || (output[0] ?? "")}")`;
}
