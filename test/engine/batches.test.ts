/** The engine with a model that takes batches: who goes together, lists, failures. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createEngine, type Engine, type EngineOptions } from "../../runtime/engine/engine.ts";
import type { Batching, InferenceResult } from "../../runtime/inference.ts";
import type { ToWorker } from "../../runtime/messages.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { fakeWorkers, settle, type FakeWorker } from "../support/fake-worker.ts";

const BATCHES: Batching = { kind: "batch", concurrency: 1, splitsLists: true };

interface Scene {
  readonly engine: Engine;
  readonly worker: FakeWorker;
  readonly ask: (
    inputs: unknown,
    waiting?: { signal?: AbortSignal; deadlineAtMs?: number },
  ) => Promise<InferenceResult>;
}

async function startEngine(
  batching: Batching = BATCHES,
  options: Partial<EngineOptions> = {},
): Promise<Scene> {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 100,
    startWorker: start,
    log: silentLog(),
    ...options,
  });
  const started = engine.start();
  const [worker] = workers;
  assert.ok(worker);
  await worker.ready(batching);
  await started;
  return {
    engine,
    worker,
    ask: (inputs, { signal = new AbortController().signal, deadlineAtMs = Infinity } = {}) =>
      engine.submit(
        { id: "r", kind: "predict", data: { inputs }, headers: {} },
        { signal, deadlineAtMs },
      ),
  };
}

/** The job numbers of each batch that was sent. */
function batchesOf({ sent }: FakeWorker): number[][] {
  return sent.flatMap((message) =>
    message.type === "predict" ? [message.jobs.map(({ jobId }) => jobId)] : [],
  );
}

function inputsOf({ sent }: FakeWorker): unknown[] {
  return sent.flatMap((message: ToWorker) =>
    message.type === "predict" ? message.jobs.map(({ request }) => request.data["inputs"]) : [],
  );
}

function answer(worker: FakeWorker, ...jobIds: readonly number[]): void {
  worker.says({
    type: "results",
    answers: jobIds.map((jobId) => ({
      jobId,
      result: { kind: "json", value: [`answer ${jobId}`] },
      inferenceMs: 1,
    })),
    passes: [],
  });
}

const SHORT = "x".repeat(20);
const LONG = "x".repeat(400);

test("an idle worker takes what is there at once; what comes meanwhile goes together by length", async () => {
  const { ask, worker } = await startEngine();
  const pending = [ask(SHORT), ask(LONG), ask(SHORT), ask(LONG), ask(SHORT)];
  await settle();
  assert.deepEqual(batchesOf(worker), [[1]]);
  answer(worker, 1);
  await settle();
  assert.deepEqual(batchesOf(worker), [[1], [2, 4]], "the oldest anchors the batch, its like join");
  answer(worker, 2, 4);
  await settle();
  assert.deepEqual(batchesOf(worker), [[1], [2, 4], [3, 5]]);
  answer(worker, 3, 5);
  await Promise.all(pending);
});

test("a batch's members are answered as they become known, and its worker is idle after the last", async () => {
  const { ask, worker, engine } = await startEngine();
  const first = ask(SHORT);
  const [second, third] = [ask(SHORT), ask(SHORT)];
  await settle();
  answer(worker, 1);
  await first;
  assert.deepEqual(batchesOf(worker).at(-1), [2, 3]);
  answer(worker, 3);
  assert.deepEqual((await third).output, { kind: "json", value: ["answer 3"] });
  const fourth = ask(SHORT);
  await settle();
  assert.equal(engine.waiting, 1);
  answer(worker, 2);
  await second;
  assert.deepEqual(batchesOf(worker).at(-1), [4]);
  answer(worker, 4);
  await fourth;
});

test("a batch size of 1 means no batching", async () => {
  const { ask, worker } = await startEngine(BATCHES, { maxBatchSize: 1 });
  const pending = [ask(SHORT), ask(SHORT), ask(SHORT)];
  for (const id of [1, 2, 3]) {
    await settle();
    assert.deepEqual(batchesOf(worker).at(-1), [id]);
    answer(worker, id);
  }
  await Promise.all(pending);
});

test("a handler that takes several requests one by one gets as many as it says, each in a message of its own", async () => {
  const { ask, worker } = await startEngine({ kind: "single", concurrency: 2, splitsLists: false });
  const pending = [ask(SHORT), ask(SHORT), ask(SHORT)];
  await settle();
  assert.deepEqual(batchesOf(worker), [[1], [2]]);
  answer(worker, 2);
  await settle();
  assert.deepEqual(batchesOf(worker), [[1], [2], [3]]);
  answer(worker, 1, 3);
  await Promise.all(pending);
});

