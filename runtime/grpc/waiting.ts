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

export function waitFor(
  call: WaitedCall,
  { timeoutMs, startedAtMs, now }: CallLimits,
): CallWaiting {
  const controller = new AbortController();
  const ownMs = Number(call.getDeadline()) - Date.now(); // a date, a number, or Infinity
  const deadlineAtMs = Math.min(startedAtMs + timeoutMs, now() + ownMs);
  const late = (): void =>
    controller.abort(new DOMException("The request's deadline has passed", "TimeoutError"));
  // The library cancels a call whose deadline has passed, too; its timer may be a little ahead of ours.
  const leave = (): void => {
    clearTimeout(timer);
    if (now() >= deadlineAtMs - 1) late();
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
