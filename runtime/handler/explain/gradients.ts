/**
 * The gradient graphs of a served model: which file they are made of, and when.
 *
 * They are made with the first explanation, as most processes never explain anything. int8 and other small formats round,
 * and a step has no gradient, so fp32 weights are wanted, whatever answers the predictions.
 */
import { join } from "node:path";

import { isRuntimeError, RuntimeError } from "../../errors.ts";
import { openExplainer, type Explainer } from "../../explain/explainer.ts";
import type { OutputChoice } from "../../explain/output-choice.ts";
import { chooseWeights } from "../../weights.ts";
import type { TaskModel } from "../tasks/task.ts";

/** A model's gradients, on demand. */
export interface Gradients {
  /** What to tell who asks for an explanation; absent where the weights that answer are explained. */
  readonly remark?: string;
  /** @throws `NOT_SUPPORTED` when the model has no gradient, with the reason. */
  open(): Promise<Explainer>;
  dispose(): Promise<void>;
}

/** @param output What is explained. */
export function gradientsOf(
  { folder, weights, intraOpThreads, settings, note }: TaskModel,
  output: OutputChoice,
  padId: number,
): Gradients {
  const file = fp32FileOf({ folder });
  let opening: Promise<Explainer> | undefined;

  async function open(): Promise<Explainer> {
    if (file === undefined) throw lacking(folder.prefix, weights.dtype);
    const layer = settings?.embeddingName;
    try {
      const path = join(folder.repository, file);
      return await openExplainer({ file: path, output, layer, padId, intraOpThreads });
    } catch (error) {
      if (!isRuntimeError(error) || error.code !== "INVALID_INPUT") throw error;
      // Whoever asks for an explanation has not named the layer.
      const text = `${error.message} (embedding_name in ${settings?.file})`;
      throw new RuntimeError("NOT_SUPPORTED", text, { cause: error });
    }
  }

  const isOther = weights.dtype !== "fp32" && file !== undefined;
  const remark = `The explanation is of ${file}, as the ${weights.dtype} weights that answer have no gradient`;
  if (settings?.explains === true) {
    if (isOther)
      note?.({
        level: "info",
        text: `Explaining with ${file}: ${weights.dtype} weights have no gradient`,
      });
    if (file === undefined)
      note?.({ level: "warn", text: lacking(folder.prefix, weights.dtype).message });
  }
  return {
    ...(isOther && { remark }),
    open() {
      if (opening !== undefined) return opening;
      const promise = open();
      opening = promise;
      // What failed for want of memory may succeed the next time.
      promise.catch(() => (opening = undefined));
      return promise;
    },
    async dispose() {
      const explainer = await opening?.catch(() => undefined); // its failure was answered to who asked
      await explainer?.dispose();
    },
  };
}

/** The graph in fp32, relative to the repository. */
function fp32FileOf({ folder }: Pick<TaskModel, "folder">): string | undefined {
  const weights = chooseWeights(folder.files, "fp32");
  if (weights === undefined) return undefined;
  const names = Object.keys(weights.components);
  const [main] = names.includes("model") ? ["model"] : names;
  if (main === undefined || weights.components[main] !== "fp32") return undefined;
  return weights.files.find((file) => file.endsWith(`/${main}.onnx`) || file === `${main}.onnx`);
}

function lacking(prefix: string, dtype: string): RuntimeError {
  const text = `${dtype} weights have no gradient, and ${prefix}onnx/model.onnx in fp32 is not here`;
  return new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot explain the prediction: ${text}; --dtype fp32 has it downloaded and served`,
  );
}
