/**
 * When a dead worker is started again, and when to give up.
 *
 * Pure: it sees the times at which workers died and says what to do; `pool.ts` does it.
 */

export interface RestartLimits {
  /** The wait before the first restart, in milliseconds; each further death without a calm time doubles it. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** A death this long after the one before starts the count anew. */
  readonly calmMs: number;
  /** After this many deaths without a calm time nothing is started again. */
  readonly mostDeaths: number;
}

export const RESTART_LIMITS: RestartLimits = {
  firstDelayMs: 100,
  longestDelayMs: 30_000,
  calmMs: 60_000,
  // 100 ms doubled eleven times, capped at 30 s: about two and a half minutes of trying.
  mostDeaths: 12,
};

export type RestartDecision = { readonly restartInMs: number } | { readonly giveUpAfter: number };

/**
 * Decides what follows a death.
 *
 * @param deathsMs When this worker's forerunners and it itself died, oldest first; the last entry is the death at hand.
 */
export function decideRestart(
  deathsMs: readonly number[],
  limits: RestartLimits = RESTART_LIMITS,
): RestartDecision {
  let streak = Math.min(1, deathsMs.length);
  for (let i = deathsMs.length - 1; i > 0; i--) {
    const [later = 0, earlier = 0] = [deathsMs[i], deathsMs[i - 1]];
    if (later - earlier >= limits.calmMs) break;
    streak++;
  }
  if (streak >= limits.mostDeaths) return { giveUpAfter: streak };
  return {
    restartInMs: Math.min(
      limits.longestDelayMs,
      limits.firstDelayMs * 2 ** Math.max(0, streak - 1),
    ),
  };
}
