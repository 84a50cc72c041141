/**
 * Where rows of unequal length may be padded: found out by trying, as graphs do not say.
 *
 * Ordinary graphs take padding on the left: the mask hides it, and positions are fed. Graphs whose attention is one fused
 * operator (GroupQueryAttention) count a row's tokens by its mask and look for them at the beginning: they want it on the
 * right. Graphs that count positions by columns give right answers only to rows of equal length. So two sequences are read
 * alone and together, and the scores compared.
 */
import { CacheBlock, type CacheRow, type PaddingSide } from "./cache-block.ts";
import { CacheMemory } from "./cache-memory.ts";
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

/** What follows `SHORT` and `LONG` in a second step. */
const SECOND = 2;

/** Six short runs, or eight. */
export async function findAlignment(graph: CausalGraph): Promise<Alignment> {
  const memory = new CacheMemory(graph.tensors);
  const alone = await readAlone(graph, memory);
  for (const side of ["left", "right"] as const)
    if (await agrees(graph, CacheBlock.gather(memory, rowsOf(alone), side), alone)) return side;
  return undefined;
}

/**
 * Whether the cache of a graph can be filled in place: new columns are what it would have added, and neither padding on the left nor
 * masked columns before the new ones change what it says. Eight short runs.
 */
export async function fillsInPlace(graph: CausalGraph): Promise<boolean> {
  if (!graph.givesColumns) return false;
  const alone = await readAlone(graph, new CacheMemory(graph.tensors));
  const memory = new CacheMemory(graph.tensors, { inPlace: true });
  return agrees(graph, CacheBlock.gather(memory, rowsOf(alone), "left"), alone);
}

/** A sequence, and its scores after the last token, and after one more. */
interface Alone {
  readonly ids: readonly number[];
  /** Holds all but the last token. */
  readonly row: CacheRow;
  readonly scores: readonly Float32Array[];
}

async function readAlone(graph: CausalGraph, memory: CacheMemory): Promise<Alone[]> {
  const read: Alone[] = [];
  for (const ids of [SHORT, LONG]) {
    const block = new CacheBlock(memory, 1, 0, "left");
    await graph.run(block, { ...stepFeeds(block, [0], [ids.slice(0, -1)]), logits: "none" });
    const row = { block, index: 0, length: ids.length - 1 };
    const copy = CacheBlock.gather(memory, [row], "left");
    read.push({ ids, row, scores: await twoSteps(graph, copy, [row.length], [ids]) });
  }
  return read;
}

/** Whether all say in one block what each says alone. */
async function agrees(
  graph: CausalGraph,
  block: CacheBlock,
  alone: readonly Alone[],
): Promise<boolean> {
  const lengths = alone.map(({ row }) => row.length);
  const found = await twoSteps(
    graph,
    block,
    lengths,
    alone.map(({ ids }) => ids),
  );
  const expected = [0, 1].flatMap((step) => alone.flatMap(({ scores }) => scores[step] ?? []));
  return expected.every(
    (scores, place) => differenceOf(scores, found[place] ?? new Float32Array(0)) <= MOST_DIFFERENCE,
  );
}

/** @returns The scores of each row after the last token, then those after one more. */
async function twoSteps(
  graph: CausalGraph,
  block: CacheBlock,
  lengths: readonly number[],
  texts: readonly (readonly number[])[],
): Promise<Float32Array[]> {
  const scores: Float32Array[] = [];
  for (const step of [0, 1]) {
    const next = texts.map((ids) => (step === 0 ? ids.slice(-1) : [SECOND]));
    const feeds = stepFeeds(
      block,
      lengths.map((length) => length + step),
      next,
    );
    const logits = await graph.run(block, { ...feeds, logits: "last" });
    for (const row of texts.keys()) scores.push(scoresOf(logits, row));
  }
  return scores;
}

function rowsOf(alone: readonly Alone[]): CacheRow[] {
  return alone.map(({ row }) => row);
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
