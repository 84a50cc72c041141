/**
 * A model as `GET /models/{model}` of TorchServe 0.12 describes it: the same keys in the same order.
 *
 * Keys of what hubserve does not have (CUDA, stateful sequences, job tickets) say what they say there when it is off.
 */
import type { LaunchedModel } from "../../engine/launcher.ts";
import type { WorkerInfo } from "../../engine/worker-slot.ts";
import type { JsonValue } from "../../inference.ts";

/** Where the size is learned, the largest there can be: that of `--batch-size`. */
const MOST_BATCH_SIZE = 1024;

/** @param isCustomized Whether to add what the model says of itself. */
export function describeModel(
  { entry, settings, isFromStart }: LaunchedModel,
  isCustomized: boolean,
): JsonValue {
  const { engine, description } = entry;
  const waiting = engine?.waiting ?? 0;
  return {
    modelName: entry.name,
    modelVersion: entry.version,
    modelUrl: entry.origin,
    runtime: "node",
    minWorkers: settings.minWorkers,
    maxWorkers: settings.maxWorkers,
    batchSize: settings.batchSize ?? MOST_BATCH_SIZE,
    maxBatchDelay: settings.maxBatchDelayMs,
    responseTimeout: toSeconds(settings.requestTimeoutMs),
    startupTimeout: toSeconds(settings.startupTimeoutMs),
    maxRetryTimeoutInSec: 300, // as there; when dead workers are started again, and given up, is `supervisor.ts`'s
    clientTimeoutInMills: 0,
    parallelType: "",
    parallelLevel: 0,
    deviceType: "cpu",
    continuousBatching: false,
    useJobTicket: false,
    useVenv: false,
    stateful: false,
    sequenceMaxIdleMSec: 0,
    sequenceTimeoutMSec: 0,
    maxNumSequence: 0,
    maxSequenceJobQueueSize: 0,
    loadedAtStartup: isFromStart,
    workers: (engine?.workerList ?? []).map(describeWorker),
    jobQueueStatus: {
      remainingCapacity: Math.max(0, settings.jobQueueSize - waiting),
      pendingRequests: waiting,
    },
    ...(isCustomized && {
      customizedMetadata: {
        handler: description?.handlerFile ?? "default",
        ...(description?.task !== undefined && { task: description.task }),
        ...(description?.dtype !== undefined && { dtype: description.dtype }),
        ...(description?.modelType !== undefined && { modelType: description.modelType }),
        ...(description?.example !== undefined && { example: description.example }),
      },
    }),
  };
}

/** `UNLOADING` also means "still loading", as there: those that wait for `READY` must find nothing new. */
function describeWorker({ id, pid, state, startedAt, rssBytes }: WorkerInfo): JsonValue {
  return {
    id: String(id),
    startTime: startedAt.toISOString(),
    status: state === "ready" ? "READY" : "UNLOADING",
    memoryUsage: rssBytes,
    pid: pid ?? -1,
    gpu: false,
    gpuUsage: "N/A",
  };
}

/** Whole ones, as there; a fraction becomes the next. */
function toSeconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
