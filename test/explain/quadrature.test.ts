import assert from "node:assert/strict";
import { test } from "node:test";

import { createQuadrature, METHODS } from "../../runtime/explain/quadrature.ts";
import { assertNear } from "../support/goldens.ts";

/** `∫₀¹ g(α) dα` by a rule. */
function integrate(
  rule: ReturnType<typeof createQuadrature>,
  g: (alpha: number) => number,
): number {
  return rule.alphas.reduce((sum, alpha, k) => sum + (rule.weights[k] ?? 0) * g(alpha), 0);
}

for (const n of [1, 2, 3, 5, 50, 51, 300]) {
  test(`Gauss and Legendre's rule with ${n} places integrates polynomials up to the degree ${2 * n - 1} exactly`, () => {
    const rule = createQuadrature("gausslegendre", n);
    for (const degree of new Set([0, 1, n, 2 * n - 2, 2 * n - 1])) {
      const exact = 1 / (degree + 1);
      // A few roundings of doubles for each place.
      assert.ok(Math.abs(integrate(rule, (alpha) => alpha ** degree) - exact) < 1e-14, `${degree}`);
    }
    const error = Math.abs(integrate(rule, (alpha) => alpha ** (2 * n)) - 1 / (2 * n + 1));
    if (n < 10)
      assert.ok(error > 1e-14, "the next degree is not exact: the rule has no more places");
  });
}

test("places and weights are those of numpy.polynomial.legendre.leggauss, moved to [0, 1]", () => {
  // numpy 2: leggauss(5), then (1 + x) / 2 and w / 2.
  const { alphas, weights } = createQuadrature("gausslegendre", 5);
  const places = [
    -0.906179845938664, -0.5384693101056831, 0, 0.5384693101056831, 0.906179845938664,
  ];
  const sizes = [0.23692688505618942, 0.4786286704993662, 0.568888888888889];
  assertNear(
    [...alphas],
    places.map((x) => (1 + x) / 2),
    1e-15,
  );
  assertNear(
    [...weights],
    [0, 1, 2, 1, 0].map((k) => (sizes[k] ?? 0) / 2),
    1e-15,
  );
});

test("Riemann's rules are Captum's, and the trapezoid's weights add up to 1 - 1/n as there", () => {
  const rules = Object.fromEntries(METHODS.map((method) => [method, createQuadrature(method, 4)]));
  assertNear([...(rules["riemann_left"]?.alphas ?? [])], [0, 0.25, 0.5, 0.75], 1e-15);
  assertNear([...(rules["riemann_right"]?.alphas ?? [])], [0.25, 0.5, 0.75, 1], 1e-15);
  assertNear([...(rules["riemann_middle"]?.alphas ?? [])], [0.125, 0.375, 0.625, 0.875], 1e-15);
  assertNear([...(rules["riemann_trapezoid"]?.alphas ?? [])], [0, 1 / 3, 2 / 3, 1], 1e-15);
  assert.deepEqual([...(rules["riemann_left"]?.weights ?? [])], [0.25, 0.25, 0.25, 0.25]);
  assert.deepEqual([...(rules["riemann_trapezoid"]?.weights ?? [])], [0.125, 0.25, 0.25, 0.125]);
});

test("a number of places that makes no rule is refused", () => {
  assert.throws(() => createQuadrature("gausslegendre", 0), RangeError);
  assert.throws(() => createQuadrature("gausslegendre", 1.5), RangeError);
  assert.throws(() => createQuadrature("riemann_trapezoid", 1), RangeError);
  assert.equal(createQuadrature("riemann_left", 1).alphas[0], 0);
});
