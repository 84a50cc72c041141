import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decideWorkers,
  LATELY_MS,
  SCALING_LIMITS,
  type ScalingLimits,
  type ScalingState,
} from "../../runtime/engine/scaling.ts";

const LIMITS: ScalingLimits = { ...SCALING_LIMITS, minWorkers: 1, maxWorkers: 8 };

/** Two workers that have worked for a long while, now and then both at once, with nobody waiting. */
const STEADY: ScalingState = {
  ready: 2,
  starting: 0,
  meanQueueMs: 5,
  meanRunMs: 20,
  allBusyLately: 1,
  allBusyShare: 0.3,
  sinceChangeMs: 3_600_000,
};

const DECISIONS: readonly [sentence: string, change: Partial<ScalingState>, target: number][] = [
  ["keeps what there is under a steady load", {}, 2],
  ["adds a worker when requests wait long", { meanQueueMs: 500 }, 3],
  ["does not answer a burst that passes", { meanQueueMs: 500, allBusyLately: 0.2 }, 2],
  ["adds half of what there is when there is much", { ready: 4, meanQueueMs: 500 }, 6],
  ["stops at the most", { ready: 7, meanQueueMs: 500 }, 8],
  ["waits for those that start", { starting: 1, meanQueueMs: 5000 }, 3],
  ["waits until the last change shows", { meanQueueMs: 500, sinceChangeMs: 1000 }, 2],
  ["lets one go after a long calm", { allBusyShare: 0.001 }, 1],
  [
    "does not call a wait long that is shorter than the work",
    { meanQueueMs: 500, meanRunMs: 2000 },
    2,
  ],
  ["keeps a worker that came a moment ago", { allBusyShare: 0, sinceChangeMs: 60_000 }, 2],
  ["stops at the fewest", { ready: 1, allBusyShare: 0 }, 1],
  ["replaces what is missing at once", { ready: 0, sinceChangeMs: 0 }, 1],
  ["lets go at once what is too much", { ready: 9, sinceChangeMs: 0, meanQueueMs: 500 }, 8],
];

for (const [sentence, change, target] of DECISIONS) {
  test(`decideWorkers() ${sentence}`, () => {
    assert.deepEqual(decideWorkers({ ...STEADY, ...change }, LIMITS), { target });
  });
}

test("decideWorkers() never leaves the bounds, whatever it sees", () => {
  const random = createRandom(1);
  for (let i = 0; i < 20_000; i++) {
    const minWorkers = 1 + Math.floor(random() * 8);
    const maxWorkers = minWorkers + Math.floor(random() * 8);
    const state: ScalingState = {
      ready: Math.floor(random() * 20),
      starting: Math.floor(random() * 4),
      meanQueueMs: random() * 1000,
      meanRunMs: random() * 1000,
      allBusyLately: random(),
      allBusyShare: random() ** 4,
      sinceChangeMs: random() * 400_000,
    };
    const { target } = decideWorkers(state, { ...LIMITS, minWorkers, maxWorkers });
    assert.ok(Number.isInteger(target) && target >= minWorkers && target <= maxWorkers);
  }
});

test("decideWorkers() keeps the number where both bounds are the same", () => {
  const limits = { ...LIMITS, minWorkers: 3, maxWorkers: 3 };
  for (const change of [{ meanQueueMs: 9999 }, { allBusyShare: 0 }]) {
    assert.deepEqual(decideWorkers({ ...STEADY, ready: 3, ...change }, limits), { target: 3 });
  }
});

const HOUR_MS = 3_600_000;

test("scaling does not flap under a steady load: a few changes in four hours, whatever the load", () => {
  for (const offered of [0.1, 0.2, 0.3, 0.95, 2.5, 5.5]) {
    const changes = simulate(4 * HOUR_MS, () => offered, 1);
    const late = changes.filter(({ atMs }) => atMs > HOUR_MS);
    assert.ok(late.length <= 6, `${offered} workers' work: ${JSON.stringify(late)}`);
  }
});

