/**
 * A case as numbers: which seed it begins with, and what is done to it, step by step.
 *
 * Inputs are made from recipes and from nothing else, so a recipe is all that it takes to see a defect again; and as it is plain
 * numbers, fast-check knows how to make it smaller.
 */
import * as fc from "fast-check";

/** One mutation: which kind, where, and with what. Each mutator takes them modulo what it has. */
export type Step = readonly [kind: number, place: number, value: number];

export interface Recipe {
  /** Which of a target's seeds, modulo their number. */
  readonly seed: number;
  readonly steps: readonly Step[];
}

/** More make an input that every reader refuses at its first byte. */
const MOST_STEPS = 6;

const number = fc.noBias(fc.nat());

export const recipes: fc.Arbitrary<Recipe> = fc.record({
  seed: number,
  steps: fc.array(fc.tuple(number, number, number), { maxLength: MOST_STEPS }),
});

/** The element that a number stands for. The list must not be empty. */
export function pick<T>(list: readonly T[], number: number): T {
  const found = list[number % list.length];
  if (found === undefined) throw new RangeError("nothing to pick from");
  return found;
}

/** A further number from one: a step may need more than its three (the finalizer of MurmurHash3). */
export function spread(number: number, salt: number): number {
  let mixed = (number ^ Math.imul(salt + 1, 0x9e3779b1)) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
