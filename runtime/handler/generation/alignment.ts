/**
 * Where rows of unequal length may be padded: found out by trying, as graphs do not say.
 *
 * Ordinary graphs take padding on the left: the mask hides it, and positions are fed. Graphs whose attention is one fused
 * operator (GroupQueryAttention) count a row's tokens by its mask and look for them at the beginning: they want it on the
 * right. Graphs that count positions by columns give right answers only to rows of equal length. So two sequences are read
 * alone and together, and the scores compared.
 */
import { CacheBlock, CacheMemory, type CacheRow, type PaddingSide } from "./cache-block.ts";
import type { CausalGraph, Logits } from "./causal-graph.ts";
import { stepFeeds } from "./feeds.ts";

/** `undefined`: only rows of equal length go together. */
export type Alignment = PaddingSide | undefined;

/**
 * The most that scores may differ, as a share of their range: float32 differs in the sixth digit, weights of 8 bits in the second,
 * as their scales are taken over the whole batch; a row that looks at padding or from a wrong position differs in the first.
 */
const MOST_DIFFERENCE = 0.05;

/** Any tokens do: every vocabulary has these. */
const SHORT = [1, 2, 3];
const LONG = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5];

/** Four short runs, or six. */
export async function findAlignment(graph: CausalGraph): Promise<Alignment> {
  const memory = new CacheMemory(graph.tensors);
  const rows: CacheRow[] = [];
  const alone: Float32Array[] = [];
  for (const ids of [SHORT, LONG]) {
    const block = new CacheBlock(memory, 1, 0, "left");
    await graph.run(block, { ...stepFeeds(block, [0], [ids.slice(0, -1)]), logits: "none" });
    const row = { block, index: 0, length: ids.length - 1 };
    const copy = CacheBlock.gather(memory, [row], "left");
    const logits = await graph.run(copy, {
      ...stepFeeds(copy, [row.length], [ids.slice(-1)]),
      logits: "last",
    });
    rows.push(row);
    alone.push(scoresOf(logits, 0));
  }
  for (const side of ["left", "right"] as const) {
    const block = CacheBlock.gather(memory, rows, side);
    const lengths = rows.map(({ length }) => length);
    const next = [SHORT.slice(-1), LONG.slice(-1)];
    const logits = await graph.run(block, { ...stepFeeds(block, lengths, next), logits: "last" });
    if (
      alone.every((scores, row) => differenceOf(scores, scoresOf(logits, row)) <= MOST_DIFFERENCE)
    )
      return side;
  }
  return undefined;
}

/** A row's scores after its last column. */
export function scoresOf(logits: Logits | undefined, row: number): Float32Array {
  if (logits === undefined) throw new TypeError("scores were not asked for");
  const { data, columns, size } = logits;
  const end = (row + 1) * columns * size;
  return data.subarray(end - size, end);
}

function differenceOf(expected: Float32Array, found: Float32Array): number {
  let low = Infinity;
  let high = -Infinity;
  let difference = 0;
  for (const [index, score] of expected.entries()) {
    low = Math.min(low, score);
    high = Math.max(high, score);
    const one = Math.abs(score - (found[index] ?? Number.NaN));
    if (!(one <= difference)) difference = one; // NaN counts
  }
  return difference / (high - low || 1);
}
