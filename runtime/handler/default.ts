/**
 * The default handler: answers for a repository that brings no `handler.ts`.
 *
 * It finds out what the model is for (`model/folder.ts`, `choose-task.ts`), chooses its weights (`model/weights.ts`), opens the
 * task from the shelf (`tasks/registry.ts`) and has `batch-answer.ts` join the task's steps. It knows no task by name.
 */
import type { Batching, LoadOptions, ModelDescription } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { readModelFolder } from "./model/folder.ts";
import type { LoadedHandler, MemberOutcome } from "./contract.ts";
import { chooseTask } from "./model/choose-task.ts";
import { chooseModelWeights, describeWeights } from "./model/weights.ts";
import { answerBatch } from "./batch-answer.ts";
import { MAX_PADDED_TOKENS } from "./tasks/length-groups.ts";

/**
 * Loads the model of a repository.
 *
 * @throws `TASK_UNKNOWN`, `WEIGHTS_NOT_FOUND`, `MODEL_INVALID` or `INVALID_OPTION`, with what to do about it.
 */
export async function loadDefaultHandler(options: LoadOptions, log: Log): Promise<LoadedHandler> {
  const folder = await readModelFolder(options.repository);
  const { task: entry, why } = chooseTask(folder, options.task);
  const weights = chooseModelWeights(folder, options.dtype);
  log.debug("Loading the model", { task: entry.name, files: weights.files });
  const { intraOpThreads, urlHosts } = options;
  const task = await entry.load();
  const opened = await task.open({
    folder,
    weights,
    ...(intraOpThreads !== undefined && { intraOpThreads }),
    ...(urlHosts !== undefined && { urlHosts }),
  });

  const info = [`Serving ${entry.name}, ${why}`, describeWeights(weights), ...opened.notes];
  const description: ModelDescription = {
    handler: "default",
    task: entry.name,
    example: opened.example ?? task.example,
    dtype: weights.dtype,
    ...(typeof folder.config.model_type === "string" && { modelType: folder.config.model_type }),
    notes: [
      ...info.map((text) => ({ level: "info" as const, text })),
      ...folder.warnings.map((text) => ({ level: "warn" as const, text })),
    ],
  };

  const batching: Batching = {
    kind: "batch",
    concurrency: 1,
    splitsLists: task.answersListsByElement,
    measure: task.measure,
  };
  return {
    description,
    batching,
    callBatch: (members, hooks) => answerBatch(opened, members, hooks),
    async call(request, context) {
      let answer: MemberOutcome | undefined;
      await answerBatch(opened, [{ request, context }], {
        onOutcome: (_index, outcome) => void (answer = outcome),
        onPass: () => undefined,
        maxPaddedTokens: MAX_PADDED_TOKENS,
      });
      if (answer === undefined || "error" in answer) throw answer?.error;
      for (const text of answer.warnings ?? []) context.log.warn(text);
      return answer.value;
    },
    dispose: () => opened.dispose(),
  };
}
