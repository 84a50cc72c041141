/**
 * Whether a decoded model is one that graphs can be made from: every name is made once, and before it is read.
 *
 * Whether the operators and their types are right is left to onnxruntime.
 */
import { isExternal } from "./onnx-external.ts";
import type { Graph, ModelProto, Node, Tensor } from "./onnx-schema.ts";
import { RuntimeError } from "../errors.ts";

/** @throws `MODEL_INVALID` */
export function checkGraph(model: Partial<ModelProto>, name: string): ModelProto {
  const fail = (problem: string): never => {
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${name}: ${problem}`);
  };
  const { graph, opsetImport = [] } = model;
  if (graph === undefined || graph.node.length === 0) return fail("it holds no graph");
  if (opsetImport.length === 0) return fail("it names no operator set");
  if ((model.trainingInfo?.length ?? 0) > 0) return fail("it holds a training graph");
  if ((graph.sparseInitializer?.length ?? 0) > 0)
    return fail("it holds sparse weights, wanted dense ones");
  const strayed = tensorsWithin(graph.node).find(isExternal);
  // onnxruntime would read these by paths that nobody has checked.
  if (strayed !== undefined)
    return fail("a node of it has external data, wanted them for weights only");
  const problem = findDisorder(graph);
  if (problem !== undefined) return fail(problem);
  return { ...model, graph, opsetImport };
}

/** The tensors that stand in nodes, and all of inner graphs. */
function tensorsWithin(nodes: readonly Node[]): Tensor[] {
  return nodes.flatMap(({ attribute = [] }) =>
    attribute.flatMap(({ t, g, tensors = [], graphs = [] }) => [
      ...(t ? [t] : []),
      ...tensors,
      ...[...(g ? [g] : []), ...graphs].flatMap((graph) => [
        ...graph.initializer,
        ...tensorsWithin(graph.node),
      ]),
    ]),
  );
}

function findDisorder(graph: Graph): string | undefined {
  const made = new Set(graph.input.map(({ name }) => name));
  if (made.size < graph.input.length) return "two of its inputs have the same name";
  const weights = new Set<string>();
  for (const { name = "" } of graph.initializer) {
    if (weights.has(name)) return `two of its weights are named "${name}"`;
    weights.add(name);
    made.add(name); // a weight may also be listed as an input: its default
  }
  const later = new Set(graph.node.flatMap(({ output }) => output));
  for (const node of graph.node) {
    if (!node.opType) return "one of its nodes names no operator";
    for (const input of namesReadBy(node)) {
      if (made.has(input)) continue;
      const why = later.has(input) ? "comes later or from the node itself" : "nothing makes";
      return `the node "${node.name ?? ""}" (${node.opType}) reads "${input}", which ${why}`;
    }
    for (const output of node.output) {
      if (output === "") continue;
      if (made.has(output)) return `the value "${output}" is made twice`;
      made.add(output);
    }
  }
  const missing = graph.output.find(({ name }) => !made.has(name));
  return missing && `nothing makes its output "${missing.name}"`;
}

/** The values that a node reads, those that its inner graphs take from outside included. */
export function namesReadBy(node: Node): string[] {
  const names = node.input.filter((name) => name !== "");
  for (const attribute of node.attribute ?? []) {
    for (const graph of [...(attribute.g ? [attribute.g] : []), ...(attribute.graphs ?? [])])
      names.push(...freeNamesOf(graph));
  }
  return names;
}

function freeNamesOf(graph: Graph): string[] {
  const own = new Set([
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name = "" }) => name),
    ...graph.node.flatMap(({ output }) => output),
  ]);
  const read = [...graph.node.flatMap(namesReadBy), ...graph.output.map(({ name }) => name)];
  return read.filter((name) => !own.has(name));
}
