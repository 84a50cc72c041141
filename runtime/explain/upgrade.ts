/**
 * Brings a graph of ONNX's operator sets 11 to 17 to 18, so that every operator has one form in the rules.
 *
 * What changed between 11 and 18 for the operators of transformers, by ONNX's `docs/Changelog.md`:
 * 12 Dropout's ratio, 13 the axes of Squeeze, Unsqueeze, ReduceSum and the sizes of Split became inputs, and Softmax
 * no longer flattens; 18 the axes of the other reductions became inputs, and an even Split says how many parts. The other
 * changes only allowed further types.
 */
import { intOf, intsOf } from "./attributes.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { ATTRIBUTE, type Node } from "./onnx-schema.ts";
import { rewrite } from "./rewrite.ts";
import { describe, notSupported } from "./rules/rule.ts";
import { normalizeAxis } from "./shapes/value.ts";
import { RuntimeError } from "../errors.ts";

const OLDEST = 11;
const TARGET = 18;
/** The format's version that came with operator set 18: ONNX's `docs/Versioning.md`. */
const IR_VERSION = 8;

/** @throws `NOT_SUPPORTED` for sets older than 11, and where the rank of an old Softmax cannot be told. */
export function upgrade(model: OnnxModel): OnnxModel {
  const version = versionOf(model);
  if (version >= TARGET) return model;
  if (version < OLDEST)
    throw new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot compute the gradient: the graph is written in operator set ${version}, wanted ${OLDEST} or later`,
    );
  const graph = rewrite(model.graph, "upgrade/", (node, builder) => {
    if ((node.domain ?? "") !== "" && node.domain !== "ai.onnx") return false;
    if (node.attribute?.some(({ g }) => g !== undefined)) refuseInner(node);
    return upgradeNode(node, builder, version);
  });
  const others = model.opsetImport.filter(({ domain = "" }) => !isOnnx(domain));
  return {
    ...model,
    irVersion: Math.max(Number(model.irVersion ?? 0), IR_VERSION),
    opsetImport: [...others, { domain: "", version: TARGET }],
    graph,
  };
}

function isOnnx(domain: string): boolean {
  return domain === "" || domain === "ai.onnx";
}

/** The version of ONNX's own operator set. */
export function versionOf({ opsetImport }: OnnxModel): number {
  return Number(opsetImport.find(({ domain = "" }) => isOnnx(domain))?.version ?? 0);
}

/** Inner graphs (If, Loop) are copied as they are, which is right as long as they hold nothing that changed. */
function refuseInner(node: Node): void {
  const nodes = node.attribute?.flatMap(({ g }) => g?.node ?? []) ?? [];
  for (const inner of nodes) {
    const changed = AXES.get(inner.opType) ?? MOVED.get(inner.opType);
    const isOld = changed !== undefined || inner.opType === "Softmax" || inner.opType === "Split";
    if (isOld && (inner.domain ?? "") === "")
      throw notSupported(node, `holds ${describe(inner)} in a form older than operator set 18`);
    refuseInner(inner);
  }
}

/** Operator → the attribute that became its second input in set 13, … */
const MOVED: ReadonlyMap<string, string> = new Map([
  ["Squeeze", "axes"],
  ["Unsqueeze", "axes"],
  ["ReduceSum", "axes"],
  ["Split", "split"],
]);

/** … and in set 18. */
const AXES: ReadonlyMap<string, string> = new Map(
  ["Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"].map(
    (kind) => [`Reduce${kind}`, "axes"] as const,
  ),
);

function upgradeNode(node: Node, graph: GraphBuilder, version: number): boolean {
  const moved = version < 13 ? MOVED.get(node.opType) : undefined;
  const attribute = moved ?? AXES.get(node.opType);
  const list = attribute === undefined ? undefined : intsOf(node, attribute);
  if (attribute !== undefined && list !== undefined) {
    graph.append({
      ...without(node, attribute),
      input: [node.input[0] ?? "", graph.integers(list)],
    });
    return true;
  }
  switch (node.opType) {
    case "Split": {
      if ((node.input[1] ?? "") !== "") return false;
      const count = { name: "num_outputs", i: node.output.length, type: ATTRIBUTE.int };
      graph.append({ ...node, attribute: [...(node.attribute ?? []), count] });
      return true;
    }
    case "Dropout":
      if (version < 12) graph.append(without(node, "ratio"));
      return version < 12;
    case "Softmax":
    case "LogSoftmax":
      return version < 13 && unflatten(node, graph);
    default:
      return false;
  }
}

function without(node: Node, attribute: string): Node {
  return { ...node, attribute: (node.attribute ?? []).filter(({ name }) => name !== attribute) };
}

/** Before set 13 Softmax took all axes from `axis` on as one, and `axis` was 1 by default. */
function unflatten(node: Node, graph: GraphBuilder): boolean {
  const [x = ""] = node.input;
  const rank = graph.rank(x);
  const axis = normalizeAxis(intOf(node, "axis", 1), rank);
  const attributes = { axis: -1 };
  const outputs = node.output;
  if (axis === rank - 1) {
    graph.op(node.opType, [x], { attributes, outputs });
  } else {
    const flat = graph.op("Flatten", [x], { attributes: { axis } });
    const soft = graph.op(node.opType, [flat], { attributes });
    graph.op("Reshape", [soft, graph.shapeOf(x)], { outputs });
  }
  return true;
}
