/**
 * What a model says of itself in the Open Inference Protocol: names, datatypes and shapes of what it takes and gives.
 *
 * A task's model is described by what is easiest to send, which is text (or images, or sounds) in `BYTES`. Its graph, which
 * answers tensors that have the graph's own names, is in `properties`; a model without a task is its graph.
 */
import type { Model } from "../../engine/models.ts";
import { RuntimeError } from "../../errors.ts";
import type { ModelDescription, TensorSpec } from "../../inference.ts";
import { argumentNames } from "./open-inference-arguments.ts";
import { OUTPUT_NAME } from "./open-inference-exchange.ts";

/** `ModelMetadataResponse`. */
export interface OipModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  /** Absent where nobody knows: a custom handler takes what it likes. */
  readonly inputs?: readonly TensorSpec[];
  readonly outputs?: readonly TensorSpec[];
  readonly properties: Readonly<Record<string, string>>;
}

/**
 * @param versions All of the model's name.
 * @throws RuntimeError `NOT_READY` while nobody knows what the model is.
 */
export function describeModelMetadata(
  { name, description, state, detail }: Model,
  versions: readonly string[],
): OipModelMetadata {
  if (description === undefined) {
    throw new RuntimeError(
      "NOT_READY",
      `Cannot describe the model yet: it is ${state} (${detail})`,
      { retryAfterMs: 1000 },
    );
  }
  const { handler, task } = description;
  return {
    name,
    versions,
    platform: handler === "custom" ? "nodejs" : "onnxruntime",
    ...tensorsOf(description),
    properties: propertiesOf(description, handler === "default" && task !== undefined),
  };
}

function tensorsOf({
  handler,
  task,
  signature,
}: ModelDescription): Pick<OipModelMetadata, "inputs" | "outputs"> {
  if (handler === "default" && task !== undefined) {
    return {
      inputs: argumentNames(task).map((name) => ({ name, datatype: "BYTES", shape: [-1] })),
      outputs: [{ name: OUTPUT_NAME, ...(SCORES[task] ?? { datatype: "BYTES", shape: [-1] }) }],
    };
  }
  return signature === undefined ? {} : { inputs: signature.inputs, outputs: signature.outputs };
}

/** What answers with numbers; see `open-inference-answer.ts`. */
const SCORES: Readonly<Record<string, Omit<TensorSpec, "name">>> = {
  "feature-extraction": { datatype: "FP32", shape: [-1, -1] },
  "image-feature-extraction": { datatype: "FP32", shape: [-1, -1] },
  "sentence-similarity": { datatype: "FP32", shape: [-1] },
  "text-ranking": { datatype: "FP32", shape: [-1] },
};

function propertiesOf(
  { task, dtype, modelType, signature }: ModelDescription,
  isTask: boolean,
): Readonly<Record<string, string>> {
  return {
    ...(task !== undefined && { task }),
    ...(dtype !== undefined && { dtype }),
    ...(modelType !== undefined && { model_type: modelType }),
    ...(isTask &&
      signature !== undefined && {
        graph_inputs: JSON.stringify(signature.inputs),
        graph_outputs: JSON.stringify(signature.outputs),
      }),
  };
}
