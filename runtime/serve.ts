/**
 * The parent's main: launch and http, put together, listening, drained on SIGTERM.
 *
 * The gate opens first, so that health can say "starting" while a model is downloaded and loaded. Beside it TorchServe's
 * two further ports, for management and for metrics, are opened where they are asked for.
 */
import { resolve as resolvePath } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import type { Config } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import type { Launcher } from "./engine/launcher.ts";
import { createModels, type Model, type Models } from "./engine/models.ts";
import { messageOf } from "./errors.ts";
import { openGate, type Fetch, type Gate, type Place } from "./gate.ts";
import type { GrpcGate } from "./grpc/server.ts";
import { createApiKeys, type ApiKeys } from "./http/api-keys.ts";
import { createApp } from "./http/app.ts";
import { createManagementApp, isManagementPath } from "./http/management-app.ts";
import { createMetricsApp } from "./http/metrics-app.ts";
import type { RepositoryRights } from "./http/protocols/open-inference.ts";
import type { ResponseClass } from "./http/respond.ts";
import { createTokenAuthority, type TokenAuthority } from "./http/token-auth.ts";
import { createLauncher } from "./launch.ts";
import type { Log } from "./observe/log.ts";
import type { DeclaredMetric } from "./observe/handler-metrics.ts";
import { createMetrics, type Metrics } from "./observe/metrics.ts";
import { readMetricsConfig } from "./observe/metrics-config.ts";
import { openTracing, type Tracing } from "./observe/trace.ts";
import { createProgressLine } from "./observe/progress.ts";
import type { TorchServeMetricsOptions } from "./observe/torchserve-metrics.ts";
import { createSnapshots, hasSnapshots, withChanges } from "./snapshots.ts";
import { startModels } from "./startup-models.ts";
import { VERSION } from "./version.ts";
import { temporaryFolder, temporaryPath } from "./writable-folder.ts";

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
  /** Where models are managed; `undefined` where they are not. */
  readonly managementUrl: string | undefined;
  /** Where metrics are besides `url`; `undefined` for nowhere. */
  readonly metricsUrl: string | undefined;
  /** What clients of gRPC call their target: `localhost:9000`; `undefined` where there is none. */
  readonly grpcTarget: string | undefined;
  /** Settles when the model answers requests. Rejects when it cannot be served; the server is closed then. */
  readonly ready: Promise<void>;
  /** Says 503 on health, goes on accepting for the drain delay, finishes what runs, closes. */
  drain(): Promise<void>;
  /** Closes at once; running requests fail. */
  close(): Promise<void>;
}

/** TorchServe's, where its users' options say that its ports are wanted. */
const MANAGEMENT_PORT = 8081;
const METRICS_PORT = 8082;

/** What all faces are made of. */
interface House {
  readonly config: Config;
  readonly models: Models;
  readonly metrics: Metrics;
  readonly launcher: Launcher;
  readonly tokens: TokenAuthority | undefined;
  readonly apiKeys: ApiKeys | undefined;
  readonly tracing: Tracing | undefined;
  readonly ResponseClass: ResponseClass | undefined;
  readonly log: Log;
}

