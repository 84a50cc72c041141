/**
 * Which output of a model is explained, and the nodes that make one of it where the model has none such.
 *
 * Letters: `N` rows, `T` tokens, `V` tokens of the vocabulary.
 */
import { ATTRIBUTE, ELEMENT, type Attribute, type Dimension, type Node } from "./onnx-schema.ts";
import type { OnnxModel } from "./onnx-model.ts";

export type OutputChoice =
  /** An output as it is. */
  | string
  /** Several outputs `[N, T]` as one, `[N, T, count]`, in this order: beginnings and ends of answers. */
  | { readonly stacked: readonly string[] }
  /** Of an output `[N, T, V]`, the logarithms of the probabilities that it stands for. */
  | { readonly logSoftmax: string };

/** The name of an output that is added; no exporter writes such. */
const ADDED = "hubserve/output";

/**
 * The model with that output.
 *
 * @throws RangeError when an output that is named does not exist.
 */
export function withOutput(
  model: OnnxModel,
  choice: OutputChoice,
): { readonly model: OnnxModel; readonly name: string } {
  const names = typeof choice === "string" ? [choice] : namesOf(choice);
  const known = model.graph.output.map(({ name }) => name);
  for (const name of names) {
    if (known.includes(name)) continue;
    throw new RangeError(`there is no output "${name}", known are ${known.join(", ")}`);
  }
  if (typeof choice === "string") return { model, name: choice };
  const added =
    "stacked" in choice ? stack(choice.stacked, opsetOf(model)) : logSoftmax(choice.logSoftmax);
  const { graph } = model;
  const shape = shapeOf(model, names[0] ?? "");
  const dim = "stacked" in choice ? [...shape, { dimValue: choice.stacked.length }] : shape;
  const output = {
    name: ADDED,
    type: { tensorType: { elemType: ELEMENT.float32, shape: { dim } } },
  };
  return {
    name: ADDED,
    model: {
      ...model,
      graph: {
        ...graph,
        node: [...graph.node, ...added.nodes],
        initializer: [...graph.initializer, ...added.initializers],
        output: [...graph.output, output],
      },
    },
  };
}

function namesOf(choice: Exclude<OutputChoice, string>): readonly string[] {
  return "stacked" in choice ? choice.stacked : [choice.logSoftmax];
}

function shapeOf({ graph }: OnnxModel, output: string): Dimension[] {
  const found = graph.output.find(({ name }) => name === output);
  return found?.type?.tensorType?.shape?.dim ?? [];
}

interface Added {
  readonly nodes: readonly Node[];
  readonly initializers: OnnxModel["graph"]["initializer"];
}

/** `Unsqueeze` reads its axes from an input since opset 13, and from an attribute before. */
function stack(names: readonly string[], opset: number): Added {
  const axes = `${ADDED}/axes`;
  const isInput = opset >= 13;
  const widened = names.map((name, index): Node => ({
    opType: "Unsqueeze",
    input: isInput ? [name, axes] : [name],
    output: [`${ADDED}/${index}`],
    attribute: isInput ? [] : [{ name: "axes", ints: [2], type: ATTRIBUTE.ints }],
  }));
  const joined: Node = {
    opType: "Concat",
    input: widened.flatMap(({ output }) => output),
    output: [ADDED],
    attribute: [axisOf(2)],
  };
  const constant = { name: axes, dims: [1], dataType: ELEMENT.int64, int64Data: [2] };
  return { nodes: [...widened, joined], initializers: isInput ? [constant] : [] };
}

function logSoftmax(name: string): Added {
  const node: Node = {
    opType: "LogSoftmax",
    input: [name],
    output: [ADDED],
    attribute: [axisOf(-1)],
  };
  return { nodes: [node], initializers: [] };
}

function axisOf(axis: number): Attribute {
  return { name: "axis", i: axis, type: ATTRIBUTE.int };
}

function opsetOf({ opsetImport }: OnnxModel): number {
  const own = opsetImport.find(({ domain = "" }) => domain === "" || domain === "ai.onnx");
  return Number(own?.version ?? 0);
}
