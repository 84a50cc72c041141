/**
 * When a dead worker is started again, and when to give up.
 *
 * The decision is pure: it sees the times at which workers died and says what to do; `worker-slot.ts` does it.
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

/** A model that never became ready is given up sooner: its death is more likely its own doing. */
const FIRST_START_LIMITS: RestartLimits = { ...RESTART_LIMITS, mostDeaths: 3 };

/** Enough of a pause to spare the processor; each answer in between starts the count anew. */
const AT_WORK_LIMITS: RestartLimits = {
  ...RESTART_LIMITS,
  longestDelayMs: 5000,
  mostDeaths: Infinity,
};

/** One slot's deaths. */
export interface DeathRecord {
  /** A worker that cannot even start will not start the next time either: that has an end. */
  afterFailedStart(hasEverBeenReady: boolean): RestartDecision;
  /** A worker that died at its work was most likely killed by a request: that must never end the service. */
  afterDeathAtWork(): RestartDecision;
  /** It has answered: what was before does not count. */
  noteAnswer(): void;
}

export function createDeathRecord(now: () => number): DeathRecord {
  /** Deaths since the last answer. */
  const deathsMs: number[] = [];
  /** Deaths before it was ready, since it last was. */
  const failedStartsMs: number[] = [];

  function remember(times: number[]): void {
    times.push(now());
    if (times.length > RESTART_LIMITS.mostDeaths) times.shift();
  }
  return {
    afterFailedStart(hasEverBeenReady) {
      remember(failedStartsMs);
      return decideRestart(failedStartsMs, hasEverBeenReady ? RESTART_LIMITS : FIRST_START_LIMITS);
    },
    afterDeathAtWork() {
      failedStartsMs.length = 0;
      remember(deathsMs);
      return decideRestart(deathsMs, AT_WORK_LIMITS);
    },
    noteAnswer: () => void (deathsMs.length = 0),
  };
}
