/**
 * Finds the value that holds a transformer's embeddings: what its first layer reads.
 *
 * For BERT and its kin that is the sum of word, position and type embeddings after LayerNorm (and DeBERTa's mask), as
 * `model.<name>.embeddings` gives it in Python; ELECTRA's and ALBERT's projection comes later. GPT-2 and Llama normalize
 * within their layers, so there it is the sum itself.
 */
import { fusePatterns } from "./fuse-patterns.ts";
import { namesReadBy } from "./onnx-check.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { ELEMENT, type Graph, type Node } from "./onnx-schema.ts";
import { inferGraph } from "./shapes/inference.ts";
import { type Values } from "./shapes/value.ts";
import { RuntimeError } from "../errors.ts";

/**
 * @param name The name of a value, or a part of the name of the embeddings' weights or nodes (`bert`,
 *   `distilbert.embeddings`), where the graph holds more than one text model.
 * @throws `INVALID_INPUT` when nothing has that name, `NOT_SUPPORTED` when the graph has no embeddings, with the reason.
 */
export function findEmbeddingLayer(model: OnnxModel, name?: string): string {
  const isValue = model.graph.node.some(({ output }) => name !== "" && output.includes(name ?? ""));
  if (name !== undefined && isValue) return name;
  const graph = fusePatterns(model.graph);
  const values = inferGraph(graph);
  const lookups = findLookups(graph, values);
  const named = lookups.filter((node) => name === undefined || isNamed(node, name));
  const [lookup] = named;
  if (lookup !== undefined) return followSum(lookup, graph, values);
  if (lookups.length === 0) throw notFound(graph);
  const choices = lookups.map(({ input, output }) => `"${input[0] || (output[0] ?? "")}"`);
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot find the embeddings: nothing of the graph is named "${name ?? ""}", found ${choices.join(", ")}`,
  );
}

const FLOATS: ReadonlySet<number | undefined> = new Set([
  ELEMENT.float32,
  ELEMENT.float64,
  ELEMENT.float16,
  ELEMENT.bfloat16,
]);

/** Where the tokens' ids choose rows of a table of weights; the ids called `input_ids` first. */
function findLookups(graph: Graph, values: Values): Node[] {
  const sources = sourcesOf(graph);
  const weights = new Set(graph.initializer.map(({ name = "" }) => name));
  const inputs = graph.input.map((info) => info.name).filter((name) => !weights.has(name));
  const isIds = (name: string): boolean => name.endsWith("input_ids"); // CLIP and T5 have several
  const ids = inputs.find((name) => name === "input_ids") ?? inputs.find(isIds) ?? inputs[0] ?? "";
  const found = graph.node.filter(({ opType, input: [table = "", index = ""] }) => {
    if (opType === "EmbedLayerNormalization") return true;
    if (opType !== "Gather" || !weights.has(sources(table))) return false;
    const isFloat = FLOATS.has(values.get(table)?.element);
    return isFloat && values.get(table)?.shape?.length === 2 && inputs.includes(sources(index));
  });
  const ofIds = found.filter(
    ({ opType, input }) => opType !== "Gather" || sources(input[1] ?? "") === ids,
  );
  return ofIds.length > 0 ? ofIds : found;
}

/** Where a value comes from, before what only converts or renames it. */
function sourcesOf(graph: Graph): (name: string) => string {
  const makers = new Map(
    graph.node
      .filter(({ opType }) => ["Cast", "Identity", "Reshape", "Squeeze"].includes(opType))
      .map(({ input, output }) => [output[0] ?? "", input[0] ?? ""]),
  );
  return (name) => {
    let source = name;
    for (let next = makers.get(source); next !== undefined; next = makers.get(source))
      source = next;
    return source;
  };
}

/** Weights are named with dots, the nodes of older exports with slashes. */
function isNamed({ input, output, name = "" }: Node, part: string): boolean {
  const wanted = part.replaceAll("/", ".");
  return [input[0] ?? "", output[0] ?? "", name].some((text) =>
    text.replaceAll("/", ".").includes(wanted),
  );
}

/** From the words' embeddings on through sums and the norm, as long as nothing else reads the value. */
function followSum(lookup: Node, graph: Graph, values: Values): string {
  const readers = new Map<string, Node[]>();
  for (const node of graph.node)
    for (const name of namesReadBy(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  const outputs = new Set(graph.output.map(({ name }) => name));
  let value = lookup.output[0] ?? "";
  let isNormal = lookup.opType === "EmbedLayerNormalization";
  for (;;) {
    const [reader, ...others] = (readers.get(value) ?? []).filter(
      ({ opType }) => opType !== "Shape",
    );
    if (reader === undefined || others.length > 0 || outputs.has(value)) return value;
    const step = reader.opType;
    const keepsShape = sameShape(values, value, reader.output[0] ?? "");
    if (["Identity", "Dropout", "Cast"].includes(step) && reader.input[0] === value) {
      value = reader.output[0] ?? "";
    } else if (!isNormal && (step === "Add" || step === "Sum")) {
      value = reader.output[0] ?? "";
    } else if (!isNormal && ["LayerNormalization", "SkipLayerNormalization"].includes(step)) {
      [value, isNormal] = [reader.output[0] ?? "", true];
    } else if (isNormal && step === "Mul" && keepsShape && !hasWeight(reader, graph)) {
      value = reader.output[0] ?? ""; // DeBERTa blanks what is masked
    } else return value;
  }
}

function sameShape(values: Values, a: string, b: string): boolean {
  const [left, right] = [values.get(a)?.shape, values.get(b)?.shape];
  return left !== undefined && left.length === right?.length;
}

function hasWeight(node: Node, graph: Graph): boolean {
  return graph.initializer.some(({ name = "" }) => node.input.includes(name));
}

const QUANTIZED = /^(QLinear|DynamicQuantize|Dequantize|GatherBlockQuantized|MatMulNBits)/;

function notFound(graph: Graph): RuntimeError {
  const isQuantized = graph.node.some(({ opType }) => QUANTIZED.test(opType));
  return new RuntimeError(
    "NOT_SUPPORTED",
    isQuantized
      ? "Cannot find the embeddings: the graph is quantized, and has no gradient: the float32 file of the model is needed"
      : "Cannot find the embeddings: no node of the graph chooses rows of a table of weights by an input of token ids",
  );
}
