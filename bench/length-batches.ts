/**
 * The best batches there can be when every text is known beforehand: what the ceiling runs.
 */

/**
 * Sorts by length and fills batches up to a budget.
 *
 * @param lengths Tokens of each text.
 * @param budget The most tokens of a batch, padding included; a longer text goes alone.
 * @returns Indices into `lengths`, every one once.
 */
export function sortIntoBatches(lengths: readonly number[], budget: number): number[][] {
  const order = [...lengths.keys()].sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0));
  const batches: number[][] = [];
  for (const index of order) {
    const batch = batches.at(-1);
    const padded = (lengths[index] ?? 0) * ((batch?.length ?? 0) + 1);
    if (batch === undefined || padded > budget) batches.push([index]);
    else batch.push(index);
  }
  return batches;
}

/** The share of the computed tokens that is padding, in [0, 1). */
export function paddingWaste(lengths: readonly number[], batches: readonly number[][]): number {
  let [real, padded] = [0, 0];
  for (const batch of batches) {
    const own = batch.map((index) => lengths[index] ?? 0);
    real += own.reduce((sum, length) => sum + length, 0);
    padded += Math.max(0, ...own) * batch.length;
  }
  return padded === 0 ? 0 : 1 - real / padded;
}
