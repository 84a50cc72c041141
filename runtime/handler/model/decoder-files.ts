/**
 * The files of a decoder that stands alone: one that does all, or, as older exports have it, one for the first pass and one for
 * all later ones (`decoder_model.onnx`, `decoder_with_past_model.onnx`).
 *
 * transformers.js knows the former; of two files each is loaded as a network of its own. Which of them are there is told from names
 * (`../../weights.ts`).
 */
import type { PreTrainedModel } from "@huggingface/transformers";

import type { TaskModel } from "../tasks/task.ts";
import type { Network } from "./decoder.ts";
import { loadWithNewColumns, type ColumnsSession } from "./columns-session.ts";
import { loadNetwork } from "./encoder.ts";

const FIRST = "decoder_model";
const LATER = "decoder_with_past_model";

/** A network that is to be disposed of. */
export interface LoadedNetwork extends Network, Pick<PreTrainedModel, "dispose"> {
  /** The session itself, where the graph also tells its new columns: `sessions.model` does not show them. */
  readonly columns?: ColumnsSession;
}

/** @throws `MODEL_INVALID` when a file is missing or broken. */
export async function loadDecoder(
  model: TaskModel,
  autoModel: Parameters<typeof loadNetwork>[1],
  options: NonNullable<Parameters<typeof loadNetwork>[2]>,
): Promise<LoadedNetwork> {
  const { components } = model.weights;
  if (components[FIRST] === undefined || components[LATER] === undefined)
    return (
      (await loadWithNewColumns(model, autoModel, options)) ??
      loadNetwork(model, autoModel, options)
    );
  const first = await loadNetwork(withOnly(model, FIRST), autoModel, options);
  try {
    const { onSession: _, ...rest } = withOnly(model, LATER); // the first has the inputs that clients may know of
    const later = await loadNetwork(rest, autoModel, options);
    return join(first, later);
  } catch (error) {
    await first.dispose();
    throw error;
  }
}

/** The model as if it had this one graph. */
function withOnly(model: TaskModel, component: string): TaskModel {
  const { weights } = model;
  const files = weights.files.filter((file) => {
    const name = file.slice(file.lastIndexOf("/") + 1);
    return name.startsWith(`${component}.`) || name.startsWith(`${component}_`);
  });
  const dtype = weights.components[component] ?? weights.dtype;
  return { ...model, weights: { ...weights, dtype, components: { [component]: dtype }, files } };
}

function join(first: PreTrainedModel, later: PreTrainedModel): LoadedNetwork {
  return {
    sessions: { model: first.sessions["model"], [LATER]: later.sessions["model"] },
    forward: (inputs) => ("past_key_values" in inputs ? later : first).forward(inputs),
    dispose: async () => [...(await first.dispose()), ...(await later.dispose())],
  };
}
