/**
 * From one vector per token to one per text, as sentence-transformers does it (`models/Pooling.py`).
 *
 * Letters: `T` tokens of the text without padding, `H` dimensions. Sums are float64.
 */

export type Pooling = keyof typeof POOLINGS;

type Pool = (hidden: Float32Array, T: number, H: number) => Float64Array;

const POOLINGS = {
  cls: (hidden, _T, H) => Float64Array.from(hidden.subarray(0, H)),
  last_token: (hidden, T, H) => Float64Array.from(hidden.subarray((T - 1) * H, T * H)),
  max: maximum,
  mean: (hidden, T, H) => weightedSum(hidden, T, H, () => 1 / T),
  mean_sqrt_len: (hidden, T, H) => weightedSum(hidden, T, H, () => 1 / Math.sqrt(T)),
  // Later tokens of a decoder have seen more: weights 1, 2, …, T.
  weighted_mean: (hidden, T, H) => weightedSum(hidden, T, H, (t) => (t + 1) / ((T * (T + 1)) / 2)),
} as const satisfies Record<string, Pool>;

/**
 * Pools a text's token vectors.
 *
 * @param hidden `[≥T, H]`, row-major; rows past `T` are padding and stay unread.
 * @returns `[H]`
 */
export function pool(hidden: Float32Array, T: number, H: number, pooling: Pooling): Float64Array {
  return POOLINGS[pooling](hidden, T, H);
}

/** The vector at length 1; a zero vector stays as it is. */
export function normalize(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return length === 0 ? [...vector] : vector.map((value) => value / length);
}

/** Cosine similarity; 0 where a vector has no direction. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
  const lengths = Math.hypot(...a) * Math.hypot(...b);
  return lengths === 0 ? 0 : dot / lengths;
}

function weightedSum(
  hidden: Float32Array,
  T: number,
  H: number,
  weightOf: (t: number) => number,
): Float64Array {
  const sum = new Float64Array(H);
  for (let t = 0; t < T; t++) {
    const weight = weightOf(t);
    for (let h = 0; h < H; h++) sum[h] = (sum[h] ?? 0) + weight * (hidden[t * H + h] ?? 0);
  }
  return sum;
}

function maximum(hidden: Float32Array, T: number, H: number): Float64Array {
  const largest = new Float64Array(H).fill(-Infinity);
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < H; h++) {
      largest[h] = Math.max(largest[h] ?? -Infinity, hidden[t * H + h] ?? -Infinity);
    }
  }
  return largest;
}
