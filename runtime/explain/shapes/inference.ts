/**
 * What is known of each value before the graph runs: element type, shape, and the contents of small integer tensors
 * (shapes that the graph computes with).
 *
 * The gradient needs it to tell where an operand was broadcast and to reshape a gradient without asking the graph.
 * Nothing here has to be complete: a value of which too little is known makes the gradient graph ask at run time.
 * `contents.ts` follows the integers.
 */
import { toNumber } from "../attributes.ts";
import type { Graph, Node, ValueInfo } from "../onnx-schema.ts";
import { COMPUTATIONS } from "./computations.ts";
import { inferContents } from "./contents.ts";
import { LAYOUTS } from "./layouts.ts";
import { symbol, UNKNOWN } from "./symbols.ts";
import { ofTensor, type Value, type Values } from "./value.ts";

/** What the inputs of a graph, its weights and all its nodes make. */
export function inferGraph(graph: Graph): Values {
  const values: Values = new Map();
  for (const info of graph.input) values.set(info.name, toValue(info));
  for (const tensor of graph.initializer) values.set(tensor.name ?? "", ofTensor(tensor));
  const stated = new Map(graph.valueInfo.map((info) => [info.name, toValue(info)]));
  for (const info of graph.output) stated.set(info.name, toValue(info));
  for (const node of graph.node) inferNode(node, values, stated);
  return values;
}

/** Adds what `node` makes to `values`. What the file states is used where nothing is known. */
export function inferNode(node: Node, values: Values, stated?: ReadonlyMap<string, Value>): void {
  const inputs = node.input.map((name) => values.get(name) ?? {});
  const isKnown = DOMAINS.has(node.domain ?? "");
  const rule = isKnown ? (COMPUTATIONS[node.opType] ?? LAYOUTS[node.opType]) : undefined;
  const made = rule?.(node, inputs) ?? [];
  const contents = isKnown ? inferContents(node, inputs) : undefined;
  for (const [index, name] of node.output.entries()) {
    if (name === "") continue;
    const told = stated?.get(name);
    const inferred = { ...made[index], ...(index === 0 && contents && { contents }) };
    const shape = inferred.shape ?? told?.shape;
    values.set(name, {
      element: inferred.element ?? told?.element,
      shape: shape?.map((dim, axis) => (dim === UNKNOWN ? symbol(`${name}.${axis}`) : dim)),
      contents: inferred.contents?.map((dim) => (dim === UNKNOWN ? undefined : dim)),
    });
  }
}
/** Where an operator's name means what the rules say. */
const DOMAINS: ReadonlySet<string> = new Set(["", "ai.onnx", "com.microsoft"]);

function toValue({ name, type }: ValueInfo): Value {
  const dims = type?.tensorType?.shape?.dim;
  return {
    element: type?.tensorType?.elemType,
    shape: dims?.map(({ dimValue, dimParam }, axis) => {
      const size = dimValue === undefined ? -1 : toNumber(dimValue);
      if (size >= 0) return size; // old exports write -1 for what is not known
      return symbol(dimParam ? dimParam : `${name}.${axis}`);
    }),
  };
}
