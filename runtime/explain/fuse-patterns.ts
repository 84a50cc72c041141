/**
 * Finds LayerNorm, RMSNorm and Gelu where they are written out in small nodes, and puts one node in their place.
 *
 * The gradient of the whole is shorter than that of its parts: a third of the nodes for a LayerNorm. Only the last node
 * of a pattern is replaced; the others disappear with whatever nobody reads. onnxruntime makes the same fusions
 * (`layer_norm_fusion.cc`, `gelu_fusion.cc`), but not where the way back reads what lies within.
 */
import { intOf, numbersOf, findAttribute } from "./attributes.ts";
import type { Graph, Node } from "./onnx-schema.ts";
import { toAttribute, type AttributeValue } from "./attributes.ts";
import { inferGraph } from "./shapes/inference.ts";
import { listOf, normalizeAxis, type Values } from "./shapes/value.ts";

export function fusePatterns(graph: Graph): Graph {
  const find = createFinder(graph);
  const node = graph.node.map(
    (last) =>
      matchLayerNorm(last, find) ?? matchRmsNorm(last, find) ?? matchGelu(last, find) ?? last,
  );
  return { ...graph, node };
}

/** Looks backwards in a graph. */
interface Finder {
  /** The node that makes a value, if it is of that kind. */
  maker(name: string | undefined, ...kinds: readonly string[]): Node | undefined;
  /** The number that a value is, if it is a constant with one element. */
  number(name: string | undefined): number | undefined;
  /** Whether a mean is taken over the last axis, which is kept. */
  isLastMean(node: Node | undefined): node is Node;
}

function createFinder(graph: Graph): Finder {
  const values: Values = inferGraph(graph);
  const makers = new Map<string, Node>();
  const numbers = new Map<string, number>();
  for (const node of graph.node) {
    for (const name of node.output) makers.set(name, node);
    const tensor = node.opType === "Constant" ? findAttribute(node, "value")?.t : undefined;
    const [number] = (tensor && numbersOf(tensor, 1)) ?? [];
    if (number !== undefined) numbers.set(node.output[0] ?? "", number);
  }
  for (const tensor of graph.initializer) {
    const [number] = numbersOf(tensor, 1) ?? [];
    if (number !== undefined) numbers.set(tensor.name ?? "", number);
  }
  return {
    maker(name, ...kinds) {
      const node = makers.get(name ?? "");
      return node !== undefined && kinds.includes(node.opType) ? node : undefined;
    },
    number: (name) => numbers.get(name ?? ""),
    isLastMean(node): node is Node {
      if (node?.opType !== "ReduceMean" || intOf(node, "keepdims", 1) !== 1) return false;
      const inputs = node.input.map((name) => values.get(name) ?? {});
      const [axis, ...more] = listOf(node, inputs, "axes", 1) ?? [];
      const rank = inputs[0]?.shape?.length;
      if (axis === undefined || more.length > 0) return false;
      return axis === -1 || (rank !== undefined && normalizeAxis(axis, rank) === rank - 1);
    },
  };
}

/** `(x − mean(x)) / √(mean((x − mean(x))²) + ε) ⊙ γ + β`. */
function matchLayerNorm(last: Node, find: Finder): Node | undefined {
  if (last.opType !== "Add") return undefined;
  for (const [scaled, bias] of orders(last)) {
    const product = find.maker(scaled, "Mul");
    for (const [normal, scale] of orders(product)) {
      const division = find.maker(normal, "Div");
      const centred = find.maker(division?.input[0], "Sub");
      const mean = find.maker(centred?.input[1], "ReduceMean");
      const [x] = centred?.input ?? [];
      if (!find.isLastMean(mean) || mean.input[0] !== x) continue;
      const root = matchRoot(division?.input[1], find);
      const other = find.maker(root?.of, "Sub");
      // Some exports compute the difference twice.
      const isSame = root?.of === division?.input[0] || isEqualNode(other, centred);
      if (root === undefined || !isSame) continue;
      return toNode(last, "LayerNormalization", [x ?? "", scale, bias], {
        axis: -1,
        epsilon: { float: root.epsilon },
      });
    }
  }
  return undefined;
}

