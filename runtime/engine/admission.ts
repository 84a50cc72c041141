/**
 * Who may come in: the bounds of the queue, and the promise that a deadline can be kept.
 *
 * The bounds are requests, predicted tokens and bytes: a list obeys them as single requests do, and memory stays flat however much is sent.
 */
import { RuntimeError } from "../errors.ts";
import type { JobQueue } from "./queue.ts";

/** What the engine knows when somebody knocks. */
export interface Situation {
  /** Whether a worker stands idle. */
  readonly hasIdle: boolean;
  /** How long a request that came now would wait, as far as is known, in milliseconds; asked only where it matters. */
  readonly expectedWaitMs: () => number;
  /** Whether enough answers were given for that to be believed. */
  readonly isKnown: boolean;
  readonly nowMs: number;
}

export interface AdmissionLimits {
  /** Requests that may wait while every worker is busy. */
  readonly jobQueueSize: number;
}

/** What somebody wants to bring in. */
export interface Arrival {
  /** Predicted. */
  readonly tokens: number;
  readonly bytes: number;
  /** On the engine's clock; `Infinity` for none. */
  readonly deadlineAtMs: number;
}

/** Text that may wait, in predicted tokens. */
const MOST_WAITING_TOKENS = 1_000_000;

/** What may wait of request bodies, text and files: 256 MiB. */
const MOST_WAITING_BYTES = 256 * 2 ** 20;

/**
 * Lets the request in or says why not.
 *
 * @returns The refusal, or `undefined`.
 */
export function refuse(
  { tokens, bytes, deadlineAtMs }: Arrival,
  queue: Pick<JobQueue, "size" | "places" | "tokens" | "bytes">,
  { hasIdle, expectedWaitMs, isKnown, nowMs }: Situation,
  { jobQueueSize }: AdmissionLimits,
): RuntimeError | undefined {
  if (queue.size === 0 && (hasIdle || jobQueueSize > 0)) return undefined;
  const waitMs = expectedWaitMs();
  const full = whatIsFull();
  if (full !== undefined) {
    const text = `Cannot accept the request: ${full}; try again later`;
    return new RuntimeError("QUEUE_FULL", text, { retryAfterMs: waitMs });
  }
  if (isKnown && nowMs + waitMs > deadlineAtMs) {
    const left = Math.max(0, Math.round(deadlineAtMs - nowMs));
    return new RuntimeError(
      "DEADLINE_EXCEEDED",
      `Cannot answer the request in time: it would wait about ${Math.round(waitMs)} ms and has ${left} ms`,
    );
  }
  return undefined;

  function whatIsFull(): string | undefined {
    // Shares of a place do not add up exactly.
    if (queue.places + 1e-9 >= jobQueueSize)
      return `all ${jobQueueSize} places in the queue are taken`;
    if (queue.tokens + tokens > MOST_WAITING_TOKENS) return "too much text is waiting already";
    if (queue.bytes + bytes > MOST_WAITING_BYTES) return "too many bytes are waiting already";
    return undefined;
  }
}
