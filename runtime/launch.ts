/**
 * Brings models up and takes them away: repository → workers → register.
 *
 * `serve.ts` launches the model that it was started for; a management protocol may launch others beside it, in other
 * versions, and change how many workers they have. What runs is finished before a worker goes.
 */
import { totalmem } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

import { describeOptions, withFileSettings, type Config } from "./config.ts";
import { readMemoryLimit } from "./engine/cgroup.ts";
import { availableCpus, readSystemFile } from "./engine/cpu.ts";
import { createEngine, type Engine } from "./engine/engine.ts";
import type { LaunchedModel, Launcher, LaunchSettings } from "./engine/launcher.ts";
import type { Model, ModelEntry, Models } from "./engine/models.ts";
import { startWorkerProcess } from "./engine/process.ts";
import { chooseWorkers, type WorkerPlan } from "./engine/worker-count.ts";
import { describeParts } from "./engine/worker-slot.ts";
import { isRuntimeError, RuntimeError } from "./errors.ts";
import type { LoadOptions, ModelDescription } from "./inference.ts";
import type { Log } from "./observe/log.ts";
import type { Metrics, ModelMetrics } from "./observe/metrics.ts";
import type { Progress } from "./observe/progress.ts";
import {
  chooseReference,
  nameOf,
  prepareRepository,
  type PreparedRepository,
} from "./repository/resolve.ts";

export interface LauncherOptions {
  readonly config: Config;
  readonly models: Models;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Draws how far a download is. */
  readonly drawDownload?: ((progress: Progress) => void) | undefined;
}

/** How often it is looked whether workers are there, or what runs is done. */
const LOOK_EVERY_MS = 20;

export function createLauncher(options: LauncherOptions): Launcher {
  const { config, models, log } = options;
  const launched = new Map<Model, LaunchedModel & Held>();
  let isStarting = true;

  function find(name?: string, version?: string): LaunchedModel & Held {
    const model = models.find(name, version);
    const found = launched.get(model);
    if (found !== undefined) return found;
    throw new RuntimeError("MODEL_NOT_FOUND", `Cannot find the model "${model.name}"`);
  }

  return {
    launch(request) {
      const settings = { ...config, ...withOrigins(config, request.settings) };
      const reference = chooseReference(settings);
      const origin = settings.reference ?? nameOf(reference);
      const entry = models.register(request.name ?? nameOf(reference), {
        origin,
        ...(request.version !== undefined && { version: request.version }),
      });
      const model = bringUp(entry, settings, request.isLazy === true, options);
      const held = { ...model, entry, isFromStart: isStarting };
      launched.set(entry, held);
      queueMicrotask(() => (isStarting = false));
      return held;
    },
    find,
    async remove(name, version) {
      const held = find(name, version);
      models.remove(name, version);
      launched.delete(held.entry);
      await held.end();
      log.info(`Removed version ${held.entry.version} of the model ${name}`);
    },
    closeGate() {
      for (const { engine } of launched.values()) engine()?.closeGate();
    },
    async close() {
      await Promise.all([...launched.values()].map(async (model) => model.close()));
    },
  };
}

/** What the launcher keeps of a model besides. */
interface Held {
  readonly engine: () => Engine | undefined;
  /** Finishes what runs and waits, then ends the workers. */
  readonly end: () => Promise<void>;
  /** Ends the workers at once. */
  readonly close: () => Promise<void>;
}

/** A launch's own settings are as strong as flags: no file takes their place. */
function withOrigins(config: Config, settings: LaunchSettings = {}): Partial<Config> {
  const given = Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  );
  const origins = Object.fromEntries(Object.keys(given).map((name) => [name, "the launch"]));
  return { ...given, origins: { ...config.origins, ...origins } };
}

