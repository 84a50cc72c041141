/**
 * The workers: as many as wanted, each starting, idle or busy, replaced when they die.
 *
 * The pool takes batches and settles their jobs. What it cannot settle, because the worker died with them, it hands
 * back to the engine, which alone knows the queue.
 */
import { fromPlainError, RuntimeError } from "../errors.ts";
import {
  ONE_BY_ONE,
  type Batching,
  type ForwardPass,
  type InferenceOutput,
  type ModelDescription,
} from "../inference.ts";
import type { JobAnswer } from "../messages.ts";
import type { Log } from "../observe/log.ts";
import type { WorkerProcess, WorkMessage } from "./process.ts";
import type { Job } from "./queue.ts";
import { createChunkStream, type ChunkStream } from "./stream.ts";
import {
  decideRestart,
  RESTART_LIMITS,
  type RestartDecision,
  type RestartLimits,
} from "./supervisor.ts";

export interface PoolOptions {
  readonly size: number;
  readonly start: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
  /** A worker has become able to take a batch. */
  readonly onIdle: () => void;
  /** The model ran once over several inputs. */
  readonly onPass: (pass: ForwardPass) => void;
  /** The handler has counted a job's tokens. */
  readonly onTokens: (job: Job, tokens: number) => void;
  /** A job has left its worker: its answer, its stream's end or its failure is complete. */
  readonly onDone: (job: Job, inferenceMs: number | undefined) => void;
  /** A worker died with these jobs in its hands. None of them has an answer yet. */
  readonly onLost: (jobs: readonly Job[], reason: string) => void;
  /** Nothing will be started again. */
  readonly onGivenUp: (error: RuntimeError) => void;
  readonly now: () => number;
  readonly log: Log;
}

export interface Pool {
  readonly readyCount: number;
  readonly hasIdle: boolean;
  /** Starts the workers; settles with the first that is ready, or rejects when none can be. */
  start(): Promise<ReadyWorker>;
  /** Gives a batch to an idle worker; there must be one. */
  dispatch(batch: readonly Job[], maxPaddedTokens: number): void;
  /** Tells the job's worker that nobody waits for it any more. */
  cancel(job: Job, reason: "deadline" | "client"): void;
  /** Ends all workers, busy ones too. */
  stop(): Promise<void>;
}

/** What a worker says of its model once it is ready. */
export interface ReadyWorker {
  readonly description: ModelDescription;
  readonly batching: Batching;
}

/** A handler that still computes this long after its job's deadline hangs, and its worker is replaced. */
const HANG_GRACE_MS = 5000;

/** A model that never became ready is given up sooner: its death is more likely its own doing. */
const FIRST_START_LIMITS: RestartLimits = { ...RESTART_LIMITS, mostDeaths: 3 };

/** Enough of a pause to spare the processor; each answer in between starts the count anew. */
const AT_WORK_LIMITS: RestartLimits = {
  ...RESTART_LIMITS,
  longestDelayMs: 5000,
  mostDeaths: Infinity,
};

interface HeldJob {
  readonly job: Job;
  readonly dispatchedAtMs: number;
  stream?: ChunkStream;
  hangTimer?: NodeJS.Timeout;
}

interface Slot {
  process: WorkerProcess | undefined;
  state: "starting" | "ready" | "gone";
  batching: Batching;
  readonly held: Map<number, HeldJob>;
  /** Deaths since the last answer. */
  readonly deathsMs: number[];
  /** Deaths before it was ready, since it last was. */
  readonly failedStartsMs: number[];
  restartTimer?: NodeJS.Timeout;
}

