/**
 * The turnstile: admits a request or refuses it at once, and answers for every one it has admitted.
 *
 * A request gets its place here, waits in the queue, is cut into a batch by the policy and handed to the pool. It
 * leaves with an answer, or with one of the errors that `submit` names. A list of inputs goes as that many requests
 * where the model's answer to a list is the list of answers. Time, and the way a worker starts, arrive as arguments.
 */
import { RuntimeError } from "../errors.ts";
import {
  ONE_BY_ONE,
  type Batching,
  type InferenceRequest,
  type InferenceResult,
  type ModelDescription,
} from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { SILENT_METRICS, type ModelMetrics } from "../observe/metrics.ts";
import { measureRequest, passesOf } from "../text-length.ts";
import { refuse } from "./admission.ts";
import { POLICIES, type Cut } from "./batching.ts";
import { createCostModel, type CostModel, type CostSnapshot } from "./cost-model.ts";
import { createJob, departure, type Job } from "./job.ts";
import { joinParts, splitList } from "./list-parts.ts";
import { createPool } from "./pool.ts";
import type { WorkerProcess, WorkMessage } from "./process.ts";
import { createQueue } from "./queue.ts";
import { createScaler } from "./scaler.ts";
import type { LostJobs, WorkerInfo } from "./worker-slot.ts";

export interface EngineOptions {
  /** Workers at the start, and the fewest. */
  readonly workers: number;
  /** The most workers; as many as at the start where absent. */
  readonly maxWorkers?: number | undefined;
  /** A worker whose memory exceeds this is replaced, in bytes. */
  readonly workerMaxRssBytes?: number | undefined;
  /** Requests that may wait while every worker is busy. */
  readonly jobQueueSize: number;
  /** The most requests, or elements of lists, of one batch; 1 means no batching. */
  readonly maxBatchSize?: number | undefined;
  /** The longest a request waits for company while a worker is idle, in milliseconds. */
  readonly maxBatchDelayMs?: number | undefined;
  /** Threads of one worker: where the learned budget starts. */
  readonly threads?: number | undefined;
  /** The number of the first worker, where those of an engine before this one still run. */
  readonly firstWorkerId?: number | undefined;
  readonly startWorker: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
  readonly metrics?: ModelMetrics | undefined;
  readonly log: Log;
}

/** `busy`: requests wait for a worker. `degraded`: there are fewer workers than there should be, perhaps none. */
export type EngineState = "starting" | "ready" | "busy" | "degraded" | "failed" | "closed";

export interface Waiting {
  /** Fires when nobody waits for the answer any more; its reason tells a `TimeoutError` from a client that left. */
  readonly signal: AbortSignal;
  /** On the engine's clock; `Infinity` for none. */
  readonly deadlineAtMs: number;
  /** Called when a worker begins the request, or a part of it; again for each further part, and after a worker's death. */
  readonly onBegun?: ((pid: number | undefined) => void) | undefined;
}

export interface EngineLimits {
  readonly minWorkers: number;
  readonly maxWorkers: number;
  readonly jobQueueSize: number;
  readonly maxBatchSize: number;
  readonly maxBatchDelayMs: number;
}

export interface Engine extends AsyncDisposable {
  readonly state: EngineState;
  /** Requests, and parts of lists, that wait for a worker. */
  readonly waiting: number;
  /** Requests, and parts of lists, in a worker's hands. */
  readonly running: number;
  /** Workers that answer, and that load. */
  readonly workers: { readonly ready: number; readonly starting: number };
  readonly workerList: readonly WorkerInfo[];
  /** What it was told to keep to. */
  readonly limits: EngineLimits;
  /** How the model takes work, and what its runs were found to cost. */
  readonly batching: Batching & { readonly cost: CostSnapshot };
  /** How long each part of the first worker's start took, in milliseconds. */
  readonly startParts: Readonly<Record<string, number>>;
  now(): number;
  /** Starts the workers; settles when the first is ready. Rejects when none can be. */
  start(): Promise<ModelDescription>;
  /**
   * Answers one request.
   *
   * @throws RuntimeError `QUEUE_FULL` when no place is left, `CANCELLED` or `DEADLINE_EXCEEDED` when the signal
   * fires first or the deadline cannot be kept, `WORKER_DIED` when it killed two workers, `NOT_READY` when the engine
   * is closed or given up, and whatever the handler reports.
   */
  submit(request: InferenceRequest, waiting: Waiting): Promise<InferenceResult>;
  /** Starts or retires workers until there are that many; one that works finishes first. */
  scale(minWorkers: number, maxWorkers: number): void;
  /** Nobody will come any more: nothing is waited for to make a batch fuller. */
  closeGate(): void;
  /** What is submitted from now on, by whoever still holds this engine, goes to `next`; what waits and runs is finished here. */
  handOver(next: Engine): void;
  /** Ends the workers; what still waits or runs fails. */
  close(): Promise<void>;
}

/** A request that two workers died over fails: the third would die as well. */
const MOST_DEATHS = 2;

/** How much the newest request counts in the running mean of inference times. */
const MEAN_WEIGHT = 0.1;

