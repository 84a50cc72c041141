/**
 * A decoder's graph as older exporters wrote it, made of one that reads and writes its cache: without a cache to read for the first
 * pass, for one token at a time later on, and without any cache.
 *
 * Optimum 1.x names them `decoder_model.onnx` and `decoder_with_past_model.onnx`.
 */
import { readOnnxModel, writeOnnxModel, type OnnxModel } from "../../runtime/explain/onnx-model.ts";
import {
  ATTRIBUTE,
  ELEMENT,
  type Node,
  type Tensor,
  type ValueInfo,
} from "../../runtime/explain/onnx-schema.ts";
import { modelPath } from "./goldens.ts";

const IDS = "input_ids";

/** The bytes of each graph, made of a model of the fixtures. */
export async function decoderFiles(name: string): Promise<{
  /** Reads into an empty cache: no inputs for one. */
  readonly first: Uint8Array;
  /** Reads one token for each row, and refuses to read more. */
  readonly later: Uint8Array;
  /** Gives scores alone. */
  readonly plain: Uint8Array;
}> {
  const model = await readOnnxModel(`${modelPath(name)}/onnx/model.onnx`);
  const first = withoutPast(model);
  const { graph } = first;
  const scores = graph.output.filter(({ name: output }) => output === "logits");
  return {
    first: writeOnnxModel(first),
    later: writeOnnxModel(forOneToken(model)),
    plain: writeOnnxModel({ ...first, graph: { ...graph, output: scores } }),
  };
}

/** What the inputs for the cache said is said by nodes: nothing, for as many rows as there are. */
function withoutPast(model: OnnxModel): OnnxModel {
  const { graph } = model;
  const isPast = ({ name }: ValueInfo): boolean => name.startsWith("past_key_values.");
  const initializer: Tensor[] = [int64("first", [0], []), int64("axis", [0], [1])];
  const node: Node[] = [
    { opType: "Shape", input: [IDS], output: ["ids.shape"] },
    { opType: "Gather", input: ["ids.shape", "first"], output: ["ids.rows"] },
    { opType: "Unsqueeze", input: ["ids.rows", "axis"], output: ["rows"] },
  ];
  for (const past of graph.input.filter(isPast)) {
    const [, heads, , size] = past.type?.tensorType?.shape?.dim ?? [];
    const rest = [Number(heads?.dimValue), 0, Number(size?.dimValue)];
    initializer.push(int64(`${past.name}.rest`, rest, [3]));
    node.push(
      {
        opType: "Concat",
        input: ["rows", `${past.name}.rest`],
        output: [`${past.name}.shape`],
        attribute: [{ name: "axis", type: ATTRIBUTE.int, i: 0 }],
      },
      { opType: "ConstantOfShape", input: [`${past.name}.shape`], output: [past.name] },
    );
  }
  return {
    ...model,
    graph: {
      ...graph,
      input: graph.input.filter((input) => !isPast(input)),
      initializer: [...initializer, ...graph.initializer],
      node: [...node, ...graph.node],
    },
  };
}

function forOneToken(model: OnnxModel): OnnxModel {
  const one = { dimValue: 1 };
  const input = model.graph.input.map((each): ValueInfo => {
    if (each.name !== IDS) return each;
    const shape = { dim: [{ dimParam: "batch_size" }, one] };
    return { ...each, type: { tensorType: { elemType: ELEMENT.int64, shape } } };
  });
  return { ...model, graph: { ...model.graph, input } };
}

function int64(name: string, values: readonly number[], dims: number[]): Tensor {
  const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { name, dims, dataType: ELEMENT.int64, rawData };
}
