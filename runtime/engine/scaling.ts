/**
 * How many workers there should be, between the fewest and the most.
 *
 * Pure: it sees how long requests waited of late and how often every worker was at work at once, and names a number;
 * `pool.ts` starts and ends workers. It asks every second or so.
 *
 * The two signals lie far apart, so that a decision does not undo itself. More workers come when requests wait as long
 * as they run while all workers are at work most of the time. Fewer come when, for minutes, all were hardly ever at
 * work at once. With random traffic (M/M/c queues, Erlang's C formula) the second worker goes when requests would then
 * wait 0.17 of the time they run, and further ones when still less: a sixth of what calls it back.
 */

export interface ScalingLimits {
  /** At least 1. */
  readonly minWorkers: number;
  /** At least `minWorkers`. */
  readonly maxWorkers: number;
  /** Where all are at work at once for less than this share of the last seconds, waiting is a burst that passes. */
  readonly busyShare: number;
  /** Waiting less than this is never long, however short the requests are, in milliseconds. */
  readonly longWaitMs: number;
  /** How long the last change gets to show in the waiting times, in milliseconds. */
  readonly settleMs: number;
  /** How long workers must have been spare before one is let go, in milliseconds. */
  readonly spareMs: number;
  /** All at work at once for at most this share of the time: one of them is spare. */
  readonly spareShare: number;
}

export const SCALING_LIMITS = {
  longWaitMs: 100, // what a person begins to notice (Nielsen, "Usability Engineering", 1993, chapter 5)
  busyShare: 0.5,
  settleMs: 5000,
  // A few peaks of ordinary traffic: a worker that is missed costs seconds to load again.
  spareMs: 120_000,
  spareShare: 0.01,
} as const satisfies Partial<ScalingLimits>;

/** What "lately" means, in milliseconds: a single burst is diluted, while a queue that grows shows within seconds. */
export const LATELY_MS = 15_000;

/** The pool as it stands. Times are in milliseconds. */
export interface ScalingState {
  /** Workers that can answer. */
  readonly ready: number;
  /** Workers that load the model, those that are started again after a death included. */
  readonly starting: number;
  /** Mean time in the queue over `LATELY_MS`: of the requests that left it, and of those that are still in it. */
  readonly meanQueueMs: number;
  /** Mean time that a worker takes for a request, or for the batch that it is in; 0 before the first. */
  readonly meanRunMs: number;
  /** The share of the last `LATELY_MS` in which every ready worker was at work, from 0 to 1. */
  readonly allBusyLately: number;
  /** The share of the last `spareMs` in which every ready worker was at work, from 0 to 1. */
  readonly allBusyShare: number;
  /** Since the number of ready workers last changed. */
  readonly sinceChangeMs: number;
}

/**
 * Decides how many workers there should be.
 *
 * @returns The target, which counts those that are starting; always from `minWorkers` to `maxWorkers`.
 */
export function decideWorkers(state: ScalingState, limits: ScalingLimits): { target: number } {
  const { ready, starting, sinceChangeMs } = state;
  const { minWorkers, maxWorkers } = limits;
  const current = ready + starting;
  if (current < minWorkers) return { target: minWorkers };
  if (current > maxWorkers) return { target: maxWorkers };
  // Who starts has not helped yet, and who cannot start must not be joined by more of its kind.
  if (starting > 0 || sinceChangeMs < limits.settleMs) return { target: current };
  const isLong = state.meanQueueMs > Math.max(limits.longWaitMs, state.meanRunMs);
  if (isLong && state.allBusyLately >= limits.busyShare) {
    // By half of what there is: from 1 to 16 in seven steps, and never far beyond what is needed.
    return { target: Math.min(maxWorkers, current + Math.ceil(current / 2)) };
  }
  const isSpare = sinceChangeMs >= limits.spareMs && state.allBusyShare <= limits.spareShare;
  return { target: isSpare ? Math.max(minWorkers, current - 1) : current };
}
