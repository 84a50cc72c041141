/**
 * A request that has been admitted, on its way to an answer.
 */
import { RuntimeError } from "../errors.ts";
import type { InferenceRequest, InferenceResult } from "../inference.ts";

export interface Job {
  readonly id: number;
  readonly request: InferenceRequest;
  /** Fires when the client has left or the deadline has passed. */
  readonly signal: AbortSignal;
  /** On the engine's clock, in milliseconds; `Infinity` where the request has no deadline. */
  readonly deadlineAtMs: number;
  readonly enqueuedAtMs: number;
  /** Its size in what `tokens` was predicted from: characters of text, or inputs. */
  readonly size: number;
  /** How long its input is, in tokens; predicted. */
  readonly tokens: number;
  /** Its share of a place in the queue: less than 1 for a part of a list. */
  readonly places: number;
  /** What it keeps in memory, roughly. */
  readonly bytes: number;
  /** Called when a worker begins it. */
  readonly onBegun?: ((pid: number | undefined) => void) | undefined;
  /** How many workers died with this job begun. */
  deaths: number;
  /** Whether somebody already has the answer. */
  isSettled: boolean;
  readonly settle: (outcome: InferenceResult | RuntimeError) => void;
}

export interface JobOptions extends Pick<
  Job,
  | "id"
  | "request"
  | "signal"
  | "deadlineAtMs"
  | "enqueuedAtMs"
  | "size"
  | "tokens"
  | "places"
  | "bytes"
  | "onBegun"
> {
  /** The signal has fired before the answer came, or while a stream was read. */
  readonly onLeave: (job: Job, error: RuntimeError) => void;
  /** Called once, at once, before a worker is given anything else. */
  readonly onSettled: (outcome: InferenceResult | RuntimeError) => void;
}

export function createJob({ onLeave, onSettled, ...given }: JobOptions): Job {
  const { signal } = given;
  const job: Job = {
    ...given,
    deaths: 0,
    isSettled: false,
    settle(outcome) {
      if (job.isSettled) return;
      job.isSettled = true;
      // A stream goes on after its first word, and its client may still leave.
      const isStream = !(outcome instanceof RuntimeError) && outcome.output.kind === "stream";
      if (!isStream) signal.removeEventListener("abort", leave);
      onSettled(outcome);
    },
  };
  function leave(): void {
    onLeave(job, departure(signal));
  }
  signal.addEventListener("abort", leave, { once: true });
  return job;
}

/** Why a request is no longer waited for. */
export function departure({ reason }: AbortSignal): RuntimeError {
  const isTimeout = reason instanceof Error && reason.name === "TimeoutError";
  return isTimeout
    ? new RuntimeError("DEADLINE_EXCEEDED", "Cannot answer the request: its deadline has passed")
    : new RuntimeError("CANCELLED", "Cannot answer the request: the client has left");
}
