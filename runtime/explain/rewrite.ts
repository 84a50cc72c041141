/**
 * Replaces nodes of a graph by others that compute the same.
 */
import { createGraphBuilder, type GraphBuilder } from "./graph-builder.ts";
import type { Graph, Node } from "./onnx-schema.ts";
import { inferGraph } from "./shapes/inference.ts";
import { notSupported } from "./rules/rule.ts";

/**
 * Appends what replaces `node`, whose outputs keep their names (`options.outputs` of the builder).
 *
 * @returns `false` where the node stays.
 */
export type Replacement = (node: Node, graph: GraphBuilder) => boolean;

/**
 * A copy of `graph` in which `replace` was asked about every node.
 *
 * @param prefix Begins the names of new values, and of no value of the graph.
 */
export function rewrite(graph: Graph, prefix: string, replace: Replacement): Graph {
  const copy: Graph = { ...graph, node: [], initializer: [...graph.initializer] };
  let current: Node | undefined;
  const builder = createGraphBuilder(copy, inferGraph(graph), prefix, (name) =>
    notSupported(
      current ?? { opType: "", input: [], output: [] },
      `reads "${name}", of which the number of axes cannot be told`,
    ),
  );
  for (const node of graph.node) {
    current = node;
    if (!replace(node, builder)) copy.node.push(node);
  }
  return copy;
}
