import assert from "node:assert/strict";
import { test } from "node:test";
import { createCostModel, type CostModel } from "../../runtime/engine/cost-model.ts";

/** Feeds runs of a model that costs `fixed + perToken · padded`. */
function teach(model: CostModel, fixedMs: number, perTokenMs: number, rounds = 50): void {
  for (let round = 0; round < rounds; round++) {
    for (const [items, length] of [
      [1, 8],
      [4, 16],
      [8, 32],
      [2, 64],
    ] as const) {
      model.observe({
        items,
        length,
        tokens: items * length,
        ms: fixedMs + perTokenMs * items * length,
      });
    }
  }
}

test("a new cost model guesses safely: a small batch is cheaper than its parts, a run has a cost", () => {
  const model = createCostModel(2);
  assert.ok(model.estimateMs(2, 8) < 2 * model.estimateMs(1, 8));
  assert.ok(model.estimateMs(1, 8) > 0);
  assert.equal(model.budgetTokens(), 512);
  assert.equal(model.predictTokens(40), 12);
  assert.equal(model.predictTokens(0), 2);
});

test("a cost model learns the line from its runs and forgets an old one", () => {
  const model = createCostModel();
  teach(model, 5, 0.2);
  assert.ok(
    Math.abs(model.estimateMs(4, 32) - (5 + 0.2 * 128)) < 0.5,
    String(model.estimateMs(4, 32)),
  );
  teach(model, 1, 0.05, 500);
  assert.ok(
    Math.abs(model.estimateMs(4, 32) - (1 + 0.05 * 128)) < 0.2,
    String(model.estimateMs(4, 32)),
  );
});

test("runs of one size alone teach a rate, not a negative cost", () => {
  const model = createCostModel();
  for (let i = 0; i < 2000; i++) model.observe({ items: 1, length: 100, tokens: 100, ms: 20 });
  const cost = model.estimateMs(1, 100);
  assert.ok(Math.abs(cost - 20) < 1, String(cost));
  assert.ok(model.estimateMs(1, 10) >= 0);
});

test("noise never makes a cost negative", () => {
  const model = createCostModel();
  for (let i = 0; i < 300; i++) {
    model.observe({ items: 1, length: 8, tokens: 8, ms: 0.01 });
    model.observe({ items: 16, length: 32, tokens: 512, ms: 50 });
  }
  for (const items of [1, 2, 64]) assert.ok(model.estimateMs(items, 4) >= 0);
});

test("the budget is the smallest size that reaches 95 % of the best rate", () => {
  const model = createCostModel();
  // Tokens per millisecond rise to 4 at 128 tokens and fall off at 1024.
  for (const [size, rate] of [
    [64, 3],
    [128, 3.9],
    [256, 4],
    [512, 3.95],
    [1024, 3],
  ] as const) {
    for (let run = 0; run < 10; run++)
      model.observe({ items: 1, length: size, tokens: size, ms: size / rate });
  }
  assert.equal(model.snapshot().budgetTokens, 128);
});

test("a larger size is tried now and then while it is unknown, and not for ever", () => {
  const model = createCostModel();
  const asked = Array.from({ length: 640 }, () => model.budgetTokens());
  assert.deepEqual(
    [...new Set(asked)].sort((a, b) => a - b),
    [256, 512],
  );
  assert.equal(asked.filter((budget) => budget === 512).length, 10);
  for (let run = 0; run < 3; run++) {
    model.observe({ items: 8, length: 32, tokens: 256, ms: 10 });
    model.observe({ items: 16, length: 32, tokens: 512, ms: 1000 });
  }
  const later = Array.from({ length: 640 }, () => model.budgetTokens());
  assert.deepEqual([...new Set(later)], [256], "512 tokens were tried and found slow");
});

test("tokens are predicted from characters, as workers report them", () => {
  const model = createCostModel();
  for (let i = 0; i < 500; i++) model.observeText(100, 52); // two characters a token
  assert.equal(model.predictTokens(100), 52);
});

test("observations that make no sense are left out", () => {
  const model = createCostModel();
  const before = model.snapshot();
  model.observe({ items: 0, length: 8, tokens: 0, ms: 5 });
  model.observe({ items: 1, length: 8, tokens: 8, ms: Number.NaN });
  assert.deepEqual(model.snapshot(), before);
});
