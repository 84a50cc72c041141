/**
 * Chance with a seed, so that every run of the bench sees the same texts, weights and arrivals.
 */

/** A number in [0, 1). */
export type Random = () => number;

/** Mulberry32 (Tommy Ettinger, 2017): 32 bits of state, a period of 2³², enough for texts and arrivals. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A draw from the standard normal distribution (Box and Muller, 1958). */
export function drawNormal(random: Random): number {
  // 1 − u lies in (0, 1], so the logarithm is finite.
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** A draw from the exponential distribution: the gap between arrivals that come at `rate` per unit of time. */
export function drawGap(random: Random, rate: number): number {
  return -Math.log(1 - random()) / rate;
}
