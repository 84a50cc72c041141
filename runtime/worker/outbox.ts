/**
 * Answers on their way to the parent.
 */
import type { ForwardPass } from "../inference.ts";
import type { JobAnswer } from "../messages.ts";
import { send } from "./channel.ts";

/** How often the parent hears how much memory this process has. */
const MEMORY_INTERVAL_MS = 1000;

export interface Outbox {
  answer(answer: JobAnswer): void;
  pass(pass: ForwardPass): void;
  flush(): void;
}

/**
 * Those answers that become known in one turn go in one message, and they go before the next run of the model, which
 * holds the event loop.
 */
export function createOutbox(): Outbox {
  let answers: JobAnswer[] = [];
  let passes: ForwardPass[] = [];
  let isScheduled = false;
  let measuredAtMs = -Infinity;

  function flush(): void {
    isScheduled = false;
    if (answers.length === 0 && passes.length === 0) return;
    send({ type: "results", answers, passes, ...memory() });
    answers = [];
    passes = [];
  }
  /** Reading it costs some ten microseconds, so it is not sent with every answer. */
  function memory(): { rssBytes?: number } {
    const nowMs = performance.now();
    if (nowMs - measuredAtMs < MEMORY_INTERVAL_MS) return {};
    measuredAtMs = nowMs;
    return { rssBytes: process.memoryUsage.rss() };
  }
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(flush);
  }
  return {
    answer(answer) {
      answers.push(answer);
      schedule();
    },
    pass: (pass) => void passes.push(pass), // travels with the answers that it made
    flush,
  };
}
