/**
 * What hubserve counts. Each metric is declared here, or in the files beside this one that are named for their part, and
 * recorded at its stage. `docs/metrics.md` is written from the declarations: `npm run docs`.
 *
 * To add one: declare it, record it, and let that stage's test scrape it.
 */
import type { GenerationStatistics } from "../generation.ts";
import type { ForwardPass, HandlerMetric } from "../inference.ts";
import { declareProcessMetrics } from "./metrics-process.ts";
import { declareWorkerMetrics, type WorkerMetrics } from "./metrics-workers.ts";
import { createRegistry, type Declaration, type GaugeSample } from "./prometheus.ts";
import {
  createTorchServeMetrics,
  filterPage,
  type AnswerTimes,
  type TorchServeMetricsOptions,
} from "./torchserve-metrics.ts";

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
export interface ModelMetrics extends Omit<WorkerMetrics, "workerReady"> {
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
  /** A worker has told what it has generated since the last time. @param worker The number of its place. */
  generated(statistics: GenerationStatistics, worker: number): void;
  /** The model's own handler measured something. */
  measured(sample: HandlerMetric): void;
  /**
   * @param parts How long each part of the start took, in milliseconds.
   * @param worker The number of its place, which it has again when it is started anew.
   */
  workerReady(parts: Readonly<Record<string, number>>, worker: number): void;
  /** Its process has ended: nothing runs in it any more. */
  workerStopped(worker: number): void;
  /** It was let go for good. */
  workerGone(worker: number): void;
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
  generated: () => undefined,
  measured: () => undefined,
  workerReady: () => undefined,
  workerStopped: () => undefined,
  workerGone: () => undefined,
  workerDied: () => undefined,
  workerMemory: () => undefined,
  workerUsed: () => undefined,
  weights: () => undefined,
};

export interface Metrics {
  ofModel(name: string, version: string): ModelMetrics;
  /**
   * An HTTP request has been answered.
   *
   * @param route Its pattern.
   * @param model The registered model that it was for; `""` where it reached none.
   */
  request(route: string, status: number, tookMs: number, model?: string): void;
  /**
   * A gRPC call has ended.
   *
   * @param method Its full name: `inference.GRPCInferenceService/ModelInfer`.
   * @param code The name of its status: `OK`, `NOT_FOUND`.
   */
  call(method: string, code: string, tookMs: number): void;
  /**
   * @param models What there is now.
   * @param names What to show of it; everything where absent or empty.
   */
  render(models: readonly ObservedModel[], names?: readonly string[]): string;
  /** What there is to be read, in the order of the page. */
  readonly declarations: readonly Declaration[];
}

