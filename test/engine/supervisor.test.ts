import assert from "node:assert/strict";
import { test } from "node:test";
import { decideRestart, type RestartLimits } from "../../runtime/engine/supervisor.ts";

const LIMITS: RestartLimits = {
  firstDelayMs: 100,
  longestDelayMs: 1000,
  calmMs: 10_000,
  mostDeaths: 6,
};

test("decideRestart() restarts after the first delay when a worker died once", () => {
  assert.deepEqual(decideRestart([5000], LIMITS), { restartInMs: 100 });
});

test("decideRestart() doubles the delay with each further death, up to the longest", () => {
  const delays = [1, 2, 3, 4, 5].map((count) =>
    decideRestart(
      Array.from({ length: count }, (_, i) => i * 10),
      LIMITS,
    ),
  );
  assert.deepEqual(
    delays,
    [100, 200, 400, 800, 1000].map((restartInMs) => ({ restartInMs })),
  );
});

test("decideRestart() gives up after the limit, and says after how many deaths", () => {
  assert.deepEqual(decideRestart([0, 1, 2, 3, 4, 5], LIMITS), { giveUpAfter: 6 });
});

test("decideRestart() counts anew after a calm time", () => {
  assert.deepEqual(decideRestart([0, 1, 2, 3, 4, 20_000], LIMITS), { restartInMs: 100 });
  assert.deepEqual(decideRestart([0, 1, 2, 20_000, 20_100], LIMITS), { restartInMs: 200 });
});
