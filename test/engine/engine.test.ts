import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createEngine, type Engine, type EngineOptions } from "../../runtime/engine/engine.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import type { InferenceRequest, InferenceResult } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { DESCRIPTION, fakeWorkers, settle, type FakeWorker } from "../support/fake-worker.ts";

interface Scene {
  engine: Engine;
  workers: FakeWorker[];
  /** The newest worker. */
  readonly worker: () => FakeWorker;
  readonly ask: (
    id?: string,
    signal?: AbortSignal,
    deadlineAtMs?: number,
  ) => Promise<InferenceResult>;
}

async function startEngine(options: Partial<EngineOptions> = {}): Promise<Scene> {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 2,
    startWorker: start,
    log: silentLog(),
    ...options,
  });
  const started = engine.start();
  for (const worker of workers) await worker.ready();
  assert.deepEqual(await started, DESCRIPTION);
  return {
    engine,
    workers,
    worker: () => workers.at(-1)!,
    ask: (id = "r", signal = new AbortController().signal, deadlineAtMs = Infinity) =>
      engine.submit(requestOf(id), { signal, deadlineAtMs }),
  };
}

function requestOf(id: string): InferenceRequest {
  return { id, kind: "predict", data: { inputs: id }, headers: {} };
}

function answer(worker: FakeWorker, jobId: number, value: string): void {
  worker.says({
    type: "results",
    answers: [{ jobId, result: { kind: "json", value }, inferenceMs: 5 }],
    passes: [],
  });
}

function useFakeTimers(t: TestContext): void {
  t.mock.timers.enable({ apis: ["setTimeout"] });
}

test("submit() answers with what the worker says, and with the time it took", async () => {
  const { ask, worker } = await startEngine();
  const pending = ask("hello");
  assert.deepEqual(worker().jobIds(), [1]);
  answer(worker(), 1, "hi");
  const { output, timings } = await pending;
  assert.deepEqual(output, { kind: "json", value: "hi" });
  assert.equal(timings.inferenceMs, 5);
  assert.ok(timings.queueMs >= 0);
});

test("submit() gives a worker one request at a time, oldest first", async () => {
  const { ask, worker, engine } = await startEngine();
  const pending = [ask("a"), ask("b"), ask("c")];
  assert.deepEqual(worker().jobIds(), [1]);
  assert.equal(engine.waiting, 2);
  answer(worker(), 1, "A");
  assert.deepEqual(worker().jobIds(), [1, 2]);
  answer(worker(), 2, "B");
  answer(worker(), 3, "C");
  assert.deepEqual(
    (await Promise.all(pending)).map(({ output }) => output),
    ["A", "B", "C"].map((value) => ({ kind: "json", value })),
  );
});

test("submit() refuses at once when every place in the queue is taken, and says when to come back", async () => {
  const { ask, worker } = await startEngine({ jobQueueSize: 2 });
  const pending = [ask(), ask(), ask()];
  await assert.rejects(
    ask(),
    (error: RuntimeError) => error.code === "QUEUE_FULL" && error.retryAfterMs !== undefined,
  );
  for (const id of [1, 2, 3]) answer(worker(), id, "ok");
  await Promise.all(pending);
  const later = ask();
  answer(worker(), 4, "ok");
  await later;
});

test("with no queue at all an idle worker still takes a request", async () => {
  const { ask, worker } = await startEngine({ jobQueueSize: 0 });
  const pending = ask();
  await assert.rejects(ask(), { code: "QUEUE_FULL" });
  answer(worker(), 1, "ok");
  await pending;
});

test("a client that leaves while it waits leaves the queue, and nobody computes for it", async () => {
  const { ask, worker, engine } = await startEngine();
  const first = ask("a");
  const client = new AbortController();
  const second = ask("b", client.signal);
  client.abort();
  await assert.rejects(second, { code: "CANCELLED" });
  assert.equal(engine.waiting, 0);
  answer(worker(), 1, "A");
  await first;
  assert.deepEqual(worker().jobIds(), [1]);
});

