/**
 * How busy the pool was of late: what scaling decides by.
 *
 * Fed once a second and at each dispatch; keeps a bounded number of samples. No clock of its own.
 */
import { LATELY_MS, SCALING_LIMITS } from "./scaling.ts";

export interface LoadHistory {
  /** A request has left the queue after waiting that long. */
  noteWait(queueMs: number): void;
  /** Takes one sample. @param waitingMs How long each request that still waits has waited so far. */
  sample(isAllBusy: boolean, waitingMs: readonly number[]): void;
  read(): {
    readonly meanQueueMs: number;
    readonly allBusyLately: number;
    readonly allBusyShare: number;
  };
}

interface Sample {
  readonly isAllBusy: boolean;
  readonly waits: number;
  readonly waitedMs: number;
}

/** @param everyMs The time between samples. */
export function createLoadHistory(everyMs: number): LoadHistory {
  const samples: Sample[] = [];
  const most = Math.ceil(SCALING_LIMITS.spareMs / everyMs);
  const lately = Math.ceil(LATELY_MS / everyMs);
  let left = { waits: 0, waitedMs: 0 };
  let still = { waits: 0, waitedMs: 0 };

  function shareOf(part: readonly Sample[]): number {
    return part.length === 0 ? 0 : part.filter(({ isAllBusy }) => isAllBusy).length / part.length;
  }

  return {
    noteWait(queueMs) {
      left.waits++;
      left.waitedMs += queueMs;
    },
    sample(isAllBusy, waitingMs) {
      samples.push({ isAllBusy, ...left });
      if (samples.length > most) samples.shift();
      left = { waits: 0, waitedMs: 0 };
      still = { waits: waitingMs.length, waitedMs: waitingMs.reduce((sum, ms) => sum + ms, 0) };
    },
    read() {
      const recent = samples.slice(-lately);
      const waits = recent.reduce((sum, sample) => sum + sample.waits, still.waits);
      const waitedMs = recent.reduce((sum, sample) => sum + sample.waitedMs, still.waitedMs);
      return {
        meanQueueMs: waits === 0 ? 0 : waitedMs / waits,
        allBusyLately: shareOf(recent),
        // Less than the whole span is known at first: what is not known counts as busy, so nobody is let go early.
        allBusyShare: (shareOf(samples) * samples.length + (most - samples.length)) / most,
      };
    },
  };
}