test("scaling reaches the most within a minute under overload", () => {
  const changes = simulate(HOUR_MS / 4, () => 20, 1);
  const full = changes.find(({ workers }) => workers === LIMITS.maxWorkers);
  assert.ok(full !== undefined && full.atMs < 60_000, JSON.stringify(changes));
  assert.equal(changes.at(-1)?.workers, LIMITS.maxWorkers, "and stays there");
});

test("scaling grows for a peak and goes back to the fewest after it", () => {
  const changes = simulate(2 * HOUR_MS, (nowMs) => (nowMs < HOUR_MS / 4 ? 5 : 0.1), 2);
  assert.ok(Math.max(...changes.map(({ workers }) => workers)) >= 5, JSON.stringify(changes));
  assert.equal(changes.at(-1)?.workers, LIMITS.minWorkers);
});

interface Change {
  readonly atMs: number;
  readonly workers: number;
}

/**
 * A pool under random traffic (Poisson arrivals, exponential work of 200 ms), asked once a second; a worker takes 3 s
 * to start.
 *
 * @param offered How many workers' time the traffic needs, at a given moment.
 * @returns Every change of the number of ready workers.
 */
function simulate(lengthMs: number, offered: (nowMs: number) => number, seed: number): Change[] {
  const [workMs, startMs, stepMs] = [200, 3000, 10];
  const random = createRandom(seed);
  const waiting: number[] = []; // when each arrived
  const waits: { atMs: number; queueMs: number }[] = [];
  const startingAtMs: number[] = []; // when each began to start
  const changes: Change[] = [];
  const busySteps: number[] = []; // when every worker was at work
  let [ready, busy, changedAtMs] = [LIMITS.minWorkers, 0, 0];

  for (let nowMs = 0; nowMs < lengthMs; nowMs += stepMs) {
    if (random() < (offered(nowMs) * stepMs) / workMs) waiting.push(nowMs);
    // Memoryless work: each worker finishes in this step with the same chance.
    for (let left = busy; left > 0; left--) if (random() < stepMs / workMs) busy--;
    while (busy < ready && waiting.length > 0) {
      waits.push({ atMs: nowMs, queueMs: nowMs - (waiting.shift() ?? nowMs) });
      busy++;
    }
    if (busy >= ready) busySteps.push(nowMs);
    if (waiting.length > 1000) waiting.shift(); // the queue is bounded
    if (startingAtMs[0] !== undefined && nowMs - startingAtMs[0] >= startMs) {
      startingAtMs.shift();
      ready++;
      changedAtMs = nowMs;
      changes.push({ atMs: nowMs, workers: ready });
    }
    if (nowMs % 1000 !== 0) continue;
    while ((waits[0]?.atMs ?? Infinity) < nowMs - LATELY_MS) waits.shift();
    while ((busySteps[0] ?? Infinity) < nowMs - LIMITS.spareMs) busySteps.shift();
    const queueMs = [
      ...waits.map((wait) => wait.queueMs),
      ...waiting.map((arrivedMs) => nowMs - arrivedMs),
    ];
    const { target } = decideWorkers(
      {
        ready,
        starting: startingAtMs.length,
        meanQueueMs: queueMs.reduce((sum, ms) => sum + ms, 0) / Math.max(1, queueMs.length),
        meanRunMs: workMs,
        allBusyLately:
          (busySteps.filter((atMs) => atMs > nowMs - LATELY_MS).length * stepMs) / LATELY_MS,
        allBusyShare: (busySteps.length * stepMs) / LIMITS.spareMs,
        sinceChangeMs: nowMs - changedAtMs,
      },
      LIMITS,
    );
    for (let missing = target - ready - startingAtMs.length; missing > 0; missing--)
      startingAtMs.push(nowMs);
    if (target < ready) {
      ready = target;
      changedAtMs = nowMs;
      changes.push({ atMs: nowMs, workers: ready });
    }
  }
  return changes;
}

/** Deterministic random numbers from 0 to 1 (mulberry32). */
function createRandom(seed: number): () => number {
  let state = Math.round(seed * 1000);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