/** Answers, or runs, before what was learned of them is believed. */
const FEWEST = 20;

export function createEngine({
  workers,
  maxWorkers = workers,
  workerMaxRssBytes = Infinity,
  jobQueueSize,
  maxBatchSize = Infinity,
  maxBatchDelayMs = 0,
  threads = 1,
  firstWorkerId,
  startWorker,
  now = () => performance.now(),
  metrics = SILENT_METRICS,
  log,
}: EngineOptions): Engine {
  const queue = createQueue();
  const running = new Set<Job>();
  const cost: CostModel = createCostModel(threads);
  let batching = ONE_BY_ONE;
  let startParts: Engine["startParts"] = {};
  let jobCount = 0;
  let answers = 0;
  let meanInferenceMs = 0;
  let alarm: NodeJS.Timeout | undefined;
  let isOpen = true;
  let successor: Engine | undefined;
  let phase: "starting" | "started" | "failed" | "closed" = "starting";

  const pool = createPool({
    size: workers,
    firstId: firstWorkerId,
    start: startWorker,
    onRoom: schedule,
    onPass(pass) {
      cost.observe(pass);
      metrics.passed(pass);
    },
    maxRssBytes: workerMaxRssBytes,
    onTokens: (job, tokens) => cost.observeText(job.size, tokens),
    onDone: finish,
    onLost: takeBack,
    onGivenUp(error) {
      phase = "failed";
      for (const job of queue.clear()) job.settle(new RuntimeError("NOT_READY", error.message));
    },
    now,
    metrics,
    log,
  });
  const scaler = createScaler({
    pool,
    queue,
    bounds: { minWorkers: workers, maxWorkers },
    meanRunMs: () => meanInferenceMs,
    now,
    log,
  });

  /** Feeds workers from the queue until one of both runs out or the policy wants to wait. */
  function schedule(): void {
    clearTimeout(alarm);
    while (queue.size > 0 && pool.hasRoom) {
      const budgetTokens = cost.budgetTokens();
      // A job that already cost a worker its life gets one that holds nothing else, so that it cannot take others with it.
      const isAlone = (queue.jobs[0]?.deaths ?? 0) > 0;
      if (isAlone && !pool.hasEmpty) return;
      const cut: Cut = isAlone ? { take: [0] } : nextCut(budgetTokens);
      if ("waitMs" in cut) {
        if (Number.isFinite(cut.waitMs)) alarm = setTimeout(schedule, cut.waitMs);
        return;
      }
      const batch = queue.take(cut.take);
      for (const job of batch) {
        running.add(job);
        scaler.noteWait(now() - job.enqueuedAtMs);
      }
      metrics.dispatched(batch.length);
      pool.dispatch(batch, {
        maxPaddedTokens: budgetTokens,
        expectedMs: expectedMs(batch),
        isAlone,
      });
    }
  }

  function nextCut(budgetTokens: number): Cut {
    return POLICIES[batching.kind](queue.jobs, now(), {
      maxBatchSize,
      maxBatchDelayMs,
      budgetTokens,
      estimateMs: (items, length) => cost.estimateMs(items, length),
      isOpen,
    });
  }

  function expectedMs(batch: readonly Job[]): number | undefined {
    // A job that killed a worker goes alone in every sense: nothing is sent ahead behind it.
    if (cost.passes < FEWEST || batch.some(({ deaths }) => deaths > 0)) return undefined;
    return cost.estimateMs(batch.length, Math.max(...batch.map(({ tokens }) => tokens)));
  }

  function finish(job: Job, inferenceMs: number | undefined): void {
    running.delete(job);
    if (inferenceMs === undefined) return;
    meanInferenceMs =
      answers++ === 0
        ? inferenceMs
        : meanInferenceMs + MEAN_WEIGHT * (inferenceMs - meanInferenceMs);
  }

  /** Jobs of a dead worker go back to the front. Those that it had begun once more, alone; the second death is the last. */
  function takeBack({ begun, untouched }: LostJobs, reason: string): void {
    for (const job of begun) job.deaths++;
    for (const job of [...begun, ...untouched].toReversed()) {
      running.delete(job);
      if (phase === "closed" || phase === "failed") {
        job.settle(
          new RuntimeError("NOT_READY", "Cannot answer the request: the server is shutting down"),
        );
      } else if (job.deaths >= MOST_DEATHS) {
        const text = `it was tried on ${job.deaths} workers and each of them died, the last with ${reason}`;
        job.settle(new RuntimeError("WORKER_DIED", `Cannot answer the request: ${text}`));
      } else queue.unshift(job);
    }
    schedule();
  }

  /** How long a request that came now would wait, as far as is known. */
  function expectedWaitMs(): number {
    const answering = Math.max(1, pool.readyCount);
    if (batching.kind === "single") {
      const atOnce = answering * batching.concurrency;
      const ahead = Math.max(0, running.size - atOnce); // sent, not begun
      return ((queue.size + ahead) * meanInferenceMs) / atOnce;
    }
    const { budgetTokens } = cost.snapshot();
    const perTokenMs = cost.estimateMs(1, budgetTokens) / budgetTokens;
    return (queue.tokens * perTokenMs) / answering;
  }

  /** @throws RuntimeError when the request cannot be let in. */
  function admit(tokens: number, bytes: number, deadlineAtMs: number): void {
    if (phase === "failed" || phase === "closed") {
      metrics.refused("not-ready");
      throw new RuntimeError("NOT_READY", "Cannot accept the request: no worker is running");
    }
    const refusal = refuse(
      { tokens, bytes, deadlineAtMs },
      queue,
      {
        hasIdle: pool.hasIdle,
        expectedWaitMs,
        isKnown: answers >= FEWEST,
        nowMs: now(),
      },
      { jobQueueSize },
    );
    if (refusal === undefined) return;
    metrics.refused(refusal.code === "QUEUE_FULL" ? "full" : "deadline");
    throw refusal;
  }

  interface Part {
    readonly request: InferenceRequest;
    readonly size: number;
    readonly bytes: number;
    readonly places: number;
    /** Called at once when the part fails, before a worker is given anything else. */
    readonly onFailure?: () => void;
  }

  /** In tokens; an explanation reads its text many times over. */
  function predictCost(request: InferenceRequest, size: number): number {
    return cost.predictTokens(size) * passesOf(request);
  }

  function enqueue(
    { request, size, bytes, places, onFailure }: Part,
    { signal, deadlineAtMs, onBegun }: Waiting,
  ): Promise<InferenceResult> {
    return new Promise((resolve, reject) => {
      const job = createJob({
        id: ++jobCount,
        request,
        signal,
        deadlineAtMs,
        enqueuedAtMs: now(),
        size,
        tokens: predictCost(request, size),
        places,
        bytes,
        onBegun,
        onLeave: leave,
        onSettled(outcome) {
          if (outcome instanceof RuntimeError) {
            reject(outcome);
            onFailure?.();
          } else resolve(outcome);
        },
      });
      queue.push(job);
    });
  }

  function leave(job: Job, error: RuntimeError): void {
    const why = error.code === "DEADLINE_EXCEEDED" ? "deadline" : "client";
    const hasWaited = queue.remove(job);
    if (!hasWaited) pool.cancel(job, why);
    metrics.left(why, hasWaited ? "queue" : "worker");
    job.settle(error);
  }

  /** The parts share one fate: the first that fails takes the others out of the queue. */
  async function enqueueList(
    parts: readonly InferenceRequest[],
    bytes: number,
    waiting: Waiting,
  ): Promise<InferenceResult> {
    const startedAtMs = now();
    const group = new AbortController();
    const shared = { ...waiting, signal: group.signal };
    const follow = (): void => group.abort(waiting.signal.reason);
    waiting.signal.addEventListener("abort", follow, { once: true });
    const share = 1 / parts.length;
    try {
      const pending = parts.map((request) => {
        const { size } = measureRequest(request, batching.measure);
        const onFailure = (): void => group.abort();
        return enqueue({ request, size, bytes: bytes * share, places: share, onFailure }, shared);
      });
      schedule();
      return joinParts(await Promise.all(pending), now() - startedAtMs);
    } finally {
      waiting.signal.removeEventListener("abort", follow);
    }
  }

  return {
    now,
    get state() {
      if (phase !== "started") return phase;
      if (pool.readyCount < scaler.bounds.minWorkers) return "degraded";
      return queue.size > 0 ? "busy" : "ready";
    },
    get waiting() {
      return queue.size;
    },
    get running() {
      return running.size;
    },
    get workers() {
      return { ready: pool.readyCount, starting: pool.startingCount };
    },
    get batching() {
      return { ...batching, cost: cost.snapshot() };
    },
    get startParts() {
      return startParts;
    },
    async start() {
      const ready = await pool.start();
      ({ batching, parts: startParts } = ready);
      phase = "started";
      scaler.start();
      return ready.description;
    },
    async submit(request, waiting) {
      if (successor !== undefined) return successor.submit(request, waiting);
      if (waiting.signal.aborted) throw departure(waiting.signal);
      metrics.requested();
      const { size, bytes } = measureRequest(request, batching.measure);
      admit(predictCost(request, size), bytes, waiting.deadlineAtMs);
      const parts = batching.splitsLists ? splitList(request) : undefined;
      if (parts !== undefined) return enqueueList(parts, bytes, waiting);
      const pending = enqueue({ request, size, bytes, places: 1 }, waiting);
      schedule();
      return pending;
    },
    get workerList() {
      return pool.workers;
    },
    get limits() {
      return { ...scaler.bounds, jobQueueSize, maxBatchSize, maxBatchDelayMs };
    },
    scale(minWorkers, maxWorkers) {
      scaler.rebound({ minWorkers, maxWorkers });
    },
    closeGate() {
      isOpen = false;
      schedule();
    },
    handOver(next) {
      successor = next;
      this.closeGate();
    },
    async close() {
      phase = "closed";
      clearTimeout(alarm);
      scaler.stop();
      for (const job of queue.clear()) {
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
