/**
 * Makes a graph that computes gradients, from one that computes predictions.
 *
 * onnxruntime has no automatic differentiation, so the backward pass is written into the graph: reverse-mode
 * differentiation as in any textbook (Griewank and Walther, Evaluating Derivatives, chapter 3), done once, on the graph's
 * nodes. Going from the output back to the layer, each node's rule (`rules/`) turns the gradient of its outputs into
 * gradients of its inputs; where a value was read more than once, its gradients are added. The result is an ordinary
 * ONNX graph, whose forward values serve the way back too.
 *
 * What is not on the way from the layer to the output (masks, shapes, positions) is copied as it is.
 * `prepare.ts` brings the graph into the form that the rules know.
 */
import type { OnnxModel } from "./onnx-model.ts";
import { ELEMENT, type Graph, type Node } from "./onnx-schema.ts";
import { createGraphBuilder, type GraphBuilder } from "./graph-builder.ts";
import { intOf } from "./attributes.ts";
import { prepare } from "./prepare.ts";
import { widen } from "./half-precision.ts";
import { MULTIPLE, operatorOf, RULES, WITHOUT_GRADIENT } from "./rules/registry.ts";
import { notSupported, type Step } from "./rules/rule.ts";
import { inferGraph, inferNode } from "./shapes/inference.ts";
import { type Values } from "./shapes/value.ts";
import { extract, nodesFor, toValueInfo } from "./subgraph.ts";
import { RuntimeError } from "../errors.ts";

export { findEmbeddingLayer } from "./embedding-layer.ts";

export interface GradientOptions {
  /** The value at which the graph is cut and to which the gradient leads. */
  readonly layer: string;
  /** One of the model's outputs. */
  readonly output: string;
}

export interface GradientGraphs {
  /** The original inputs that are needed → the value `layer`. */
  readonly embedding: OnnxModel;
  /**
   * `layer` `[N, T, H]`, the original inputs that are needed besides, and `selection` (float, the shape of the output) →
   * the output under its own name, and `gradient` `[N, T, H]`: `∂ Σ(selection ⊙ output) / ∂ layer`.
   */
  readonly gradient: OnnxModel;
}

const SELECTION = "selection";
const GRADIENT = "gradient";
/** Begins the names of all values that are added. */
const PREFIX = "gradient/";

/**
 * Splits the model at `layer` and appends the backward graph.
 *
 * @throws `NOT_SUPPORTED` where a node on the way has no gradient, `INVALID_INPUT` for names the graph does not know.
 */
export function buildGradientGraphs(
  original: OnnxModel,
  { layer, output }: GradientOptions,
): GradientGraphs {
  const model = widen(original);
  const { graph } = model;
  if (!graph.output.some(({ name }) => name === output))
    throw unknownName("output", output, graph.output);
  if (!graph.node.some((node) => node.output.includes(layer)))
    throw unknownName("layer", layer, []);
  const values = inferGraph(graph);
  const layerInfo = toValueInfo(layer, values.get(layer) ?? {});
  const embedding = { ...model, graph: extract(graph, [layerInfo], []) };

  const prepared = prepare(model);
  return {
    embedding,
    gradient: { ...prepared, graph: differentiate(prepared.graph, layer, output) },
  };
}

function differentiate(original: Graph, layer: string, output: string): Graph {
  assertNamesAreFree(original);
  const forward = nodesFor(original, [output], new Set([layer])).map((node) => ({
    ...node,
    output: [...node.output], // a rule may ask for further ones
  }));
  const values = inferGraph(original);
  const graph = {
    ...original,
    node: [...forward],
    initializer: [...original.initializer],
  };
  const active = activeValues(forward, layer);
  if (!active.has(output))
    throw new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot compute the gradient: the output "${output}" does not depend on "${layer}"`,
    );
  const quantized = forward.find(
    (node) => QUANTIZED.test(node.opType) && node.input.some((name) => active.has(name)),
  );
  if (quantized !== undefined) throw notSupported(quantized, QUANTIZED_REASON);
  const builder = createGraphBuilder(graph, values, PREFIX, (name) => {
    return new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot compute the gradient: how many axes the value "${name}" has cannot be told from the graph`,
    );
  });

  const selection = toValueInfo(SELECTION, values.get(output) ?? {});
  values.set(SELECTION, values.get(output) ?? {});
  const gradients = new Map([[output, SELECTION]]);
  for (const node of forward.toReversed()) stepBack(node, { builder, gradients, active, values });

  const gradient = gradients.get(layer);
  if (gradient === undefined) throw new Error(`no gradient reached "${layer}"`);
  graph.node.push({ opType: "Identity", input: [gradient], output: [GRADIENT], name: GRADIENT });
  const layerValue = values.get(layer) ?? {};
  return extract(
    graph,
    [toValueInfo(output, values.get(output) ?? {}), toValueInfo(GRADIENT, layerValue)],
    [toValueInfo(layer, layerValue), selection],
  );
}

