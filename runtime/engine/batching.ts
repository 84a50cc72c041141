/**
 * When waiting jobs become a batch.
 *
 * A policy is a pure function of the queue and the clock, so its tests need no timers. `engine.ts` asks it whenever
 * a job has come or a worker has become free, and a worker is idle. It never holds work back from an idle worker
 * unless it says for how long.
 * To add one: write it here, name it in `POLICIES`, run the policy suite.
 */

/** What a policy may know of a waiting job. */
export interface WaitingJob {
  readonly enqueuedAtMs: number;
}

/** Take that many jobs from the front now, or ask again after that long. */
export type Cut = { readonly take: number } | { readonly waitMs: number };

/**
 * Decides the next batch for an idle worker.
 *
 * @param waiting The waiting jobs, oldest first, on the same clock as `nowMs`.
 * @returns The cut; `waitMs` is `Infinity` when nothing waits.
 */
export type BatchPolicy = (waiting: readonly WaitingJob[], nowMs: number) => Cut;

/** Every job alone, at once: for handlers that answer one request at a time. */
export const cutSingly: BatchPolicy = (waiting) =>
  waiting.length > 0 ? { take: 1 } : { waitMs: Infinity };

export const POLICIES = { singly: cutSingly } as const satisfies Record<string, BatchPolicy>;
