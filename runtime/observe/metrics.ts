/**
 * What hubserve counts. Each metric is declared here and recorded at its stage; the README's table is this file's.
 *
 * To add one: declare it, record it, and let that stage's test scrape it.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

import type { ForwardPass } from "../inference.ts";
import { createRegistry, type GaugeSample } from "./prometheus.ts";
import { createTorchServeMetrics, filterPage, type AnswerTimes } from "./torchserve-metrics.ts";

/** What is read of a model when somebody looks. */
export interface ObservedModel {
  readonly name: string;
  readonly version: string;
  readonly engine:
    | {
        readonly waiting: number;
        readonly running: number;
        readonly workers: { readonly ready: number; readonly starting: number };
        readonly batching: {
          readonly kind: string;
          readonly cost: {
            readonly budgetTokens: number;
            readonly fixedMs: number;
            readonly perTokenMs: number;
          };
        };
      }
    | undefined;
}

/** Counts what happens in one model's engine. */
export interface ModelMetrics {
  /** A request has come, and may yet be refused. */
  requested(): void;
  /** A request was not let in: no place, no time, or nobody to answer. */
  refused(why: "full" | "deadline" | "not-ready"): void;
  /** Nobody waits for a request any more: its client left, or its deadline passed. */
  left(why: "client" | "deadline", where: "queue" | "worker"): void;
  /** A worker has answered, or failed at, a request. */
  answered(times: AnswerTimes): void;
  /** A worker was given so many requests, or parts of lists, at once. */
  dispatched(jobs: number): void;
  /** The model ran once. */
  passed(pass: ForwardPass): void;
  /**
   * @param parts How long each part of the start took, in milliseconds.
   * @param worker The number of its place, which it has again when it is started anew.
   */
  workerReady(parts: Readonly<Record<string, number>>, worker: number): void;
  /** It was let go for good. */
  workerGone(worker: number): void;
  workerDied(reason: string): void;
  /** @param rssBytes 0 once it is gone. */
  workerMemory(pid: number | undefined, rssBytes: number): void;
}

type LearnedCost = NonNullable<ObservedModel["engine"]>["batching"]["cost"];

/** For whoever does not count. */
export const SILENT_METRICS: ModelMetrics = {
  requested: () => undefined,
  refused: () => undefined,
  left: () => undefined,
  answered: () => undefined,
  dispatched: () => undefined,
  passed: () => undefined,
  workerReady: () => undefined,
  workerGone: () => undefined,
  workerDied: () => undefined,
  workerMemory: () => undefined,
};

export interface Metrics {
  ofModel(name: string, version: string): ModelMetrics;
  /** An HTTP request has been answered. */
  request(route: string, status: number, tookMs: number): void;
  /**
   * @param models What there is now.
   * @param names What to show of it; everything where absent or empty.
   */
  render(models: readonly ObservedModel[], names?: readonly string[]): string;
}

