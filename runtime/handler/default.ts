/**
 * The default handler: answers for a repository that brings no `handler.ts`.
 *
 * It finds out what the model is for (`model/folder.ts`, `handler-settings.ts`, `choose-task.ts`), chooses its weights
 * (`model/weights.ts`), opens the task from the shelf (`tasks/registry.ts`) and has `batch-answer.ts` join the task's
 * steps, for predictions and for explanations. It knows no task by name. The graph's own outputs, and models without a task,
 * are the business of `tensors/`.
 */
import { RuntimeError } from "../errors.ts";
import type { Batching, LoadOptions, ModelDescription } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { readModelFolder, type ModelFolder } from "./model/folder.ts";
import { answerAlone, type AnswerBatch } from "./alone.ts";
import type { LoadedHandler } from "./contract.ts";
import { chooseTask } from "./model/choose-task.ts";
import {
  readHandlerSettings,
  settingsFor,
  type HandlerSettings,
} from "./model/handler-settings.ts";
import { withLabels } from "./model/labels.ts";
import { chooseModelWeights, describeWeights } from "./model/weights.ts";
import { isOnnxFile } from "../weights.ts";
import { answerMixedBatch } from "./explain/mixed-batch.ts";
import { answerGenerationsToo } from "./generation/answer.ts";
import { describeSchemas } from "./tasks/schemas.ts";
import { answerTensorsToo } from "./tensors/answer.ts";
import { openGraph, type Graph } from "./tensors/graph.ts";
import { findBareModel, loadBareModel } from "./tensors/model.ts";
import { describeSignature } from "./tensors/signature.ts";

type Note = ModelDescription["notes"][number];

/**
 * Loads the model of a repository.
 *
 * @throws `TASK_UNKNOWN`, `WEIGHTS_NOT_FOUND`, `MODEL_INVALID` or `INVALID_OPTION`, with what to do about it.
 */
export async function loadDefaultHandler(options: LoadOptions, log: Log): Promise<LoadedHandler> {
  const bare = await findBareModel(options);
  if (bare !== undefined) return await loadBareModel(bare, options, log);
  const found = await readModelFolder(options.repository);
  const { settings, notes } = await readHandlerSettings(found, options.handlerSettings);
  try {
    return await openModel(found, settings, notes, options, log);
  } catch (error) {
    // The notes are lost with the handler, and a key that was misspelt may be the reason.
    for (const { level, text } of notes) if (level === "warn") log.warn(text);
    throw error;
  }
}

async function openModel(
  found: ModelFolder,
  settings: HandlerSettings | undefined,
  settingsNotes: readonly Note[],
  options: LoadOptions,
  log: Log,
): Promise<LoadedHandler> {
  const { task: entry, why } = chooseTask(found, options.task, settings);
  const { folder, notes: labelNotes } = await withLabels(found, entry.name, settings);
  assertNotTorchScript(folder, entry.name, settings);
  const weights = chooseModelWeights(folder, options.dtype);
  log.debug("Loading the model", { task: entry.name, files: weights.files });
  const { intraOpThreads, device, urlHosts, generation } = options;
  const task = await entry.load();
  const notes: Note[] = [...settingsNotes, ...labelNotes];
  let graph: Graph | undefined;
  const opened = await task.open({
    folder,
    weights,
    ...(intraOpThreads !== undefined && { intraOpThreads }),
    ...(device !== undefined && { device }),
    ...(urlHosts !== undefined && { urlHosts }),
    ...(generation !== undefined && { generation }),
    ...(settings !== undefined && { settings: settingsFor(entry.name, settings) }),
    note: (note) => void notes.push(note),
    onSession: (session) => void (graph = openGraph(session, { isOfTask: true })),
  });

  const { generating } = opened;
  const info = [`Serving ${entry.name}, ${why}`, describeWeights(weights), ...opened.notes];
  const description: ModelDescription = {
    handler: "default",
    task: entry.name,
    example: opened.example ?? task.example,
    dtype: weights.dtype,
    ...(typeof folder.config.model_type === "string" && { modelType: folder.config.model_type }),
    ...(graph && { signature: describeSignature(graph.signature) }),
    ...(generating && { generation: generating.abilities }),
    schemas: describeSchemas(task),
    notes: [
      ...info.map((text) => ({ level: "info" as const, text })),
      ...notes,
      ...folder.warnings.map((text) => ({ level: "warn" as const, text })),
    ],
  };

  // A model that generates joins requests by itself, between two tokens.
  const batching: Batching = {
    ...(generating
      ? { kind: "single", concurrency: generating.concurrency }
      : { kind: "batch", concurrency: 1 }),
    splitsLists: task.answersListsByElement,
    measure: task.measure,
  };
  const answerTask: AnswerBatch = (members, hooks) => answerMixedBatch(opened, members, hooks);
  const answer = answerTensorsToo(
    graph,
    generating ? answerGenerationsToo(generating, answerTask) : answerTask,
  );
  return {
    description,
    batching,
    callBatch: answer,
    call: answerAlone(answer),
    ...(generating && { takeStatistics: () => generating.takeStatistics() }),
    async dispose() {
      await Promise.all([opened.dispose(), opened.explaining?.dispose()]);
    },
  };
}

/**
 * Says how to get on to whoever comes with a TorchScript file, which onnxruntime does not read. Where ONNX weights lie
 * beside it, they are served.
 */
function assertNotTorchScript(folder: ModelFolder, task: string, settings?: HandlerSettings): void {
  if (settings?.saveMode !== "torchscript" || folder.files.some((file) => isOnnxFile(file))) return;
  const model = settings.modelName ?? "<name>";
  throw new RuntimeError(
    "WEIGHTS_NOT_FOUND",
    `Cannot serve TorchScript, the save_mode of ${settings.file}: hubserve runs ONNX; export the model that was traced ` +
      `with \`optimum-cli export onnx --model ${model} --task ${task} <folder>\``,
  );
}
