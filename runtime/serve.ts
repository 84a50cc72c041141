/**
 * The parent's main: repository → engine → http, put together, listening, drained on SIGTERM.
 *
 * The gate opens first, so that health can say "starting" while a model is downloaded and loaded.
 */
import type { Server } from "node:http";
import { totalmem } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { createAdaptorServer, getRequestListener } from "@hono/node-server";
import { describeOptions, withFileSettings, type Config } from "./config.ts";
import { readMemoryLimit } from "./engine/cgroup.ts";
import { availableCpus, readSystemFile } from "./engine/cpu.ts";
import { createEngine, type Engine } from "./engine/engine.ts";
import { createModels, type Models } from "./engine/models.ts";
import { startWorkerProcess } from "./engine/process.ts";
import { describeParts } from "./engine/worker-slot.ts";
import { chooseWorkers, type WorkerPlan } from "./engine/worker-count.ts";
import { RuntimeError, systemCodeOf } from "./errors.ts";
import { createApp } from "./http/app.ts";
import type { ResponseClass } from "./http/respond.ts";
import type { LoadOptions, ModelDescription } from "./inference.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics, type Metrics, type ModelMetrics } from "./observe/metrics.ts";
import { createProgressLine } from "./observe/progress.ts";
import {
  chooseReference,
  nameOf,
  prepareRepository,
  type PreparedRepository,
} from "./repository/resolve.ts";
import { VERSION } from "./version.ts";

export interface ServeOptions {
  readonly config: Config;
  readonly log: Log;
  /** Stops the start-up; a server that already runs is ended with `drain` or `close`. */
  readonly signal?: AbortSignal;
}

export interface RunningServer extends AsyncDisposable {
  /** Where requests go: `http://localhost:8080`. */
  readonly url: string;
  readonly port: number;
  /** Settles when the model answers requests. Rejects when it cannot be served; the server is closed then. */
  readonly ready: Promise<void>;
  /** Says 503 on health, goes on accepting for the drain delay, finishes what runs, closes. */
  drain(): Promise<void>;
  /** Closes at once; running requests fail. */
  close(): Promise<void>;
}

/** Longer than any load balancer's own (Envoy, nginx and the clouds' use 60 s): the side that dials must hang up first. */
const KEEP_ALIVE_MS = 75_000;

/** The HTTP face as it stands: a repository's own settings arrive after the gate has opened. */
interface Face {
  app: ReturnType<typeof createApp>;
}

