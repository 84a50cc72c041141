/**
 * Integrated gradients: how much each token moved a model's output, counted from a baseline.
 *
 * The path runs straight from the baseline's embeddings `b` to the input's `x`, and the gradient of the output `F` is
 * summed along it (Sundararajan, Taly and Yan 2017, equation 3, for a layer as Captum's `LayerIntegratedGradients` does):
 *
 *     attribution[t, h] = (x − b)[t, h] · Σₖ wₖ · ∂F/∂z[t, h] at z = b + αₖ (x − b)
 *
 * A token's attribution is the sum over `h`. What all tokens add up to is `F(x) − F(b)`, but for the quadrature's error,
 * which is `delta`. Where `F` and its gradient come from is the caller's affair (`explainer.ts`; in tests a formula).
 * Letters: `T` tokens, `H` hidden.
 */
import type { Quadrature } from "./quadrature.ts";

/** One explanation's path, as the layer sees it. */
export interface Path {
  /** `T`. */
  readonly tokens: number;
  /** The baseline's embeddings, `[T, H]` … */
  readonly from: Float32Array;
  /** … and the input's. */
  readonly to: Float32Array;
  readonly rule: Quadrature;
  /** The most points of a run that this path takes part in; no bound of its own when absent. */
  readonly maxPoints?: number | undefined;
}

/** A place on a path: `from + alpha · (to − from)`. */
export interface Point<P extends Path = Path> {
  readonly path: P;
  readonly alpha: number;
}

/** The output and its gradient at a point. */
export interface Slope {
  readonly value: number;
  /** `[T, H]`, without padding. Read before the next run. */
  readonly gradient: Float32Array;
}

/** Runs the model at several points at once; answers one slope per point, in order. */
export type SlopesAt<P extends Path> = (points: readonly Point<P>[]) => Promise<readonly Slope[]>;

export interface IntegrationOptions {
  /** How many points of that many tokens one run may hold: what bounds the memory. */
  readonly pointsPerRun: (tokens: number) => number;
  /** Looked at between runs. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of one path. */
export interface Attribution {
  /** Each token's share of `value − baselineValue`: `[T]`. */
  readonly attributions: readonly number[];
  /** The same, divided by their L2 norm; zeros where all are zero. */
  readonly importances: readonly number[];
  /** The sum of `attributions` minus what it should be: Captum's sign. */
  readonly delta: number;
  /** The output at the input … */
  readonly value: number;
  /** … and at the baseline. */
  readonly baselineValue: number;
}

/**
 * Integrates along each path. Points of several paths share runs, where their lengths are near to each other.
 *
 * @returns One attribution per path, in order.
 * @throws The signal's reason between two runs; a plain Error where the model gives something that is no number.
 */
export async function integrateGradients<P extends Path>(
  paths: readonly P[],
  slopesAt: SlopesAt<P>,
  { pointsPerRun, signal }: IntegrationOptions,
): Promise<Attribution[]> {
  const sums = new Map(paths.map((path) => [path, new Sums(path)]));
  for (const run of cutRuns(paths, pointsPerRun)) {
    signal?.throwIfAborted();
    const slopes = await slopesAt(run);
    for (const [place, { path, alpha, weight }] of run.entries()) {
      const slope = slopes[place];
      if (slope === undefined) throw new Error(`${slopes.length} slopes for ${run.length} points`);
      sums.get(path)?.add(slope, alpha, weight);
    }
  }
  return paths.flatMap((path) => sums.get(path)?.finish() ?? []);
}

interface WeightedPoint<P extends Path> extends Point<P> {
  readonly weight: number;
}

/** The points of the path's rule; both ends are among them, without weight where the rule has no use for them. */
function pointsOf<P extends Path>(path: P): WeightedPoint<P>[] {
  const { alphas, weights } = path.rule;
  const points = Array.from(alphas, (alpha, k): WeightedPoint<P> => {
    return { path, alpha, weight: weights[k] ?? 0 };
  });
  if (alphas[0] !== 0) points.unshift({ path, alpha: 0, weight: 0 });
  if (alphas.at(-1) !== 1) points.push({ path, alpha: 1, weight: 0 });
  return points;
}

/** The share of a run that may be padding: below that a run more costs more. */
const MAX_PADDING_SHARE = 0.15;

/** All points in runs, the shortest paths first, so that neighbours in a run need little padding. */
function cutRuns<P extends Path>(
  paths: readonly P[],
  pointsPerRun: (tokens: number) => number,
): WeightedPoint<P>[][] {
  const runs: WeightedPoint<P>[][] = [];
  let run: WeightedPoint<P>[] = [];
  let room = 0;
  for (const path of paths.toSorted((a, b) => a.tokens - b.tokens)) {
    const shortest = run[0]?.path.tokens ?? path.tokens;
    const mostPoints = Math.max(1, Math.min(pointsPerRun(path.tokens), path.maxPoints ?? Infinity));
    if (shortest < (1 - MAX_PADDING_SHARE) * path.tokens) room = 0;
    room = Math.min(room, mostPoints - run.length);
    for (const point of pointsOf(path)) {
      if (room <= 0) {
        runs.push((run = []));
        room = mostPoints;
      }
      run.push(point);
      room--;
    }
  }
  return runs;
}

/** One path's sums, in double precision. */
class Sums {
  readonly #path: Path;
  readonly #attributions: Float64Array;
  #value = Number.NaN;
  #baselineValue = Number.NaN;

  constructor(path: Path) {
    this.#path = path;
    this.#attributions = new Float64Array(path.tokens);
  }

  add({ value, gradient }: Slope, alpha: number, weight: number): void {
    if (alpha === 0) this.#baselineValue = value;
    if (alpha === 1) this.#value = value;
    if (weight === 0) return;
    const { from, to, tokens } = this.#path;
    const H = to.length / tokens;
    for (let t = 0; t < tokens; t++) {
      let sum = 0;
      for (let i = t * H; i < (t + 1) * H; i++)
        sum += (gradient[i] ?? 0) * ((to[i] ?? 0) - (from[i] ?? 0));
      this.#attributions[t] = (this.#attributions[t] ?? 0) + weight * sum;
    }
  }

  finish(): Attribution {
    const attributions = Array.from(this.#attributions);
    const [value, baselineValue] = [this.#value, this.#baselineValue];
    const total = attributions.reduce((sum, each) => sum + each, 0);
    const norm = Math.hypot(...attributions);
    const delta = total - (value - baselineValue);
    if (![norm, delta].every(Number.isFinite))
      throw new Error("the output or its gradient is not a finite number");
    return {
      attributions,
      importances: attributions.map((each) => (norm === 0 ? 0 : each / norm)),
      delta,
      value,
      baselineValue,
    };
  }
}

/** Writes the point `from + alpha · (to − from)` into `target`, from `offset` on. */
export function placePoint({ path, alpha }: Point, target: Float32Array, offset: number): void {
  const { from, to } = path;
  for (let i = 0; i < to.length; i++) {
    const start = from[i] ?? 0;
    target[offset + i] = start + alpha * ((to[i] ?? 0) - start);
  }
}
