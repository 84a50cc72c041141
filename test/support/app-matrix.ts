/**
 * Runs an HTTP test twice: in process, where a request is an object, and over a socket, where it is bytes.
 */
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createAdaptorServer } from "@hono/node-server";
import type { Engine, Waiting } from "../../runtime/engine/engine.ts";
import { createCostModel } from "../../runtime/engine/cost-model.ts";
import { createModels, type Models } from "../../runtime/engine/models.ts";
import { createApp, type AppOptions } from "../../runtime/http/app.ts";
import {
  ONE_BY_ONE,
  type InferenceOutput,
  type InferenceRequest,
  type ModelDescription,
} from "../../runtime/inference.ts";
import { lightResponse } from "../../runtime/serve.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { silentLog } from "../../runtime/observe/log.ts";

export type Answer = (
  request: InferenceRequest,
  waiting: Waiting,
) => InferenceOutput | Promise<InferenceOutput>;

export interface Door {
  readonly request: (path: string, init?: RequestInit) => Promise<Response>;
}

export interface DoorOptions extends Partial<AppOptions> {
  /** What the model answers; echoes the request's data by default. */
  readonly answer?: Answer;
  readonly description?: Partial<ModelDescription>;
}

/** A test named twice, once for each way in. */
export function testDoor(
  name: string,
  options: DoorOptions,
  run: (door: Door) => Promise<void>,
): void {
  test(`${name} (in process)`, async () => {
    const app = createTestApp(options);
    await run({ request: async (path, init) => app.request(path, init) });
  });
  test(`${name} (over a socket)`, async () => {
    await using door = await openSocketDoor(options);
    await run(door);
  });
}

/** The app behind a real server on a free port. */
export async function openSocketDoor(
  options: DoorOptions,
): Promise<Door & AsyncDisposable & { readonly url: string }> {
  const server = createAdaptorServer({
    fetch: createTestApp({ ...options, ResponseClass: lightResponse() }).fetch,
    overrideGlobalObjects: false,
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    request: (path, init) => fetch(`${url}${path}`, init),
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function createTestApp({
  answer,
  description,
  ...options
}: DoorOptions): ReturnType<typeof createApp> {
  return createApp({
    models: readyModels(answer, description),
    metrics: createMetrics(),
    dialect: "auto",
    maxBodyBytes: 10_000,
    requestTimeoutMs: 10_000,
    version: "0.0.0",
    log: silentLog(),
    ...options,
  });
}

/** A register with one ready model whose engine is `answer`. */
export function readyModels(
  answer: Answer = echo,
  description: Partial<ModelDescription> = {},
): Models {
  const models = createModels();
  const engine: Engine = {
    state: "ready",
    waiting: 0,
    running: 0,
    workers: { ready: 1, starting: 0 },
    workerList: [],
    limits: {
      minWorkers: 1,
      maxWorkers: 1,
      jobQueueSize: 100,
      maxBatchSize: 1,
      maxBatchDelayMs: 0,
    },
    scale: () => undefined,
    batching: { ...ONE_BY_ONE, cost: createCostModel().snapshot() },
    startParts: {},
    now: () => performance.now(),
    start: () => Promise.reject(new TypeError("already started")),
    submit: async (request, waiting) => ({
      output: await answer(request, waiting),
      timings: { queueMs: 1.5, inferenceMs: 2.5 },
    }),
    closeGate: () => undefined,
    handOver: () => undefined,
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  models.register("owner/name").started(
    {
      engine,
      description: { handler: "custom", handlerFile: "handler.ts", notes: [], ...description },
    },
    { revision: "abc123" },
  );
  return models;
}

const echo: Answer = ({ data, media }) => ({
  kind: "json",
  // Proof of the cast: tests send JSON.
  value: {
    data,
    ...(media && { contentType: media.contentType, size: media.bytes.byteLength }),
  } as never,
});

/** A JSON request. */
export function post(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
}
