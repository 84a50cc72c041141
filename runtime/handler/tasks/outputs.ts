/**
 * Whether a graph answers what its task reads: found out at the start, not with the first request.
 */
import { RuntimeError } from "../../errors.ts";
import type { Encoder } from "../model/encoder.ts";
import type { TaskModel } from "./task.ts";

/** Names with a meaning: a graph that uses one does not mean something else by it. */
const KNOWN_NAMES = ["logits", "last_hidden_state", "token_embeddings", "sentence_embedding"];

/**
 * The output that a task reads: the first of `names` that the graph has, else its only output if that is named freely.
 *
 * @param rank How many dimensions the output must have.
 * @throws `MODEL_INVALID` when there is none: the model was exported, or the task named, for something else.
 */
export function findOutput(
  { outputs }: Pick<Encoder, "outputs">,
  { weights }: Pick<TaskModel, "weights">,
  task: string,
  names: readonly string[],
  rank: number,
): string {
  const [only = "", ...more] = outputs.keys();
  const isFree = more.length === 0 && !KNOWN_NAMES.includes(only);
  const candidates = isFree ? [only] : names;
  const found = candidates.find((name) => outputs.get(name) === rank);
  if (found !== undefined) return found;
  const described = [...outputs].map(([name, size]) => `"${name}" of ${size} dimensions`);
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve ${task} with ${weights.files[0] ?? "this graph"}: its outputs are ${described.join(", ")}, wanted "${names[0]}" of ${rank}`,
  );
}