/** `γ ⊙ (x / √(mean(x²) + ε))`. */
function matchRmsNorm(last: Node, find: Finder): Node | undefined {
  if (last.opType !== "Mul") return undefined;
  for (const [scale, normal] of orders(last)) {
    const x = matchNormalized(normal, find);
    if (x === undefined || find.number(scale) !== undefined) continue;
    return toNode(last, "SimplifiedLayerNormalization", [x.name, scale], {
      axis: -1,
      epsilon: { float: x.epsilon },
    });
  }
  return undefined;
}

function matchNormalized(
  name: string,
  find: Finder,
): { readonly name: string; readonly epsilon: number } | undefined {
  const division = find.maker(name, "Div");
  if (division !== undefined) {
    const root = matchRoot(division.input[1], find);
    const [x = ""] = division.input;
    return root?.of === x ? { name: x, epsilon: root.epsilon } : undefined;
  }
  for (const [x, inverse] of orders(find.maker(name, "Mul"))) {
    const reciprocal = find.maker(inverse, "Reciprocal", "Div");
    const isOneOver = reciprocal?.opType === "Div" && find.number(reciprocal.input[0]) === 1;
    const under = reciprocal?.opType === "Reciprocal" ? reciprocal.input[0] : undefined;
    const root = matchRoot(isOneOver ? reciprocal.input[1] : under, find);
    if (root?.of === x) return { name: x, epsilon: root.epsilon };
  }
  return undefined;
}

/** `√(mean(of²) + ε)`. */
function matchRoot(
  name: string | undefined,
  find: Finder,
): { readonly of: string; readonly epsilon: number } | undefined {
  for (const [variance, epsilonName] of orders(
    find.maker(find.maker(name, "Sqrt")?.input[0], "Add"),
  )) {
    const mean = find.maker(variance, "ReduceMean");
    const epsilon = find.number(epsilonName);
    if (epsilon === undefined || !find.isLastMean(mean)) continue;
    const square = find.maker(mean.input[0], "Pow", "Mul");
    const [of = "", power] = square?.input ?? [];
    const isSquare = square?.opType === "Pow" ? find.number(power) === 2 : of === power;
    if (square !== undefined && isSquare) return { of, epsilon };
  }
  return undefined;
}

/** `x · ½ · (1 + erf(x / √2))`, multiplied in any order. */
function matchGelu(last: Node, find: Finder): Node | undefined {
  if (last.opType !== "Mul") return undefined;
  for (const [left, right] of orders(last)) {
    for (const [a, b] of orders(find.maker(left, "Mul"))) {
      // The three factors are `a`, `b` and `right`.
      for (const [half, x, sum] of [
        [right, a, b],
        [a, b, right],
        [a, right, b],
      ]) {
        const isHalf = find.number(half) === 0.5;
        if (isHalf && x !== undefined && isErfOf(x, sum, find))
          return { ...toNode(last, "Gelu", [x], {}), domain: "com.microsoft" };
      }
    }
  }
  return undefined;
}

/** Whether a value is `1 + erf(x / √2)`. */
function isErfOf(x: string, name: string | undefined, find: Finder): boolean {
  for (const [erf, one] of orders(find.maker(name, "Add"))) {
    const scaled = find.maker(find.maker(erf, "Erf")?.input[0], "Div", "Mul");
    if (find.number(one) !== 1 || scaled === undefined) continue;
    const isDivided = scaled.opType === "Div";
    for (const [from, factor] of isDivided ? orders(scaled).slice(0, 1) : orders(scaled)) {
      const wanted = isDivided ? Math.SQRT2 : Math.SQRT1_2;
      // Exports hold √2 in float32, some with four digits only (1.4142).
      if (from === x && Math.abs((find.number(factor) ?? 0) - wanted) < 1e-4) return true;
    }
  }
  return false;
}

/** The two inputs of a node in both orders; nothing for no node. */
function orders(node: Node | undefined): readonly (readonly [string, string])[] {
  const [a, b] = node?.input ?? [];
  return a === undefined || b === undefined
    ? []
    : [
        [a, b],
        [b, a],
      ];
}

function isEqualNode(a: Node | undefined, b: Node | undefined): boolean {
  return a !== undefined && a.opType === b?.opType && a.input.join(",") === b.input.join(",");
}

function toNode(
  { output, name }: Node,
  opType: string,
  input: string[],
  attributes: Readonly<Record<string, AttributeValue>>,
): Node {
  return {
    opType,
    input,
    output,
    attribute: Object.entries(attributes).map(([key, value]) => toAttribute(key, value)),
    ...(name !== undefined && { name }),
  };
}
