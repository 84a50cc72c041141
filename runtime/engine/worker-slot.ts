/**
 * One place for a worker: the process that fills it, the jobs in its hands, and what follows when it dies.
 *
 * A slot starts its process anew when it ends, as `supervisor.ts` decides, and hands back the jobs that died with it.
 * It can be retired: then it finishes what it holds and ends, for good or to begin afresh.
 */
import { fromPlainError, RuntimeError } from "../errors.ts";
import {
  type Batching,
  type ForwardPass,
  type InferenceOutput,
  type ModelDescription,
} from "../inference.ts";
import type { JobAnswer } from "../messages.ts";
import type { Log } from "../observe/log.ts";
import type { ModelMetrics } from "../observe/metrics.ts";
import { traceIdOf } from "../observe/trace.ts";
import { createHands, type HeldJob } from "./hands.ts";
import type { WorkerProcess, WorkMessage } from "./process.ts";
import type { Job } from "./job.ts";
import { createChunkStream, type ChunkStream } from "./stream.ts";
import { createDeathRecord, type RestartDecision } from "./supervisor.ts";

/** What a worker says of its model once it is ready. */
export interface ReadyWorker {
  readonly description: ModelDescription;
  readonly batching: Batching;
  /** How long each part of the start took, in milliseconds. */
  readonly parts: Readonly<Record<string, number>>;
}

export interface SlotOptions {
  /** The slot's own number; processes in it come and go. */
  readonly id: number;
  readonly start: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
  readonly onReady: (ready: ReadyWorker) => void;
  /** Loading failed for a reason of the handler's own. */
  readonly onStartFailed: (error: RuntimeError) => void;
  /** It has become able to take work. */
  readonly onRoom: () => void;
  /** The model ran once over several inputs. */
  readonly onPass: (pass: ForwardPass) => void;
  /** The handler has counted a job's tokens. */
  readonly onTokens: (job: Job, tokens: number) => void;
  /** A job has left: its answer, its stream's end or its failure is complete. */
  readonly onDone: (job: Job, inferenceMs: number | undefined) => void;
  /** The worker died with these jobs in its hands, none of them answered: some it had begun, others not. */
  readonly onLost: (lost: LostJobs, reason: string) => void;
  /** It cannot be started any more. */
  readonly onGivenUp: (error: RuntimeError) => void;
  /** It was retired for good and is gone. */
  readonly onGone: () => void;
  /** Whether any worker of this pool has ever been ready: before that less patience is had. */
  readonly hasBeenReady: () => boolean;
  /** A worker whose memory exceeds this is replaced, in bytes. */
  readonly maxRssBytes: number;
  readonly metrics: ModelMetrics;
  readonly now: () => number;
  readonly log: Log;
}

export interface LostJobs {
  readonly begun: readonly Job[];
  readonly untouched: readonly Job[];
}

/** What goes with a batch. */
export interface DispatchOptions {
  /** The most tokens of one run of the model, padding included. */
  readonly maxPaddedTokens: number;
  /** What the batch is expected to take; `undefined` while nothing is known. */
  readonly expectedMs: number | undefined;
  /** Whether the worker is given nothing else until it is done. */
  readonly isAlone?: boolean;
}

/** A worker as an operator sees it. */
export interface WorkerInfo {
  /** The number of its slot: a worker that is started again keeps it. */
  readonly id: number;
  readonly pid: number | undefined;
  readonly state: "starting" | "ready" | "retiring" | "gone";
  /** When its process was started. */
  readonly startedAt: Date;
  /** Resident memory as it last told; 0 before. */
  readonly rssBytes: number;
}

export interface WorkerSlot {
  readonly info: WorkerInfo;
  readonly state: "starting" | "ready" | "retiring" | "gone";
  /** Whether it stands idle, or could work on one request more. */
  readonly isIdle: boolean;
  /** Whether it may be given work: it is idle, or some may be sent ahead. */
  readonly hasRoom: boolean;
  readonly heldCount: number;
  holds(job: Job): boolean;
  dispatch(batch: readonly Job[], options: DispatchOptions): void;
  /** Tells the job's worker that nobody waits for it any more. */
  cancel(job: Job, reason: "deadline" | "client"): void;
  /** Finishes what it holds, then ends and does not come back. */
  retire(): void;
  /** Ends it, whatever it holds. */
  stop(): Promise<void>;
  kill(): void;
}

/** A handler that still computes this long after its job's deadline hangs, and its worker is replaced. */
const HANG_GRACE_MS = 5000;

