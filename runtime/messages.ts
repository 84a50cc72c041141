/**
 * What parent and child say to each other: two discriminated unions over one channel.
 *
 * The channel is Node's IPC with `serialization: "advanced"`, so typed arrays arrive as such and everything here is
 * plain data. A job is one queued request; its number is the parent's, unique for the parent's life. Each job gets
 * exactly one answer; a streamed one then gets `chunk`s and exactly one `end`.
 */
import type { PlainError } from "./errors.ts";
import type { GenerationStatistics } from "./generation.ts";
import type {
  Batching,
  ForwardPass,
  HandlerMetric,
  InferenceRequest,
  JsonValue,
  LoadOptions,
  Media,
  ModelDescription,
  NamedTensor,
  ResponseHead,
  StageTimes,
} from "./inference.ts";
import type { LogFields, LogLevel } from "./observe/log.ts";
import type { WorkerUse } from "./observe/metrics-workers.ts";

export interface JobMessage {
  readonly jobId: number;
  readonly request: InferenceRequest;
}

export type ToWorker =
  /** The first message: what to load. Answered by `ready` or `failed`. */
  | { readonly type: "load"; readonly options: LoadOptions }
  /** Work. The jobs of a batch may be answered in any order. */
  | {
      readonly type: "predict";
      readonly jobs: readonly JobMessage[];
      /** The most tokens of one run of the model, padding included. */
      readonly maxPaddedTokens: number;
    }
  /** Nobody waits for this job any more: abort its signal. Its answer or `end` is still owed. */
  | { readonly type: "cancel"; readonly jobId: number; readonly reason: "deadline" | "client" }
  /** The reader of a stream took this many chunks: that many more may be sent. */
  | { readonly type: "credit"; readonly jobId: number; readonly chunks: number }
  /** What would have been several messages at nearly the same time: each costs a system call on both sides. */
  | { readonly type: "several"; readonly messages: readonly ToWorker[] }
  /** Dispose of the handler and exit with 0. */
  | { readonly type: "stop" };

/** What became of one job. A stream's content follows in messages of its own. */
export type JobResult =
  | { readonly kind: "json"; readonly value: JsonValue }
  | { readonly kind: "media"; readonly media: Media }
  | { readonly kind: "tensors"; readonly tensors: readonly NamedTensor[] }
  | { readonly kind: "stream" }
  | { readonly kind: "error"; readonly error: WorkerError };

/** An error from a child: what clients may read, and the stack for the log. */
export interface WorkerError extends PlainError {
  readonly stack?: string;
}

/** What became of one job, and what it took. */
export interface JobAnswer {
  readonly jobId: number;
  readonly result: JobResult;
  readonly inferenceMs: number;
  /** The job's length in tokens, where the handler counts them. */
  readonly tokens?: number;
  /** Parts of `inferenceMs`, where the handler tells them. */
  readonly stages?: StageTimes;
  /** What the caller should know about the answer. */
  readonly warnings?: readonly string[];
  /** What the handler says of the answer's head. */
  readonly response?: ResponseHead;
}

export type FromWorker =
  | {
      readonly type: "ready";
      readonly description: ModelDescription;
      readonly batching: Batching;
      /** How long each part of the start took, in milliseconds, from the process's beginning on. */
      readonly parts: Readonly<Record<string, number>>;
    }
  /** Loading failed; the child exits on its own. */
  | { readonly type: "failed"; readonly error: WorkerError }
  /** Answers that became known together, and the runs of the model that they took. */
  | {
      readonly type: "results";
      readonly answers: readonly JobAnswer[];
      readonly passes: readonly ForwardPass[];
      /** What the handler measured meanwhile. */
      readonly metrics?: readonly HandlerMetric[];
      /** The child's memory, now and then. */
      readonly rssBytes?: number;
      /** With it: what the child has used since it last told. */
      readonly used?: WorkerUse;
    }
  /** Now and then, from a model that generates. */
  | { readonly type: "statistics"; readonly generation: GenerationStatistics }
  | { readonly type: "chunk"; readonly jobId: number; readonly value: JsonValue }
  | { readonly type: "end"; readonly jobId: number; readonly error?: WorkerError }
  | {
      readonly type: "log";
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: LogFields;
    };

/** Chunks of one stream that may be under way before its reader has taken any: bounds the parent's memory. */
export const STREAM_WINDOW = 32;

const FROM_WORKER_TYPES = new Set([
  "ready",
  "failed",
  "results",
  "statistics",
  "chunk",
  "end",
  "log",
]);

/**
 * Whether a message on the channel is one of ours: a handler can reach `process.send` too, and what it sends there
 * must not confuse the parent.
 */
export function isFromWorker(message: unknown): message is FromWorker {
  if (typeof message !== "object" || message === null || !("type" in message)) return false;
  return typeof message.type === "string" && FROM_WORKER_TYPES.has(message.type);
}
