/**
 * The default handler: answers for a repository that brings no `handler.ts`.
 *
 * It finds out what the model is for (`config.ts`, `model-task.ts`), chooses its weights (`model-weights.ts`), opens the
 * task from the shelf (`tasks/registry.ts`) and joins the task's steps for each request. It knows no task by name.
 */
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { LoadOptions, ModelDescription } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { readModelFolder } from "./config.ts";
import type { LoadedHandler } from "./contract.ts";
import { chooseTask } from "./model-task.ts";
import { chooseModelWeights, describeWeights } from "./model-weights.ts";
import { groupByLength } from "./tasks/length-groups.ts";
import type { OpenTask } from "./tasks/task.ts";

/**
 * Loads the model of a repository.
 *
 * @throws `TASK_UNKNOWN`, `WEIGHTS_NOT_FOUND`, `MODEL_INVALID` or `INVALID_OPTION`, with what to do about it.
 */
export async function loadDefaultHandler(options: LoadOptions, log: Log): Promise<LoadedHandler> {
  const folder = await readModelFolder(options.repository);
  const { task, why } = chooseTask(folder, options.task);
  const weights = chooseModelWeights(folder, options.dtype);
  log.debug("Loading the model", { task: task.name, files: weights.files });
  const { intraOpThreads } = options;
  const opened = await task.open({
    folder,
    weights,
    ...(intraOpThreads !== undefined && { intraOpThreads }),
  });

  const info = [`Serving ${task.name}, ${why}`, describeWeights(weights), ...opened.notes];
  const description: ModelDescription = {
    handler: "default",
    task: task.name,
    dtype: weights.dtype,
    ...(typeof folder.config.model_type === "string" && { modelType: folder.config.model_type }),
    notes: [
      ...info.map((text) => ({ level: "info" as const, text })),
      ...folder.warnings.map((text) => ({ level: "warn" as const, text })),
    ],
  };

  return {
    description,
    async call(request, context) {
      if (request.kind === "explain") {
        throw new RuntimeError(
          "INVALID_INPUT",
          `Cannot explain the prediction: the default handler does not explain ${task.name}`,
        );
      }
      const { items, state } = opened.preprocess(request, context.log);
      const results = await inferAll(opened, items, context.signal);
      return opened.postprocess(state, results);
    },
    dispose: () => opened.dispose(),
  };
}

/**
 * Runs items in groups of near length. Between groups the event loop turns, so a cancelled request stops early.
 *
 * @returns One result per item, in order.
 */
async function inferAll(
  task: OpenTask,
  items: Parameters<OpenTask["inference"]>[0],
  signal: AbortSignal,
): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const group of groupByLength(items.map(({ tokens }) => tokens))) {
    if (signal.aborted) throw toCancellation(signal);
    const chosen = group.flatMap((index) => items[index] ?? []);
    try {
      const answers = await task.inference(chosen);
      for (const [position, index] of group.entries()) results[index] = answers[position];
    } catch (error) {
      throw toRuntimeError(error, "HANDLER_FAILED", "Cannot run the model");
    }
  }
  return results;
}

/** The reason that the caller gave, or that the client is gone. */
function toCancellation({ reason }: AbortSignal): RuntimeError {
  if (isRuntimeError(reason)) return reason;
  return new RuntimeError(
    "CANCELLED",
    "Cannot finish the prediction: nobody waits for it any more",
    {
      cause: reason,
    },
  );
}
