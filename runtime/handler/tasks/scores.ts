/**
 * From logits to the best few, in float64: a float32 sum over a vocabulary loses the digits that goldens compare.
 */

/** `exp(x) / Σ exp(x)`, shifted by the largest value so that nothing overflows. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const scores = Float64Array.from(logits);
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    const value = Math.exp((scores[i] ?? 0) - largest);
    scores[i] = value;
    sum += value;
  }
  return scores.map((value) => value / sum);
}

/** `1 / (1 + exp(-x))` of each value. */
export function sigmoid(logits: ArrayLike<number>): Float64Array {
  return Float64Array.from(logits, (value) => 1 / (1 + Math.exp(-value)));
}

/**
 * The indices of the `count` largest values, largest first; of equal ones the earlier first.
 *
 * One pass that keeps the best so far, so a vocabulary is not sorted for its top five.
 */
export function topIndices(values: ArrayLike<number>, count: number): number[] {
  const best: number[] = [];
  const valueOf = (index: number | undefined): number =>
    index === undefined ? -Infinity : (values[index] ?? -Infinity);
  if (count >= values.length / 4) {
    const all = Array.from(values, (_, index) => index);
    return all.sort((a, b) => valueOf(b) - valueOf(a)).slice(0, count);
  }
  for (let index = 0; index < values.length; index++) {
    if (best.length === count && valueOf(index) <= valueOf(best.at(-1))) continue;
    let place = best.length;
    while (place > 0 && valueOf(best[place - 1]) < valueOf(index)) place--;
    best.splice(place, 0, index);
    if (best.length > count) best.pop();
  }
  return best;
}
