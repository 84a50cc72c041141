/**
 * Of many requests that one worker answers at the same time, one may be what it dies over: the second try is made alone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createEngine } from "../../runtime/engine/engine.ts";
import type { Batching } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { fakeWorkers, settle } from "../support/fake-worker.ts";

const MANY: Batching = { kind: "single", concurrency: 8, splitsLists: false };

test("requests that a worker died over are tried again one by one, and only the one at fault fails", async (t) => {
  const { start, workers } = fakeWorkers();
  const engine = createEngine({
    workers: 1,
    jobQueueSize: 10,
    startWorker: start,
    now: () => 0,
    log: silentLog(),
  });
  const started = engine.start();
  await workers[0]?.ready(MANY);
  await started;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const ask = (inputs: string) =>
    engine.submit(
      { id: inputs, kind: "predict", data: { inputs }, headers: {} },
      { signal: new AbortController().signal, deadlineAtMs: Infinity },
    );
  const worker = () => workers.at(-1) ?? assert.fail();
  const answer = (jobId: number): void =>
    worker().says({
      type: "results",
      answers: [{ jobId, result: { kind: "json", value: jobId }, inferenceMs: 1 }],
      passes: [],
    });
  const restart = async (): Promise<void> => {
    t.mock.timers.tick(1000);
    await worker().ready(MANY);
  };

  const good = ask("good");
  const bad = assert.rejects(ask("bad"), { code: "WORKER_DIED" });
  const other = ask("other");
  assert.deepEqual(worker().jobIds(), [1, 2, 3]);
  await worker().dies();
  await restart();
  assert.deepEqual(worker().jobIds(), [1], "the first of them, alone");
  const late = ask("late");
  assert.deepEqual(worker().jobIds(), [1], "nobody joins it");
  answer(1);
  await good;
  assert.deepEqual(worker().jobIds(), [1, 2]);
  await worker().dies();
  await bad;
  await restart();
  assert.deepEqual(worker().jobIds(), [3]);
  answer(3);
  await other;
  await settle();
  assert.deepEqual(worker().jobIds(), [3, 4]);
  answer(4);
  await late;
  await engine.close();
});
