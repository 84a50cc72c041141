/**
 * When waiting jobs become a batch, and which of them.
 *
 * A policy is a pure function of the queue, the clock and what has been learned, so its tests need no timers and no
 * model. `engine.ts` asks it whenever a job has come or a worker has become free, and a worker is idle. It never holds
 * work back from an idle worker unless it says for how long.
 * To add one: write it here, name it in `POLICIES`, run the policy suite.
 */

/** What a policy may know of a waiting job. */
export interface WaitingJob {
  readonly enqueuedAtMs: number;
  /** How long its input is, in tokens; predicted, at least 1. */
  readonly tokens: number;
}

/** What a policy may know besides the queue. */
export interface BatchLimits {
  /** The most jobs one batch may hold. */
  readonly maxBatchSize: number;
  /** The longest the oldest job waits for company, in milliseconds, measured from its arrival. */
  readonly maxBatchDelayMs: number;
  /** The most tokens one batch may hold, padding included. A longer job goes alone. */
  readonly budgetTokens: number;
  /** What a run over that many items of that length takes, in milliseconds. */
  readonly estimateMs: (items: number, length: number) => number;
  /** Whether anybody could still come: nobody does while the server drains. */
  readonly isOpen: boolean;
}

/** Take these jobs now, by their places in the queue; or ask again after that long. */
export type Cut = { readonly take: readonly number[] } | { readonly waitMs: number };

/**
 * Decides the next batch for an idle worker.
 *
 * @param waiting The waiting jobs, oldest first, on the same clock as `nowMs`.
 * @returns The cut, which always holds the oldest job; `waitMs` is `Infinity` when nothing waits.
 */
export type BatchPolicy = (
  waiting: readonly WaitingJob[],
  nowMs: number,
  limits: BatchLimits,
) => Cut;

/** The share of a batch that may be padding. */
const MAX_PADDING_SHARE = 0.15;

/**
 * Who joins must save at least half of a run's fixed cost, the rest may be padding: a job that gains little now may meet
 * one of its own length later. `bench/policy.ts` compares: 0 loses 1–2 % of the throughput, 0.75 up to 1 %.
 */
const WORTH_IT = 0.5;

/** How far into the queue company is looked for: sorting more would cost more than it finds. */
const WINDOW = 512;

/** Every job alone, at once: for handlers that answer one request at a time. */
export const cutSingly: BatchPolicy = (waiting) =>
  waiting.length > 0 ? { take: [0] } : { waitMs: Infinity };

/**
 * Joins jobs of near length to the oldest one.
 *
 * On a CPU padding costs as much as text, so a batch of mixed lengths is slower than no batch at all; and a run has a
 * fixed cost, so short jobs are cheaper together. The oldest job anchors the batch, so nobody starves; the others
 * come by nearness of length, then by age, each only if the joined run is predicted to be cheaper than two runs, and not by a trifle.
 */
export const cutByLength: BatchPolicy = (waiting, nowMs, limits) => {
  const anchor = waiting[0];
  if (anchor === undefined) return { waitMs: Infinity };
  const take = [0];
  let length = anchor.tokens;
  let tokens = anchor.tokens;
  const fixedMs = limits.estimateMs(0, 0);
  for (const index of nearest(waiting, anchor)) {
    if (take.length >= limits.maxBatchSize) break;
    const own = waiting[index]?.tokens ?? 1;
    const joinedLength = Math.max(length, own);
    const padded = joinedLength * (take.length + 1);
    if (padded > limits.budgetTokens) continue;
    if (1 - (tokens + own) / padded > MAX_PADDING_SHARE) continue;
    const apart = limits.estimateMs(take.length, length) + limits.estimateMs(1, own);
    const savedMs = apart - limits.estimateMs(take.length + 1, joinedLength);
    if (savedMs <= WORTH_IT * fixedMs) continue;
    take.push(index);
    length = joinedLength;
    tokens += own;
  }
  const waitMs = anchor.enqueuedAtMs + limits.maxBatchDelayMs - nowMs;
  const isFull =
    take.length >= limits.maxBatchSize || length * (take.length + 1) > limits.budgetTokens;
  return waitMs > 0 && !isFull && limits.isOpen ? { waitMs } : { take };
};

/** The places behind the first, nearest in length to the anchor first, older first among equals. */
function nearest(waiting: readonly WaitingJob[], anchor: WaitingJob): number[] {
  const size = Math.min(WINDOW, waiting.length);
  const distance = (index: number): number =>
    Math.abs((waiting[index]?.tokens ?? 0) - anchor.tokens);
  const places = Array.from({ length: size - 1 }, (_, i) => i + 1);
  return places.sort((a, b) => distance(a) - distance(b) || a - b);
}

export const POLICIES = { single: cutSingly, batch: cutByLength } as const satisfies Record<
  string,
  BatchPolicy
>;
