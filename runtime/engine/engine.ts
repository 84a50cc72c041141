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
import { POLICIES } from "./batching.ts";
import { createCostModel, type CostModel, type CostSnapshot } from "./cost-model.ts";
import { joinParts, splitList } from "./list-parts.ts";
import { createLoadHistory } from "./load-history.ts";
import { createPool } from "./pool.ts";
import type { WorkerProcess, WorkMessage } from "./process.ts";
import { createQueue, type Job } from "./queue.ts";
import { decideWorkers, SCALING_LIMITS } from "./scaling.ts";
import { measureRequest } from "../text-length.ts";

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
  readonly startWorker: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
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
  /** Requests, and parts of lists, that wait for a worker. */
  readonly waiting: number;
  /** Requests, and parts of lists, in a worker's hands. */
  readonly running: number;
  /** How the model takes work, and what its runs were found to cost. */
  readonly batching: Batching & { readonly cost: CostSnapshot };
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
  /** Settles when nothing waits and nothing runs. */
  drained(): Promise<void>;
  /** Ends the workers; what still waits or runs fails. */
  close(): Promise<void>;
}

/** How often the number of workers is thought over, in milliseconds. */
const SCALE_EVERY_MS = 1000;

/** A request that two workers died over fails: the third would die as well. */
const MOST_DEATHS = 2;

/** How much the newest request counts in the running mean of inference times. */
const MEAN_WEIGHT = 0.1;

/** Answers before the running mean is believed enough to refuse a request for it. */
const FEWEST_ANSWERS = 20;

/** Text that may wait, in predicted tokens: memory is bounded by this as well as by the number of requests. */
const MOST_WAITING_TOKENS = 1_000_000;

