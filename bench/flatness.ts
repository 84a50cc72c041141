/**
 * Whether a number that was read again and again has stayed flat.
 *
 * A garbage collector makes memory go up and down, so neither the last value nor the highest says much: the middle of
 * a late stretch is compared with the middle of an early one, after everything has warmed up.
 */
import { medianOf } from "./latency.ts";

export interface Flatness {
  /** Median of the second quarter of the samples: the first is warm-up. */
  readonly early: number;
  /** Median of the last quarter. */
  readonly late: number;
  readonly isFlat: boolean;
}

export interface Tolerance {
  /** Growth that is no growth: as a share of the early value, and on top of it in the samples' unit. */
  readonly share: number;
  readonly absolute: number;
}

/** @param samples In the order of reading, evenly spaced; at least four. */
export function judgeFlatness(
  samples: readonly number[],
  { share, absolute }: Tolerance,
): Flatness {
  if (samples.length < 4)
    throw new RangeError(`Cannot judge ${samples.length} samples: at least 4 are wanted`);
  const at = (quarter: number): number => Math.floor((samples.length * quarter) / 4);
  const early = medianOf(samples.slice(at(1), at(2)));
  const late = medianOf(samples.slice(at(3)));
  return { early, late, isFlat: late <= early * (1 + share) + absolute };
}
