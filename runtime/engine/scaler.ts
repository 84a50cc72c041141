/**
 * Once a second: looks at the load and asks the pool for more or fewer workers.
 *
 * What it decides by is in `scaling.ts` (the rule) and `load-history.ts` (what it remembers).
 */
import type { Log } from "../observe/log.ts";
import { createLoadHistory } from "./load-history.ts";
import type { Pool } from "./pool.ts";
import type { JobQueue } from "./queue.ts";
import { decideWorkers, SCALING_LIMITS } from "./scaling.ts";

export interface ScalerOptions {
  readonly pool: Pick<Pool, "readyCount" | "startingCount" | "hasIdle" | "resize">;
  readonly queue: Pick<JobQueue, "jobs">;
  readonly bounds: ScalerBounds;
  /** How long one request takes at a worker, in milliseconds. */
  readonly meanRunMs: () => number;
  readonly now: () => number;
  readonly log: Log;
}

export interface ScalerBounds {
  readonly minWorkers: number;
  readonly maxWorkers: number;
}

export interface Scaler {
  readonly bounds: ScalerBounds;
  start(): void;
  /** Keeps to other bounds from now on: workers come or go at once where there are too few or too many. */
  rebound(bounds: ScalerBounds): void;
  /** A request has left the queue after waiting that long. */
  noteWait(queueMs: number): void;
  stop(): void;
}

/** How often the number of workers is thought over, in milliseconds. */
const EVERY_MS = 1000;

export function createScaler(options: ScalerOptions): Scaler {
  const { pool, queue, meanRunMs, now, log } = options;
  let { bounds } = options;
  let isRunning = false;
  const history = createLoadHistory(EVERY_MS);
  let lastChange = { ready: 0, atMs: now() };
  let heartbeat: NodeJS.Timeout | undefined;

  function beat(): void {
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
        meanRunMs: meanRunMs(),
        sinceChangeMs: nowMs - lastChange.atMs,
      },
      { ...SCALING_LIMITS, ...bounds },
    );
    if (target === ready + starting) return;
    log.info(`Going from ${ready + starting} to ${target} workers`);
    pool.resize(target);
  }

  /** Only where there is a choice. */
  function listen(): void {
    clearInterval(heartbeat);
    if (isRunning && bounds.maxWorkers > bounds.minWorkers)
      heartbeat = setInterval(beat, EVERY_MS).unref();
  }

  return {
    get bounds() {
      return bounds;
    },
    start() {
      isRunning = true;
      listen();
    },
    rebound(wanted) {
      bounds = wanted;
      const there = pool.readyCount + pool.startingCount;
      const target = Math.min(Math.max(there, bounds.minWorkers), bounds.maxWorkers);
      if (target !== there) pool.resize(target);
      listen();
    },
    noteWait: (queueMs) => history.noteWait(queueMs),
    stop() {
      isRunning = false;
      clearInterval(heartbeat);
    },
  };
}
