/**
 * Answers on their way to the parent.
 */
import { performance } from "node:perf_hooks";

import type { ForwardPass, HandlerMetric } from "../inference.ts";
import type { JobAnswer } from "../messages.ts";
import type { WorkerUse } from "../observe/metrics-workers.ts";
import { send } from "./channel.ts";

/** How often the parent hears how much memory this process has. */
const MEMORY_INTERVAL_MS = 1000;

/** So many samples wait for an answer to travel with, and so long; a handler that measures in a loop sends them at once. */
const MOST_METRICS = 200;
const METRICS_INTERVAL_MS = 200;

export interface Outbox {
  answer(answer: JobAnswer): void;
  pass(pass: ForwardPass): void;
  /** What a handler measured; it goes with the next answers, or by itself. */
  metric(sample: HandlerMetric): void;
  flush(): void;
}

/**
 * Those answers that become known in one turn go in one message, and they go before the next run of the model, which
 * holds the event loop.
 */
export function createOutbox(): Outbox {
  let answers: JobAnswer[] = [];
  let passes: ForwardPass[] = [];
  let metrics: HandlerMetric[] = [];
  let isScheduled = false;
  let timer: NodeJS.Timeout | undefined;
  let measuredAtMs = -Infinity;
  let cpuBefore = { user: 0, system: 0 };
  let busyBeforeMs = 0;

  function flush(): void {
    isScheduled = false;
    clearTimeout(timer);
    timer = undefined;
    if (answers.length === 0 && passes.length === 0 && metrics.length === 0) return;
    send({
      type: "results",
      answers,
      passes,
      ...(metrics.length > 0 && { metrics }),
      ...memory(),
    });
    answers = [];
    passes = [];
    metrics = [];
  }
  /** Reading it costs some ten microseconds, so it is not sent with every answer. */
  function memory(): { rssBytes?: number; used?: WorkerUse } {
    const nowMs = performance.now();
    if (nowMs - measuredAtMs < MEMORY_INTERVAL_MS) return {};
    measuredAtMs = nowMs;
    return { rssBytes: process.memoryUsage.rss(), used: use() };
  }
  /** The start's own work counts for the first time. */
  function use(): WorkerUse {
    const cpu = process.cpuUsage();
    const { active } = performance.eventLoopUtilization();
    const cpuMs = (cpu.user - cpuBefore.user + cpu.system - cpuBefore.system) / 1000;
    const busyMs = active - busyBeforeMs;
    [cpuBefore, busyBeforeMs] = [cpu, active];
    return { cpuMs, busyMs };
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
    metric(sample) {
      metrics.push(sample);
      if (metrics.length >= MOST_METRICS) flush();
      else timer ??= setTimeout(flush, METRICS_INTERVAL_MS); // a stream has no answer for them to travel with
    },
    flush,
  };
}