/** Opens the gates and starts to bring the model up. Rejects when a port cannot be had. */
export async function serve({ config, log, signal }: ServeOptions): Promise<RunningServer> {
  // Somebody else's folder in the temporary one is refused before what lies there is restored.
  if (hasSnapshots(config)) assertOwnPlace(config.snapshots);
  const own = openOffice(config, log);
  const { metrics, snapshots } = own;
  // What clients change is written down; what the start brings up is not, until all of it is there.
  const { launcher, models } = withChanges(own, async () => snapshots?.write("snapshot"));
  const ports = portsOf(config);
  const apiKeys = createApiKeys({
    keys: config.apiKeys ?? [],
    file: config.apiKeyFile && resolvePath(config.cwd, config.apiKeyFile),
    log,
  });
  const tokens = await createKeys(config, ports);
  const ResponseClass = lightResponse();
  const tracing = await openTracing(config.env, log);
  const keys = { tokens, apiKeys };
  const house = { config, models, metrics, launcher, ...keys, tracing, ResponseClass, log };
  const gates = await openGates(house, ports).catch(async (error: unknown) => {
    await Promise.all([tokens?.[Symbol.asyncDispose](), tracing?.close()]);
    throw error;
  });
  const { main, management, further, rpc } = gates;
  const { url, port } = main;
  log.info(`Listening on ${url}, not ready yet`);
  if (management !== undefined) log.info(describeManagement(config, management.url));
  if (further !== undefined) log.info(`Metrics on ${further.url}/metrics`);
  if (rpc !== undefined) log.info(`gRPC on ${rpc.url}`);
  if (apiKeys !== undefined) log.info("Every request needs an API key, but for probes of health");
  const startedAtMs = performance.now();
  const starting = startModels({ ...own, config, log });

  async function close(): Promise<void> {
    const closed = [...gates.all, rpc].map(async (gate) => gate?.close());
    await launcher.close();
    await Promise.all(closed);
    await tokens?.[Symbol.asyncDispose]();
    await tracing?.close(); // last: what ran until now has its spans
  }

  signal?.addEventListener("abort", () => void close(), { once: true });
  const ready = starting.then(
    async ({ launched: [first], isComplete }) => {
      if (isComplete) await snapshots?.write("startup");
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
      log.info(`Ready after ${seconds} s: send requests to ${url}`);
      log.info(
        first === undefined
          ? "There is no model yet: register one on the management port"
          : `Try it:  ${exampleFor(first.entry, url, apiKeys !== undefined)}`,
      );
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
    managementUrl: management?.url,
    metricsUrl: further?.url,
    grpcTarget: rpc?.url,
    ready,
    close,
    async drain() {
      await snapshots?.write("shutdown");
      for (const model of models.list) launcher.find(model.name, model.version).entry.draining();
      const count = (pick: (engine: Engine) => number): number =>
        models.list.reduce((sum, { engine }) => sum + (engine ? pick(engine) : 0), 0);
      const [running, waiting] = [count((e) => e.running), count((e) => e.waiting)];
      for (const gate of [main, management, further]) gate?.sayGoodbye();
      log.info(`Shutting down: ${running} requests run, ${waiting} wait`);
      await delay(config.drainDelayMs);
      launcher.closeGate();
      const isInTime = await Promise.race([
        Promise.all([main.shut(), rpc?.shut()]).then(() => true),
        delay(config.drainTimeoutMs, false, { ref: false }), // must not keep a program alive that is done
      ]);
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

/** Who brings models up, where they are registered, and where it is written down; before anybody watches. */
function openOffice(config: Config, log: Log) {
  const models = createModels();
  const metrics = createMetrics(metricsOptions(config, log));
  const launcher = createLauncher({
    config,
    models,
    metrics,
    log,
    drawDownload: createProgressLine(),
  });
  const snapshots = hasSnapshots(config)
    ? createSnapshots({ config, models, launcher, log })
    : undefined;
  return { models, metrics, launcher, snapshots };
}

/** In the original's manner only what is declared is shown, unless told otherwise. */
function metricsOptions(config: Config, log: Log): TorchServeMetricsOptions {
  const { metricsConfig, metricsMode, modelMetricsAutoDetect, compat, cwd } = config;
  return {
    declared: metricsConfig === undefined ? [] : declaredMetrics(),
    detects: compat !== "torchserve" || modelMetricsAutoDetect,
    ...(metricsMode !== "prometheus" && { writeLine: (line: string) => log.info(line) }),
    warn: (text) => log.warn(text),
  };

  /** A `config.properties` of another machine may name a file of that machine: no reason to serve nothing. */
  function declaredMetrics(): readonly DeclaredMetric[] {
    try {
      return readMetricsConfig(resolvePath(cwd, metricsConfig ?? ""));
    } catch (error) {
      if (config.origins.metricsConfig.startsWith("--")) throw error;
      log.warn(`${messageOf(error)}; metrics of handlers are shown as they come`);
      return [];
    }
  }
}

/** Which ports there are besides the main one. */
interface Ports {
  readonly management: number | undefined;
  readonly metrics: number | undefined;
  /** Whether the main port is the management port too, as TorchServe has it where both addresses are one. */
  readonly isShared: boolean;
}

/** TorchServe's own ports where its users' options say that they are wanted, unless told otherwise. */
function portsOf(config: Config): Ports {
  const isWanted = config.modelStore !== undefined || config.enableModelApi;
  const portOf = (given: number | "off" | undefined, usual: number): number | undefined =>
    given === "off" ? undefined : (given ?? (isWanted ? usual : undefined));
  const management = portOf(config.managementPort, MANAGEMENT_PORT);
  return {
    management,
    metrics: portOf(config.metricsPort, METRICS_PORT),
    isShared: management !== undefined && management !== 0 && management === config.port,
  };
}

/** @returns `undefined` where no port asks for a key. */
async function createKeys(config: Config, ports: Ports): Promise<TokenAuthority | undefined> {
  const isManaged = ports.management !== undefined && !config.disableTokenAuth;
  if (!isManaged && !config.tokenAuth) return undefined;
  assertOwnPlace(config.keyFile);
  return createTokenAuthority({
    file: resolvePath(config.cwd, config.keyFile),
    expirationMs: config.tokenExpirationMs,
    isCompat: config.compat === "torchserve",
  });
}

/** @throws RuntimeError where a file would lie in this user's temporary folder, and that is not this user's. */
function assertOwnPlace(path: string): void {
  if (path.startsWith(temporaryPath())) temporaryFolder();
}

interface Gates {
  readonly main: Gate;
  /** The main one where both are one. */
  readonly management: Gate | undefined;
  readonly further: Gate | undefined;
  readonly rpc: GrpcGate | undefined;
  /** Those of HTTP. */
  readonly all: readonly Gate[];
}

/** All of them, or none. */
async function openGates(house: House, ports: Ports): Promise<Gates> {
  const { config } = house;
  const all: Gate[] = [];
  const open = async (place: Place, fetch: Fetch): Promise<Gate> => {
    const gate = await openGate(place, fetch, { ...config, warn: (text) => house.log.warn(text) });
    all.push(gate);
    return gate;
  };
  const inference = createFace(house);
  const management = ports.management === undefined ? undefined : createManagementFace(house);
  const shared: Fetch = (request, env) =>
    management !== undefined && isManagementPath(new URL(request.url).pathname)
      ? management(request, env)
      : inference(request, env);
  try {
    const { host, port, managementHost, metricsHost } = config;
    const main = await open(
      { host, port, hostFlag: "--host", portFlag: "--port" },
      ports.isShared ? shared : inference,
    );
    return {
      main,
      management:
        management === undefined || ports.management === undefined || ports.isShared
          ? management && main
          : await open(
              {
                host: managementHost,
                port: ports.management,
                hostFlag: "--management-host",
                portFlag: "--management-port",
              },
              management,
            ),
      further:
        ports.metrics === undefined
          ? undefined
          : await open(
              {
                host: metricsHost,
                port: ports.metrics,
                hostFlag: "--metrics-host",
                portFlag: "--metrics-port",
              },
              createMetricsFace(house),
            ),
      rpc: await openRpc(house),
      all,
    };
  } catch (error) {
    await Promise.all(all.map(async (gate) => gate.close()));
    throw error;
  }
}

/** Only where it is wanted is anything of gRPC loaded. */
async function openRpc({
  config,
  tokens,
  launcher,
  ...house
}: House): Promise<GrpcGate | undefined> {
  const { grpcPort: port } = config;
  if (port === undefined || port === "off") return undefined;
  const { openGrpcGate } = await import("./grpc/server.ts");
  const host = config.grpcHost ?? config.host;
  return openGrpcGate({
    ...house,
    host,
    port,
    tokens: config.tokenAuth ? tokens : undefined,
    repository: repositoryRights({ ...config, host }, launcher, tokens),
    maxMessageBytes: config.maxGrpcMessageBytes ?? config.maxBodyBytes,
    requestTimeoutMs: config.requestTimeoutMs,
    accessLog: config.accessLog,
    version: VERSION,
  });
}

function createFace({ config, tokens, launcher, ...house }: House): Fetch {
  const app = createApp({
    ...house,
    repository: repositoryRights(config, launcher, tokens),
    dialect: config.dialect,
    compat: config.compat,
    maxBodyBytes: config.maxBodyBytes,
    requestTimeoutMs: config.requestTimeoutMs,
    version: VERSION,
    tokens: config.tokenAuth ? tokens : undefined,
    cors: config,
    hasPlayground: !config.noPlayground,
    accessLog: config.accessLog,
  });
  return (request, env) => app.fetch(request, env);
}

/**
 * Who may load and unload models over the main port: whoever holds the management key. Without keys nobody, unless that
 * port is as hard to reach as the management port, which then asks for none either.
 */
function repositoryRights(
  { enableModelApi, disableTokenAuth, host, managementHost }: Config,
  launcher: Launcher,
  tokens: TokenAuthority | undefined,
): RepositoryRights | undefined {
  if (!enableModelApi) return undefined;
  const isAsClosed = host === managementHost || ["127.0.0.1", "::1", "localhost"].includes(host);
  if (disableTokenAuth && isAsClosed) return { launcher };
  return tokens && { launcher, tokens };
}

function createManagementFace({ config, tokens, ...house }: House): Fetch {
  const app = createManagementApp({
    ...house,
    tokens: config.disableTokenAuth ? undefined : tokens,
    isModelApiEnabled: config.enableModelApi,
    accessLog: config.accessLog,
    manner: config.compat === "torchserve" ? "original" : "mended",
    version: VERSION,
  });
  return (request, env) => app.fetch(request, env);
}

function createMetricsFace({ models, metrics, apiKeys, ResponseClass, log }: House): Fetch {
  const app = createMetricsApp({ models, metrics, apiKeys, ResponseClass, log });
  return (request, env) => app.fetch(request, env);
}

function describeManagement(config: Config, url: string): string {
  const keys = config.disableTokenAuth
    ? "open to whoever reaches it (--disable-token-auth)"
    : `keys in ${resolvePath(config.cwd, config.keyFile)}`;
  const models = config.enableModelApi
    ? ""
    : "; models cannot be registered or removed without --enable-model-api";
  return `Management on ${url}, ${keys}${models}`;
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

/** A command that works when pasted, with inputs that fit the task. */
function exampleFor({ name, description }: Model, url: string, needsKey: boolean): string {
  const key = needsKey ? ` -H "Authorization: Bearer $HUBSERVE_API_KEY"` : "";
  const isBareGraph = description?.signature !== undefined && description.task === undefined;
  if (isBareGraph) return `curl ${url}/v2/models/${encodeURIComponent(name)}${key}`; // which says what tensors it takes
  const body = JSON.stringify(
    description?.example ?? { inputs: "I am quite excited how this will turn out" },
  ).replaceAll("'", "'\\''"); // as a shell reads it
  return `curl ${url}${key} -H 'Content-Type: application/json' -d '${body}'`;
}
