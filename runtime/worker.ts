/**
 * The child's main: loads the handler, answers messages, and never sees HTTP.
 *
 * Whatever a handler does wrong ends here or with this process: a thrown error becomes the failure of its own
 * request; a crash, an exit or an endless loop is seen by the parent.
 */
import { RuntimeError, toPlainError } from "./errors.ts";
import type { CallContext, LoadedHandler, MemberOutcome } from "./handler/contract.ts";
import { toHandlerError } from "./handler/custom/message.ts";
import { loadHandler } from "./handler/load.ts";
import { toOutput } from "./handler/output/output.ts";
import { ONE_BY_ONE, type ForwardPass, type JsonValue, type LoadOptions } from "./inference.ts";
import {
  STREAM_WINDOW,
  type FromWorker,
  type JobAnswer,
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
const outbox = createOutbox();
let handler: LoadedHandler | undefined;

process.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "load":
      void load(message.options);
      break;
    case "predict":
      void predict(message.jobs, message.maxPaddedTokens);
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
    const { description, batching = ONE_BY_ONE } = handler;
    send({ type: "ready", description, batching, loadMs: performance.now() - startedAtMs });
  } catch (error) {
    send({ type: "failed", error: toWorkerError(error) }, () => process.exit(1));
  }
}

/** Work that came together goes to the handler together, where it takes batches. */
async function predict(jobs: readonly JobMessage[], maxPaddedTokens: number): Promise<void> {
  if (handler?.callBatch === undefined) {
    for (const job of jobs) void answer(job);
    return;
  }
  const entries = jobs.map((message) => ({
    message,
    job: register(message),
    startedAtMs: performance.now(),
  }));
  const members = entries.map(({ message, job }) => ({
    request: message.request,
    context: contextOf(message, job),
  }));
  await handler.callBatch(members, {
    maxPaddedTokens,
    onPass: (pass) => outbox.pass(pass),
    onOutcome(index, outcome) {
      const entry = entries[index];
      if (entry === undefined) return;
      const { message, job, startedAtMs } = entry;
      void conclude(message.jobId, job, startedAtMs, outcome);
    },
  });
}

/** One request, for a handler that takes them one by one. */
async function answer(message: JobMessage): Promise<void> {
  const job = register(message);
  const startedAtMs = performance.now();
  try {
    if (handler === undefined)
      throw new RuntimeError("NOT_READY", "Cannot answer the request: the handler is not loaded");
    const value = await handler.call(message.request, contextOf(message, job));
    await conclude(message.jobId, job, startedAtMs, { value });
  } catch (error) {
    await conclude(message.jobId, job, startedAtMs, { error });
  }
}

/** Turns an outcome into the job's answer, and a stream into its chunks. */
async function conclude(
  jobId: number,
  job: RunningJob,
  startedAtMs: number,
  outcome: MemberOutcome,
): Promise<void> {
  const inferenceMs = performance.now() - startedAtMs;
  try {
    if ("error" in outcome) throw outcome.error;
    const output = await toOutput(outcome.value);
    const { tokens, warnings = [] } = outcome;
    const more = {
      ...(tokens !== undefined && { tokens }),
      ...(warnings.length > 0 && { warnings }),
    };
    if (output.kind === "stream") {
      outbox.answer({ jobId, result: { kind: "stream" }, inferenceMs, ...more });
      await sendChunks(jobId, job, output.chunks);
    } else outbox.answer({ jobId, result: output, inferenceMs, ...more });
  } catch (error) {
    outbox.answer({
      jobId,
      result: { kind: "error", error: toWorkerError(error, job.abort.signal) },
      inferenceMs,
    });
  } finally {
    running.delete(jobId);
  }
}

function register({ jobId }: JobMessage): RunningJob {
  const job: RunningJob = { abort: new AbortController(), credit: STREAM_WINDOW, wake: undefined };
  running.set(jobId, job);
  return job;
}

function contextOf({ request }: JobMessage, { abort }: RunningJob): CallContext {
  return {
    signal: abort.signal,
    requestId: request.id,
    headers: request.headers,
    log: createChannelLog({ requestId: request.id }),
  };
}

/** How often the parent hears how much memory this process has. */
const MEMORY_INTERVAL_MS = 1000;

/**
 * Answers on their way to the parent. Those that become known in one turn go in one message, and they go before the
 * next run of the model, which holds the event loop.
 */
function createOutbox(): {
  answer(answer: JobAnswer): void;
  pass(pass: ForwardPass): void;
  flush(): void;
} {
  let answers: JobAnswer[] = [];
  let passes: ForwardPass[] = [];
  let isScheduled = false;
  let measuredAtMs = -Infinity;

  function flush(): void {
    isScheduled = false;
    if (answers.length === 0 && passes.length === 0) return;
    send({ type: "results", answers, passes, ...memory() });
    answers = [];
    passes = [];
  }
  /** Reading it costs some ten microseconds, so it is not sent with every answer. */
  function memory(): { rssBytes?: number } {
    const nowMs = performance.now();
    if (nowMs - measuredAtMs < MEMORY_INTERVAL_MS) return {};
    measuredAtMs = nowMs;
    return { rssBytes: process.memoryUsage.rss() };
  }
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(flush);
  }
  return {
    answer(answer) {
      answers.push(answer);
      schedule();
    },
    pass: (pass) => void passes.push(pass), // travels with the answers that it made
    flush,
  };
}

/** Sends a stream's chunks as its reader makes room for them, and its `end`, always. */
async function sendChunks(
  jobId: number,
  job: RunningJob,
  chunks: AsyncIterable<JsonValue>,
): Promise<void> {
  outbox.flush(); // no chunk may overtake the answer that announces it
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
