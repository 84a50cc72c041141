/**
 * Which items share a forward pass.
 *
 * Padding costs as much as text, so items of near length go together, and one pass stays small: on a CPU a batch is
 * saturated at 64–128 tokens, and larger ones fall out of the cache.
 */

import type { Item } from "./task.ts";

/** The most tokens of one forward pass, padding included; a single longer item goes alone. */
export const MAX_PADDED_TOKENS = 512;
/** The share of a pass that may be padding. */
export const MAX_PADDING_SHARE = 0.15;

/**
 * Groups items by length.
 *
 * @param lengths Each item's length in tokens.
 * @returns Indices into `lengths`: every one once, the shortest items first.
 */
export function groupByLength(
  lengths: readonly number[],
  maxPaddedTokens = MAX_PADDED_TOKENS,
  maxPaddingShare = MAX_PADDING_SHARE,
): number[][] {
  const order = [...lengths.keys()].sort((a, b) => lengthAt(lengths, a) - lengthAt(lengths, b));
  const groups: number[][] = [];
  let group: number[] = [];
  let tokens = 0;
  for (const index of order) {
    const length = lengthAt(lengths, index); // the longest so far, as they come in order
    const padded = length * (group.length + 1);
    const padding = 1 - (tokens + length) / padded;
    if (group.length > 0 && (padded > maxPaddedTokens || padding > maxPaddingShare)) {
      groups.push(group);
      group = [];
      tokens = 0;
    }
    group.push(index);
    tokens += length;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/**
 * Groups items by length among those of the same group.
 *
 * @returns Indices into `items`: every one once.
 */
export function groupItems(
  items: readonly Item[],
  maxPaddedTokens = MAX_PADDED_TOKENS,
): number[][] {
  const families = new Map<Item["group"], number[]>();
  for (const [index, { group }] of items.entries()) {
    const family = families.get(group);
    if (family === undefined) families.set(group, [index]);
    else family.push(index);
  }
  return [...families.values()].flatMap((family) =>
    groupByLength(
      family.map((index) => items[index]?.tokens ?? 1),
      maxPaddedTokens,
    ).map((group) => group.map((place) => family[place] ?? 0)),
  );
}

/** An empty sequence still costs a row. */
function lengthAt(lengths: readonly number[], index: number): number {
  return Math.max(1, lengths[index] ?? 0);
}
