/**
 * What happens in an engine, for whoever counts it: `observe/metrics.ts` in a server, nobody in a test.
 */
import type { ForwardPass } from "../inference.ts";

export interface EngineObserver {
  /** A request was not let in: no place, no time, or nobody to answer. */
  refused(why: "full" | "deadline" | "not-ready"): void;
  /** Nobody waits for a request any more: its client left, or its deadline passed. */
  left(why: "client" | "deadline", where: "queue" | "worker"): void;
  /** A worker has answered, or failed at, a request. */
  answered(queueMs: number, inferenceMs: number, hasFailed: boolean): void;
  /** A worker was given so many requests, or parts of lists, at once. */
  dispatched(jobs: number): void;
  /** The model ran once. */
  passed(pass: ForwardPass): void;
  /** @param parts How long each part of the start took, in milliseconds. */
  workerReady(parts: Readonly<Record<string, number>>): void;
  workerDied(reason: string): void;
  workerMemory(pid: number | undefined, rssBytes: number): void;
}

export const SILENT_OBSERVER: EngineObserver = {
  refused: () => undefined,
  left: () => undefined,
  answered: () => undefined,
  dispatched: () => undefined,
  passed: () => undefined,
  workerReady: () => undefined,
  workerDied: () => undefined,
  workerMemory: () => undefined,
};
