/**
 * Where on the straight line from baseline to input the gradient is measured, and how much each place counts.
 *
 * The rules and their names are those of Captum 0.8 (`captum/attr/_utils/approximation_methods.py`), its oddity
 * included: the weights of `riemann_trapezoid` add up to `1 − 1/n`.
 */

/** A rule for `∫₀¹ g(α) dα ≈ Σ weights[k] · g(alphas[k])`. */
export interface Quadrature {
  /** Places in `[0, 1]`, ascending. */
  readonly alphas: Float64Array;
  readonly weights: Float64Array;
}

export const METHODS = [
  "gausslegendre",
  "riemann_left",
  "riemann_right",
  "riemann_middle",
  "riemann_trapezoid",
] as const;
export type Method = (typeof METHODS)[number];

/**
 * @param steps How many places: a whole number of at least 1, and at least 2 for the trapezoid.
 * @throws RangeError for any other number.
 */
export function createQuadrature(method: Method, steps: number): Quadrature {
  const least = method === "riemann_trapezoid" ? 2 : 1;
  if (!Number.isInteger(steps) || steps < least)
    throw new RangeError(`steps of ${method} is ${steps}, wanted a whole number from ${least} on`);
  switch (method) {
    case "gausslegendre":
      return gaussLegendre(steps);
    case "riemann_left":
      return evenly(steps, 0, 1 - 1 / steps);
    case "riemann_right":
      return evenly(steps, 1 / steps, 1);
    case "riemann_middle":
      return evenly(steps, 0.5 / steps, 1 - 0.5 / steps);
    case "riemann_trapezoid": {
      const rule = evenly(steps, 0, 1);
      for (const end of [0, steps - 1]) rule.weights[end] = 0.5 / steps;
      return rule;
    }
  }
}

/** `n` places from `first` to `last` at equal distances, each of weight `1/n`. */
function evenly(n: number, first: number, last: number): Quadrature {
  const gap = n === 1 ? 0 : (last - first) / (n - 1);
  return {
    alphas: Float64Array.from({ length: n }, (_, k) => (k === n - 1 ? last : first + k * gap)),
    weights: new Float64Array(n).fill(1 / n),
  };
}

/** Newton's method doubles the right digits in each step; from Tricomi's guess four or five steps are enough. */
const MOST_NEWTON_STEPS = 20;

/**
 * The zeros `x` of the Legendre polynomial `Pₙ`, moved from `[−1, 1]` to `[0, 1]`, with `w = 2 / ((1 − x²) Pₙ′(x)²)`
 * (Abramowitz and Stegun 25.4.29): exact for polynomials up to the degree `2n − 1`.
 */
function gaussLegendre(n: number): Quadrature {
  const alphas = new Float64Array(n);
  const weights = new Float64Array(n);
  // The zeros lie symmetrically, so half of them are enough.
  for (let k = 0; k < Math.ceil(n / 2); k++) {
    // Descending from near 1; the middle one of an odd number is 0.
    let x = 2 * k + 1 === n ? 0 : Math.cos((Math.PI * (k + 0.75)) / (n + 0.5));
    for (let step = 0; step < MOST_NEWTON_STEPS; step++) {
      const { value, slope } = legendre(n, x);
      const move = value / slope;
      x -= move;
      if (Math.abs(move) <= 1e-16) break;
    }
    const { slope } = legendre(n, x);
    // On [0, 1] both the places and the weights are half as far apart.
    const weight = 1 / ((1 - x * x) * slope * slope);
    alphas[k] = (1 - x) / 2;
    alphas[n - 1 - k] = (1 + x) / 2;
    weights[k] = weights[n - 1 - k] = weight;
  }
  return { alphas, weights };
}

/** `Pₙ(x)` by `(k+1) Pₖ₊₁ = (2k+1) x Pₖ − k Pₖ₋₁`, and `Pₙ′(x) = n (x Pₙ − Pₙ₋₁) / (x² − 1)`. */
function legendre(n: number, x: number): { readonly value: number; readonly slope: number } {
  let [before, value] = [1, x];
  for (let k = 1; k < n; k++) {
    [before, value] = [value, ((2 * k + 1) * x * value - k * before) / (k + 1)];
  }
  return { value, slope: (n * (x * value - before)) / (x * x - 1) };
}