/** Seconds: from a cached answer to a long generation. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128];

export function createMetrics(): Metrics {
  const registry = createRegistry();
  const torchServe = createTorchServeMetrics();
  const model = ["model", "version"] as const;
  let observed: readonly ObservedModel[] = [];

  const requests = registry.counter("hubserve_requests_total", "HTTP requests answered", [
    "route",
    "status",
  ]);
  const duration = registry.histogram(
    "hubserve_request_duration_seconds",
    "From the request's arrival to its answer's first byte",
    SECONDS,
    ["route"],
  );
  const answers = registry.counter("hubserve_answers_total", "Answers of workers", [
    ...model,
    "outcome",
  ]);
  const queueTime = registry.histogram(
    "hubserve_queue_seconds",
    "From a request's arrival, or that of a part of a list, to the worker",
    SECONDS,
    model,
  );
  const inferenceTime = registry.histogram(
    "hubserve_inference_seconds",
    "Inside the handler",
    SECONDS,
    model,
  );
  const refused = registry.counter("hubserve_refused_total", "Requests not let in", [
    ...model,
    "why",
  ]);
  const left = registry.counter(
    "hubserve_left_total",
    "Requests that nobody waited for any more: the client left or the deadline passed",
    [...model, "why", "where"],
  );
  const batchSize = registry.histogram(
    "hubserve_batch_requests",
    "Requests, or parts of lists, that a worker was given at once",
    BATCH_SIZES,
    model,
  );
  const passes = registry.counter("hubserve_passes_total", "Runs of the model", model);
  const passSeconds = registry.counter(
    "hubserve_pass_seconds_total",
    "Time that runs of the model took",
    model,
  );
  const tokens = registry.counter("hubserve_tokens_total", "Tokens read, without padding", model);
  const padded = registry.counter(
    "hubserve_padded_tokens_total",
    "Tokens computed, padding included: 1 − tokens / padded is the waste",
    model,
  );
  const starts = registry.counter(
    "hubserve_worker_starts_total",
    "Workers that became ready",
    model,
  );
  const deaths = registry.counter("hubserve_worker_deaths_total", "Workers that died", model);
  const loadTime = registry.histogram(
    "hubserve_worker_start_seconds",
    "From a worker's beginning until it was ready",
    SECONDS,
    model,
  );
  const memory = new Map<
    string,
    { readonly labels: Readonly<Record<string, string>>; readonly bytes: number }
  >();

  const perModel = (
    read: (engine: NonNullable<ObservedModel["engine"]>) => number,
  ): GaugeSample[] =>
    observed.flatMap(({ name, version, engine }) =>
      engine === undefined ? [] : [{ labels: { model: name, version }, value: read(engine) }],
    );
  registry.gauge("hubserve_queue_requests", "Requests that wait for a worker", () =>
    perModel(({ waiting }) => waiting),
  );
  registry.gauge("hubserve_running_requests", "Requests in a worker's hands", () =>
    perModel(({ running }) => running),
  );
  registry.gauge("hubserve_workers", "Workers by state", () =>
    observed.flatMap(({ name, version, engine }) =>
      engine === undefined
        ? []
        : Object.entries(engine.workers).map(([state, value]) => ({
            labels: { model: name, version, state },
            value,
          })),
    ),
  );
  const learned = (read: (cost: LearnedCost) => number): GaugeSample[] =>
    observed.flatMap(({ name, version, engine }) =>
      engine?.batching.kind === "batch"
        ? [{ labels: { model: name, version }, value: read(engine.batching.cost) }]
        : [],
    );
  registry.gauge("hubserve_batch_budget_tokens", "Learned: the most padded tokens of a run", () =>
    learned(({ budgetTokens }) => budgetTokens),
  );
  registry.gauge("hubserve_run_fixed_seconds", "Learned: what a run costs before its tokens", () =>
    learned(({ fixedMs }) => fixedMs / 1000),
  );
  registry.gauge("hubserve_run_seconds_per_token", "Learned: what each padded token adds", () =>
    learned(({ perTokenMs }) => perTokenMs / 1000),
  );
  registry.gauge("hubserve_worker_memory_bytes", "Resident memory of workers, as last told", () =>
    [...memory].map(([worker, { labels, bytes }]) => ({
      labels: { ...labels, worker },
      value: bytes,
    })),
  );
  registry.gauge("hubserve_memory_bytes", "Resident memory of the server itself", () => [
    { labels: {}, value: process.memoryUsage.rss() },
  ]);
  // The names of Hugging Face's inference toolkit.
  registry.gauge("inf_batch_current_size", "Requests in work, under the toolkit's name", () => [
    { labels: {}, value: sumOf(({ running }) => running) },
  ]);
  registry.gauge("inf_queue_size", "Requests that wait, under the toolkit's name", () => [
    { labels: {}, value: sumOf(({ waiting }) => waiting) },
  ]);

  function sumOf(read: (engine: NonNullable<ObservedModel["engine"]>) => number): number {
    return perModel(read).reduce((sum, { value }) => sum + value, 0);
  }

  const lag = monitorEventLoopDelay({ resolution: 20 });
  lag.enable();
  registry.gauge(
    "hubserve_event_loop_lag_seconds",
    "How late the server's timers were since the last look",
    () => {
      const samples = [50, 99].map((percentile) => ({
        labels: { quantile: String(percentile / 100) },
        value: Math.max(0, lag.percentile(percentile) / 1e9 - 0.02),
      }));
      lag.reset();
      return samples;
    },
  );

  return {
    ofModel(name, version) {
      const theirs = torchServe.ofModel(name, version);
      const series = {
        ok: answers.at(name, version, "ok"),
        failed: answers.at(name, version, "failed"),
        queueTime: queueTime.at(name, version),
        inferenceTime: inferenceTime.at(name, version),
        batchSize: batchSize.at(name, version),
        passes: passes.at(name, version),
        passSeconds: passSeconds.at(name, version),
        tokens: tokens.at(name, version),
        padded: padded.at(name, version),
        starts: starts.at(name, version),
        deaths: deaths.at(name, version),
        loadTime: loadTime.at(name, version),
      };
      return {
        requested: () => theirs.requested(),
        refused: (why) => refused.at(name, version, why).add(),
        left: (why, where) => left.at(name, version, why, where).add(),
        answered(times) {
          const { queueMs, inferenceMs, hasFailed } = times;
          theirs.answered(times);
          (hasFailed ? series.failed : series.ok).add();
          series.queueTime.observe(queueMs / 1000);
          series.inferenceTime.observe(inferenceMs / 1000);
        },
        dispatched: (jobs) => series.batchSize.observe(jobs),
        passed({ items, length, tokens: real, ms }) {
          series.passes.add();
          series.passSeconds.add(ms / 1000);
          series.tokens.add(real);
          series.padded.add(items * length);
        },
        workerReady(parts, worker) {
          series.starts.add();
          const totalMs = Object.values(parts).reduce((sum, ms) => sum + ms, 0);
          series.loadTime.observe(totalMs / 1000);
          theirs.workerReady(worker, totalMs);
        },
        workerGone: (worker) => theirs.workerGone(worker),
        workerDied: () => series.deaths.add(),
        workerMemory(pid, bytes) {
          if (bytes === 0) memory.delete(String(pid));
          else memory.set(String(pid), { labels: { model: name, version }, bytes });
        },
      };
    },
    request(route, status, tookMs) {
      torchServe.responded(status);
      requests.at(route, String(status)).add();
      duration.at(route).observe(tookMs / 1000);
    },
    render(models, names = []) {
      observed = models;
      return filterPage(registry.render() + torchServe.render(), names);
    },
  };
}
