/**
 * Which sequences share a run.
 *
 * A run over more rows reads the weights once for all of them, but every row is padded to the longest, and padding is
 * copied and attended to like tokens. So a row shares a run as long as its padding costs less than a run of its own: both are
 * counted in bytes of memory read and written, which is what bounds the writing of single tokens on a CPU.
 */
import type { Alignment } from "./alignment.ts";

export interface CohortCosts {
  /** What every run reads: the weights. */
  readonly weightsBytes: number;
  /** Of the cache, keys and values of all layers. */
  readonly bytesPerToken: number;
}

/** A column of padding is read as past, written as present, and read again by the attention. */
const TOUCHES = 3;

/**
 * @param lengths Tokens of each sequence in the cache.
 * @returns Indices into `lengths`, every one once; the longest sequences first.
 */
export function planCohorts(
  lengths: readonly number[],
  alignment: Alignment,
  { weightsBytes, bytesPerToken }: CohortCosts,
): number[][] {
  const mostPadding = alignment === undefined ? 0 : weightsBytes / (TOUCHES * bytesPerToken);
  const lengthOf = (index: number): number => lengths[index] ?? 0;
  const order = [...lengths.keys()].sort((a, b) => lengthOf(b) - lengthOf(a) || a - b);
  const cohorts: number[][] = [];
  let cohort: number[] = [];
  let padding = 0;
  for (const index of order) {
    const own = lengthOf(cohort[0] ?? index) - lengthOf(index);
    if (cohort.length === 0 || padding + own > mostPadding) {
      cohort = [index];
      cohorts.push(cohort);
      padding = 0;
    } else {
      cohort.push(index);
      padding += own;
    }
  }
  return cohorts;
}
