/**
 * Lets a graph in half precision compute in float32.
 *
 * A gradient through many layers would lose its digits in float16, and onnxruntime computes most of float16 in float32 on
 * a processor anyway. The weights stay as they are in their file; a Cast stands behind each.
 */
import { findAttribute, intOf } from "./attributes.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { ATTRIBUTE, ELEMENT, type Graph, type Node, type ValueInfo } from "./onnx-schema.ts";

const HALVES: ReadonlySet<number | undefined> = new Set([ELEMENT.float16, ELEMENT.bfloat16]);

/** The model with all float16 and bfloat16 values, inputs and outputs included, as float32. */
export function widen(model: OnnxModel): OnnxModel {
  if (!isHalf(model.graph)) return model;
  const graph = widenGraph(model.graph);
  if (model.file === undefined) return { ...model, graph };
  const renamed = [...model.file.external].map(([name, data]) => [halfOf(name), data] as const);
  return {
    ...model,
    graph,
    file: { ...model.file, external: new Map([...model.file.external, ...renamed]) },
  };
}

function isHalf(graph: Graph): boolean {
  return (
    graph.initializer.some(({ dataType }) => HALVES.has(dataType)) ||
    graph.node.some((node) => HALVES.has(madeOf(node)))
  );
}

/** The element type that a node names for its output. */
function madeOf(node: Node): number | undefined {
  if (node.opType === "Cast") return intOf(node, "to");
  return findAttribute(node, "value")?.t?.dataType;
}

function widenGraph(graph: Graph): Graph {
  const weights = graph.initializer.filter(({ dataType }) => HALVES.has(dataType));
  const kept = graph.initializer.filter(({ dataType }) => !HALVES.has(dataType));
  const names = new Set(weights.map(({ name }) => name));
  return {
    ...graph,
    initializer: [...kept, ...weights.map((tensor) => ({ ...tensor, name: halfOf(tensor.name) }))],
    node: [
      ...weights.map(({ name = "" }) => toFloat(halfOf(name), name)),
      ...graph.node.flatMap(widenNode),
    ],
    // An input that is a weight's default would have two types.
    input: graph.input.filter(({ name }) => !names.has(name)).map(widenInfo),
    output: graph.output.map(widenInfo),
    valueInfo: graph.valueInfo.map(widenInfo),
  };
}

function widenNode(node: Node): Node[] {
  const attribute = node.attribute?.map((entry) =>
    entry.g === undefined ? entry : { ...entry, g: widenGraph(entry.g) },
  );
  const whole = attribute === undefined ? node : { ...node, attribute };
  if (!HALVES.has(madeOf(node))) return [whole];
  const [output = ""] = node.output;
  if (node.opType === "Cast") return [toFloat(node.input[0] ?? "", output)];
  return [{ ...whole, output: [halfOf(output)] }, toFloat(halfOf(output), output)];
}

function toFloat(from: string, to: string): Node {
  const attribute = [{ name: "to", i: ELEMENT.float32, type: ATTRIBUTE.int }];
  return { opType: "Cast", name: `${to}/float32`, input: [from], output: [to], attribute };
}

function halfOf(name: string | undefined): string {
  return `${name ?? ""}/half`;
}

function widenInfo(info: ValueInfo): ValueInfo {
  const tensorType = info.type?.tensorType;
  if (!HALVES.has(tensorType?.elemType)) return info;
  return { ...info, type: { tensorType: { ...tensorType, elemType: ELEMENT.float32 } } };
}