export function createPool({
  size,
  start,
  onIdle,
  onPass,
  onTokens,
  onDone,
  onLost,
  onGivenUp,
  now,
  log,
}: PoolOptions): Pool {
  const slots: Slot[] = Array.from({ length: size }, () => ({
    process: undefined,
    state: "gone",
    held: new Map(),
    batching: ONE_BY_ONE,
    deathsMs: [],
    failedStartsMs: [],
  }));
  let isStopping = false;
  let hasBeenReady = false;
  let firstStart: {
    resolve: (ready: ReadyWorker) => void;
    reject: (error: RuntimeError) => void;
  };

  function startSlot(slot: Slot): void {
    slot.state = "starting";
    const worker = start((message) => receive(slot, message));
    slot.process = worker;
    worker.ready.then(
      ({ description, batching, loadMs }) => {
        slot.state = "ready";
        slot.batching = batching;
        hasBeenReady = true;
        log.debug("A worker is ready", { worker: worker.pid, loadMs: Math.round(loadMs) });
        firstStart.resolve({ description, batching });
        onIdle();
      },
      (error: RuntimeError) => {
        if (isStopping) return;
        // A handler that cannot load at all will not load the next time either.
        if (!hasBeenReady && error.code !== "WORKER_DIED") giveUp(error);
        else log.error(error.message);
      },
    );
    void worker.exited.then((reason) => bury(slot, reason));
  }

  function bury(slot: Slot, reason: string): void {
    const lost: Job[] = [];
    for (const held of slot.held.values()) {
      clearTimeout(held.hangTimer);
      if (held.stream !== undefined) {
        held.stream.end(
          new RuntimeError(
            "WORKER_DIED",
            `Cannot finish the stream: its worker ended with ${reason}`,
          ),
        );
        onDone(held.job, undefined);
      } else if (held.job.isSettled) onDone(held.job, undefined);
      else lost.push(held.job);
    }
    slot.held.clear();
    const wasStarting = slot.state === "starting";
    slot.state = "gone";
    slot.process = undefined;
    if (isStopping) {
      if (lost.length > 0) onLost(lost, reason);
      return;
    }
    const decision = wasStarting ? afterFailedStart(slot) : afterDeathAtWork(slot);
    if ("giveUpAfter" in decision) {
      const what = hasBeenReady ? "Cannot keep the model running" : "Cannot load the model";
      giveUp(
        new RuntimeError(
          "WORKER_DIED",
          `${what}: its worker died ${decision.giveUpAfter} times in a row, last with ${reason}`,
        ),
      );
    } else {
      log.error("A worker died; another one starts", {
        reason,
        requests: lost.length,
        restartInMs: decision.restartInMs,
      });
      slot.restartTimer = setTimeout(() => startSlot(slot), decision.restartInMs);
    }
    if (lost.length > 0) onLost(lost, reason);
  }

  /** A worker that cannot even start will not start the next time either: that has an end. */
  function afterFailedStart(slot: Slot): RestartDecision {
    remember(slot.failedStartsMs);
    return decideRestart(slot.failedStartsMs, hasBeenReady ? RESTART_LIMITS : FIRST_START_LIMITS);
  }

  /** A worker that died at its work was most likely killed by a request: that must never end the service. */
  function afterDeathAtWork(slot: Slot): RestartDecision {
    slot.failedStartsMs.length = 0;
    remember(slot.deathsMs);
    return decideRestart(slot.deathsMs, AT_WORK_LIMITS);
  }

  function remember(deathsMs: number[]): void {
    deathsMs.push(now());
    if (deathsMs.length > RESTART_LIMITS.mostDeaths) deathsMs.shift();
  }

  function giveUp(error: RuntimeError): void {
    if (isStopping) return;
    isStopping = true;
    firstStart.reject(error);
    onGivenUp(error);
    for (const slot of slots) {
      clearTimeout(slot.restartTimer);
      slot.process?.kill();
    }
  }

  function receive(slot: Slot, message: WorkMessage): void {
    if (message.type === "results") {
      for (const pass of message.passes) onPass(pass);
      for (const answer of message.answers) settle(slot, answer);
      return;
    }
    const held = slot.held.get(message.jobId);
    if (held === undefined) return; // a handler that writes to the channel itself
    const { job } = held;
    switch (message.type) {
      case "chunk":
        held.stream?.push(message.value);
        break;
      case "end":
        if (message.error?.stack !== undefined) logFailure("error", job, message.error.stack);
        held.stream?.end(message.error && fromPlainError(message.error));
        release(slot, held, undefined);
        break;
    }
  }

  function settle(slot: Slot, { jobId, result, inferenceMs, tokens }: JobAnswer): void {
    const held = slot.held.get(jobId);
    if (held === undefined || held.stream !== undefined) return;
    const { job } = held;
    slot.deathsMs.length = 0;
    if (tokens !== undefined) onTokens(job, tokens);
    const timings = { queueMs: held.dispatchedAtMs - job.enqueuedAtMs, inferenceMs };
    if (result.kind === "error") {
      const level = result.error.code === "HANDLER_FAILED" ? "error" : "debug";
      if (result.error.stack !== undefined) logFailure(level, job, result.error.stack);
      job.settle(fromPlainError(result.error));
    } else if (result.kind === "stream") {
      held.stream = openStream(slot, job);
      job.settle({ output: { kind: "stream", chunks: held.stream.chunks }, timings });
      return; // the worker is busy until `end`
    } else {
      job.settle({ output: result satisfies InferenceOutput, timings });
    }
    release(slot, held, inferenceMs);
  }

  function openStream(slot: Slot, job: Job): ChunkStream {
    return createChunkStream({
      onTaken: (chunks) => slot.process?.send({ type: "credit", jobId: job.id, chunks }),
      onAbandoned: () => cancel(job, "client"),
    });
  }

  function release(slot: Slot, held: HeldJob, inferenceMs: number | undefined): void {
    clearTimeout(held.hangTimer);
    slot.held.delete(held.job.id);
    onDone(held.job, inferenceMs);
    if (isIdle(slot)) onIdle();
  }

  function cancel(job: Job, reason: "deadline" | "client"): void {
    const slot = slots.find(({ held }) => held.has(job.id));
    const held = slot?.held.get(job.id);
    if (slot === undefined || held === undefined) return;
    slot.process?.send({ type: "cancel", jobId: job.id, reason });
    if (reason === "deadline") {
      held.stream?.end(
        new RuntimeError("DEADLINE_EXCEEDED", "Cannot finish the stream: its deadline has passed"),
      );
    }
    if (held.hangTimer !== undefined || job.deadlineAtMs === Infinity) return;
    const untilHanging = Math.max(0, job.deadlineAtMs - now()) + HANG_GRACE_MS;
    held.hangTimer = setTimeout(() => {
      log.error("A handler still runs long after its request's deadline; its worker is replaced", {
        requestId: job.request.id,
      });
      slot.process?.kill();
    }, untilHanging);
  }

  function logFailure(level: "error" | "debug", job: Job, stack: string): void {
    const what = level === "error" ? "The handler failed" : "The handler did not answer";
    log[level](`${what}: ${stack}`, { requestId: job.request.id });
  }

  return {
    get readyCount() {
      return slots.filter(({ state }) => state === "ready").length;
    },
    get hasIdle() {
      return slots.some(isIdle);
    },
    start() {
      return new Promise((resolve, reject) => {
        firstStart = { resolve, reject };
        for (const slot of slots) startSlot(slot);
      });
    },
    dispatch(batch, maxPaddedTokens) {
      const slot = slots.find(isIdle);
      if (slot?.process === undefined) throw new TypeError("dispatch() needs an idle worker");
      const dispatchedAtMs = now();
      for (const job of batch) slot.held.set(job.id, { job, dispatchedAtMs });
      const jobs = batch.map(({ id, request }) => ({ jobId: id, request }));
      slot.process.send({ type: "predict", jobs, maxPaddedTokens });
    },
    cancel,
    async stop() {
      isStopping = true;
      for (const slot of slots) clearTimeout(slot.restartTimer);
      await Promise.all(slots.map(async (slot) => slot.process?.stop()));
    },
  };
}

/** Whether it can take work: a batch when it holds none, or one request more than it works on. */
function isIdle({ state, held, batching }: Slot): boolean {
  if (state !== "ready") return false;
  return held.size < (batching.kind === "batch" ? 1 : batching.concurrency);
}