/** Seconds: from a cached answer to a long generation. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128];

/** @param options What TorchServe's metrics are to be like. */
export function createMetrics(options: TorchServeMetricsOptions = {}): Metrics {
  const registry = createRegistry();
  const torchServe = createTorchServeMetrics(options);
  const model = ["model", "version"] as const;
  let observed: readonly ObservedModel[] = [];

  registry.chapter("Requests");
  const requests = registry.counter(
    "hubserve_requests_total",
    "HTTP requests answered; the model is empty where the request reached none",
    ["route", "status", "model"],
  );
  const duration = registry.histogram(
    "hubserve_request_duration_seconds",
    "From the request's arrival to its answer's first byte",
    SECONDS,
    ["route"],
  );
  const calls = registry.counter("hubserve_grpc_calls_total", "Calls of gRPC that have ended", [
    "method",
    "code",
  ]);
  const callDuration = registry.histogram(
    "hubserve_grpc_call_duration_seconds",
    "From a call's arrival to its status",
    SECONDS,
    ["method"],
  );
  registry.chapter("Stages of an inference");
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
  const stage = (name: string, help: string) => registry.histogram(name, help, SECONDS, model);
  const prepareTime = stage(
    "hubserve_prepare_seconds",
    "In the worker, of inference: making the input ready, such as tokenizing",
  );
  const turnTime = stage(
    "hubserve_batch_wait_seconds",
    "In the worker, of inference: from there until the model ran with this input, while others of the batch had their turn",
  );
  const modelTime = stage(
    "hubserve_model_seconds",
    "In the worker, of inference: the runs of the model that this input was in",
  );
  const totalTime = stage(
    "hubserve_total_seconds",
    "From a request's arrival, or that of a part of a list, to its answer: queue, inference, and carrying both ways",
  );
  const refused = registry.counter(
    "hubserve_refused_total",
    "Requests not let in: the queue was full, the deadline could not be kept, or nobody could answer",
    [...model, "why"],
  );
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
  registry.chapter("Generation");
  const promptTokens = registry.counter(
    "hubserve_prompt_tokens_total",
    "Tokens of prompts that were read to generate",
    model,
  );
  const reusedTokens = registry.counter(
    "hubserve_prompt_tokens_reused_total",
    "Of them, those copied from prompts that begin alike",
    model,
  );
  const generatedTokens = registry.counter(
    "hubserve_generated_tokens_total",
    "Tokens generated",
    model,
  );
  const firstToken = registry.histogram(
    "hubserve_first_token_seconds",
    "From a generation's arrival in the worker to its first token",
    SECONDS,
    model,
  );
  const perToken = registry.histogram(
    "hubserve_token_seconds",
    "The mean time of each further token of a sequence",
    SECONDS,
    model,
  );
  /** How things stand in each worker that generates. */
  const generations = new Map<
    string,
    {
      readonly labels: Readonly<Record<string, string>>;
      readonly gauges: GenerationStatistics["gauges"];
    }
  >();
  const ofWorkers = (
    read: (gauges: GenerationStatistics["gauges"]) => Readonly<Record<string, number>>,
    label?: string,
  ): GaugeSample[] => {
    const sums = new Map<string, { labels: Readonly<Record<string, string>>; value: number }>();
    for (const { labels, gauges } of generations.values()) {
      for (const [key, value] of Object.entries(read(gauges))) {
        const all = label === undefined ? labels : { ...labels, [label]: key };
        const sum = sums.get(JSON.stringify(all)) ?? { labels: all, value: 0 };
        sum.value += value;
        sums.set(JSON.stringify(all), sum);
      }
    }
    return [...sums.values()];
  };
  registry.gauge(
    "hubserve_generating_sequences",
    "Sequences in workers that generate, by state",
    () => ofWorkers(({ running, waiting }) => ({ running, waiting }), "state"),
    { labels: [...model, "state"] },
  );
  registry.gauge(
    "hubserve_cache_tokens",
    "Tokens that running sequences have room for in the workers' caches",
    () => ofWorkers(({ cacheTokens: value }) => ({ value })),
    { labels: model },
  );
  registry.gauge(
    "hubserve_cache_limit_tokens",
    "The most tokens there may be",
    () => ofWorkers(({ cacheLimit: value }) => ({ value })),
    { labels: model },
  );
  registry.chapter("How things stand");
  const perModel = (
    read: (engine: NonNullable<ObservedModel["engine"]>) => number,
  ): GaugeSample[] =>
    observed.flatMap(({ name, version, engine }) =>
      engine === undefined ? [] : [{ labels: { model: name, version }, value: read(engine) }],
    );
  registry.gauge(
    "hubserve_queue_requests",
    "Requests that wait for a worker",
    () => perModel(({ waiting }) => waiting),
    { labels: model },
  );
  registry.gauge(
    "hubserve_running_requests",
    "Requests in a worker's hands",
    () => perModel(({ running }) => running),
    { labels: model },
  );
  registry.gauge(
    "hubserve_workers",
    "Workers by state",
    () =>
      observed.flatMap(({ name, version, engine }) =>
        engine === undefined
          ? []
          : Object.entries(engine.workers).map(([state, value]) => ({
              labels: { model: name, version, state },
              value,
            })),
      ),
    { labels: [...model, "state"] },
  );
  const learned = (read: (cost: LearnedCost) => number): GaugeSample[] =>
    observed.flatMap(({ name, version, engine }) =>
      engine?.batching.kind === "batch"
        ? [{ labels: { model: name, version }, value: read(engine.batching.cost) }]
        : [],
    );
  registry.gauge(
    "hubserve_batch_budget_tokens",
    "Learned: the most padded tokens of a run",
    () => learned(({ budgetTokens }) => budgetTokens),
    { labels: model },
  );
  registry.gauge(
    "hubserve_run_fixed_seconds",
    "Learned: what a run costs before its tokens",
    () => learned(({ fixedMs }) => fixedMs / 1000),
    { labels: model },
  );
  registry.gauge(
    "hubserve_run_seconds_per_token",
    "Learned: what each padded token adds",
    () => learned(({ perTokenMs }) => perTokenMs / 1000),
    { labels: model },
  );
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

  const workersOf = declareWorkerMetrics(registry, (name, version) =>
    observed.some((each) => each.name === name && each.version === version),
  );
  declareProcessMetrics(registry);

  return {
    ofModel(name, version) {
      const theirs = torchServe.ofModel(name, version);
      const workers = workersOf(name, version);
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
        prepareTime: prepareTime.at(name, version),
        turnTime: turnTime.at(name, version),
        modelTime: modelTime.at(name, version),
        totalTime: totalTime.at(name, version),
      };
      // A rate needs its zero, so these are there from the beginning.
      for (const why of ["full", "deadline", "not-ready"]) refused.at(name, version, why);
      for (const why of ["client", "deadline"])
        for (const where of ["queue", "worker"]) left.at(name, version, why, where);
      return {
        requested: () => theirs.requested(),
        refused: (why) => refused.at(name, version, why).add(),
        left: (why, where) => left.at(name, version, why, where).add(),
        answered(times) {
          const { queueMs, inferenceMs, overheadMs, stages, hasFailed } = times;
          theirs.answered(times);
          (hasFailed ? series.failed : series.ok).add();
          series.queueTime.observe(queueMs / 1000);
          series.inferenceTime.observe(inferenceMs / 1000);
          series.totalTime.observe((queueMs + inferenceMs + overheadMs) / 1000);
          if (stages === undefined) return;
          series.prepareTime.observe(stages.prepareMs / 1000);
          series.turnTime.observe(stages.waitMs / 1000);
          series.modelTime.observe(stages.modelMs / 1000);
        },
        dispatched: (jobs) => series.batchSize.observe(jobs),
        passed({ items, length, tokens: real, ms }) {
          series.passes.add();
          series.passSeconds.add(ms / 1000);
          series.tokens.add(real);
          series.padded.add(items * length);
        },
        generated(statistics, worker) {
          const { firstTokenMs, perTokenMs, gauges } = statistics;
          promptTokens.at(name, version).add(statistics.promptTokens);
          reusedTokens.at(name, version).add(statistics.reusedTokens);
          generatedTokens.at(name, version).add(statistics.tokens);
          for (const ms of firstTokenMs) firstToken.at(name, version).observe(ms / 1000);
          for (const ms of perTokenMs) perToken.at(name, version).observe(ms / 1000);
          const labels = { model: name, version };
          generations.set(JSON.stringify([name, version, worker]), { labels, gauges });
        },
        measured: (sample) => theirs.measured(sample),
        workerReady(parts, worker) {
          theirs.workerReady(worker, workers.workerReady(parts));
        },
        workerStopped(worker) {
          const key = JSON.stringify([name, version, worker]);
          const before = generations.get(key);
          if (before === undefined) return;
          const gauges = { running: 0, waiting: 0, cacheTokens: 0, cacheLimit: 0 };
          generations.set(key, { ...before, gauges });
        },
        workerGone(worker) {
          generations.delete(JSON.stringify([name, version, worker]));
          theirs.workerGone(worker);
        },
        workerDied: (reason) => workers.workerDied(reason),
        workerMemory: (pid, bytes) => workers.workerMemory(pid, bytes),
        workerUsed: (used) => workers.workerUsed(used),
        weights: (bytes) => workers.weights(bytes),
      };
    },
    request(route, status, tookMs, modelName = "") {
      torchServe.responded(status);
      requests.at(route, String(status), modelName).add();
      duration.at(route).observe(tookMs / 1000);
    },
    call(method, code, tookMs) {
      calls.at(method, code).add();
      callDuration.at(method).observe(tookMs / 1000);
    },
    get declarations() {
      return [...registry.declarations, ...torchServe.declarations];
    },
    render(models, names = []) {
      observed = models;
      return filterPage(registry.render() + torchServe.render(), names);
    },
  };
}
