/**
 * Where requests wait for a worker: a bounded line, first come first served.
 *
 * A job leaves the line in one of three ways: a batch takes it, its signal fires, or the engine closes. The bound is
 * checked by the engine, which also knows whether a worker stands idle.
 */
import type { RuntimeError } from "../errors.ts";
import type { InferenceRequest, InferenceResult } from "../inference.ts";

/** A request that has been admitted. */
export interface Job {
  readonly id: number;
  readonly request: InferenceRequest;
  /** Fires when the client has left or the deadline has passed. */
  readonly signal: AbortSignal;
  /** On the engine's clock, in milliseconds; `Infinity` where the request has no deadline. */
  readonly deadlineAtMs: number;
  readonly enqueuedAtMs: number;
  /** How many workers died with this job in their hands. */
  deaths: number;
  /** Whether somebody already has the answer. */
  isSettled: boolean;
  readonly settle: (outcome: InferenceResult | RuntimeError) => void;
}

export interface JobQueue {
  readonly size: number;
  /** The waiting jobs, oldest first. */
  readonly jobs: readonly Job[];
  /** Adds at the end. */
  push(job: Job): void;
  /** Puts a job back to where it came from: the front. */
  unshift(job: Job): void;
  /** Takes that many from the front. */
  take(count: number): readonly Job[];
  /** Takes this one out, wherever it stands; false when it no longer waits. */
  remove(job: Job): boolean;
}

export function createQueue(): JobQueue {
  const jobs: Job[] = [];
  return {
    get size() {
      return jobs.length;
    },
    jobs,
    push: (job) => void jobs.push(job),
    unshift: (job) => void jobs.unshift(job),
    take: (count) => jobs.splice(0, count),
    remove(job) {
      const index = jobs.indexOf(job);
      if (index === -1) return false;
      jobs.splice(index, 1);
      return true;
    },
  };
}