/** Fills the slot with a process at once. */
export function createWorkerSlot(options: SlotOptions): WorkerSlot {
  const {
    onReady,
    onStartFailed,
    onRoom,
    onPass,
    onTokens,
    onDone,
    onLost,
    onGivenUp,
    onGone,
    now,
    log,
  } = options;
  const hands = createHands({
    now,
    onBegun(held) {
      held.job.onBegun?.(process?.pid);
      if (held.isCancelled === true) watchForHang(held);
    },
    onRoom() {
      if (hasRoom()) onRoom();
    },
  });
  const deaths = createDeathRecord(now);
  let process: WorkerProcess | undefined;
  let state: WorkerSlot["state"] = "starting";
  let isEnding = false;
  let startedAt = new Date();
  let rssBytes = 0;
  let restartTimer: NodeJS.Timeout | undefined;
  let hasHung = false;

  function begin(): void {
    state = "starting";
    startedAt = new Date();
    rssBytes = 0;
    const worker = options.start(receive);
    process = worker;
    worker.ready.then(
      (loaded) => {
        hands.setBatching(loaded.batching);
        if (state === "starting") state = "ready";
        log.debug(`A worker is ready: ${describeParts(loaded.parts)}`, { worker: worker.pid });
        options.metrics.workerReady(loaded.parts, options.id);
        onReady(loaded);
        if (isEnding) endWhenIdle();
        else onRoom();
      },
      (error: RuntimeError) => {
        if (isEnding) return;
        // A handler that cannot load at all will not load the next time either.
        if (!options.hasBeenReady() && error.code !== "WORKER_DIED") onStartFailed(error);
        else log.error(error.message);
      },
    );
    void worker.exited.then(bury);
  }

  function bury(reason: string): void {
    const { begun, untouched } = hands.empty();
    const isLost = (held: HeldJob): boolean => settleDead(held, reason);
    const lost = {
      begun: begun.filter(isLost).map(({ job }) => job),
      untouched: untouched.filter(isLost).map(({ job }) => job),
    };
    const lostCount = lost.begun.length + lost.untouched.length;
    const before = state;
    state = "gone";
    options.metrics.workerMemory(process?.pid, 0);
    options.metrics.workerStopped(options.id);
    process = undefined;
    if (!isEnding && before !== "retiring") options.metrics.workerDied(hasHung ? "hang" : reason);
    hasHung = false;
    if (isEnding) {
      options.metrics.workerGone(options.id);
      onGone();
    } else if (before === "retiring") begin(); // it had grown too large and was asked to end
    else if (
      !restart(
        before === "starting"
          ? deaths.afterFailedStart(options.hasBeenReady())
          : deaths.afterDeathAtWork(),
        reason,
        lostCount,
      )
    )
      return;
    if (lostCount > 0) onLost(lost, reason);
  }

  /** @returns Whether somebody still waits for an answer. */
  function settleDead({ job, stream, hangTimer }: HeldJob, reason: string): boolean {
    clearTimeout(hangTimer);
    if (stream !== undefined) {
      const text = `Cannot finish the stream: its worker ended with ${reason}`;
      stream.end(new RuntimeError("WORKER_DIED", text));
    } else if (!job.isSettled) return true;
    onDone(job, undefined);
    return false;
  }

  /** @returns Whether there will be another process. */
  function restart(decision: RestartDecision, reason: string, requests: number): boolean {
    if ("giveUpAfter" in decision) {
      const what = options.hasBeenReady()
        ? "Cannot keep the model running"
        : "Cannot load the model";
      const text = `${what}: its worker died ${decision.giveUpAfter} times in a row, last with ${reason}`;
      onGivenUp(new RuntimeError("WORKER_DIED", text));
      return false;
    }
    log.error("A worker died; another one starts", {
      reason,
      requests,
      restartInMs: decision.restartInMs,
    });
    state = "starting";
    restartTimer = setTimeout(begin, decision.restartInMs);
    return true;
  }

  function receive(message: WorkMessage): void {
    if (message.type === "results") {
      for (const pass of message.passes) onPass(pass);
      for (const sample of message.metrics ?? []) options.metrics.measured(sample);
      for (const answer of message.answers) settle(answer);
      if (message.used !== undefined) options.metrics.workerUsed(message.used);
      if (message.rssBytes !== undefined) noteMemory(message.rssBytes);
      return;
    }
    if (message.type === "statistics") {
      options.metrics.generated(message.generation, options.id);
      return;
    }
    const entry = hands.find(message.jobId);
    if (entry === undefined) return; // a handler that writes to the channel itself
    if (message.type === "chunk") {
      entry.stream?.push(message.value);
      return;
    }
    if (message.error?.stack !== undefined) logFailure("error", entry.job, message.error.stack);
    entry.stream?.end(message.error && fromPlainError(message.error));
    release(entry, undefined);
  }

  function settle(answer: JobAnswer): void {
    const { jobId, result, inferenceMs, tokens, stages, warnings, response } = answer;
    const entry = hands.find(jobId);
    if (entry === undefined || entry.stream !== undefined) return;
    const { job } = entry;
    deaths.noteAnswer();
    if (tokens !== undefined) onTokens(job, tokens);
    const queueMs = (hands.begunAtMs(entry) ?? now()) - job.enqueuedAtMs;
    const timings = { queueMs, inferenceMs, ...(stages !== undefined && { stages }) };
    const more = {
      timings,
      ...(tokens !== undefined && { tokens }),
      ...(warnings !== undefined && { warnings }),
      ...(response !== undefined && { response }),
    };
    if (result.kind === "error") {
      const level = result.error.code === "HANDLER_FAILED" ? "error" : "debug";
      if (result.error.stack !== undefined) logFailure(level, job, result.error.stack);
      job.settle(fromPlainError(result.error));
    } else if (result.kind === "stream") {
      entry.stream = openStream(job);
      job.settle({ output: { kind: "stream", chunks: entry.stream.chunks }, ...more });
      return; // the worker is busy until `end`
    } else {
      job.settle({ output: result satisfies InferenceOutput, ...more });
    }
    const overheadMs = Math.max(0, now() - job.enqueuedAtMs - queueMs - inferenceMs);
    options.metrics.answered({
      queueMs,
      inferenceMs,
      overheadMs,
      stages,
      hasFailed: result.kind === "error",
    });
    release(entry, inferenceMs);
  }

  function openStream(job: Job): ChunkStream {
    return createChunkStream({
      onTaken: (chunks) => process?.send({ type: "credit", jobId: job.id, chunks }),
      onAbandoned: () => cancel(job, "client"),
    });
  }

  function release(held: HeldJob, inferenceMs: number | undefined): void {
    clearTimeout(held.hangTimer);
    hands.release(held);
    onDone(held.job, inferenceMs);
    if (state === "retiring") endWhenIdle();
    else if (hasRoom()) onRoom();
  }

  function hasRoom(): boolean {
    return state === "ready" && hands.hasRoom;
  }

  function cancel(job: Job, reason: "deadline" | "client"): void {
    const held = hands.find(job.id);
    if (held === undefined) return;
    process?.send({ type: "cancel", jobId: job.id, reason });
    held.isCancelled = true;
    if (reason === "deadline") {
      held.stream?.end(
        new RuntimeError("DEADLINE_EXCEEDED", "Cannot finish the stream: its deadline has passed"),
      );
    }
    if (hands.begunAtMs(held) !== undefined) watchForHang(held);
  }

  /** A handler that goes on long after its request's deadline hangs. */
  function watchForHang(held: HeldJob): void {
    const { job } = held;
    if (held.hangTimer !== undefined || job.deadlineAtMs === Infinity) return;
    const untilHanging = Math.max(0, job.deadlineAtMs - now()) + HANG_GRACE_MS;
    held.hangTimer = setTimeout(() => {
      const fields = { requestId: job.request.id };
      log.error(
        "A handler still runs long after its request's deadline; its worker is replaced",
        fields,
      );
      hasHung = true;
      process?.kill();
    }, untilHanging);
  }

  function noteMemory(told: number): void {
    rssBytes = told;
    options.metrics.workerMemory(process?.pid, rssBytes);
    if (rssBytes <= options.maxRssBytes || state !== "ready") return;
    const megabytes = Math.round(rssBytes / 1e6);
    log.warn(
      `A worker has grown to ${megabytes} MB, more than --worker-max-rss; it is replaced once it is idle`,
    );
    state = "retiring";
    endWhenIdle();
  }

  function endWhenIdle(): void {
    if (hands.count === 0) void process?.stop();
  }

  function logFailure(level: "error" | "debug", job: Job, stack: string): void {
    const what = level === "error" ? "The handler failed" : "The handler did not answer";
    const { id: requestId, headers } = job.request;
    const traceId = traceIdOf(headers);
    log[level](`${what}: ${stack}`, {
      requestId,
      ...(traceId !== undefined && { traceId }),
    });
  }

  begin();
  return {
    get state() {
      return state;
    },
    get info() {
      return { id: options.id, pid: process?.pid, state, startedAt, rssBytes };
    },
    get isIdle() {
      return state === "ready" && hands.isFree;
    },
    get hasRoom() {
      return hasRoom();
    },
    get heldCount() {
      return hands.count;
    },
    holds: (job) => hands.find(job.id) !== undefined,
    dispatch(batch, { maxPaddedTokens, expectedMs, isAlone }) {
      hands.give(batch, expectedMs, isAlone);
      const jobs = batch.map(({ id, request }) => ({ jobId: id, request }));
      process?.send({ type: "predict", jobs, maxPaddedTokens });
    },
    cancel,
    retire() {
      isEnding = true;
      clearTimeout(restartTimer);
      if (process === undefined) {
        state = "gone";
        options.metrics.workerGone(options.id);
        onGone();
        return;
      }
      state = "retiring";
      endWhenIdle();
    },
    async stop() {
      isEnding = true;
      clearTimeout(restartTimer);
      await process?.stop();
    },
    kill() {
      isEnding = true;
      clearTimeout(restartTimer);
      process?.kill();
    },
  };
}

/** `process 120 ms, modules 310 ms, model 250 ms`. */
export function describeParts(parts: Readonly<Record<string, number>>): string {
  return Object.entries(parts)
    .map(([name, ms]) => `${name} ${Math.round(ms)} ms`)
    .join(", ");
}
