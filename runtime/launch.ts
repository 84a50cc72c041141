/**
 * Brings models up and takes them away: repository → workers → register.
 *
 * `serve.ts` launches the model that it was started for; a management protocol may launch others beside it, in other
 * versions, and change how many workers they have. What runs is finished before a worker goes.
 */
import { totalmem } from "node:os";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { describeOptions, withFileSettings, type Config } from "./config.ts";
import { readMemoryLimit } from "./engine/cgroup.ts";
import { availableCpus, readSystemFile } from "./engine/cpu.ts";
import { createEngine, type Engine } from "./engine/engine.ts";
import { workerEnvironment, type WorkerEnvironment } from "./engine/environment.ts";
import type {
  LaunchedModel,
  LaunchedSettings,
  Launcher,
  LaunchRequest,
  LaunchSettings,
} from "./engine/launcher.ts";
import type { Model, ModelEntry, Models } from "./engine/models.ts";
import { startWorkerProcess } from "./engine/process.ts";
import { chooseWorkers, type WorkerPlan } from "./engine/worker-count.ts";
import { describeParts } from "./engine/worker-slot.ts";
import { isRuntimeError, messageOf, RuntimeError } from "./errors.ts";
import type { LoadOptions, ModelDescription } from "./inference.ts";
import type { Log } from "./observe/log.ts";
import type { Metrics, ModelMetrics } from "./observe/metrics.ts";
import type { Progress } from "./observe/progress.ts";
import { SECRET_TRACE_VARIABLES } from "./observe/trace-settings.ts";
import { readModelCard } from "./repository/model-card.ts";
import { followFolder } from "./repository/follow.ts";
import { findStored } from "./repository/model-store.ts";
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
  const ending = new AbortController();
  logEnvironment(config, log);

  function find(name?: string, version?: string): LaunchedModel & Held {
    const model = models.find(name, version);
    const found = launched.get(model);
    if (found !== undefined) return found;
    throw new RuntimeError("MODEL_NOT_FOUND", `Cannot find the model "${model.name}"`);
  }

  return {
    locate: (source) =>
      findStored(source, {
        modelStore: config.modelStore && resolve(config.cwd, config.modelStore),
        allowedUrls: config.allowedUrls,
        cache: config.cache,
        signal: ending.signal,
        log,
      }),
    launch(request) {
      const settings = settingsOf(config, request.settings);
      const reference = chooseReference(settings);
      const entry = models.register(request.name ?? nameOf(reference), {
        origin: request.origin ?? settings.reference ?? nameOf(reference),
        ...(request.version !== undefined && { version: request.version }),
      });
      const held = bringUp(entry, settings, request, options);
      launched.set(entry, held);
      return held;
    },
    find,
    async remove(name, version) {
      const held = find(name, version);
      models.remove(name, version);
      launched.delete(held.entry);
      await held.end();
      await held.onRemoved();
      log.info(`Removed version ${held.entry.version} of the model ${name}`);
    },
    closeGate() {
      for (const { engine } of launched.values()) engine()?.closeGate();
    },
    async close() {
      ending.abort();
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
  readonly onRemoved: () => Promise<void>;
}

/**
 * A launch's own settings are as strong as flags: no file takes their place. Where a launch names its model, what the
 * command line says of its one model does not hold for it.
 */
function settingsOf(config: Config, settings: LaunchSettings = {}): Config {
  const given = Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  );
  const origins = Object.fromEntries(Object.keys(given).map((name) => [name, "the launch"]));
  const base =
    settings.reference === undefined
      ? config
      : { ...config, task: undefined, revision: undefined, include: [], exclude: [] };
  return { ...base, ...given, origins: { ...config.origins, ...origins } };
}

/** How many workers a model has, where somebody has said so. */
interface Bounds {
  readonly minWorkers?: number;
  readonly maxWorkers?: number;
}

