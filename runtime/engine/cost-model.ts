/**
 * What a run of this model costs, learned from its own runs.
 *
 * Two things are learned. A line, `ms = fixed + perToken · padded tokens`, by least squares in which old runs fade: it
 * says whether two batches are cheaper as one. And the rate at each size of run: it says how large a run may grow
 * before more stops paying, as large ones fall out of the cache. Both differ by model, dtype, threads and processor.
 *
 * Tokens are not known before a worker has seen the text, so they are predicted from its characters, and the
 * prediction is mended by what workers report. No clock and no randomness: the same observations give the same answers.
 */
import type { ForwardPass } from "../inference.ts";
import { CHARACTERS_PER_TOKEN, guessTokens, SPECIAL_TOKENS } from "../text-length.ts";

export interface CostModel {
  /** Runs taken into account. */
  readonly passes: number;
  /** Takes one run into account. */
  observe(pass: ForwardPass): void;
  /** Takes one text's real length into account. */
  observeText(characters: number, tokens: number): void;
  /** Tokens of a text of that many characters; at least 1. */
  predictTokens(characters: number): number;
  /** Milliseconds of a run over that many items of that length. */
  estimateMs(items: number, length: number): number;
  /** The most padded tokens a run should have. */
  budgetTokens(): number;
  /** Everything learned, for people. */
  snapshot(): CostSnapshot;
}

export interface CostSnapshot {
  readonly passes: number;
  readonly fixedMs: number;
  readonly perTokenMs: number;
  readonly charactersPerToken: number;
  readonly budgetTokens: number;
}

/** Where the budget starts, per thread: safe on every processor that was measured. */
const FIRST_BUDGET_TOKENS = 256;
const LEAST_BUDGET_TOKENS = 64;
const MOST_BUDGET_TOKENS = 4096;
/** A budget is large enough when its rate is that near to the best. */
const ENOUGH = 0.95;
/** Runs of one size before its rate is believed. */
const FEWEST_RUNS = 3;
/** Every so many questions one larger size is tried, if it is not known yet. */
const EXPLORE_EVERY = 64;

/** How fast old runs fade: the last two hundred or so count. */
const FADE = 0.995;
/** The newest run's weight in the rate of its size. */
const RATE_WEIGHT = 0.1;

/** Before anything is known: a run's fixed part is worth 16 tokens (measured 20–30 on two models). */
const FIRST_PER_TOKEN_MS = 0.1;
const FIRST_FIXED_MS = 16 * FIRST_PER_TOKEN_MS;

export function createCostModel(threads = 1): CostModel {
  // Weighted sums of 1, x, x², y and xy for the line y = fixed + perToken·x, begun with two points on the first guess.
  const sums = { weight: 0, x: 0, xx: 0, y: 0, xy: 0 };
  for (const x of [16, 256]) add(x, FIRST_FIXED_MS + FIRST_PER_TOKEN_MS * x, 0.01);
  const rates = new Map<number, { runs: number; tokensPerMs: number }>();
  const text = { characters: 0, tokens: 0 };
  let passes = 0;
  let questions = 0;

  function add(x: number, y: number, weight = 1): void {
    sums.weight += weight;
    sums.x += weight * x;
    sums.xx += weight * x * x;
    sums.y += weight * y;
    sums.xy += weight * x * y;
  }

  function line(): { fixedMs: number; perTokenMs: number } {
    const spread = sums.weight * sums.xx - sums.x * sums.x;
    const mean = sums.y / sums.x; // the line through the origin, where all runs had one size
    if (!(spread > 1e-9)) return { fixedMs: 0, perTokenMs: mean };
    const slope = (sums.weight * sums.xy - sums.x * sums.y) / spread;
    const fixedMs = (sums.y - slope * sums.x) / sums.weight;
    // Noise can tilt the line below zero; costs are not negative.
    if (fixedMs < 0) return { fixedMs: 0, perTokenMs: mean };
    return slope > 0
      ? { fixedMs, perTokenMs: slope }
      : { fixedMs: sums.y / sums.weight, perTokenMs: 0 };
  }

  function charactersPerToken(): number {
    return text.tokens > 0 ? text.characters / text.tokens : CHARACTERS_PER_TOKEN;
  }

  function learnedBudget(): number {
    const known = [...rates]
      .filter(([, { runs }]) => runs >= FEWEST_RUNS)
      .sort(([a], [b]) => a - b);
    const first = FIRST_BUDGET_TOKENS * threads;
    // What lies below the first budget and was never exceeded says nothing about larger sizes.
    if (!known.some(([size]) => size >= first)) return first;
    const best = Math.max(...known.map(([, { tokensPerMs }]) => tokensPerMs));
    const enough = known.find(([, { tokensPerMs }]) => tokensPerMs >= ENOUGH * best);
    return Math.min(MOST_BUDGET_TOKENS, Math.max(LEAST_BUDGET_TOKENS, enough?.[0] ?? first));
  }

  return {
    get passes() {
      return passes;
    },
    observe({ items, length, ms }) {
      const padded = items * length;
      if (!(padded > 0) || !(ms >= 0)) return;
      passes++;
      for (const key of ["weight", "x", "xx", "y", "xy"] as const) sums[key] *= FADE;
      add(padded, ms);
      const size = sizeOf(padded);
      const rate = rates.get(size);
      const tokensPerMs = padded / Math.max(ms, 1e-3);
      if (rate === undefined) rates.set(size, { runs: 1, tokensPerMs });
      else {
        rate.runs++;
        rate.tokensPerMs += RATE_WEIGHT * (tokensPerMs - rate.tokensPerMs);
      }
    },
    observeText(characters, tokens) {
      text.characters = FADE * text.characters + characters;
      text.tokens = FADE * text.tokens + Math.max(0, tokens - SPECIAL_TOKENS);
    },
    predictTokens: (characters) => guessTokens(characters, charactersPerToken()),
    estimateMs(items, length) {
      const { fixedMs, perTokenMs } = line();
      return fixedMs + perTokenMs * items * length;
    },
    budgetTokens() {
      const budget = learnedBudget();
      questions++;
      const larger = budget * 2;
      const isUnknown = (rates.get(sizeOf(larger))?.runs ?? 0) < FEWEST_RUNS;
      const explores = questions % EXPLORE_EVERY === 0 && isUnknown && larger <= MOST_BUDGET_TOKENS;
      return explores ? larger : budget;
    },
    snapshot: () => ({
      passes,
      ...line(),
      charactersPerToken: charactersPerToken(),
      budgetTokens: learnedBudget(),
    }),
  };
}

/** Runs are compared by size in powers of two: 100 padded tokens count as 128. */
function sizeOf(padded: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, padded)));
}