/** The float values that change with the layer. */
function activeValues(forward: readonly Node[], layer: string): Set<string> {
  const active = new Set([layer]);
  for (const node of forward) {
    if (!node.input.some((name) => active.has(name)) || endsGradient(node)) continue;
    for (const name of node.output) active.add(name);
  }
  return active;
}

function endsGradient(node: Node): boolean {
  if (WITHOUT_GRADIENT.has(operatorOf(node))) return true;
  return node.opType === "Cast" && !FLOATS.has(intOf(node, "to", 0));
}

const FLOATS: ReadonlySet<number> = new Set([ELEMENT.float32, ELEMENT.float64]);

interface WayBack {
  readonly builder: GraphBuilder;
  readonly gradients: Map<string, string>;
  readonly active: ReadonlySet<string>;
  readonly values: Values;
}

/** Passes the gradients of a node's outputs on to its inputs. */
function stepBack(node: Node, { builder, gradients, active, values }: WayBack): void {
  const arrived = node.output.map((name) => gradients.get(name));
  if (arrived.every((gradient) => gradient === undefined)) return;
  const rule = RULES.get(operatorOf(node));
  if (rule === undefined) throw notSupported(node, "has no gradient rule");
  const [first] = arrived;
  const isMultiple = MULTIPLE.has(operatorOf(node));
  if (!isMultiple && arrived.slice(1).some((gradient) => gradient !== undefined))
    throw notSupported(
      node,
      "is read at another output than its first, which has no gradient rule",
    );
  const step: Step = {
    node,
    graph: builder,
    x: node.input,
    g: first ?? "",
    gradients: arrived,
    wants: (input) => active.has(node.input[input] ?? ""),
    output: (index) => {
      while (node.output.length <= index) node.output.push("");
      const name = node.output[index] || `${PREFIX}${node.output[0] ?? ""}.${index}`;
      if (node.output[index] === "") {
        node.output[index] = name;
        inferNode(node, values);
      }
      return name;
    },
  };
  for (const [input, gradient] of rule(step).entries()) {
    const name = node.input[input] ?? "";
    if (gradient === undefined || !active.has(name)) continue;
    // Known from the way there, also where the rule had to compute with sizes that only show at run time.
    const value = values.get(name);
    if (value?.shape !== undefined) values.set(gradient, value);
    const before = gradients.get(name);
    gradients.set(name, before === undefined ? gradient : builder.op("Add", [before, gradient]));
  }
}

/** What reads or makes integers in place of activations. */
const QUANTIZED =
  /^(QLinear|DynamicQuantize|QuantizeLinear|DequantizeLinear|MatMulNBits|MatMulBnb4|.*Integer)/;
const QUANTIZED_REASON =
  "is quantized, and a quantized graph has no gradient: the float32 file of the model is needed";

function assertNamesAreFree(graph: Graph): void {
  const names = [
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name = "" }) => name),
    ...graph.node.flatMap((node) => node.output),
  ];
  const taken = names.find(
    (name) => [SELECTION, GRADIENT].includes(name) || name.startsWith(PREFIX),
  );
  if (taken === undefined) return;
  throw new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot compute the gradient: the graph has a value named "${taken}", a name that the gradient needs`,
  );
}

function unknownName(
  what: string,
  name: string,
  choices: readonly { readonly name: string }[],
): RuntimeError {
  const list = choices.map((choice) => `"${choice.name}"`).join(", ");
  return new RuntimeError(
    "INVALID_INPUT",
    `Cannot compute the gradient: the graph has no ${what} "${name}"${list && `, wanted one of ${list}`}`,
  );
}
