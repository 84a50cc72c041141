/**
 * The parent's main: launch and http, put together, listening, drained on SIGTERM.
 *
 * The gate opens first, so that health can say "starting" while a model is downloaded and loaded.
 */
import type { Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { createAdaptorServer, getRequestListener } from "@hono/node-server";
import type { Config } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import { createModels, type Models } from "./engine/models.ts";
import { RuntimeError, systemCodeOf } from "./errors.ts";
import { createApp } from "./http/app.ts";
import type { ResponseClass } from "./http/respond.ts";
import type { ModelDescription } from "./inference.ts";
import { createLauncher } from "./launch.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics, type Metrics } from "./observe/metrics.ts";
import { createProgressLine } from "./observe/progress.ts";
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

type App = ReturnType<typeof createApp>;

/** Opens the gate and starts to bring the model up. Rejects when the port cannot be had. */
export async function serve({ config, log, signal }: ServeOptions): Promise<RunningServer> {
  const models = createModels();
  const metrics = createMetrics();
  const launcher = createLauncher({
    config,
    models,
    metrics,
    log,
    drawDownload: createProgressLine(),
  });
  const app = createFace(config, models, metrics, log);
  const server = await listen(config, app);
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  const url = `http://${isAnyAddress(config.host) ? "localhost" : hostOf(config.host)}:${port}`;
  log.info(`Listening on ${url}, not ready yet`);
  const startedAtMs = performance.now();
  const { entry, ready: launched } = launcher.launch({});

  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await launcher.close();
    await closed;
  }

  signal?.addEventListener("abort", () => void close(), { once: true });
  const ready = launched.then(
    () => {
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
      log.info(`Ready after ${seconds} s: send requests to ${url}`);
      log.info(`Try it:  ${exampleFor(entry.description, url)}`);
    },
    async (error: unknown) => {
      await close();
      throw error;
    },
  );
  ready.catch(() => undefined); // whoever awaits `ready` sees it; nobody has to

  return {
    url,
    port,
    ready,
    close,
    async drain() {
      for (const model of models.list) launcher.find(model.name, model.version).entry.draining();
      const count = (pick: (engine: Engine) => number): number =>
        models.list.reduce((sum, { engine }) => sum + (engine ? pick(engine) : 0), 0);
      const [running, waiting] = [count((e) => e.running), count((e) => e.waiting)];
      log.info(`Shutting down: ${running} requests run, ${waiting} wait`);
      await delay(config.drainDelayMs);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      launcher.closeGate();
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

function createFace(config: Config, models: Models, metrics: Metrics, log: Log): App {
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

async function listen(config: Config, app: App): Promise<Server> {
  // Proof of the cast: without createServer of its own the adaptor makes a node:http server.
  const server = createAdaptorServer({
    fetch: (request, env) => app.fetch(request, env),
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

/** A command that works when pasted, with inputs that fit the task. */
function exampleFor(description: ModelDescription | undefined, url: string): string {
  const body = JSON.stringify(
    description?.example ?? { inputs: "I am quite excited how this will turn out" },
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
