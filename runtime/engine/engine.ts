/**
 * The turnstile: admits a request or refuses it at once, and answers for every one it has admitted.
 *
 * A request gets its permit here, waits in the queue, is cut into a batch by the policy and handed to the pool. It
 * leaves with an answer, or with one of the errors that `submit` names. Time, and the way a worker starts, arrive as
 * arguments.
 */
import { RuntimeError } from "../errors.ts";
import type { InferenceRequest, InferenceResult, ModelDescription } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { cutSingly, type BatchPolicy } from "./batching.ts";
import { createPool } from "./pool.ts";
import type { WorkerProcess, WorkMessage } from "./process.ts";
import { createQueue, type Job } from "./queue.ts";

export interface EngineOptions {
  readonly workers: number;
  /** Requests that may wait while every worker is busy. */
  readonly jobQueueSize: number;
  readonly startWorker: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
  readonly policy?: BatchPolicy;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
  readonly log: Log;
}

export type EngineState = "starting" | "ready" | "restarting" | "failed" | "closed";

export interface Waiting {
  /** Fires when nobody waits for the answer any more; its reason tells a `TimeoutError` from a client that left. */
  readonly signal: AbortSignal;
  /** On the engine's clock; `Infinity` for none. */
  readonly deadlineAtMs: number;
}

export interface Engine extends AsyncDisposable {
  readonly state: EngineState;
  /** Requests that wait for a worker. */
  readonly waiting: number;
  /** Requests in a worker's hands. */
  readonly running: number;
  now(): number;
  /** Starts the workers; settles when the first is ready. Rejects when none can be. */
  start(): Promise<ModelDescription>;
  /**
   * Answers one request.
   *
   * @throws RuntimeError `QUEUE_FULL` when no place is left, `CANCELLED` or `DEADLINE_EXCEEDED` when the signal
   * fires first, `WORKER_DIED` when it killed two workers, `NOT_READY` when the engine is closed or given up, and
   * whatever the handler reports.
   */
  submit(request: InferenceRequest, waiting: Waiting): Promise<InferenceResult>;
  /** Settles when nothing waits and nothing runs. */
  drained(): Promise<void>;
  /** Ends the workers; what still waits or runs fails. */
  close(): Promise<void>;
}

/** A request that two workers died over fails: the third would die as well. */
const MOST_DEATHS = 2;

/** How much the newest request counts in the running mean of inference times. */
const MEAN_WEIGHT = 0.1;