/** Opens the gate and starts to bring the model up. Rejects when the port cannot be had. */
export async function serve({ config, log, signal }: ServeOptions): Promise<RunningServer> {
  const reference = chooseReference(config);
  const models = createModels();
  const model = models.register(nameOf(reference));
  const startup = new AbortController();
  const startupSignal =
    signal === undefined ? startup.signal : AbortSignal.any([signal, startup.signal]);

  const metrics = createMetrics();
  const face: Face = { app: createFace(config, models, metrics, log) };
  const server = await listen(config, face);
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  const url = `http://${isAnyAddress(config.host) ? "localhost" : hostOf(config.host)}:${port}`;
  let engine: Engine | undefined;
  log.info(`Listening on ${url}, not ready yet`);

  async function bringUp(): Promise<void> {
    const startedAtMs = performance.now();
    const repository = await prepareRepository({
      settings: config,
      signal: startupSignal,
      log,
      onProgress: (detail) => model.progress(detail),
      drawDownload: createProgressLine(),
    });
    startupSignal.throwIfAborted();
    const settled =
      repository.modelConfig === undefined
        ? config
        : withFileSettings(config, repository.modelConfig);
    if (settled.requestTimeoutMs !== config.requestTimeoutMs)
      face.app = createFace(settled, models, metrics, log);
    const plan = planWorkers(settled, repository, log);
    model.progress("Loading the model");
    engine = createModelEngine(
      { ...repository.load, intraOpThreads: plan.threads },
      settled,
      plan,
      metrics.ofModel(model.name),
      log,
    );
    const loadingAtMs = performance.now();
    const description = await engine.start();
    logDescription(description, log);
    const loadedIn = ((performance.now() - loadingAtMs) / 1000).toFixed(1);
    log.info(
      `Loaded in ${loadedIn} s, in a process of its own: ${describeParts(engine.startParts)}`,
    );
    model.started({ engine, description }, repository.revision);
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    log.info(`Ready after ${seconds} s: send requests to ${url}`);
    log.info(`Try it:  ${exampleFor(description, url)}`);
  }

  async function close(): Promise<void> {
    startup.abort();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await engine?.close();
    await closed;
  }

  const ready = bringUp().catch(async (error: unknown) => {
    model.failed(error instanceof RuntimeError ? error.message : "The start failed");
    await close();
    throw error;
  });
  ready.catch(() => undefined); // whoever awaits `ready` sees it; nobody has to

  return {
    url,
    port,
    ready,
    close,
    async drain() {
      model.draining();
      startup.abort();
      log.info(`Shutting down: ${engine?.running ?? 0} requests run, ${engine?.waiting ?? 0} wait`);
      await delay(config.drainDelayMs);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      engine?.closeGate();
      server.closeIdleConnections();
      // A connection kept alive is idle again only when its last response is written.
      const sweep = setInterval(() => server.closeIdleConnections(), 50);
      const isInTime = await Promise.race([
        closed.then(() => true),
        delay(config.drainTimeoutMs, false, { ref: false }), // must not keep a program alive that is done
      ]);
      clearInterval(sweep);
      if (!isInTime)
        log.warn("Some requests did not finish within the drain timeout; they are cut off");
      await close();
      log.info("Bye");
    },
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
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

function createFace(config: Config, models: Models, metrics: Metrics, log: Log): Face["app"] {
  return createApp({
    models,
    metrics,
    dialect: config.dialect,
    maxBodyBytes: config.maxBodyBytes,
    requestTimeoutMs: config.requestTimeoutMs,
    version: VERSION,
    ResponseClass: lightResponse(),
    log,
  });
}

/**
 * The adaptor's own `Response`, which carries its body as it is. The adaptor offers it as a global only, where it breaks
 * `fetch` and with it downloads in the same process; so it is taken from there at once, before anybody else looks.
 */
export function lightResponse(): ResponseClass | undefined {
  const own = globalThis.Response;
  const before = (["Request", "Response"] as const).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name) ?? {}] as const,
  );
  getRequestListener(() => new own());
  const offered = globalThis.Response;
  for (const [name, property] of before) Object.defineProperty(globalThis, name, property);
  return offered === own ? undefined : offered;
}

async function listen(config: Config, face: Face): Promise<Server> {
  // Proof of the cast: without createServer of its own the adaptor makes a node:http server.
  const server = createAdaptorServer({
    fetch: (request, env) => face.app.fetch(request, env),
    // The adaptor's light Response and Request are faster, but as globals they break fetch: downloads share this process.
    overrideGlobalObjects: false,
  }) as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1000; // must outlast keepAliveTimeout
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(toListenError(error, config)));
    server.listen(config.port, config.host, resolve);
  });
  return server;
}

function toListenError(error: unknown, config: Config): RuntimeError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: "it is taken; name another with --port",
    EACCES:
      "this user may not take it; ports below 1024 need more rights, name another with --port",
    EADDRNOTAVAIL: "this machine does not have that address; name another with --host",
  };
  const code = systemCodeOf(error) ?? "";
  const reason = why[code] ?? code;
  return new RuntimeError(
    "PORT_UNAVAILABLE",
    `Cannot listen on ${config.host}:${config.port}: ${reason}`,
    { cause: error },
  );
}

function logDescription({ notes }: ModelDescription, log: Log): void {
  for (const { level, text } of notes) log[level](text);
}

/** A command that works when pasted, with inputs that fit the task. */
function exampleFor({ example }: ModelDescription, url: string): string {
  const body = JSON.stringify(
    example ?? { inputs: "I am quite excited how this will turn out" },
  ).replaceAll("'", "'\\''"); // as a shell reads it
  return `curl ${url} -H 'Content-Type: application/json' -d '${body}'`;
}

function isAnyAddress(host: string): boolean {
  return ["0.0.0.0", "::", "127.0.0.1", "localhost"].includes(host);
}

/** An IPv6 address stands in brackets in a URL. */
function hostOf(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
