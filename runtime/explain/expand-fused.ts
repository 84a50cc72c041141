/**
 * Takes onnxruntime's fused operators apart, where ONNX has their parts: graphs that were optimized before they were
 * saved hold them (Optimum's O2 and above, onnxruntime-genai).
 *
 * Their definitions: onnxruntime, `docs/ContribOperators.md`. The names of the outputs stay. Only a node on the way
 * from the layer to the output has to come apart, but all are, as that is one rule less.
 */
import { expandAttention } from "./expand-attention.ts";
import { findAttribute, floatOf, stringOf } from "./attributes.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import type { Graph, Node } from "./onnx-schema.ts";
import { rewrite } from "./rewrite.ts";
import { operatorOf } from "./rules/registry.ts";
import { notSupported } from "./rules/rule.ts";

type Expansion = (node: Node, graph: GraphBuilder) => void;

export function expandFused(graph: Graph): Graph {
  return rewrite(graph, "expanded/", (node, builder) => {
    const operator = operatorOf(node);
    const expansion = EXPANSIONS[operator];
    if (expansion === undefined) return expandAttention(node, builder);
    if (operator === "com.microsoft.FastGelu" && !node.input[1]) return false;
    expansion(node, builder);
    return true;
  });
}

/** `y = norm(input + skip + bias)`, with the sum as the fourth output. */
function skipNorm(kind: "LayerNormalization" | "SimplifiedLayerNormalization"): Expansion {
  return (node, graph) => {
    const [input = "", skip = "", gamma = "", ...rest] = node.input;
    const [beta, bias] = kind === "LayerNormalization" ? rest : ["", rest[0]];
    if (node.output[1] || node.output[2])
      throw notSupported(node, "gives out its mean or deviation, which cannot be taken apart");
    const outputs = node.output[3] ? [node.output[3]] : [];
    const plain = graph.op("Add", [input, skip], bias ? {} : { outputs });
    const sum = bias ? graph.op("Add", [plain, bias], { outputs }) : plain;
    graph.op(kind, beta ? [sum, gamma, beta] : [sum, gamma], {
      // onnxruntime's default, where ONNX's own is 1e-5
      attributes: { axis: -1, epsilon: { float: floatOf(node, "epsilon", 1e-12) } },
      outputs: node.output.slice(0, 1),
    });
  };
}

/** `y = gelu(x + bias)`. */
function biasGelu(kind: "Gelu" | "FastGelu"): Expansion {
  return ({ input: [x = "", bias = ""], output }, graph) => {
    const sum = graph.op("Add", [x, bias]);
    graph.op(kind, [sum], { domain: "com.microsoft", outputs: output });
  };
}

/** `Y = activation(Gemm(A, B, C))`. */
const fusedGemm: Expansion = (node, graph) => {
  const activation = stringOf(node, "activation", "");
  if (findAttribute(node, "activation_alpha") !== undefined || activation === "")
    throw notSupported(node, `ends with "${activation}", which cannot be taken apart`);
  const { domain: _, ...plain } = node;
  const product = `expanded/${node.output[0] ?? ""}`;
  const attribute = node.attribute?.filter(({ name }) => name !== "activation");
  graph.append({ ...plain, opType: "Gemm", output: [product], ...(attribute && { attribute }) });
  graph.op(activation, [product], { outputs: node.output });
};

const EXPANSIONS: Readonly<Record<string, Expansion>> = {
  "com.microsoft.SkipLayerNormalization": skipNorm("LayerNormalization"),
  "com.microsoft.SkipSimplifiedLayerNormalization": skipNorm("SimplifiedLayerNormalization"),
  "com.microsoft.BiasGelu": biasGelu("Gelu"),
  "com.microsoft.FastGelu": biasGelu("FastGelu"),
  "com.microsoft.FusedGemm": fusedGemm,
};
