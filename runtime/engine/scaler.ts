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
  readonly minWorkers: number;
  readonly maxWorkers: number;
  /** How long one request takes at a worker, in milliseconds. */
  readonly meanRunMs: () => number;
  readonly now: () => number;
  readonly log: Log;
}

export interface Scaler {
  start(): void;
  /** A request has left the queue after waiting that long. */
  noteWait(queueMs: number): void;
  stop(): void;
}

/** How often the number of workers is thought over, in milliseconds. */
const EVERY_MS = 1000;

export function createScaler(options: ScalerOptions): Scaler {
  const { pool, queue, minWorkers, maxWorkers, meanRunMs, now, log } = options;
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
      { ...SCALING_LIMITS, minWorkers, maxWorkers },
    );
    if (target === ready + starting) return;
    log.info(`Going from ${ready + starting} to ${target} workers`);
    pool.resize(target);
  }

  return {
    start() {
      if (maxWorkers > minWorkers) heartbeat = setInterval(beat, EVERY_MS).unref();
    },
    noteWait: (queueMs) => history.noteWait(queueMs),
    stop: () => clearInterval(heartbeat),
  };
}