export function createEngine({
  workers,
  maxWorkers = workers,
  workerMaxRssBytes = Infinity,
  jobQueueSize,
  maxBatchSize = Infinity,
  maxBatchDelayMs = 0,
  threads = 1,
  startWorker,
  now = () => performance.now(),
  log,
}: EngineOptions): Engine {
  const queue = createQueue();
  const running = new Set<Job>();
  const drainWaiters: (() => void)[] = [];
  const cost: CostModel = createCostModel(threads);
  const history = createLoadHistory(SCALE_EVERY_MS);
  let batching = ONE_BY_ONE;
  let heartbeat: NodeJS.Timeout | undefined;
  let lastChange = { ready: 0, atMs: now() };
  let jobCount = 0;
  let answers = 0;
  let meanInferenceMs = 0;
  let alarm: NodeJS.Timeout | undefined;
  let phase: "starting" | "started" | "failed" | "closed" = "starting";

  const pool = createPool({
    size: workers,
    start: startWorker,
    onIdle: schedule,
    onPass: (pass) => cost.observe(pass),
    maxRssBytes: workerMaxRssBytes,
    onTokens: (job, tokens) => cost.observeText(job.characters, tokens),
    onDone: finish,
    onLost: takeBack,
    onGivenUp(error) {
      phase = "failed";
      for (const job of queue.clear()) job.settle(new RuntimeError("NOT_READY", error.message));
      checkDrained();
    },
    now,
    log,
  });

  /** Feeds idle workers from the queue until one of both runs out or the policy wants to wait. */
  function schedule(): void {
    clearTimeout(alarm);
    while (pool.hasIdle && queue.size > 0) {
      const budgetTokens = cost.budgetTokens();
      const cut = nextCut(budgetTokens);
      if ("waitMs" in cut) {
        if (Number.isFinite(cut.waitMs)) alarm = setTimeout(schedule, cut.waitMs);
        return;
      }
      const batch = queue.take(cut.take);
      for (const job of batch) {
        running.add(job);
        history.noteWait(now() - job.enqueuedAtMs);
      }
      pool.dispatch(batch, budgetTokens);
    }
  }

  function nextCut(budgetTokens: number): ReturnType<(typeof POLICIES)["batch"]> {
    // A job that already cost a worker its life goes alone, so that it cannot take others with it.
    if ((queue.jobs[0]?.deaths ?? 0) > 0) return { take: [0] };
    return POLICIES[batching.kind](queue.jobs, now(), {
      maxBatchSize,
      maxBatchDelayMs,
      budgetTokens,
      estimateMs: (items, length) => cost.estimateMs(items, length),
      isOpen: phase === "started",
    });
  }

  /** Once a second: looks at the load and asks for more or fewer workers. */
  function scale(): void {
    const nowMs = now();
    const { readyCount: ready, startingCount: starting } = pool;
    if (ready !== lastChange.ready) lastChange = { ready, atMs: nowMs };
    history.sample(
      ready > 0 && !pool.hasIdle,
      queue.jobs.map(({ enqueuedAtMs }) => nowMs - enqueuedAtMs),
    );
    const { target } = decideWorkers(
      {
        ready,
        starting,
        ...history.read(),
        meanRunMs: meanInferenceMs,
        sinceChangeMs: nowMs - lastChange.atMs,
      },
      { ...SCALING_LIMITS, minWorkers: workers, maxWorkers },
    );
    if (target === ready + starting) return;
    log.info(`Going from ${ready + starting} to ${target} workers`);
    pool.resize(target);
  }

  function finish(job: Job, inferenceMs: number | undefined): void {
    running.delete(job);
    if (inferenceMs !== undefined) {
      meanInferenceMs =
        answers++ === 0
          ? inferenceMs
          : meanInferenceMs + MEAN_WEIGHT * (inferenceMs - meanInferenceMs);
    }
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
        const text = `it was tried on ${job.deaths} workers and each of them died, the last with ${reason}`;
        job.settle(new RuntimeError("WORKER_DIED", `Cannot answer the request: ${text}`));
      } else queue.unshift(job);
    }
    checkDrained();
    schedule();
  }

  function checkDrained(): void {
    if (queue.size > 0 || running.size > 0) return;
    for (const resolve of drainWaiters.splice(0)) resolve();
  }

  function answering(): number {
    return Math.max(1, pool.readyCount);
  }

  /** How long a request that came now would wait, as far as is known. */
  function expectedWaitMs(): number {
    if (batching.kind === "single")
      return (queue.size * meanInferenceMs) / (answering() * batching.concurrency);
    const { budgetTokens } = cost.snapshot();
    const perTokenMs = cost.estimateMs(1, budgetTokens) / budgetTokens;
    return (queue.tokens * perTokenMs) / answering();
  }

  function admit(tokens: number, deadlineAtMs: number): void {
    if (phase === "failed" || phase === "closed") {
      throw new RuntimeError("NOT_READY", "Cannot accept the request: no worker is running");
    }
    if (queue.size === 0 && (pool.hasIdle || jobQueueSize > 0)) return;
    const waitMs = expectedWaitMs();
    if (queue.places + 1e-9 >= jobQueueSize || queue.tokens + tokens > MOST_WAITING_TOKENS) {
      throw new RuntimeError(
        "QUEUE_FULL",
        `Cannot accept the request: all ${jobQueueSize} places in the queue are taken; try again later`,
        { retryAfterMs: waitMs },
      );
    }
    if (answers >= FEWEST_ANSWERS && now() + waitMs > deadlineAtMs) {
      const left = Math.max(0, Math.round(deadlineAtMs - now()));
      throw new RuntimeError(
        "DEADLINE_EXCEEDED",
        `Cannot answer the request in time: it would wait about ${Math.round(waitMs)} ms and has ${left} ms`,
      );
    }
  }

  /** @param onFailure Called at once when the job fails, before a worker is given anything else. */
  function enqueue(
    request: InferenceRequest,
    { signal, deadlineAtMs }: Waiting,
    characters = measureRequest(request, batching.measure),
    places = 1,
    onFailure: () => void = () => undefined,
  ): Promise<InferenceResult> {
    return new Promise((resolve, reject) => {
      const job: Job = {
        id: ++jobCount,
        request,
        signal,
        deadlineAtMs,
        enqueuedAtMs: now(),
        characters,
        tokens: cost.predictTokens(characters),
        places,
        deaths: 0,
        isSettled: false,
        settle(outcome) {
          if (job.isSettled) return;
          job.isSettled = true;
          // A stream goes on after its first word, and its client may still leave.
          const isStream = !(outcome instanceof RuntimeError) && outcome.output.kind === "stream";
          if (!isStream) signal.removeEventListener("abort", leave);
          if (outcome instanceof RuntimeError) {
            reject(outcome);
            onFailure();
          } else resolve(outcome);
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
    });
  }

  /** The parts share one fate: the first that fails takes the others out of the queue. */
  async function enqueueList(
    parts: readonly InferenceRequest[],
    waiting: Waiting,
  ): Promise<InferenceResult> {
    const startedAtMs = now();
    const group = new AbortController();
    const shared = { ...waiting, signal: group.signal };
    const leave = (): void => group.abort(waiting.signal.reason);
    waiting.signal.addEventListener("abort", leave, { once: true });
    try {
      const places = 1 / parts.length;
      const pending = parts.map((part) =>
        enqueue(part, shared, undefined, places, () => group.abort()),
      );
      schedule();
      return joinParts(await Promise.all(pending), now() - startedAtMs);
    } finally {
      waiting.signal.removeEventListener("abort", leave);
    }
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
    get batching() {
      return { ...batching, cost: cost.snapshot() };
    },
    async start() {
      const ready = await pool.start();
      batching = ready.batching;
      phase = "started";
      if (maxWorkers > workers) heartbeat = setInterval(scale, SCALE_EVERY_MS).unref();
      return ready.description;
    },
    async submit(request, waiting) {
      if (waiting.signal.aborted) throw departure(waiting.signal);
      const characters = measureRequest(request, batching.measure);
      admit(cost.predictTokens(characters), waiting.deadlineAtMs);
      const parts = batching.splitsLists ? splitList(request) : undefined;
      if (parts !== undefined) return enqueueList(parts, waiting);
      const pending = enqueue(request, waiting, characters);
      schedule();
      return pending;
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
      clearInterval(heartbeat);
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

/** Why a request is no longer waited for. */
function departure(signal: AbortSignal): RuntimeError {
  const isTimeout = signal.reason instanceof Error && signal.reason.name === "TimeoutError";
  return isTimeout
    ? new RuntimeError("DEADLINE_EXCEEDED", "Cannot answer the request: its deadline has passed")
    : new RuntimeError("CANCELLED", "Cannot answer the request: the client has left");
}