/** A repository that can be loaded, and the configuration with its own file laid under. */
interface Material {
  readonly repository: PreparedRepository;
  readonly settled: Config;
}

function bringUp(
  entry: ModelEntry,
  config: Config,
  {
    isLazy = false,
    isFromStart = true,
    onRemoved = () => Promise.resolve(),
  }: Pick<LaunchRequest, "isLazy" | "isFromStart" | "onRemoved">,
  { metrics, log, drawDownload }: LauncherOptions,
): LaunchedModel & Held {
  const ending = new AbortController();
  const { signal } = ending;
  const ended = new Promise<never>((_resolve, reject) => {
    const text = `Cannot load the model "${entry.name}": it was removed, or the server ends`;
    signal.addEventListener("abort", () => reject(new RuntimeError("CANCELLED", text)));
  });
  ended.catch(() => undefined); // a model that is removed once it runs has nobody waiting
  let engine: Engine | undefined;
  let settledConfig = config;

  async function prepare(): Promise<Material> {
    const repository = await prepareRepository({
      settings: config,
      signal,
      log,
      onProgress: (detail) => entry.progress(detail),
      drawDownload,
    });
    signal.throwIfAborted();
    const { modelConfig, envelope } = repository;
    settledConfig = modelConfig === undefined ? config : withFileSettings(config, modelConfig);
    if (envelope !== undefined) {
      const settings = { serviceEnvelope: envelope };
      settledConfig = withFileSettings(settledConfig, { file: "MANIFEST.json", settings });
    }
    return { repository, settled: settledConfig };
  }

  function createFor(
    { repository, settled }: Material,
    bounds: Bounds,
    firstWorkerId?: number,
  ): Engine {
    const plan = planWorkers({ ...settled, ...bounds }, repository, log);
    const counted = metrics.ofModel(entry.name, entry.version);
    if (repository.weightsBytes !== undefined) counted.weights(repository.weightsBytes);
    return createModelEngine(
      {
        ...repository.load,
        intraOpThreads: plan.threads,
        warmsUp: !settled.noWarmUp,
        generation: {
          maxSequences: settled.maxConcurrentSequences,
          ...(settled.maxTotalTokens !== undefined && { maxTotalTokens: settled.maxTotalTokens }),
          workers: plan.maxWorkers,
        },
      },
      settled,
      plan,
      counted,
      log,
      firstWorkerId,
    );
  }

  /** Settles once it answers. */
  async function start(started: Engine): Promise<ModelDescription> {
    const loadingAtMs = performance.now();
    const description = await Promise.race([started.start(), ended]);
    logDescription(description, log);
    const loadedIn = ((performance.now() - loadingAtMs) / 1000).toFixed(1);
    log.info(
      `Loaded in ${loadedIn} s, in a process of its own: ${describeParts(started.startParts)}`,
    );
    return description;
  }

  function register(
    served: Engine,
    description: ModelDescription,
    { repository, settled }: Material,
  ): void {
    const { requestTimeoutMs, serviceEnvelope: envelope } = settled;
    entry.started(
      { engine: served, description },
      {
        revision: repository.revision,
        requestTimeoutMs,
        envelope,
        card: settled.noPlayground ? undefined : readModelCard(repository.load.repository),
      },
    );
  }

  /** One that cannot be started leaves no engine behind. */
  async function load(material: Material, bounds: Bounds = {}): Promise<void> {
    entry.progress("Loading the model");
    const started = createFor(material, bounds);
    engine = started;
    try {
      register(started, await start(started), material);
    } catch (error) {
      if (engine === started) engine = undefined;
      entry.failed(isRuntimeError(error) ? error.message : "The start failed");
      await started.close();
      throw error;
    }
  }

  const isIdleWith = ({ settled }: Material): boolean =>
    isLazy === true || (isLazy === "unless-told" && !saysWorkers(settled));
  const prepared = Promise.race([prepare(), ended]);
  prepared.catch(() => undefined); // seen by whoever awaits `ready`
  const ready = (async () => {
    const material = await prepared;
    if (isIdleWith(material)) entry.unloaded("It has no workers yet");
    else await load(material);
  })().catch((error: unknown) => {
    entry.failed(isRuntimeError(error) ? error.message : "The start failed");
    throw error;
  });
  ready.catch(() => undefined); // likewise

  /** What was loaded last, where that is not what it was launched with. */
  let latest: Material | undefined;
  const retiring = new Set<Engine>();

  async function retire(old: Engine): Promise<void> {
    retiring.add(old);
    await finishWork(old);
    retiring.delete(old);
  }

  /**
   * Loads the repository as it is now in workers of its own. They take over once they answer; those before them finish
   * what they hold. What cannot be loaded changes nothing.
   */
  async function reload(): Promise<void> {
    const before = engine;
    if (before === undefined) return; // whoever scales it up loads it anew
    const settledBefore = settledConfig;
    let next: Engine | undefined;
    try {
      const material = await Promise.race([prepare(), ended]);
      const { minWorkers, maxWorkers } = before.limits;
      const lastId = before.workerList.at(-1)?.id;
      next = createFor(material, { minWorkers, maxWorkers }, lastId && lastId + 1);
      const description = await start(next);
      if (engine !== before) throw cannotStart(entry); // it was scaled to none, or removed
      engine = next;
      latest = material;
      register(next, description, material);
    } catch (error) {
      settledConfig = settledBefore;
      await next?.close();
      throw error;
    }
    before.handOver(next);
    void retire(before);
  }

  /** With `--dev`. Settles when the model is removed or the server ends. */
  async function followEdits(): Promise<void> {
    const { repository } = await prepared;
    await followFolder(repository.load.repository, {
      signal,
      log,
      async onChange(files) {
        await ready;
        log.info(`Changed: ${files.join(", ")}; loading it beside what answers`);
        try {
          await reload();
          log.info("Reloaded: requests go to the new workers");
        } catch (error) {
          if (signal.aborted) return;
          log.error(`${messageOf(error)}; what was loaded before goes on answering`);
        }
      },
    });
  }
  if (config.dev && !isEditable(config))
    log.warn(`Ignoring --dev for ${entry.name}: only a folder is watched, nobody edits a cache`);
  const following = config.dev && isEditable(config) ? followEdits() : Promise.resolve();
  following.catch(() => undefined); // a model that cannot be had at all is `ready`'s to tell

  async function unload(): Promise<void> {
    const running = engine;
    engine = undefined;
    entry.unloaded("It was scaled to no workers");
    if (running !== undefined) await finishWork(running);
  }

  /** One that was given up goes, and its pool with it. */
  async function dropFailed(): Promise<void> {
    if (engine?.state !== "failed") return;
    const failed = engine;
    engine = undefined;
    await failed.close();
  }

  /** Others scale too, and the model may be removed: then this is no longer what is waited for. */
  async function untilEnough(): Promise<void> {
    while (!signal.aborted && engine !== undefined && isShort(engine)) {
      if (engine.workers.starting === 0) throw cannotStart(entry);
      await delay(LOOK_EVERY_MS);
    }
  }

  return {
    entry,
    isFromStart,
    ready,
    get prepared() {
      return prepared.then((material) => ({ willLoad: !isIdleWith(material) }));
    },
    onRemoved,
    engine: () => engine,
    get isIdle() {
      return engine === undefined;
    },
    get settings() {
      return toSettings(settledConfig, engine);
    },
    async scale(minWorkers, maxWorkers) {
      const material = latest ?? (await prepared);
      if (maxWorkers === 0) return unload();
      await dropFailed();
      if (engine === undefined) {
        if (minWorkers === 0) return; // as many as there are is within the bounds
        await load(material, { minWorkers, maxWorkers });
      } else engine.scale(Math.max(1, minWorkers), maxWorkers);
      await untilEnough();
    },
    async load() {
      const material = latest ?? (await prepared);
      if (entry.state !== "unloaded") await ready.catch(() => undefined); // it may be on its way
      await dropFailed();
      if (engine === undefined) await load(material);
      await untilEnough();
      if (engine === undefined) throw cannotStart(entry);
    },
    async end() {
      const isLoading = entry.state === "starting";
      ending.abort();
      await following.catch(() => undefined); // `ready` tells why
      if (engine === undefined) return;
      if (isLoading) await engine.close();
      else await finishWork(engine);
    },
    async close() {
      ending.abort();
      await following.catch(() => undefined);
      await Promise.all([engine, ...retiring].map(async (each) => each?.close()));
    },
  };
}

