import assert from "node:assert/strict";
import { test } from "node:test";

import { createHands, type Hands } from "../../runtime/engine/hands.ts";
import { createJob, type Job } from "../../runtime/engine/job.ts";
import type { Batching } from "../../runtime/inference.ts";

const BATCHES: Batching = { kind: "batch", concurrency: 1, splitsLists: true };

function jobOf(id: number): Job {
  return createJob({
    id,
    request: { id: `${id}`, kind: "predict", data: {}, headers: {} },
    signal: new AbortController().signal,
    deadlineAtMs: Infinity,
    enqueuedAtMs: 0,
    size: 1,
    tokens: 1,
    places: 1,
    bytes: 1,
    onLeave: () => undefined,
    onSettled: () => undefined,
  });
}

interface Scene {
  readonly hands: Hands;
  readonly begun: number[];
  readonly rooms: () => number;
  readonly give: (...ids: number[]) => void;
  readonly release: (id: number) => void;
  readonly pass: (ms: number) => void;
}

function take(batching: Batching, expectedMs?: number): Scene {
  let nowMs = 0;
  let rooms = 0;
  const begun: number[] = [];
  const hands = createHands({
    now: () => nowMs,
    onRoom: () => void rooms++,
    onBegun: ({ job }) => void begun.push(job.id),
  });
  hands.setBatching(batching);
  return {
    hands,
    begun,
    rooms: () => rooms,
    give: (...ids) => hands.give(ids.map(jobOf), expectedMs),
    release(id) {
      const held = hands.find(id);
      assert.ok(held);
      hands.release(held);
    },
    pass: (ms) => void (nowMs += ms),
  };
}

/** Answers so many requests of that length, one after the other. */
function practise({ give, release, pass }: Scene, count: number, ms: number): void {
  for (let i = 1; i <= count; i++) {
    give(-i);
    pass(ms);
    release(-i);
  }
}

test("a handler of quick requests gets some ahead once it is known to be quick, worth two milliseconds together", () => {
  for (const [ms, ahead] of [
    [0.1, 8],
    [0.5, 4],
    [1, 2],
    [3, 0],
  ] as const) {
    const scene = take({ kind: "single", concurrency: 1, splitsLists: false });
    practise(scene, 19, ms);
    scene.give(1);
    assert.equal(scene.hands.hasRoom, false, "not known yet");
    scene.pass(ms);
    scene.release(1);
    let given = 0;
    while (scene.hands.hasRoom) scene.give(100 + ++given);
    assert.equal(given, 1 + ahead, `${ms} ms`);
    assert.deepEqual(scene.begun.slice(-1), [101], "only the first has begun");
  }
});

test("one slow request ends the sending ahead for a long time", () => {
  const scene = take({ kind: "single", concurrency: 1, splitsLists: false });
  practise(scene, 30, 0.1);
  practise(scene, 1, 5000);
  practise(scene, 50, 0.1);
  scene.give(1);
  assert.equal(scene.hands.hasRoom, false);
});

test("what was sent ahead begins in order as places become free", () => {
  const scene = take({ kind: "single", concurrency: 2, splitsLists: false });
  practise(scene, 20, 0.1);
  scene.begun.length = 0;
  for (const id of [1, 2, 3, 4]) scene.give(id);
  assert.deepEqual(scene.begun, [1, 2]);
  scene.release(2);
  assert.deepEqual(scene.begun, [1, 2, 3]);
  assert.equal(scene.hands.isFree, false);
  scene.release(1);
  scene.release(3);
  assert.deepEqual(scene.begun, [1, 2, 3, 4]);
  assert.equal(scene.hands.isFree, true);
});

test("the next batch may come shortly before the one under way should be done, and no earlier", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const scene = take(BATCHES, 20);
  scene.give(1, 2);
  assert.equal(scene.hands.hasRoom, false);
  t.mock.timers.tick(16);
  assert.equal(scene.hands.hasRoom, false);
  t.mock.timers.tick(1);
  assert.equal(scene.hands.hasRoom, true);
  assert.equal(scene.rooms(), 1);
  scene.give(3, 4);
  assert.equal(scene.hands.hasRoom, false, "exactly one batch is sent ahead");
  assert.deepEqual(scene.begun, [1, 2]);
  scene.release(1);
  scene.release(2);
  assert.deepEqual(scene.begun, [1, 2, 3, 4]);
  assert.equal(scene.hands.hasRoom, false, "its own time starts when it begins");
});

test("a short batch is followed at once, and nothing is sent ahead while nothing is known", () => {
  const short = take(BATCHES, 2);
  short.give(1);
  assert.equal(short.hands.hasRoom, true);
  const unknown = take(BATCHES);
  unknown.give(1);
  assert.equal(unknown.hands.hasRoom, false);
});

test("when the worker dies it is told what it had begun and what it had not touched", () => {
  const scene = take(BATCHES, 2);
  scene.give(1, 2);
  scene.give(3);
  scene.release(1);
  const ids = (list: readonly { job: Job }[]) => list.map(({ job }) => job.id);
  const { begun, untouched } = scene.hands.empty();
  assert.deepEqual([ids(begun), ids(untouched)], [[2], [3]]);
  assert.equal(scene.hands.count, 0);
  assert.equal(scene.hands.isFree, true);
});
