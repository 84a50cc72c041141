/**
 * How long a call's answer is waited for: until its client leaves, until the client's deadline, or until the model's own.
 */
import type { Waiting } from "../engine/engine.ts";

/** What is read of a call; streams have it too. */
export interface WaitedCall {
  readonly cancelled: boolean;
  getDeadline(): Date | number;
  on(event: "cancelled", listener: () => void): unknown;
  off(event: "cancelled", listener: () => void): unknown;
}

export interface CallLimits {
  /** The longest a request may take, counted from its arrival, in milliseconds. */
  readonly timeoutMs: number;
  readonly startedAtMs: number;
  /** Milliseconds on the engine's clock. */
  readonly now: () => number;
}

/** `stop` ends the watch: nobody waits any more then. */
export interface CallWaiting extends Waiting {
  stop(): void;
}

/** A client that leaves in the last tenth of its deadline is taken for one whose deadline has passed. */
const EARLY = 0.1;

export function waitFor(
  call: WaitedCall,
  { timeoutMs, startedAtMs, now }: CallLimits,
): CallWaiting {
  const controller = new AbortController();
  const ownMs = Number(call.getDeadline()) - Date.now(); // a date, a number, or Infinity
  const deadlineAtMs = Math.min(startedAtMs + timeoutMs, now() + ownMs);
  const late = (): void =>
    controller.abort(new DOMException("The request's deadline has passed", "TimeoutError"));
  // A call whose deadline has passed is cancelled from the other side, too, whose timer began earlier than ours.
  const earlyMs = Number.isFinite(ownMs) ? Math.max(1, ownMs * EARLY) : 1;
  const leave = (): void => {
    clearTimeout(timer);
    if (now() >= deadlineAtMs - earlyMs) late();
    else controller.abort(new DOMException("The client has left", "AbortError"));
  };
  const timer = setTimeout(late, Math.max(0, deadlineAtMs - now()));
  if (call.cancelled) leave();
  else call.on("cancelled", leave);
  return {
    signal: controller.signal,
    deadlineAtMs,
    stop() {
      clearTimeout(timer);
      call.off("cancelled", leave);
    },
  };
}