/** What comes from the Hub or out of an archive lies in a cache, which nobody edits. */
function isEditable(config: Config): boolean {
  return chooseReference(config).kind === "folder";
}

function saysWorkers({ origins }: Config): boolean {
  return [origins.workers, origins.minWorkers, origins.maxWorkers].some(
    (origin) => origin !== "default",
  );
}

function toSettings(config: Config, engine: Engine | undefined): LaunchedSettings {
  return {
    minWorkers: engine?.limits.minWorkers ?? 0,
    maxWorkers: engine?.limits.maxWorkers ?? 0,
    batchSize: config.batchSize,
    maxBatchDelayMs: config.maxBatchDelayMs,
    requestTimeoutMs: config.requestTimeoutMs,
    startupTimeoutMs: config.startupTimeoutMs,
    jobQueueSize: config.jobQueueSize,
  };
}

/** Whoever was let in gets an answer first. */
async function finishWork(engine: Engine): Promise<void> {
  engine.closeGate();
  while (engine.state !== "failed" && engine.waiting + engine.running > 0)
    await delay(LOOK_EVERY_MS);
  await engine.close();
}

function cannotStart({ name, version }: ModelEntry): RuntimeError {
  const text = `Cannot start as many workers for the model "${name}", version ${version}: they end while they load`;
  return new RuntimeError("WORKER_DIED", text);
}