export function createEngine({
  workers,
  jobQueueSize,
  startWorker,
  policy = cutSingly,
  now = () => performance.now(),
  log,
}: EngineOptions): Engine {
  const queue = createQueue();
  const running = new Set<Job>();
  const drainWaiters: (() => void)[] = [];
  let jobCount = 0;
  let meanInferenceMs = 0;
  let alarm: NodeJS.Timeout | undefined;
  let phase: "starting" | "started" | "failed" | "closed" = "starting";

  const pool = createPool({
    size: workers,
    start: startWorker,
    onIdle: schedule,
    onDone: finish,
    onLost: takeBack,
    onGivenUp(error) {
      phase = "failed";
      for (const job of queue.take(queue.size))
        job.settle(new RuntimeError("NOT_READY", error.message));
      checkDrained();
    },
    now,
    log,
  });

  /** Feeds idle workers from the queue until one of both runs out or the policy wants to wait. */
  function schedule(): void {
    clearTimeout(alarm);
    while (pool.hasIdle && queue.size > 0) {
      // A job that already cost a worker its life goes alone, so that it cannot take others with it.
      const isSuspect = (queue.jobs[0]?.deaths ?? 0) > 0;
      const cut = isSuspect ? { take: 1 } : policy(queue.jobs, now());
      if ("waitMs" in cut) {
        if (Number.isFinite(cut.waitMs)) alarm = setTimeout(schedule, cut.waitMs);
        return;
      }
      const batch = queue.take(cut.take);
      for (const job of batch) running.add(job);
      pool.dispatch(batch);
    }
  }

  function finish(job: Job, inferenceMs: number | undefined): void {
    running.delete(job);
    if (inferenceMs !== undefined) meanInferenceMs += MEAN_WEIGHT * (inferenceMs - meanInferenceMs);
    checkDrained();
  }

  /** Jobs of a dead worker go back to the front, unless it was not their first. */
  function takeBack(jobs: readonly Job[], reason: string): void {
    for (const job of jobs.toReversed()) {
      running.delete(job);
      job.deaths++;
      if (phase === "closed" || phase === "failed") {
        job.settle(
          new RuntimeError("NOT_READY", "Cannot answer the request: the server is shutting down"),
        );
      } else if (job.deaths >= MOST_DEATHS) {
        job.settle(
          new RuntimeError(
            "WORKER_DIED",
            `Cannot answer the request: it was tried on ${job.deaths} workers and each of them died, the last with ${reason}`,
          ),
        );
      } else queue.unshift(job);
    }
    checkDrained();
    schedule();
  }

  function checkDrained(): void {
    if (queue.size > 0 || running.size > 0) return;
    for (const resolve of drainWaiters.splice(0)) resolve();
  }

  function admit(): void {
    if (phase === "failed" || phase === "closed") {
      throw new RuntimeError("NOT_READY", "Cannot accept the request: no worker is running");
    }
    if (queue.size < jobQueueSize || (queue.size === 0 && pool.hasIdle)) return;
    throw new RuntimeError(
      "QUEUE_FULL",
      `Cannot accept the request: all ${jobQueueSize} places in the queue are taken; try again later`,
      { retryAfterMs: (queue.size * meanInferenceMs) / workers },
    );
  }

  return {
    now,
    get state() {
      if (phase !== "started") return phase;
      return pool.readyCount > 0 ? "ready" : "restarting";
    },
    get waiting() {
      return queue.size;
    },
    get running() {
      return running.size;
    },
    async start() {
      const description = await pool.start();
      phase = "started";
      return description;
    },
    submit(request, { signal, deadlineAtMs }) {
      return new Promise((resolve, reject) => {
        admit();
        if (signal.aborted) throw departure(signal);
        const job: Job = {
          id: ++jobCount,
          request,
          signal,
          deadlineAtMs,
          enqueuedAtMs: now(),
          deaths: 0,
          isSettled: false,
          settle(outcome) {
            if (job.isSettled) return;
            job.isSettled = true;
            // A stream goes on after its first word, and its client may still leave.
            const isStream = !(outcome instanceof RuntimeError) && outcome.output.kind === "stream";
            if (!isStream) signal.removeEventListener("abort", leave);
            if (outcome instanceof RuntimeError) reject(outcome);
            else resolve(outcome);
          },
        };
        function leave(): void {
          const error = departure(signal);
          if (!queue.remove(job))
            pool.cancel(job, error.code === "DEADLINE_EXCEEDED" ? "deadline" : "client");
          job.settle(error);
          checkDrained();
        }
        signal.addEventListener("abort", leave, { once: true });
        queue.push(job);
        schedule();
      });
    },
    drained() {
      return new Promise((resolve) => {
        drainWaiters.push(resolve);
        checkDrained();
      });
    },
    async close() {
      phase = "closed";
      clearTimeout(alarm);
      for (const job of queue.take(queue.size)) {
        job.settle(
          new RuntimeError("NOT_READY", "Cannot answer the request: the server is shutting down"),
        );
      }
      await pool.stop();
    },
    async [Symbol.asyncDispose]() {
      await this.close();
    },
  };
}

/** Why a request is no longer waited for. */
function departure(signal: AbortSignal): RuntimeError {
  const isTimeout = signal.reason instanceof Error && signal.reason.name === "TimeoutError";
  return isTimeout
    ? new RuntimeError("DEADLINE_EXCEEDED", "Cannot answer the request: its deadline has passed")
    : new RuntimeError("CANCELLED", "Cannot answer the request: the client has left");
}
