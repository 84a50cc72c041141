/**
 * What a graph takes and gives, as it says of itself.
 *
 * A dimension is a size, or a name for a size that the inputs decide; where two dimensions have one name they have one size
 * (ONNX, `TensorShapeProto.Dimension.dim_param`). A shape without dimensions is a single number, or one that the graph
 * leaves open: onnxruntime tells the two apart for nobody.
 */
import type { InferenceSession } from "onnxruntime-node";

import type { ModelDescription, TensorSpec } from "../../inference.ts";
import { datatypeOf } from "./datatypes.ts";

/** An input or output, with the names of its dimensions. */
export interface Port extends TensorSpec {
  /** Where `shape` has -1, the dimension's name; `""` where it has none. */
  readonly axes: readonly (number | string)[];
}

export interface Signature {
  readonly inputs: readonly Port[];
  /** Those that the protocol has a name for: a classifier of scikit-learn also gives maps, which are no tensors. */
  readonly outputs: readonly Port[];
}

/** What is read of a session. */
export type Ports = Pick<InferenceSession, "inputMetadata" | "outputMetadata">;

/** Which way the graph goes: its two halves expect what the other inputs say, so they cannot be fed by hand. */
const BRANCH = "use_cache_branch";

/**
 * @returns `undefined` for a graph that cannot be fed: of two halves, with an input that is no tensor or of a type that the
 *   protocol has no name for, or without any output that is one.
 */
export function signatureOf({ inputMetadata, outputMetadata }: Ports): Signature | undefined {
  const inputs = inputMetadata.map(toPort);
  const outputs = outputMetadata.map(toPort).filter((port) => port !== undefined);
  if (!inputs.every((port) => port !== undefined) || outputs.length === 0) return undefined;
  return inputs.some(({ name }) => name === BRANCH) ? undefined : { inputs, outputs };
}

function toPort(metadata: InferenceSession.ValueMetadata): Port | undefined {
  if (!metadata.isTensor) return undefined;
  const datatype = datatypeOf(metadata.type);
  if (datatype === undefined) return undefined;
  const { name, shape: axes } = metadata;
  const shape = axes.map((axis) => (typeof axis === "number" ? axis : -1));
  return { name, datatype, shape, axes };
}

/** The same for whoever asks what the model takes. */
export function describeSignature({
  inputs,
  outputs,
}: Signature): NonNullable<ModelDescription["signature"]> {
  const describe = ({ name, datatype, shape }: Port): TensorSpec => ({ name, datatype, shape });
  return { inputs: inputs.map(describe), outputs: outputs.map(describe) };
}

/** The most ports that one sentence names: a decoder has two for each of its layers. */
const MOST_NAMED = 6;

/** `input_ids INT64 [-1,-1], attention_mask INT64 [-1,-1]`, for a sentence. */
export function namePorts(ports: readonly TensorSpec[]): string {
  const named = ports.slice(0, MOST_NAMED).map((port) => `${port.name} ${nameType(port)}`);
  const more = ports.length - named.length;
  return named.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** `INT64 [-1,-1]` */
export function nameType({ datatype, shape }: Pick<TensorSpec, "datatype" | "shape">): string {
  return `${datatype} [${shape.join(",")}]`;
}

/** How many elements a tensor of that shape has. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
