/**
 * Cuts a part out of a graph: what some outputs need, down to some values that are given.
 */
import { namesReadBy } from "./onnx-check.ts";
import type { Graph, Node, ValueInfo } from "./onnx-schema.ts";
import type { Value } from "./shapes/value.ts";
import { ELEMENT } from "./onnx-schema.ts";

/** The nodes that `outputs` need, in the graph's order, where the values in `given` need nothing. */
export function nodesFor(
  graph: Graph,
  outputs: readonly string[],
  given: ReadonlySet<string>,
): Node[] {
  const wanted = new Set(outputs.filter((name) => !given.has(name)));
  const nodes: Node[] = [];
  for (const node of graph.node.toReversed()) {
    if (!node.output.some((name) => wanted.has(name))) continue;
    nodes.push(node);
    for (const name of namesReadBy(node)) if (!given.has(name)) wanted.add(name);
  }
  return nodes.toReversed();
}

/**
 * A graph with the nodes for `outputs` and only the inputs and weights that these need.
 *
 * @param given Values that the caller feeds instead of computing them; they come first among the inputs.
 */
export function extract(graph: Graph, outputs: readonly ValueInfo[], given: ValueInfo[]): Graph {
  const names = outputs.map(({ name }) => name);
  const node = nodesFor(graph, names, new Set(given.map(({ name }) => name)));
  const read = new Set([...names, ...node.flatMap(namesReadBy)]);
  const made = new Set(given.map(({ name }) => name));
  const initializer = graph.initializer.filter(({ name = "" }) => read.has(name));
  for (const { name = "" } of initializer) made.add(name); // no input may replace a weight
  const input = graph.input.filter(({ name }) => read.has(name) && !made.has(name));
  return {
    ...(graph.name !== undefined && { name: graph.name }),
    node,
    initializer,
    input: [...given.filter(({ name }) => read.has(name)), ...input],
    output: [...outputs],
    valueInfo: [],
  };
}

/** A graph's input or output; sizes that are expressions get a name of their own. */
export function toValueInfo(name: string, { element, shape }: Value): ValueInfo {
  const dim = shape?.map((size) =>
    typeof size === "number"
      ? { dimValue: size }
      : { dimParam: size.replace(/^\[([^[\]]*)\]$/, "$1") },
  );
  return {
    name,
    type: {
      tensorType: {
        elemType: element ?? ELEMENT.float32,
        ...(dim !== undefined && { shape: { dim } }),
      },
    },
  };
}