function bringUp(
  entry: ModelEntry,
  config: Config,
  isLazy: boolean,
  { metrics, log, drawDownload }: LauncherOptions,
): Held & Pick<LaunchedModel, "ready" | "scale"> {
  const ending = new AbortController();
  const { signal } = ending;
  let engine: Engine | undefined;

  async function prepare(): Promise<{ repository: PreparedRepository; settled: Config }> {
    const repository = await prepareRepository({
      settings: config,
      signal,
      log,
      onProgress: (detail) => entry.progress(detail),
      drawDownload,
    });
    signal.throwIfAborted();
    const settled =
      repository.modelConfig === undefined
        ? config
        : withFileSettings(config, repository.modelConfig);
    return { repository, settled };
  }

  /** @param bounds Workers, where somebody has said how many. */
  async function load(
    { repository, settled }: { repository: PreparedRepository; settled: Config },
    bounds: { minWorkers?: number; maxWorkers?: number } = {},
  ): Promise<void> {
    const plan = planWorkers({ ...settled, ...bounds }, repository, log);
    entry.progress("Loading the model");
    const started = createModelEngine(
      { ...repository.load, intraOpThreads: plan.threads },
      settled,
      plan,
      metrics.ofModel(entry.name),
      log,
    );
    engine = started;
    const loadingAtMs = performance.now();
    const description = await started.start();
    logDescription(description, log);
    const loadedIn = ((performance.now() - loadingAtMs) / 1000).toFixed(1);
    log.info(
      `Loaded in ${loadedIn} s, in a process of its own: ${describeParts(started.startParts)}`,
    );
    const { requestTimeoutMs } = settled;
    entry.started(
      { engine: started, description },
      { revision: repository.revision, requestTimeoutMs },
    );
  }

  const prepared = prepare();
  prepared.catch(() => undefined); // seen by whoever awaits `ready`
  const ready = (async () => {
    const material = await prepared;
    if (isLazy) entry.unloaded("It has no workers yet");
    else await load(material);
  })().catch(async (error: unknown) => {
    entry.failed(isRuntimeError(error) ? error.message : "The start failed");
    await engine?.close();
    throw error;
  });
  ready.catch(() => undefined); // likewise

  async function finishWork(running: Engine): Promise<void> {
    running.closeGate();
    while (running.waiting + running.running > 0) await delay(LOOK_EVERY_MS);
    await running.close();
  }

  return {
    ready,
    engine: () => engine,
    async scale(minWorkers, maxWorkers) {
      const material = await prepared;
      if (maxWorkers === 0) {
        const running = engine;
        engine = undefined;
        entry.unloaded("It was scaled to no workers");
        if (running !== undefined) await finishWork(running);
        return;
      }
      if (engine === undefined) {
        await load(material, { minWorkers, maxWorkers });
      } else engine.scale(minWorkers, maxWorkers);
      // Others scale too, and a worker may die for good: then this is no longer what is waited for.
      while (!signal.aborted && engine !== undefined && isShort(engine)) await delay(LOOK_EVERY_MS);
    },
    async end() {
      ending.abort();
      await ready.catch(() => undefined);
      if (engine !== undefined) await finishWork(engine);
    },
    async close() {
      ending.abort();
      await engine?.close();
    },
  };
}

function isShort({ workers, limits, state }: Engine): boolean {
  return workers.ready < limits.minWorkers && state !== "failed" && state !== "closed";
}

/** How many workers there will be, by what was asked for and what this machine has. */
function planWorkers(config: Config, repository: PreparedRepository, log: Log): WorkerPlan {
  const { cpus, why } = availableCpus();
  const plan = chooseWorkers({
    cpus,
    memoryBytes: Math.min(totalmem(), readMemoryLimit(readSystemFile)?.value ?? Infinity),
    weightsBytes: repository.weightsBytes,
    workers: config.workers,
    minWorkers: config.minWorkers,
    maxWorkers: config.maxWorkers,
    threads: config.threads,
  });
  log.debug(`Found ${cpus} CPUs: ${why}`);
  log.info(describePlan(plan));
  return plan;
}

function describePlan({ minWorkers, maxWorkers, threads, why }: WorkerPlan): string {
  const workers = minWorkers === maxWorkers ? `${minWorkers}` : `${minWorkers} to ${maxWorkers}`;
  const [plural, each] = [maxWorkers === 1 ? "" : "s", threads === 1 ? "" : "s"];
  return `Starting ${workers} worker${plural} with ${threads} thread${each} each: ${why}`;
}

function createModelEngine(
  load: LoadOptions,
  config: Config,
  plan: WorkerPlan,
  metrics: ModelMetrics,
  log: Log,
): Engine {
  return createEngine({
    workers: plan.minWorkers,
    maxWorkers: plan.maxWorkers,
    workerMaxRssBytes: config.workerMaxRssBytes,
    jobQueueSize: config.jobQueueSize,
    maxBatchSize: config.batchSize,
    maxBatchDelayMs: config.maxBatchDelayMs,
    threads: plan.threads,
    startWorker: (onMessage) =>
      startWorkerProcess({
        load,
        startupTimeoutMs: config.startupTimeoutMs,
        env: withoutSecrets(config.env),
        onMessage,
        log,
      }),
    metrics,
    log,
  });
}

/** A handler is other people's code: it does not get the server's own secrets. */
function withoutSecrets(env: Config["env"]): Record<string, string | undefined> {
  const secret = new Set(
    describeOptions().flatMap(({ row, variables }) => (row.isSecret ? variables : [])),
  );
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)));
}

function logDescription({ notes }: ModelDescription, log: Log): void {
  for (const { level, text } of notes) log[level](text);
}
