/**
 * The child's main: loads the handler, answers messages, and never sees HTTP.
 *
 * Whatever a handler does wrong ends here or with this process: a thrown error becomes the failure of its own
 * request; a crash, an exit or an endless loop is seen by the parent.
 */
import { RuntimeError, toPlainError } from "./errors.ts";
import type { CallContext, LoadedHandler } from "./handler/contract.ts";
import { toHandlerError } from "./handler/custom-message.ts";
import { loadHandler } from "./handler/load.ts";
import { toOutput } from "./handler/output.ts";
import type { JsonValue, LoadOptions } from "./inference.ts";
import {
  STREAM_WINDOW,
  type FromWorker,
  type JobMessage,
  type ToWorker,
  type WorkerError,
} from "./messages.ts";
import type { Log, LogFields, LogLevel } from "./observe/log.ts";

/** A job in this process. */
interface RunningJob {
  readonly abort: AbortController;
  /** Chunks that may be sent before the reader takes one. */
  credit: number;
  /** Called when credit has come or the job was cancelled. */
  wake: (() => void) | undefined;
}

const running = new Map<number, RunningJob>();
const log = createChannelLog({});
let handler: LoadedHandler | undefined;

process.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "load":
      void load(message.options);
      break;
    case "predict":
      for (const job of message.jobs) void answer(job);
      break;
    case "cancel": {
      const job = running.get(message.jobId);
      job?.abort.abort(
        message.reason === "deadline"
          ? new DOMException("The request's deadline has passed", "TimeoutError")
          : new DOMException("The client has left", "AbortError"),
      );
      job?.wake?.();
      break;
    }
    case "credit": {
      const job = running.get(message.jobId);
      if (job === undefined) break;
      job.credit += message.chunks;
      job.wake?.();
      break;
    }
    case "stop":
      void stop();
      break;
  }
});

// Without a parent there is nobody to answer.
process.on("disconnect", () => process.exit(0));
// Ctrl-C and a service manager's SIGTERM reach the whole group: the parent finishes the running requests first.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

process.on("unhandledRejection", (reason) => {
  log.error("The handler left a promise to reject with nobody to catch it", {
    error: toHandlerError(reason),
  });
});

async function load(options: LoadOptions): Promise<void> {
  const startedAtMs = performance.now();
  try {
    handler = await loadHandler(options, log);
    send({
      type: "ready",
      description: handler.description,
      loadMs: performance.now() - startedAtMs,
    });
  } catch (error) {
    send({ type: "failed", error: toWorkerError(error) }, () => process.exit(1));
  }
}

async function answer({ jobId, request }: JobMessage): Promise<void> {
  const abort = new AbortController();
  const job: RunningJob = { abort, credit: STREAM_WINDOW, wake: undefined };
  running.set(jobId, job);
  const context: CallContext = {
    signal: abort.signal,
    requestId: request.id,
    headers: request.headers,
    log: createChannelLog({ requestId: request.id }),
  };
  const startedAtMs = performance.now();
  const elapsedMs = (): number => performance.now() - startedAtMs;
  try {
    if (handler === undefined)
      throw new RuntimeError("NOT_READY", "Cannot answer the request: the handler is not loaded");
    const output = await toOutput(await handler.call(request, context));
    if (output.kind === "stream") {
      send({ type: "result", jobId, result: { kind: "stream" }, inferenceMs: elapsedMs() });
      await sendChunks(jobId, job, output.chunks);
    } else {
      send({ type: "result", jobId, result: output, inferenceMs: elapsedMs() });
    }
  } catch (error) {
    send({
      type: "result",
      jobId,
      result: { kind: "error", error: toWorkerError(error, abort.signal) },
      inferenceMs: elapsedMs(),
    });
  } finally {
    running.delete(jobId);
  }
}

/** Sends a stream's chunks as its reader makes room for them, and its `end`, always. */
async function sendChunks(
  jobId: number,
  job: RunningJob,
  chunks: AsyncIterable<JsonValue>,
): Promise<void> {
  const { signal } = job.abort;
  try {
    for await (const value of chunks) {
      while (job.credit === 0 && !signal.aborted)
        await new Promise<void>((resolve) => (job.wake = resolve));
      if (signal.aborted) break; // also tells the handler's generator, whose `finally` runs now
      job.credit--;
      send({ type: "chunk", jobId, value });
    }
    send({ type: "end", jobId });
  } catch (error) {
    send({ type: "end", jobId, error: toWorkerError(error, signal) });
  }
}

async function stop(): Promise<void> {
  for (const { abort } of running.values())
    abort.abort(new DOMException("The server is shutting down", "AbortError"));
  try {
    await handler?.dispose();
  } catch (error) {
    log.error("The handler's dispose() failed", { error: toHandlerError(error) });
  }
  process.exit(0);
}

function toWorkerError(error: unknown, signal?: AbortSignal): WorkerError {
  const failure = toHandlerError(error, signal);
  const origin = failure.cause instanceof Error ? failure.cause : failure;
  return { ...toPlainError(failure), stack: origin.stack ?? origin.message };
}

function send(message: FromWorker, sent?: () => void): void {
  if (!process.connected) return;
  process.send?.(message, undefined, undefined, () => sent?.());
}

/** A log whose lines the parent prints. */
function createChannelLog(inherited: LogFields): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    send({
      type: "log",
      level,
      message,
      fields: toPlainFields({ ...inherited, ...fields }),
    });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => createChannelLog({ ...inherited, ...fields }),
  };
}

/** Handlers log whatever they like; functions and class instances do not cross the channel. */
function toPlainFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? (value.stack ?? value.message) : toPlain(value),
    ]),
  );
}

function toPlain(value: unknown): unknown {
  if (typeof value !== "object" || value === null)
    return typeof value === "bigint" || typeof value === "function" ? String(value) : value;
  try {
    return JSON.parse(JSON.stringify(value)) as unknown;
  } catch {
    return "[unprintable]"; // a cycle
  }
}