test("a list goes as that many requests and is joined in order, whatever the order of the answers", async () => {
  const { ask, worker, engine } = await startEngine();
  const list = ask([SHORT, LONG, SHORT]);
  await settle();
  assert.equal(engine.waiting + engine.running, 3);
  assert.deepEqual(inputsOf(worker), [[SHORT], [SHORT]]);
  answer(worker, 3, 1);
  await settle();
  assert.deepEqual(inputsOf(worker).at(-1), [LONG]);
  answer(worker, 2);
  assert.deepEqual((await list).output, {
    kind: "json",
    value: ["answer 1", "answer 2", "answer 3"],
  });
});

test("single requests that come behind a list share batches with its parts", async () => {
  const { ask, worker } = await startEngine();
  const busy = ask(LONG);
  const list = ask([SHORT, SHORT]);
  const single = ask(SHORT);
  await settle();
  answer(worker, 1);
  await settle();
  assert.deepEqual(batchesOf(worker).at(-1), [2, 3, 4]);
  answer(worker, 2, 3, 4);
  await Promise.all([busy, list, single]);
});

test("a list takes one place in the queue, and its parts leave together when one of them fails", async () => {
  const { ask, worker, engine } = await startEngine(BATCHES, { jobQueueSize: 2, maxBatchSize: 1 });
  const busy = ask(LONG);
  const list = assert.rejects(ask([SHORT, SHORT, SHORT, SHORT]), { message: "Cannot classify" });
  const single = ask(LONG);
  await assert.rejects(ask(SHORT), { code: "QUEUE_FULL" });
  answer(worker, 1);
  await settle();
  const error = { code: "INVALID_INPUT", message: "Cannot classify" } as const;
  worker.says({
    type: "results",
    answers: [{ jobId: 2, result: { kind: "error", error }, inferenceMs: 1 }],
    passes: [],
  });
  await list;
  await settle();
  assert.deepEqual(batchesOf(worker).at(-1), [6], "the other parts were not computed");
  assert.equal(engine.waiting, 0);
  answer(worker, 6);
  await Promise.all([busy, single]);
});

test("a client that leaves takes all parts of its list along", async () => {
  const { ask, engine } = await startEngine();
  const busy = ask(LONG);
  const client = new AbortController();
  const list = assert.rejects(ask([SHORT, SHORT], { signal: client.signal }), {
    code: "CANCELLED",
  });
  await settle();
  client.abort();
  await list;
  assert.equal(engine.waiting, 0);
  void busy;
});

test("a list of one, and a list for a model that does not split, go as they are", async () => {
  const split = await startEngine();
  void split.ask([SHORT]);
  const whole = await startEngine({ ...BATCHES, splitsLists: false });
  void whole.ask([SHORT, LONG]);
  await settle();
  assert.deepEqual(inputsOf(split.worker), [[SHORT]]);
  assert.deepEqual(inputsOf(whole.worker), [[SHORT, LONG]]);
});

test("what runs cost is learned from the workers' reports", async () => {
  const { ask, worker, engine } = await startEngine();
  for (let id = 1; id <= 200; id++) {
    const pending = ask(SHORT);
    await settle();
    worker.says({
      type: "results",
      answers: [{ jobId: id, result: { kind: "json", value: [] }, inferenceMs: 7, tokens: 12 }],
      passes: [{ items: 1, length: 12, tokens: 12, ms: 7 }],
    });
    await pending;
  }
  const { cost } = engine.batching;
  assert.equal(cost.passes, 200);
  assert.ok(
    Math.abs(cost.charactersPerToken - 2) < 0.01,
    "20 characters were 10 tokens and 2 special ones",
  );
});

test("a request that cannot make its deadline is refused early, with the reason", async () => {
  let nowMs = 0;
  const { ask, worker } = await startEngine(
    { kind: "single", concurrency: 1, splitsLists: false },
    { now: () => nowMs },
  );
  for (let id = 1; id <= 20; id++) {
    const pending = ask(SHORT);
    await settle();
    nowMs += 1000;
    worker.says({
      type: "results",
      answers: [{ jobId: id, result: { kind: "json", value: 1 }, inferenceMs: 1000 }],
      passes: [],
    });
    await pending;
  }
  nowMs = 500;
  const [running, waiting] = [ask(SHORT), ask(SHORT)];
  await assert.rejects(ask(SHORT, { deadlineAtMs: 1200 }), {
    code: "DEADLINE_EXCEEDED",
    message: "Cannot answer the request in time: it would wait about 1000 ms and has 700 ms",
  });
  const patient = ask(SHORT, { deadlineAtMs: 5000 });
  for (const id of [21, 22, 23]) {
    await settle();
    answer(worker, id);
  }
  await Promise.all([running, waiting, patient]);
});
