import assert from "node:assert/strict";
import { test } from "node:test";

import {
  integrateGradients,
  placePoint,
  type Path,
  type Point,
  type Slope,
} from "../../runtime/explain/integrated-gradients.ts";
import { createQuadrature } from "../../runtime/explain/quadrature.ts";
import { assertNear } from "../support/goldens.ts";

/** `F(z) = Σ cᵢ zᵢ³`, whose attributions are known: `cᵢ (xᵢ³ − bᵢ³)`, if the path lies on a ray of each `i`. */
function cubes(weights: readonly number[], runs: number[] = []) {
  return async (points: readonly Point[]): Promise<Slope[]> => {
    runs.push(points.length);
    return points.map((point) => {
      const z = new Float32Array(point.path.to.length);
      placePoint(point, z, 0);
      return {
        value: z.reduce((sum, each, i) => sum + (weights[i] ?? 0) * each ** 3, 0),
        gradient: z.map((each, i) => 3 * (weights[i] ?? 0) * each ** 2),
      };
    });
  };
}

function pathOf(from: readonly number[], to: readonly number[], more: Partial<Path> = {}): Path {
  return {
    tokens: from.length / 2,
    from: Float32Array.from(from),
    to: Float32Array.from(to),
    rule: createQuadrature("gausslegendre", 4),
    ...more,
  };
}

const FROM = [0, 0, 0.5, 0, 1, 1];
const TO = [1, 2, 0.5, -1, 0, 1];
const WEIGHTS = [1, 0.5, 3, 2, -1, 4];
const some = { pointsPerRun: () => 3 };

test("attributions are each token's share of F(x) - F(b), summed over what is hidden", async () => {
  const [found] = await integrateGradients([pathOf(FROM, TO)], cubes(WEIGHTS), some);
  // Of float32: [1·1 + 0.5·8, 0 + 2·(−1), −1·(0 − 1) + 0].
  assertNear(found?.attributions ?? [], [5, -2, 1], 1e-5);
  assertNear(
    found?.importances ?? [],
    [5, -2, 1].map((each) => each / Math.sqrt(30)),
    1e-6,
  );
  assertNear([found?.value ?? 0, found?.baselineValue ?? 0], [7.375, 3.375], 1e-5);
  assert.ok(Math.abs(found?.delta ?? 1) < 1e-5, "exact for cubes, but for float32");
});

test("a coarse rule leaves a delta: attributions minus the change, as Captum has it", async () => {
  const rule = createQuadrature("riemann_left", 2);
  const [found] = await integrateGradients([pathOf([0, 0], [1, 0], { rule })], cubes([1, 1]), some);
  // Σ = ½·(0 + 3·¼) = 0.375, and F(x) − F(b) = 1.
  assertNear(found?.attributions ?? [], [0.375], 1e-7);
  assertNear([found?.delta ?? 0], [-0.625], 1e-7);
  assertNear([found?.value ?? 0, found?.baselineValue ?? 1], [1, 0], 0);
});

test("an input that is its own baseline has importances of zero, not NaN", async () => {
  const [found] = await integrateGradients([pathOf(TO, TO)], cubes(WEIGHTS), some);
  assert.deepEqual(found?.importances, [0, 0, 0]);
  assert.equal(found?.delta, 0);
});

test("several paths share runs and get what each gets alone", async () => {
  const paths = [
    pathOf(FROM, TO),
    pathOf([0, 0], [1, 1]),
    pathOf(
      FROM,
      TO.map((each) => each / 2),
      { rule: createQuadrature("riemann_trapezoid", 3) },
    ),
    pathOf([0, 0], [2, 2], { maxPoints: 2 }),
  ];
  const runs: number[] = [];
  const together = await integrateGradients(paths, cubes(WEIGHTS, runs), { pointsPerRun: () => 8 });
  for (const [index, path] of paths.entries()) {
    const [alone] = await integrateGradients([path], cubes(WEIGHTS), { pointsPerRun: () => 1 });
    assert.deepEqual(together[index], alone);
  }
  // One token: 4 + 2 points, of the second path by twos; three tokens: 4 + 2 points, and the trapezoid's own 3.
  assert.deepEqual(runs, [6, 2, 2, 2, 8, 1]);
});

test("paths of unlike length do not share a run", async () => {
  const runs: number[] = [];
  const paths = [pathOf(FROM, TO), pathOf([0, 0, 0, 0], [1, 1, 1, 1])];
  await integrateGradients(paths, cubes(WEIGHTS, runs), { pointsPerRun: () => 100 });
  assert.deepEqual(runs, [6, 6]);
});

test("nothing is computed once nobody waits", async () => {
  const abort = new AbortController();
  const runs: number[] = [];
  const slopes = cubes(WEIGHTS, runs);
  const reason = new Error("gone");
  await assert.rejects(
    integrateGradients(
      [pathOf(FROM, TO)],
      async (points) => {
        if (runs.length === 1) abort.abort(reason);
        return slopes(points);
      },
      { pointsPerRun: () => 1, signal: abort.signal },
    ),
    reason,
  );
  assert.equal(runs.length, 2);
});

test("a gradient that is no number is an error, not an answer", async () => {
  const broken = async (points: readonly Point[]): Promise<Slope[]> =>
    points.map(({ path }) => ({ value: 1, gradient: path.to.map(() => Number.NaN) }));
  await assert.rejects(integrateGradients([pathOf(FROM, TO)], broken, some), /not a finite number/);
});
