/**
 * The child's main: loads the handler, answers messages, and never sees HTTP.
 *
 * Whatever a handler does wrong ends here or with this process: a thrown error becomes the failure of its own
 * request; a crash, an exit or an endless loop is seen by the parent.
 */
import { rmSync } from "node:fs";
import { RuntimeError, toPlainError } from "./errors.ts";
import type { LoadedHandler, MemberOutcome, RequestContext } from "./handler/contract.ts";
import { toHandlerError } from "./handler/custom/message.ts";
import { createHandlerMetrics } from "./handler/custom/metrics.ts";
import { LazyResponse } from "./handler/custom/response.ts";
import { loadHandler } from "./handler/load.ts";
import { toOutput } from "./handler/output/output.ts";
import { ONE_BY_ONE, type JsonValue, type LoadOptions } from "./inference.ts";
import { STREAM_WINDOW, type JobMessage, type ToWorker, type WorkerError } from "./messages.ts";
import type { LogFields } from "./observe/log.ts";
import { traceIdOf } from "./observe/trace.ts";
import { createBacklog } from "./worker/backlog.ts";
import { createChannelLog, send } from "./worker/channel.ts";
import { watchForOrphanhood } from "./worker/orphan-watch.ts";
import { createOutbox } from "./worker/outbox.ts";
import { createStatisticsReport } from "./worker/statistics.ts";
import { warmUp } from "./worker/warm-up.ts";

/** A job in this process. */
interface RunningJob {
  readonly abort: AbortController;
  /** What the handler says of its answer's head. */
  readonly response: LazyResponse;
  /** Chunks that may be sent before the reader takes one. */
  credit: number;
  /** Called when credit has come or the job was cancelled. */
  wake: (() => void) | undefined;
}

const running = new Map<number, RunningJob>();
const log = createChannelLog({});
const outbox = createOutbox();
const statistics = createStatisticsReport(() => handler?.takeStatistics?.());
/** A batch at a time, or as many requests as the handler takes. */
const backlog = createBacklog(() => handler?.batching?.concurrency ?? 1);
let handler: LoadedHandler | undefined;

process.on("message", receive);

function receive(message: ToWorker): void {
  switch (message.type) {
    case "several":
      for (const one of message.messages) receive(one);
      break;
    case "load":
      void load(message.options);
      break;
    case "predict":
      predict(message.jobs, message.maxPaddedTokens);
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
}

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
  const startedAtMs = performance.now(); // since this process began
  const { scratch } = options;
  if (scratch !== undefined)
    process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  try {
    handler = await loadHandler(options, log);
    const { description, batching = ONE_BY_ONE, loadParts = {} } = handler;
    const warmUpMs = options.warmsUp === true ? await askExample(handler) : undefined;
    const parts = {
      process: startedAtMs,
      ...loadParts,
      ...(warmUpMs !== undefined && { "warm-up": warmUpMs }),
    };
    send({ type: "ready", description, batching, parts });
    watchForOrphanhood(); // now, as it must not make the start slower
  } catch (error) {
    send({ type: "failed", error: toWorkerError(error) }, () => process.exit(1));
  }
}

/** A job that nobody waits for: its answer and what it measures stay here. */
function askExample(loaded: LoadedHandler): Promise<number | undefined> {
  return warmUp(loaded, {
    contextOf: ({ id, headers }, signal) => ({
      signal,
      requestId: id,
      headers,
      log: createChannelLog({ requestId: id }),
      metrics: createHandlerMetrics(id, () => undefined),
      response: new LazyResponse(),
    }),
    log,
  });
}

/** Work that came together goes to the handler together, where it takes batches. */
function predict(messages: readonly JobMessage[], maxPaddedTokens: number): void {
  if (handler?.takeStatistics !== undefined) statistics.begin();
  const entries = messages.map((message): Entry => ({ message, job: register(message) }));
  if (handler?.callBatch !== undefined) backlog.add(() => answerTogether(entries, maxPaddedTokens));
  else for (const entry of entries) backlog.add(() => answer(entry));
}

interface Entry {
  readonly message: JobMessage;
  readonly job: RunningJob;
}

async function answerTogether(entries: readonly Entry[], maxPaddedTokens: number): Promise<void> {
  const startedAtMs = performance.now();
  const concluded: Promise<void>[] = [];
  const members = entries.map(({ message, job }) => ({
    request: message.request,
    context: contextOf(message, job),
  }));
  await handler?.callBatch?.(members, {
    maxPaddedTokens,
    onPass: (pass) => outbox.pass(pass),
    onOutcome(index, outcome) {
      const entry = entries[index];
      if (entry === undefined) return;
      concluded.push(conclude(entry.message.jobId, entry.job, startedAtMs, outcome));
    },
  });
  await Promise.all(concluded);
}

/** One request, for a handler that takes them one by one. */
async function answer({ message, job }: Entry): Promise<void> {
  const startedAtMs = performance.now();
  try {
    job.abort.signal.throwIfAborted(); // its client left while it waited here
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
    const { tokens, stages, warnings = [] } = outcome;
    const response = job.response.head();
    const more = {
      ...(response !== undefined && { response }),
      ...(tokens !== undefined && { tokens }),
      ...(stages !== undefined && { stages }),
      ...(warnings.length > 0 && { warnings }),
    };
    if (output.kind === "stream") {
      outbox.answer({ jobId, result: { kind: "stream" }, inferenceMs, ...more });
      const { said } = job.response;
      await sendChunks(jobId, job, output.chunks);
      if (job.response.said !== said)
        log.warn(
          "A handler set its response's status or headers when its stream had begun: they are not sent; set them before call() returns",
        );
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
  const job: RunningJob = {
    abort: new AbortController(),
    response: new LazyResponse(),
    credit: STREAM_WINDOW,
    wake: undefined,
  };
  running.set(jobId, job);
  return job;
}

function contextOf({ request }: JobMessage, { abort, response }: RunningJob): RequestContext {
  return {
    signal: abort.signal,
    requestId: request.id,
    headers: request.headers,
    log: createChannelLog(marksOf(request)),
    metrics: createHandlerMetrics(request.id, (sample) => outbox.metric(sample)),
    response,
  };
}

/** What the request's lines in the log carry. */
function marksOf({ id, headers }: JobMessage["request"]): LogFields {
  const traceId = traceIdOf(headers);
  return traceId === undefined ? { requestId: id } : { requestId: id, traceId };
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
