import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cutByLength,
  POLICIES,
  type BatchLimits,
  type BatchPolicy,
  type WaitingJob,
} from "../../runtime/engine/batching.ts";

/** A run costs 10 ms and 1 ms a token, padding included. */
const LIMITS: BatchLimits = {
  maxBatchSize: Infinity,
  maxBatchDelayMs: 0,
  budgetTokens: 512,
  estimateMs: (items, length) => 10 + items * length,
  isOpen: true,
};

function jobs(...tokens: readonly number[]): WaitingJob[] {
  return tokens.map((tokens, index) => ({ tokens, enqueuedAtMs: index }));
}

/** The same numbers on every run: a linear congruential generator (Numerical Recipes, 2nd edition, section 7.1). */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

/** What every policy must keep, whatever its idea. */
for (const [name, policy] of Object.entries<BatchPolicy>(POLICIES)) {
  test(`the policy "${name}" waits for ever when nothing waits`, () => {
    assert.deepEqual(policy([], 1000, LIMITS), { waitMs: Infinity });
  });

  test(`the policy "${name}" takes the oldest, each job once, nothing that is not there, and keeps the limits`, () => {
    const random = createRandom(7);
    for (let round = 0; round < 500; round++) {
      const waiting = jobs(
        ...Array.from(
          { length: 1 + Math.floor(random() * 80) },
          () => 1 + Math.floor(random() ** 3 * 300),
        ),
      );
      const limits = {
        ...LIMITS,
        maxBatchSize: 1 + Math.floor(random() * 40),
        budgetTokens: 64 + Math.floor(random() * 600),
      };
      const cut = policy(waiting, 1_000_000, limits);
      assert.ok("take" in cut);
      const { take } = cut;
      assert.equal(take[0], 0, "the oldest comes first");
      assert.equal(new Set(take).size, take.length);
      assert.ok(take.every((index) => index >= 0 && index < waiting.length));
      assert.ok(take.length <= limits.maxBatchSize);
      const lengths = take.map((index) => waiting[index]!.tokens);
      const padded = Math.max(...lengths) * lengths.length;
      assert.ok(
        lengths.length === 1 || padded <= limits.budgetTokens,
        `${padded} of ${limits.budgetTokens}`,
      );
      assert.ok(1 - lengths.reduce((a, b) => a + b, 0) / padded <= 0.15 + 1e-9);
    }
  });

  test(`the policy "${name}" starves nobody: every job is taken within as many cuts as were before it`, () => {
    const random = createRandom(11);
    let waiting = jobs(...Array.from({ length: 60 }, () => 1 + Math.floor(random() * 200)));
    for (let cuts = 0; waiting.length > 0; cuts++) {
      assert.ok(cuts < 60);
      const cut = policy(waiting, 1_000_000, LIMITS);
      assert.ok("take" in cut);
      waiting = waiting.filter((_, index) => !cut.take.includes(index));
    }
  });
}

const CUTS: readonly [
  what: string,
  tokens: readonly number[],
  limits: Partial<BatchLimits>,
  take: readonly number[],
][] = [
  ["equal lengths go together, older first", [8, 8, 8, 8], {}, [0, 1, 2, 3]],
  ["the nearest in length come first", [10, 40, 11, 90, 9], {}, [0, 2, 4]],
  ["a longer one joins when little is padded", [20, 22], {}, [0, 1]],
  ["padding beyond 15 % is refused", [10, 15], {}, [0]],
  ["the budget counts padding", [100, 100, 100, 100, 100, 100], {}, [0, 1, 2, 3, 4]],
  ["one longer than the budget goes alone", [600, 600], {}, [0]],
  ["no more than the batch size", [8, 8, 8], { maxBatchSize: 2 }, [0, 1]],
  [
    "where two runs are as cheap as one, nobody joins",
    [8, 8],
    { estimateMs: (items, length) => items * length },
    [0],
  ],
];

for (const [what, tokens, limits, take] of CUTS) {
  test(`cutByLength(): ${what}`, () => {
    assert.deepEqual(cutByLength(jobs(...tokens), 1000, { ...LIMITS, ...limits }), { take });
  });
}

test("cutByLength() waits for company only when told to, from the oldest's arrival, and not for nothing", () => {
  const limits = { ...LIMITS, maxBatchDelayMs: 10 };
  assert.deepEqual(cutByLength(jobs(8, 8), 4, limits), { waitMs: 6 });
  assert.deepEqual(cutByLength(jobs(8, 8), 10, limits), { take: [0, 1] });
  assert.deepEqual(
    cutByLength(jobs(8, 8), 4, { ...limits, isOpen: false }),
    { take: [0, 1] },
    "nobody can come",
  );
  assert.deepEqual(
    cutByLength(jobs(8, 8), 4, { ...limits, maxBatchSize: 2 }),
    { take: [0, 1] },
    "it is full",
  );
  assert.deepEqual(cutByLength(jobs(500), 4, limits), { take: [0] }, "the budget is spent");
});
