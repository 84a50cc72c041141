import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseWorkers, type WorkerSituation } from "../../runtime/engine/worker-count.ts";

const GIB = 1024 ** 3;

/** Nobody says anything, and there is memory. */
const UNSAID: WorkerSituation = {
  cpus: 2,
  memoryBytes: 32 * GIB,
  weightsBytes: 0.025 * GIB,
  workers: undefined,
  minWorkers: undefined,
  maxWorkers: undefined,
  threads: undefined,
};

const PLANS: readonly [
  sentence: string,
  change: Partial<WorkerSituation>,
  plan: string, // fewest-most × threads
][] = [
  ["takes one worker with one thread on a part of a CPU", { cpus: 0.5 }, "1-1x1"],
  ["leaves the fraction of a quota alone", { cpus: 1.5 }, "1-1x1"],
  ["takes workers before threads on two CPUs", {}, "2-2x1"],
  ["takes workers before threads on three and a half", { cpus: 3.5 }, "3-3x1"],
  ["makes threads of the CPUs beyond four", { cpus: 8 }, "4-4x2"],
  ["does so for many", { cpus: 64 }, "4-4x16"],
  ["takes as many as the memory holds", { memoryBytes: 1.5 * GIB }, "2-2x1"],
  ["takes one where the memory holds no second", { memoryBytes: GIB }, "1-1x1"],
  ["takes one where even that is doubtful", { memoryBytes: GIB / 8 }, "1-1x1"],
  [
    "gives a big model's one worker all CPUs but one",
    { cpus: 8, memoryBytes: 16 * GIB, weightsBytes: 3 * GIB },
    "1-1x7",
  ],
  [
    "takes one where a handler brings a model of unknown size",
    { cpus: 8, weightsBytes: undefined },
    "1-1x7",
  ],
  ["takes the workers that were asked for", { workers: 6 }, "6-6x1"],
  ["shares the CPUs among them", { workers: 2, cpus: 8 }, "2-2x4"],
  ["takes the threads that were asked for", { threads: 3 }, "1-1x3"],
  ["fills the CPUs with workers of so many threads", { threads: 4, cpus: 16 }, "4-4x4"],
  ["takes both as asked", { workers: 3, threads: 5 }, "3-3x5"],
  ["takes both bounds as asked", { minWorkers: 1, maxWorkers: 6, cpus: 12 }, "1-6x2"],
  ["takes --workers for the bound that is missing below", { workers: 2, maxWorkers: 4 }, "2-4x1"],
  ["takes --workers for the bound that is missing above", { workers: 4, minWorkers: 1 }, "1-4x1"],
  ["begins below a maximum that was asked for", { maxWorkers: 8 }, "2-8x1"],
  ["begins at a maximum below the usual", { maxWorkers: 1 }, "1-1x1"],
  ["ends above a minimum that was asked for", { minWorkers: 1 }, "1-2x1"],
  ["ends at a minimum above the usual", { minWorkers: 5 }, "5-5x1"],
];

for (const [sentence, change, wanted] of PLANS) {
  test(`chooseWorkers() ${sentence}`, () => {
    const { minWorkers, maxWorkers, threads } = chooseWorkers({ ...UNSAID, ...change });
    assert.equal(`${minWorkers}-${maxWorkers}x${threads}`, wanted);
  });
}

test("chooseWorkers() says what its numbers follow from", () => {
  assert.equal(chooseWorkers(UNSAID).why, "for 2 CPUs");
  assert.equal(chooseWorkers({ ...UNSAID, cpus: 1.25 }).why, "for 1.3 CPUs");
  assert.equal(chooseWorkers({ ...UNSAID, memoryBytes: GIB }).why, "more would not fit the memory");
  assert.equal(chooseWorkers({ ...UNSAID, workers: 1 }).why, "as asked for");
});

test("chooseWorkers() never uses more threads than CPUs by itself, nor more than half of the memory", () => {
  for (const cpus of [0.1, 1, 1.9, 2, 3, 5, 7.5, 16, 96]) {
    for (const memoryBytes of [GIB / 4, 2 * GIB, 64 * GIB]) {
      for (const weightsBytes of [0, GIB / 10, 2 * GIB]) {
        const plan = chooseWorkers({ ...UNSAID, cpus, memoryBytes, weightsBytes });
        assert.ok(plan.minWorkers >= 1 && plan.minWorkers === plan.maxWorkers);
        assert.ok(plan.maxWorkers * plan.threads <= Math.max(1, cpus));
        assert.ok(plan.maxWorkers === 1 || plan.maxWorkers * weightsBytes <= memoryBytes / 2);
      }
    }
  }
});
