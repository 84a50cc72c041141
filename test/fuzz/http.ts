/**
 * Every route of every port, in process: requests that were real, and what is left of them.
 */
import { createModels } from "../../runtime/engine/models.ts";
import { createApp } from "../../runtime/http/app.ts";
import { createManagementApp } from "../../runtime/http/management-app.ts";
import { createMetricsApp } from "../../runtime/http/metrics-app.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import type { Log } from "../../runtime/observe/log.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createFakeLauncher } from "../support/fake-launcher.ts";
import { FAKE_MODELS, registerFakes } from "./fake-models.ts";
import { INFERENCE_SEEDS, MANAGEMENT_SEEDS, METRICS_SEEDS, seedsOfRoutes } from "./http-seeds.ts";
import { judge, voiceOf, type Voice } from "./oracle.ts";
import {
  makeRequest,
  showRequest,
  toGrammar,
  type FuzzedRequest,
  type SeedRequest,
} from "./request.ts";
import { asDefect, plainRecipes, type Session, type Target } from "./target.ts";

/** A log that is silent, but for what the server says of mistakes of its own. */
export interface Ear {
  readonly log: Log;
  readonly heard: unknown[];
}

export function listen(): Ear {
  const heard: unknown[] = [];
  const silent = silentLog();
  const log: Log = {
    ...silent,
    child: () => log,
    error: (_text, fields) => void heard.push(fields?.["error"]),
  };
  return { log, heard };
}

export interface AppUnderTest {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  readonly routes: readonly { readonly method: string; readonly path: string }[];
}

export interface AppTargetOptions {
  readonly name: string;
  readonly create: (log: Log) => AppUnderTest;
  readonly seeds: readonly SeedRequest[];
  readonly voiceOf: (path: string) => Voice | undefined;
  readonly permits?: readonly number[];
  readonly bare?: number;
  /** Makes a new app after so many requests, where requests change what it serves. */
  readonly renewsAfter?: number;
  /** A request that must be answered with a 200 at the end. */
  readonly normal: SeedRequest;
}

export function appTarget(options: AppTargetOptions): Target {
  return { name: options.name, open: () => Promise.resolve(openApp(options)) };
}

function openApp({
  create,
  seeds: own,
  voiceOf: voice,
  permits,
  bare,
  renewsAfter,
  normal,
}: AppTargetOptions): Session {
  const { log, heard } = listen();
  let app = create(log);
  let asked = 0;
  const seeds = [...own, ...seedsOfRoutes(app.routes)];
  const grammar = toGrammar(seeds);

  return {
    first: plainRecipes(seeds.length),
    show: (recipe) => showRequest(makeRequest(recipe, grammar)),
    async run(recipe) {
      if (renewsAfter !== undefined && ++asked % renewsAfter === 0) app = create(log);
      const made = makeRequest(recipe, grammar);
      const request = toRequest(made);
      if (request === undefined) return "unsendable";
      heard.length = 0;
      // Every other client of a stream leaves after its first piece.
      const leaves = recipe.steps.length % 2 === 1;
      const response = await app.fetch(request);
      const body = await readSome(response, leaves);
      const [mistake] = heard;
      if (mistake !== undefined) throw asDefect(mistake);
      return judge(
        { status: response.status, headers: response.headers, body: body ?? new Uint8Array() },
        {
          method: body === undefined ? "HEAD" : made.method,
          voice: made.isPathKept ? voice(made.path) : undefined,
          sent: Buffer.from(showRequest(made)).toString("utf8"),
          ...(permits !== undefined && { permits }),
          ...(bare !== undefined && { bare }),
        },
      );
    },
    async assertHealthy() {
      const request = toRequest(makeRequest({ seed: 0, steps: [] }, toGrammar([normal])));
      if (request === undefined) throw new TypeError("the normal request cannot be sent");
      const response = await create(log).fetch(request);
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      const strays = Object.keys(Object.prototype);
      if (strays.length > 0) throw new Error(`a prototype was touched: ${strays.join(", ")}`);
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** What a client can send at all; other requests are the raw socket's affair. */
function toRequest({ method, path, headers, body }: FuzzedRequest): Request | undefined {
  try {
    const sent = new Headers();
    for (const [name, value] of headers) sent.append(name, value);
    return new Request(`http://localhost${path}`, {
      method,
      headers: sent,
      ...(body !== undefined && { body: body as BodyInit }),
    });
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** @returns `undefined` where the client has left. */
async function readSome(response: Response, leaves: boolean): Promise<Uint8Array | undefined> {
  const isStream = /event-stream|ndjson/.test(response.headers.get("content-type") ?? "");
  if (!leaves || !isStream || response.body === null)
    return new Uint8Array(await response.arrayBuffer());
  const reader = response.body.getReader();
  await reader.read();
  await reader.cancel();
  return undefined;
}

/** What the management port's launcher finds. */
const STORE = {
  "echo.mar": { name: "echo", version: "1.0" },
  "echo_v2.mar": { name: "echo", version: "2.0" },
  "other.mar": { name: "other" },
};

function createInference(first: string, compat?: "torchserve") {
  return (log: Log): AppUnderTest => {
    const models = registerFakes(first);
    return createApp({
      models,
      metrics: createMetrics(),
      dialect: "auto",
      compat,
      maxBodyBytes: 200_000,
      requestTimeoutMs: 10_000,
      version: "0.0.0",
      hasPlayground: true,
      cors: {
        corsAllowedOrigin: "http://a",
        corsAllowedMethods: "GET, POST",
        corsAllowedHeaders: "X-A",
      },
      log,
    });
  };
}

function createManagement(manner: "mended" | "original") {
  return (log: Log): AppUnderTest => {
    const models = createModels();
    const launcher = createFakeLauncher({ models, store: STORE });
    for (const version of ["1.0", "2.0"])
      launcher.launch({
        name: "echo",
        version,
        origin: "echo.mar",
        settings: { minWorkers: 1, maxWorkers: 1 },
      });
    return createManagementApp({
      models,
      launcher,
      metrics: createMetrics(),
      isModelApiEnabled: true,
      manner,
      version: "0.0.0",
      removalTimeoutMs: 5000,
      log,
    });
  };
}

const NORMAL: SeedRequest = { method: "GET", path: "/health" };

export const HTTP_TARGETS: readonly Target[] = [
  ...FAKE_MODELS.filter(({ name }) => name !== "owner/name").map(({ name }) =>
    appTarget({
      name: `http ${name}`,
      create: createInference(name),
      seeds: INFERENCE_SEEDS,
      voiceOf,
      normal: NORMAL,
    }),
  ),
  appTarget({
    name: "http compat",
    create: createInference("classify", "torchserve"),
    seeds: INFERENCE_SEEDS,
    voiceOf: (path) => voiceOf(path, true),
    bare: 413, // as Netty answers
    normal: { method: "GET", path: "/ping" },
  }),
  ...(["mended", "original"] as const).map((manner) =>
    appTarget({
      name: `management ${manner}`,
      create: createManagement(manner),
      seeds: MANAGEMENT_SEEDS,
      voiceOf: () => "torchserve",
      // In the original's manner a model that is there already is the server's fault.
      permits: manner === "original" ? [500] : [],
      renewsAfter: 40,
      normal: { method: "GET", path: "/models/echo" },
    }),
  ),
  appTarget({
    name: "metrics port",
    create: (log) =>
      createMetricsApp({ models: registerFakes("custom"), metrics: createMetrics(), log }),
    seeds: METRICS_SEEDS,
    voiceOf: () => "metrics",
    normal: { method: "GET", path: "/metrics" },
  }),
];
