/**
 * How likely tokens were: natural logarithms of probabilities, of the scores as the model gave them.
 */
import { topIndices } from "../tasks/scores.ts";

/** What lies so far below the largest does not add up to anything that float32 logits could tell: e⁻²⁵ of it each. */
const NEGLIGIBLE = 25;

/** `log Σ exp(x)`: what is subtracted from a score to make it a log probability. */
export function logSumExp(scores: Float32Array): number {
  // Indexed loops: iterators over a vocabulary take ten times as long.
  const V = scores.length;
  let largest = -Infinity;
  for (let id = 0; id < V; id++) {
    const score = scores[id] ?? 0;
    if (score > largest) largest = score;
  }
  if (largest === -Infinity) return -Infinity;
  const least = largest - NEGLIGIBLE;
  let sum = 0;
  for (let id = 0; id < V; id++) {
    const score = scores[id] ?? 0;
    if (score > least) sum += expOfNegative(largest - score);
  }
  return largest + Math.log(sum);
}

/** Entries of the table for each unit. */
const FINENESS = 64;
const TABLE = Float64Array.from({ length: NEGLIGIBLE * FINENESS + 1 }, (_, k) =>
  Math.exp(-k / FINENESS),
);

/**
 * `exp(-x)` for `x` from 0 to `NEGLIGIBLE`, to nine digits: a value from the table, and three terms of the series for the rest. A
 * third of the time of `Math.exp`, which counts with a whole vocabulary for every token.
 */
function expOfNegative(x: number): number {
  const place = Math.floor(x * FINENESS);
  const rest = x - place / FINENESS;
  return (TABLE[place] ?? 0) * (1 - rest * (1 - rest * (0.5 - rest / 6)));
}

/** The likeliest tokens with their log probabilities, best first. */
export function likeliest(
  scores: Float32Array,
  count: number,
  normalizer: number,
): { readonly id: number; readonly logprob: number }[] {
  if (count === 0) return [];
  return topIndices(scores, count).map((id) => ({
    id,
    logprob: (scores[id] ?? -Infinity) - normalizer,
  }));
}