test("a client that leaves while a worker computes is forgotten, and the worker is told", async () => {
  const { ask, worker, engine } = await startEngine();
  const client = new AbortController();
  const pending = ask("a", client.signal);
  client.abort(new DOMException("late", "TimeoutError"));
  await assert.rejects(pending, { code: "DEADLINE_EXCEEDED" });
  assert.deepEqual(worker().sent.at(-1), { type: "cancel", jobId: 1, reason: "deadline" });
  assert.equal(engine.running, 1, "the worker is still busy with it");
  answer(worker(), 1, "nobody reads this");
  assert.equal(engine.running, 0);
});

test("a request whose signal has fired already is not admitted", async () => {
  const { ask, worker } = await startEngine();
  await assert.rejects(ask("a", AbortSignal.abort()), { code: "CANCELLED" });
  assert.deepEqual(worker().jobIds(), []);
});

test("the handler's error reaches the request that caused it, and the next one is served", async () => {
  const { ask, worker } = await startEngine();
  const bad = ask("bad");
  const good = ask("good");
  const error = {
    code: "HANDLER_FAILED",
    message: "Handler failed: boom",
    stack: "at handler.ts:3",
  } as const;
  worker().says({
    type: "results",
    answers: [{ jobId: 1, result: { kind: "error", error }, inferenceMs: 1 }],
    passes: [],
  });
  await assert.rejects(bad, { code: "HANDLER_FAILED", message: "Handler failed: boom" });
  answer(worker(), 2, "ok");
  await good;
});

test("the request of a dead worker is tried once more on the next one", async (t) => {
  const { ask, workers, worker, engine } = await startEngine();
  useFakeTimers(t);
  const pending = ask("a");
  await worker().dies();
  assert.equal(engine.state, "degraded");
  t.mock.timers.tick(100);
  assert.equal(workers.length, 2);
  await worker().ready();
  assert.equal(engine.state, "ready");
  assert.deepEqual(worker().jobIds(), [1]);
  answer(worker(), 1, "second try");
  assert.deepEqual((await pending).output, { kind: "json", value: "second try" });
});

test("a request that two workers died over fails with a sentence that says so, and the one behind it is served", async (t) => {
  const { ask, worker } = await startEngine();
  useFakeTimers(t);
  const killer = assert.rejects(ask("killer"), {
    code: "WORKER_DIED",
    message:
      "Cannot answer the request: it was tried on 2 workers and each of them died, the last with signal SIGSEGV",
  });
  const behind = ask("behind");
  await worker().dies();
  t.mock.timers.tick(100);
  await worker().ready();
  await worker().dies();
  await killer;
  t.mock.timers.tick(200);
  await worker().ready();
  answer(worker(), 2, "ok");
  await behind;
});

test("when workers cannot start any more the engine gives up and nothing hangs", async (t) => {
  const { ask, worker, engine } = await startEngine();
  useFakeTimers(t);
  const waiting = assert.rejects(ask(), { code: "NOT_READY" });
  for (let deaths = 0; deaths <= 12; deaths++) {
    await worker().dies("code 1");
    t.mock.timers.tick(30_000);
  }
  assert.equal(engine.state, "failed");
  await waiting;
  await assert.rejects(ask(), { code: "NOT_READY" });
});

test("requests that kill their workers, however many, never end the service", async (t) => {
  const { ask, worker, engine } = await startEngine();
  useFakeTimers(t);
  for (let killers = 0; killers < 20; killers++) {
    const killer = assert.rejects(ask("killer"), { code: "WORKER_DIED" });
    for (let tries = 0; tries < 2; tries++) {
      await worker().dies();
      t.mock.timers.tick(5000);
      await worker().ready();
    }
    await killer;
  }
  assert.equal(engine.state, "ready");
});

test("start() rejects with the handler's own reason when it cannot load, and does not try again", async () => {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 1,
    startWorker: start,
    log: silentLog(),
  });
  const started = assert.rejects(engine.start(), {
    code: "HANDLER_INVALID",
    message: "Cannot load handler.ts: no class",
  });
  await workers[0]!.fails(new RuntimeError("HANDLER_INVALID", "Cannot load handler.ts: no class"));
  await started;
  assert.equal(engine.state, "failed");
  assert.equal(workers.length, 1);
});

test("start() gives up after three workers that died while loading", async (t) => {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 1,
    startWorker: start,
    log: silentLog(),
  });
  useFakeTimers(t);
  const started = assert.rejects(engine.start(), { code: "WORKER_DIED" });
  for (let tries = 0; tries < 3; tries++) {
    await workers
      .at(-1)!
      .fails(new RuntimeError("WORKER_DIED", "Cannot load the model: the worker ended"));
    t.mock.timers.tick(1000);
  }
  await started;
  assert.equal(workers.length, 3);
});

