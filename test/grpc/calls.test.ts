/**
 * What every call passes: ids, keys, metrics, messages that cannot be read, deadlines and clients that leave.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";

import { createEngine, type Engine } from "../../runtime/engine/engine.ts";
import { createModels, type Models } from "../../runtime/engine/models.ts";
import { RuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { createTokenAuthority } from "../../runtime/http/token-auth.ts";
import type { InferenceRequest } from "../../runtime/inference.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { createLog, silentLog } from "../../runtime/observe/log.ts";
import { readyModels } from "../support/app-matrix.ts";
import { DESCRIPTION, fakeWorkers, settle, type FakeWorker } from "../support/fake-worker.ts";
import { createFakeLauncher } from "../support/fake-launcher.ts";
import { connect, openTestGate, refusal, texts } from "../support/grpc.ts";

const HELLO = { model_name: "owner/name", inputs: [texts("text", "hello")] };

test("a failure of the model is told as its code and its words", async () => {
  const codes: Partial<Record<ErrorCode, string>> = {
    INVALID_INPUT: "INVALID_ARGUMENT",
    QUEUE_FULL: "RESOURCE_EXHAUSTED",
    NOT_SUPPORTED: "UNIMPLEMENTED",
    HANDLER_FAILED: "INTERNAL",
  };
  for (const [code, status] of Object.entries(codes)) {
    const error = new RuntimeError(code as ErrorCode, "Cannot do it: quite “wrong”"); // its own keys
    await using gate = await openTestGate({ models: readyModels(() => Promise.reject(error)) });
    await using client = connect(gate.url);
    await assert.rejects(
      client.call("ModelInfer", HELLO),
      refusal(status as never, /^Cannot do it: quite “wrong”$/), // a name of a status
    );
  }
});

test("a mistake of ours is INTERNAL, told in the log and not to the client", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "error", format: "text", write: (line) => lines.push(line) });
  const models = readyModels(() => Promise.reject(new TypeError("secret is undefined")));
  await using gate = await openTestGate({ models, log });
  await using client = connect(gate.url);
  await assert.rejects(
    client.call("ModelInfer", HELLO),
    refusal("INTERNAL", /^Cannot answer the request: the server made a mistake$/),
  );
  assert.match(lines.join("\n"), /secret is undefined/);
});

test("an unknown model is NOT_FOUND, one that loads UNAVAILABLE", async () => {
  const models = readyModels();
  models.register("late").progress("Downloading owner/late");
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  await assert.rejects(
    client.call("ModelInfer", { ...HELLO, model_name: "other" }),
    refusal("NOT_FOUND", /the model "other": this server has "owner\/name", "late"/),
  );
  await assert.rejects(
    client.call("ModelInfer", { ...HELLO, model_version: "7" }),
    refusal("NOT_FOUND", /version 7 of the model "owner\/name": it has 1.0/),
  );
  await assert.rejects(
    client.call("ModelInfer", { ...HELLO, model_name: "late" }),
    refusal("UNAVAILABLE", /starting \(Downloading owner\/late\); try again after 1 s/),
  );
  await assert.rejects(
    client.call("ModelInfer", { ...HELLO, model_name: "" }),
    refusal("INVALID_ARGUMENT", /the name is empty, wanted one of "owner\/name", "late"/),
  );
  for (const method of ["ModelReady", "ModelMetadata"])
    await assert.rejects(client.call(method, { name: "other" }), refusal("NOT_FOUND", /"other"/));
});

test("the request's id and trace reach the handler, credentials do not; the id comes back", async () => {
  let seen: InferenceRequest | undefined;
  const models = readyModels((request) => ((seen = request), { kind: "json", value: 1 }));
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const sent = {
    "x-request-id": "trace-7",
    traceparent,
    authorization: "Bearer secret",
    cookie: "secret=1",
    "x-mine": "1",
  };
  const { metadata } = await client.call("ModelInfer", HELLO, { metadata: sent });
  assert.deepEqual(metadata.get("x-request-id"), ["trace-7"]);
  assert.equal(seen?.id, "trace-7");
  assert.equal(seen.headers["traceparent"], traceparent);
  assert.equal(seen.headers["x-mine"], "1");
  assert.doesNotMatch(JSON.stringify(seen.headers), /secret/);
});

test("an id that is none is not passed on: another is made, and failures have it too", async () => {
  await using gate = await openTestGate();
  await using client = connect(gate.url);
  const made = /^[\da-f]{8}-[\da-f-]{27}$/;
  const metadata = { "x-request-id": "two words" };
  const answered = await client.call("ServerLive", {}, { metadata });
  assert.match(String(answered.metadata.get("x-request-id")[0]), made);
  const refused = await client
    .call("ModelReady", { name: "other" }, { metadata })
    .catch((error: unknown) => error as ServiceError);
  assert.ok("code" in refused);
  assert.match(String(refused.metadata.get("x-request-id")[0]), made);
});

test("bytes that are no message are INVALID_ARGUMENT, not the server's fault", async () => {
  await using gate = await openTestGate();
  const client = new Client(gate.url, credentials.createInsecure());
  const call = new Promise((resolve, reject) => {
    const path = "/inference.GRPCInferenceService/ModelInfer";
    const send = (): Buffer => Buffer.from("2aff", "hex"); // a field that is longer than the message
    client.makeUnaryRequest(
      path,
      send,
      () => ({}),
      {},
      (error, value) => (error === null ? resolve(value) : reject(error)),
    );
  });
  await assert.rejects(call, refusal("INVALID_ARGUMENT", /^Cannot read the message/));
  client.close();
});

test("a message above the limit is RESOURCE_EXHAUSTED, and one below it is read", async () => {
  await using gate = await openTestGate({ maxMessageBytes: 10_000 });
  await using client = connect(gate.url);
  const large = (length: number): object => ({ inputs: [texts("text", "x".repeat(length))] });
  await client.call("ModelInfer", large(9000));
  await assert.rejects(
    client.call("ModelInfer", large(20_000)),
    refusal("RESOURCE_EXHAUSTED", /larger than max/),
  );
});

test("an unknown method is UNIMPLEMENTED", async () => {
  await using gate = await openTestGate();
  const client = new Client(gate.url, credentials.createInsecure());
  const call = new Promise((resolve, reject) => {
    const path = "/inference.GRPCInferenceService/ModelStatistics";
    client.makeUnaryRequest(
      path,
      () => Buffer.alloc(0),
      () => ({}),
      {},
      (error, value) => (error === null ? resolve(value) : reject(error)),
    );
  });
  await assert.rejects(call, refusal("UNIMPLEMENTED", /ModelStatistics/));
  client.close();
});

test("calls are counted by method and code, and logged", async () => {
  const metrics = createMetrics();
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "text", write: (line) => lines.push(line) });
  await using gate = await openTestGate({ metrics, log });
  await using client = connect(gate.url);
  await client.call("ModelInfer", HELLO);
  await client.call("ModelInfer", HELLO);
  await assert.rejects(client.call("ModelInfer", { ...HELLO, model_name: "other" }));
  const page = metrics.render([]);
  const labels = 'method="inference.GRPCInferenceService/ModelInfer"';
  assert.match(page, new RegExp(`hubserve_grpc_calls_total{${labels},code="OK"} 2`));
  assert.match(page, new RegExp(`hubserve_grpc_calls_total{${labels},code="NOT_FOUND"} 1`));
  assert.match(page, new RegExp(`hubserve_grpc_call_duration_seconds_count{${labels}} 3`));
  assert.match(lines.join("\n"), /gRPC inference.GRPCInferenceService\/ModelInfer NOT_FOUND in /);
});

test("with keys every method but health wants one; a wrong one is UNAUTHENTICATED", async () => {
  const folder = await mkdtemp(join(tmpdir(), "grpc-keys-"));
  const file = join(folder, "key_file.json");
  await using authority = await createTokenAuthority({ file, expirationMs: 60_000 });
  const models = readyModels();
  const keys = JSON.parse(await readFile(file, "utf8")) as Record<string, { key: string }>;
  await using gate = await openTestGate({
    models,
    tokens: authority,
    repository: { launcher: createFakeLauncher({ models, store: {} }), tokens: authority },
  });
  await using client = connect(gate.url, "ours");
  await using health = connect(gate.url, "health");
  const bearer = (key: string): object => ({ metadata: { authorization: `Bearer ${key}` } });

  await client.call("ServerLive");
  await client.call("ServerReady");
  await health.call("Check");
  for (const settings of [{}, bearer("nonsense"), bearer(keys["management"]!.key)])
    await assert.rejects(
      client.call("ModelInfer", HELLO, settings),
      refusal("UNAUTHENTICATED", /^Token Authorization failed/),
    );
  await client.call("ModelInfer", HELLO, bearer(keys["inference"]!.key));
  await client.call("RepositoryIndex", {}, bearer(keys["inference"]!.key));

  const change = { model_name: "other" };
  await assert.rejects(
    client.call("RepositoryModelLoad", change, bearer(keys["inference"]!.key)),
    refusal("UNAUTHENTICATED", /./),
  );
  await assert.rejects(
    client.call("RepositoryModelLoad", change, bearer(keys["management"]!.key)),
    refusal("NOT_FOUND", /"other/),
  );
});

interface Scene extends AsyncDisposable {
  readonly models: Models;
  readonly engine: Engine;
  readonly worker: FakeWorker;
}

/** A real engine whose one worker the test plays. */
async function startEngine(): Promise<Scene> {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 1,
    startWorker: start,
    log: silentLog(),
  });
  const started = engine.start();
  await workers[0]!.ready();
  await started;
  const models = createModels();
  models.register("owner/name").started({ engine, description: DESCRIPTION });
  return {
    models,
    engine,
    worker: workers[0]!,
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

/** Settles as soon as something is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await settle();
}

test("a client that leaves ends what waits, and aborts what runs", async () => {
  await using scene = await startEngine();
  const { models, engine, worker } = scene;
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  const [first, second] = [new AbortController(), new AbortController()];
  const running = client.call("ModelInfer", HELLO, { signal: first.signal });
  running.catch(() => undefined);
  await until(() => engine.running === 1);
  const waiting = client.call("ModelInfer", HELLO, { signal: second.signal });
  waiting.catch(() => undefined);
  await until(() => engine.waiting === 1);

  second.abort();
  await assert.rejects(waiting, refusal("CANCELLED", /./));
  await until(() => engine.waiting === 0);
  assert.deepEqual(worker.jobIds(), [1]); // nobody was given it

  first.abort();
  await assert.rejects(running, refusal("CANCELLED", /./));
  const isCancel = ({ type }: { readonly type: string }): boolean => type === "cancel";
  await until(() => worker.sent.some(isCancel));
  assert.deepEqual(worker.sent.find(isCancel), { type: "cancel", jobId: 1, reason: "client" });
});

test("the client's deadline ends its work, and the server's own is told alike", async () => {
  await using scene = await startEngine();
  const { models, engine, worker } = scene;
  const metrics = createMetrics();
  await using gate = await openTestGate({ models, metrics, requestTimeoutMs: 60_000 });
  await using client = connect(gate.url);
  await assert.rejects(
    client.call("ModelInfer", HELLO, { deadlineMs: 1000 }),
    refusal("DEADLINE_EXCEEDED", /./),
  );
  const isCancel = ({ type }: { readonly type: string }): boolean => type === "cancel";
  await until(() => worker.sent.some(isCancel));
  assert.deepEqual(worker.sent.find(isCancel), { type: "cancel", jobId: 1, reason: "deadline" });
  assert.equal(engine.waiting, 0);
  await until(() => /ModelInfer",code="DEADLINE_EXCEEDED"} 1/.test(metrics.render([])));

  await using strict = await openTestGate({ models, requestTimeoutMs: 50 });
  await using other = connect(strict.url);
  await assert.rejects(
    other.call("ModelInfer", HELLO),
    refusal("DEADLINE_EXCEEDED", /^Cannot answer/),
  );
});

test("a full queue is RESOURCE_EXHAUSTED", async () => {
  await using scene = await startEngine();
  const { models, engine } = scene;
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  const running = client.call("ModelInfer", HELLO);
  const isTold = assert.rejects(running, refusal("UNAVAILABLE", /shutting down/));
  await until(() => engine.running === 1);
  const waiting = client.call("ModelInfer", HELLO);
  const isToldToo = assert.rejects(waiting, refusal("UNAVAILABLE", /shutting down/));
  await until(() => engine.waiting === 1);
  await assert.rejects(
    client.call("ModelInfer", HELLO),
    refusal("RESOURCE_EXHAUSTED", /all 1 places in the queue are taken; try again after \d+ s$/),
  );
  await engine.close();
  await Promise.all([isTold, isToldToo]);
});
