/** The pool as it grows, shrinks and replaces: what the decisions of scaling.ts do to real slots. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createEngine, type Engine } from "../../runtime/engine/engine.ts";
import { createLoadHistory } from "../../runtime/engine/load-history.ts";
import { ONE_BY_ONE } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { fakeWorkers, settle, type FakeWorker } from "../support/fake-worker.ts";

interface Scene {
  readonly engine: Engine;
  readonly workers: FakeWorker[];
  readonly ask: () => Promise<unknown>;
  /** Lets seconds pass, one by one. */
  readonly pass: (seconds: number) => Promise<void>;
}

async function startEngine(
  t: TestContext,
  options: { maxWorkers?: number; workerMaxRssBytes?: number },
): Promise<Scene> {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { start, workers } = fakeWorkers();
  let nowMs = 0;
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 1000,
    startWorker: start,
    log: silentLog(),
    now: () => nowMs,
    ...options,
  });
  const started = engine.start();
  await workers[0]!.ready(ONE_BY_ONE);
  await started;
  return {
    engine,
    workers,
    ask: () =>
      engine.submit(
        { id: "r", kind: "predict", data: { inputs: "a" }, headers: {} },
        { signal: new AbortController().signal, deadlineAtMs: Infinity },
      ),
    async pass(seconds) {
      for (let second = 0; second < seconds; second++) {
        nowMs += 1000;
        t.mock.timers.tick(1000);
        await settle();
      }
    },
  };
}

function answerAll(worker: FakeWorker): void {
  for (const jobId of worker.jobIds()) {
    worker.says({
      type: "results",
      answers: [{ jobId, result: { kind: "json", value: 1 }, inferenceMs: 500 }],
      passes: [],
    });
  }
}

test("workers come while requests wait longer than they run, up to the most, and go when they are spare", async (t) => {
  const { engine, workers, ask, pass } = await startEngine(t, { maxWorkers: 3 });
  const pending = Array.from({ length: 20 }, ask);
  await pass(20);
  assert.equal(workers.length, 2, "one more at first");
  await workers[1]!.ready(ONE_BY_ONE);
  await pass(20);
  assert.equal(workers.length, 3);
  await workers[2]!.ready(ONE_BY_ONE);
  await pass(60);
  assert.equal(workers.length, 3, "never beyond the most");
  for (let round = 0; round < 20; round++) {
    for (const worker of workers) answerAll(worker);
    await settle();
  }
  await Promise.all(pending);
  await pass(600);
  assert.equal(engine.state, "ready");
  const late = ask();
  await settle();
  const busy = workers.filter((worker) => worker.jobIds().length > 0);
  for (const worker of busy) answerAll(worker);
  await late;
  assert.equal(workers.length, 3, "no worker was started again");
  await engine.close();
});

test("without a range nothing is scaled", async (t) => {
  const { workers, ask, pass, engine } = await startEngine(t, {});
  const pending = Array.from({ length: 20 }, () => assert.rejects(ask(), { code: "NOT_READY" }));
  await pass(120);
  assert.equal(workers.length, 1);
  await engine.close();
  await Promise.all(pending);
});

test("a worker that has grown too large is replaced once it is idle, and its request is answered", async (t) => {
  const { engine, workers, ask } = await startEngine(t, { workerMaxRssBytes: 100e6 });
  const [first, second] = [ask(), ask()];
  await settle();
  workers[0]!.says({
    type: "results",
    answers: [{ jobId: 1, result: { kind: "json", value: 1 }, inferenceMs: 1 }],
    passes: [],
    rssBytes: 50e6,
  });
  await first;
  await settle();
  workers[0]!.says({
    type: "results",
    answers: [{ jobId: 2, result: { kind: "json", value: 2 }, inferenceMs: 1 }],
    passes: [],
    rssBytes: 150e6,
  });
  await second;
  await settle();
  assert.equal(workers.length, 2, "another one starts at once, without a pause");
  assert.equal(engine.state, "degraded");
  await workers[1]!.ready(ONE_BY_ONE);
  assert.equal(engine.state, "ready");
  await engine.close();
});

test("a load history forgets what is old, counts who still waits, and never lets go early", () => {
  const history = createLoadHistory(1000);
  assert.deepEqual(history.read(), { meanQueueMs: 0, allBusyLately: 0, allBusyShare: 1 });
  history.noteWait(100);
  history.noteWait(300);
  history.sample(true, [800]);
  assert.deepEqual(history.read().meanQueueMs, 400);
  assert.equal(history.read().allBusyLately, 1);
  for (let second = 0; second < 15; second++) history.sample(false, []);
  assert.equal(history.read().meanQueueMs, 0);
  assert.equal(history.read().allBusyLately, 0);
  for (let second = 0; second < 200; second++) history.sample(false, []);
  assert.equal(history.read().allBusyShare, 0);
});