test("two workers work at the same time", async () => {
  const { ask, workers } = await startEngine({ workers: 2 });
  const pending = [ask("a"), ask("b")];
  assert.deepEqual(
    workers.map((worker) => worker.jobIds()),
    [[1], [2]],
  );
  answer(workers[0]!, 1, "A");
  answer(workers[1]!, 2, "B");
  await Promise.all(pending);
});

test("a stream settles with its first word, keeps its worker busy, and ends", async () => {
  const { ask, worker, engine } = await startEngine();
  const pending = ask();
  worker().says({
    type: "results",
    answers: [{ jobId: 1, result: { kind: "stream" }, inferenceMs: 1 }],
    passes: [],
  });
  const { output } = await pending;
  assert.equal(output.kind, "stream");
  assert.equal(engine.running, 1);
  worker().says({ type: "chunk", jobId: 1, value: "one" });
  worker().says({ type: "chunk", jobId: 1, value: "two" });
  worker().says({ type: "end", jobId: 1 });
  assert.equal(engine.running, 0);
  const chunks: unknown[] = [];
  if (output.kind === "stream") for await (const chunk of output.chunks) chunks.push(chunk);
  assert.deepEqual(chunks, ["one", "two"]);
  assert.deepEqual(worker().sent.slice(-2), [
    { type: "credit", jobId: 1, chunks: 1 },
    { type: "credit", jobId: 1, chunks: 1 },
  ]);
});

test("a client that leaves in the middle of a stream stops the handler", async () => {
  const { ask, worker } = await startEngine();
  const client = new AbortController();
  const pending = ask("a", client.signal);
  worker().says({
    type: "results",
    answers: [{ jobId: 1, result: { kind: "stream" }, inferenceMs: 1 }],
    passes: [],
  });
  await pending;
  client.abort();
  assert.deepEqual(worker().sent.at(-1), { type: "cancel", jobId: 1, reason: "client" });
});

test("a stream whose deadline passes ends with that error, and one whose worker dies with that", async () => {
  const { ask, worker } = await startEngine({ workers: 1 });
  for (const [end, code] of [
    ["deadline", "DEADLINE_EXCEEDED"],
    ["death", "WORKER_DIED"],
  ] as const) {
    const client = new AbortController();
    const pending = ask("a", client.signal);
    const [jobId = 0] = worker().jobIds().slice(-1);
    worker().says({
      type: "results",
      answers: [{ jobId, result: { kind: "stream" }, inferenceMs: 1 }],
      passes: [],
    });
    const { output } = await pending;
    if (end === "deadline") {
      client.abort(new DOMException("late", "TimeoutError"));
      worker().says({ type: "end", jobId });
    } else await worker().dies();
    assert.ok(output.kind === "stream");
    await assert.rejects(
      async () => {
        for await (const _ of output.chunks) assert.fail("no chunk was sent");
      },
      { code },
    );
  }
});

test("a handler that still runs long after its deadline has its worker killed and replaced", async (t) => {
  const { ask, workers, worker } = await startEngine({ now: () => 1000 });
  useFakeTimers(t);
  const client = new AbortController();
  const pending = ask("hangs", client.signal, 1000);
  client.abort(new DOMException("late", "TimeoutError"));
  await assert.rejects(pending, { code: "DEADLINE_EXCEEDED" });
  const behind = ask("behind");
  t.mock.timers.tick(4999);
  assert.equal(worker().wasKilled(), false);
  t.mock.timers.tick(1);
  assert.equal(worker().wasKilled(), true);
  await settle();
  t.mock.timers.tick(100);
  assert.equal(workers.length, 2);
  await worker().ready();
  answer(worker(), 2, "ok");
  await behind;
});

test("close() fails what runs and what waits", async () => {
  const { ask, engine } = await startEngine();
  const running = assert.rejects(ask("b"), { code: "NOT_READY" });
  const waiting = assert.rejects(ask("c"), { code: "NOT_READY" });
  await engine.close();
  await Promise.all([running, waiting]);
  assert.equal(engine.state, "closed");
});