function isShort({ workers, limits, state }: Engine): boolean {
  return workers.ready < limits.minWorkers && state !== "closed";
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
  firstWorkerId: number | undefined,
): Engine {
  return createEngine({
    firstWorkerId,
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
        env: environmentOf(config).env,
        isSandboxed: config.sandbox,
        onMessage,
        log,
      }),
    metrics,
    log,
  });
}

/** What workers see of the environment; what the server's own secrets are, the rows of the options say. */
function environmentOf(config: Config): WorkerEnvironment {
  const rows = describeOptions().filter(({ row, name }) => row.isSecret || name === "apiKeyFile");
  return workerEnvironment({
    env: config.env,
    own: [
      ...rows.flatMap(({ variables }) => variables),
      "HF_TOKEN_PATH",
      ...SECRET_TRACE_VARIABLES,
    ],
    secrets: [...(config.token === undefined ? [] : [config.token]), ...(config.apiKeys ?? [])],
    passed: config.handlerEnv,
  });
}

/** Whoever misses a variable in a handler finds here where it is. */
function logEnvironment(config: Config, log: Log): void {
  const { withheld } = environmentOf(config);
  const names = withheld.slice(0, 20).join(", ") + (withheld.length > 20 ? ", …" : "");
  if (withheld.length > 0)
    log.info(
      `Handlers do not get variables that look like secrets: ${names}; --handler-env gives them one`,
    );
  const missing = config.handlerEnv.filter((name) => config.env[name] === undefined);
  if (missing.length > 0)
    log.warn(`--handler-env names variables that are not set: ${missing.join(", ")}`);
}

function logDescription({ notes }: ModelDescription, log: Log): void {
  for (const { level, text } of notes) log[level](text);
}
