/**
 * Where requests wait for a worker: a bounded line, first come first served.
 *
 * A job leaves the line in one of three ways: a batch takes it, its signal fires, or the engine closes. The bound is
 * checked by the engine, which also knows whether a worker stands idle.
 */
import type { Job } from "./job.ts";

export interface JobQueue {
  readonly size: number;
  /** The waiting jobs, oldest first. */
  readonly jobs: readonly Job[];
  /** Adds at the end. */
  push(job: Job): void;
  /** Puts a job back to where it came from: the front. */
  unshift(job: Job): void;
  /** Places taken: a list counts as one request, however many parts of it wait. */
  readonly places: number;
  /** Predicted tokens of all that waits. */
  readonly tokens: number;
  /** Bytes of all that waits. */
  readonly bytes: number;
  /** Takes the jobs that stand at these indices. */
  take(indices: readonly number[]): readonly Job[];
  /** Takes everything. */
  clear(): readonly Job[];
  /** Takes this one out, wherever it stands; false when it no longer waits. */
  remove(job: Job): boolean;
}

export function createQueue(): JobQueue {
  let jobs: Job[] = [];
  let places = 0;
  let tokens = 0;
  let bytes = 0;

  function count(job: Job, sign: 1 | -1): void {
    places += sign * job.places;
    tokens += sign * job.tokens;
    bytes += sign * job.bytes;
    if (jobs.length > 0) return;
    // Shares do not add up exactly; a queue that is empty is empty.
    places = 0;
    bytes = 0;
  }

  return {
    get size() {
      return jobs.length;
    },
    get jobs() {
      return jobs;
    },
    get places() {
      return places;
    },
    get tokens() {
      return tokens;
    },
    get bytes() {
      return bytes;
    },
    push(job) {
      jobs.push(job);
      count(job, 1);
    },
    unshift(job) {
      jobs.unshift(job);
      count(job, 1);
    },
    take(indices) {
      const taken = indices.flatMap((index) => jobs[index] ?? []);
      const gone = new Set(taken);
      if (indices.length === 1 && indices[0] === 0) jobs.shift();
      else jobs = jobs.filter((job) => !gone.has(job));
      for (const job of taken) count(job, -1);
      return taken;
    },
    clear() {
      const all = jobs;
      jobs = [];
      places = 0;
      tokens = 0;
      bytes = 0;
      return all;
    },
    remove(job) {
      const index = jobs.indexOf(job);
      if (index === -1) return false;
      jobs.splice(index, 1);
      count(job, -1);
      return true;
    },
  };
}
