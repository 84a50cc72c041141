/**
 * A repository with an ONNX model and nothing that says a task: served as the graph it is.
 *
 * So is any other single graph where the user names the task `tensors`. Requests of kind `"tensors"` are answered; others are
 * told how to ask.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import { RuntimeError } from "../../errors.ts";
import type { InferenceKind, LoadOptions, ModelDescription } from "../../inference.ts";
import type { Log } from "../../observe/log.ts";
import { findModelFolder, isOnnxFile, type Weights } from "../../weights.ts";
import { answerAlone } from "../alone.ts";
import type { LoadedHandler } from "../contract.ts";
import { listFiles, readCard } from "../model/folder.ts";
import { chooseModelWeights, describeWeights } from "../model/weights.ts";
import { answerTensorsToo } from "./answer.ts";
import { openGraph } from "./graph.ts";
import { openSession } from "./session.ts";
import { describeSignature, namePorts } from "./signature.ts";

/** What the user names to have the graph itself, whatever the repository says its task is. */
export const TENSORS_TASK = "tensors";

/** A repository that is served as a graph. */
interface BareModel {
  readonly files: readonly string[];
  readonly prefix: "" | "model/";
  readonly why: string;
}

/**
 * Whether the repository is one that is served as a graph: the user says so, or there are ONNX weights and nobody says a task,
 * neither `config.json`, nor the model card, nor TorchServe's settings, nor the user.
 */
export async function findBareModel(options: LoadOptions): Promise<BareModel | undefined> {
  const { repository, task, handlerSettings } = options;
  const isNamed = task?.trim().toLowerCase() === TENSORS_TASK;
  if (!isNamed && (task !== undefined || handlerSettings?.keys["mode"] !== undefined))
    return undefined;
  if (!isNamed && existsSync(join(repository, "config.json"))) return undefined; // most: nothing need be listed
  const files = await listFiles(repository);
  const prefix = findModelFolder(files) === "model" ? "model/" : "";
  if (isNamed) return { files, prefix, why: "as you named the task tensors" };
  const says = ["config.json", "setup_config.json"].some((name) => files.includes(prefix + name));
  if (says || !files.some((file) => isOnnxFile(file))) return undefined;
  const { pipelineTag } = await readCard(repository, files, prefix);
  if (pipelineTag !== undefined) return undefined;
  return { files, prefix, why: "as there is no config.json that says a task" };
}

/** @throws `WEIGHTS_NOT_FOUND`, `MODEL_INVALID` or `INVALID_OPTION`, with what to do about it. */
export async function loadBareModel(
  { files, prefix, why }: BareModel,
  { repository, dtype, intraOpThreads, device }: LoadOptions,
  log: Log,
): Promise<LoadedHandler> {
  const weights = chooseModelWeights({ files, prefix }, dtype);
  const name = graphOf(weights);
  log.debug("Loading the graph", { files: weights.files });
  const file = join(repository, name);
  const session = await openSession(dirname(file), file, {
    ...(intraOpThreads !== undefined && { intraOpThreads }),
    ...(device !== undefined && { device }),
  });
  const graph = openGraph(session, { isOfTask: false });
  if (graph === undefined) {
    await session.release();
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve ${name} as tensors: its inputs are no tensors that the Open Inference Protocol can name, or it is ` +
        "one of two halves of a decoder; name its task with --task, or write a handler.ts",
    );
  }
  const { inputs, outputs } = graph.signature;
  const info = [
    `Serving the graph itself, ${why}: ${namePorts(inputs)} → ${namePorts(outputs)}`,
    describeWeights(weights),
  ];
  const description: ModelDescription = {
    handler: "default",
    dtype: weights.dtype,
    signature: describeSignature(graph.signature),
    notes: info.map((text) => ({ level: "info" as const, text })),
  };

  function refusalOf(kind: InferenceKind): RuntimeError {
    return new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot ${kind}: this model is a graph without a task; send it tensors, ${namePorts(inputs)}, at ` +
        "POST /v2/models/<model>/infer",
    );
  }

  const answer = answerTensorsToo(graph, async (members, hooks) => {
    for (const [index, { request }] of members.entries())
      hooks.onOutcome(index, { error: refusalOf(request.kind) });
  });
  return {
    description,
    batching: { kind: "batch", concurrency: 1, splitsLists: false },
    callBatch: answer,
    call: answerAlone(answer),
    dispose: () => session.release(),
  };
}

/** The one graph that is served. */
function graphOf({ components, files }: Weights): string {
  const names = Object.keys(components);
  const graphs = files.filter((file) => file.endsWith(".onnx"));
  const only = graphs[components["model"] === undefined ? 0 : names.indexOf("model")];
  if (only !== undefined && (names.length === 1 || components["model"] !== undefined)) return only;
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve the tensors of several graphs, ${names.join(", ")}: wanted model.onnx, or one graph alone`,
  );
}
