/**
 * What the batching rule could reach if nothing but the model took time: a simulation of `cutByLength`, without a model.
 *
 *     npx tsx bench/policy.ts
 *
 * So many clients ask again as soon as they are answered; lengths are lognormal (median 24 tokens, at most 128); a run
 * costs `fixed + padded tokens`, where `fixed` is given in tokens (measured: 10–20). What is printed is the share of
 * the ceiling, a machine that computes real tokens and nothing else: the rest is padding and fixed cost, which no server
 * can avoid that answers at once. So the bound of every measurement of `bench/run.ts` against the bare loop.
 */
import {
  cutByLength,
  cutSingly,
  type BatchPolicy,
  type WaitingJob,
} from "../runtime/engine/batching.ts";
import { createRandom } from "./random.ts";

const RUNS = 4000;
const BUDGET_TOKENS = 512;

interface Outcome {
  readonly share: number;
  readonly items: number;
  readonly waste: number;
}

function simulate(policy: BatchPolicy, clients: number, fixedTokens: number): Outcome {
  const random = createRandom(1);
  let nowMs = 0;
  const arrive = (): WaitingJob => ({ enqueuedAtMs: nowMs, tokens: drawLength(random) });
  let waiting = Array.from({ length: clients }, arrive);
  const sums = { cost: 0, tokens: 0, padded: 0, items: 0 };
  for (let run = 0; run < RUNS; run++) {
    const cut = policy(waiting, nowMs, {
      maxBatchSize: Infinity,
      maxBatchDelayMs: 0,
      budgetTokens: BUDGET_TOKENS,
      estimateMs: (items, length) => fixedTokens + items * length,
      isOpen: true,
    });
    if (!("take" in cut)) throw new Error("the policy waits though jobs are there");
    const taken = new Set(cut.take);
    const lengths = cut.take.map((index) => waiting[index]?.tokens ?? 0);
    const padded = Math.max(...lengths) * lengths.length;
    nowMs += fixedTokens + padded;
    sums.cost += fixedTokens + padded;
    sums.padded += padded;
    sums.tokens += lengths.reduce((sum, length) => sum + length, 0);
    sums.items += lengths.length;
    waiting = waiting.filter((_, index) => !taken.has(index));
    while (waiting.length < clients) waiting.push(arrive());
  }
  return {
    share: sums.tokens / sums.cost,
    items: sums.items / RUNS,
    waste: 1 - sums.tokens / sums.padded,
  };
}

function drawLength(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.max(5, Math.min(128, Math.round(24 * Math.exp(0.88 * normal))));
}

console.log(
  "clients  fixed cost in tokens  share of the ceiling  items a run  padding  without batching",
);
for (const clients of [8, 32, 64]) {
  for (const fixedTokens of [5, 10, 20]) {
    const joined = simulate(cutByLength, clients, fixedTokens);
    const alone = simulate(cutSingly, clients, fixedTokens);
    console.log(
      [
        String(clients).padStart(7),
        String(fixedTokens).padStart(20),
        joined.share.toFixed(3).padStart(20),
        joined.items.toFixed(1).padStart(11),
        `${(100 * joined.waste).toFixed(1)} %`.padStart(7),
        alone.share.toFixed(3).padStart(16),
      ].join("  "),
    );
  }
}
