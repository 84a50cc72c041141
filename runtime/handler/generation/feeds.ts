/**
 * What a run is fed besides the cache: tokens, mask and positions.
 *
 * Letters: `B` rows, `N` new tokens of each, `T` columns of the cache that are shown to the run.
 */
import type { CacheBlock } from "./cache-block.ts";
import type { Pass } from "./causal-graph.ts";

/**
 * @param lengths How many tokens each row has in the cache.
 * @param unread The new ones: as many for each row.
 */
export function stepFeeds(
  block: Pick<CacheBlock, "rows" | "columns" | "width" | "side">,
  lengths: readonly number[],
  unread: readonly (readonly number[])[],
): Omit<Pass, "logits"> {
  const B = block.rows;
  const N = unread[0]?.length ?? 0;
  const T = block.width;
  const width = T + N;
  const ids = new BigInt64Array(B * N);
  const positions = new BigInt64Array(B * N);
  const mask = new BigInt64Array(B * width);
  for (const [row, tokens] of unread.entries()) {
    const length = lengths[row] ?? 0;
    const first = row * width;
    if (block.side === "left") {
      // Between what is filled and the new tokens there may be columns to spare.
      mask.fill(1n, first + block.columns - length, first + block.columns);
      mask.fill(1n, first + T, first + width);
    } else mask.fill(1n, first, first + length + N); // the graph puts the new ones behind the old
    for (const [offset, id] of tokens.entries()) {
      ids[row * N + offset] = BigInt(id);
      positions[row * N + offset] = BigInt(length + offset);
    }
  }
  return { ids, mask, positions };
}

/**
 * Whole prompts of unequal length, read at once: the shorter ones are padded on the left.
 *
 * @param padId What padding is read as; masked, so that any token does.
 */
export function promptFeeds(
  prompts: readonly (readonly number[])[],
  padId: number,
): Omit<Pass, "logits"> {
  const B = prompts.length;
  const N = Math.max(...prompts.map(({ length }) => length));
  const ids = new BigInt64Array(B * N).fill(BigInt(padId));
  const positions = new BigInt64Array(B * N);
  const mask = new BigInt64Array(B * N);
  for (const [row, tokens] of prompts.entries()) {
    const start = row * N + N - tokens.length;
    mask.fill(1n, start, (row + 1) * N);
    for (const [offset, id] of tokens.entries()) {
      ids[start + offset] = BigInt(id);
      positions[start + offset] = BigInt(offset);
    }
  }
  return { ids, mask, positions };
}
