/**
 * Runs ordinary graphs over all sequences at once: one token each, whatever their lengths.
 *
 * The sequences of a run lie in one block of the cache. While the same ones go on, nothing is copied. When one joins or leaves, the
 * rows are gathered into a new block; in a block that is filled in place, only the one that joins is copied, or the
 * last one into the place of the one that left. Rows that wait keep a block of their own.
 */
import { findAlignment, scoresOf, type Alignment } from "./alignment.ts";
import { CacheBlock, type CacheRow } from "./cache-block.ts";
import { bytesPerToken, CacheMemory } from "./cache-memory.ts";
import type { CausalGraph } from "./causal-graph.ts";
import { planCohorts } from "./cohorts.ts";
import { promptFeeds, stepFeeds } from "./feeds.ts";
import type { Runner } from "./runner.ts";

export interface BatchedRunnerOptions {
  readonly graph: CausalGraph;
  /** What a run reads besides the cache. */
  readonly weightsBytes: number;
  /** What shorter prompts are filled with; masked, so that any token does. */
  readonly padId: number;
  /** Whether caches are filled in place, which the graph has been found fit for (`fillsInPlace`). */
  readonly inPlace?: boolean;
}

/** Scores that may be computed and thrown away for a prompt's last one: 8 MiB of float32. */
const MOST_SCORES = 2 ** 21;
/** A vocabulary that is not known is taken for a large one. */
const LARGE_VOCABULARY = 2 ** 17;
/** The share of a joint reading that may be padding. */
const MOST_PADDING = 0.2;
/** More would not make a run cheaper for each. */
const MOST_TOGETHER = 16;
/** Columns that nobody of a block needs any more; with more it is gathered anew. */
const MOST_UNUSED = 64;

export function createBatchedRunner({
  graph,
  weightsBytes,
  padId,
  inPlace = false,
}: BatchedRunnerOptions): Runner {
  const memory = new CacheMemory(graph.tensors, { inPlace });
  const { vocabulary = LARGE_VOCABULARY } = graph;
  /** Where the scores of a step's runs are written, one after the other. */
  const scoreBuffers: Float32Array[] = [];
  const costs = { weightsBytes, bytesPerToken: bytesPerToken(graph.tensors) };
  let known: Alignment = inPlace ? "left" : undefined;
  let alignment: Promise<Alignment> | undefined = inPlace ? Promise.resolve(known) : undefined;

  /** Found out when rows of unequal length meet for the first time. */
  async function align(): Promise<Alignment> {
    alignment ??= findAlignment(graph);
    known = await alignment;
    return known;
  }

  function leave(row: CacheRow): void {
    const { block } = row;
    row.block = undefined;
    if (block === undefined) return;
    block.users.delete(row);
    if (block.users.size === 0) block.dispose();
  }

  function enter(row: CacheRow, block: CacheBlock, index: number): void {
    leave(row);
    block.users.add(row);
    row.block = block;
    row.index = index;
  }

  function gather(rows: readonly CacheRow[]): CacheBlock {
    const block = CacheBlock.gather(memory, rows, known ?? "left"); // without padding either is right
    for (const [index, row] of rows.entries()) enter(row, block, index);
    return block;
  }

  /** The block that holds these rows and no others, each in a place of its own: a fork shares its place until one of the two goes on. */
  function blockOf(rows: readonly CacheRow[]): CacheBlock {
    const block = rows[0]?.block;
    const isTheirs =
      block !== undefined &&
      block.rows === rows.length &&
      block.users.size === rows.length &&
      rows.every((row) => row.block === block) &&
      new Set(rows.map(({ index }) => index)).size === rows.length;
    if (isTheirs) return block;
    const host = inPlace ? hostOf(rows) : undefined;
    return host === undefined ? gather(rows) : settle(rows, host);
  }

  /** The block that most of them lie in, if it is worth keeping: the others fit in, and it is not much wider than they need. */
  function hostOf(rows: readonly CacheRow[]): CacheBlock | undefined {
    const counts = new Map<CacheBlock, number>();
    for (const { block } of rows)
      if (block !== undefined) counts.set(block, (counts.get(block) ?? 0) + 1);
    const [[host, count] = []] = [...counts].sort(([, a], [, b]) => b - a);
    if (host === undefined || count === undefined || 2 * count < rows.length) return undefined;
    const unused = host.columns - Math.max(...rows.map(({ length }) => length));
    const strangers = host.users.size - count;
    return unused >= 0 && unused <= MOST_UNUSED && strangers < count ? host : undefined;
  }

  /** Makes these the only rows of a block: others leave it, new ones come in, and no place stays empty. */
  function settle(rows: readonly CacheRow[], host: CacheBlock): CacheBlock {
    for (const user of host.users) if (!rows.includes(user)) gather([user]);
    const count = rows.length;
    const staying = new Map<number, CacheRow>();
    for (const row of rows)
      if (row.block === host && !staying.has(row.index)) staying.set(row.index, row);
    const stays = (row: CacheRow): boolean => staying.get(row.index) === row;
    const free = Array.from({ length: count }, (_, place) => place).filter(
      (place) => !staying.has(place),
    );
    if (count > host.rows) host.resize(count);
    // Those who come first: what they are copied from, a row they were forked from, may be moved afterwards.
    const coming = rows.filter((row) => row.block !== host || !stays(row));
    const moving = [...staying.values()].filter(({ index }) => index >= count);
    for (const row of [...coming, ...moving]) {
      const place = free.pop();
      if (place === undefined) throw new RangeError("the block has no place for a row");
      host.put(place, row);
      if (row.block !== host) enter(row, host, place);
      row.index = place;
    }
    host.resize(count);
    return host;
  }

  /** They stay as they are until the next step. */
  function scoreBuffer(run: number, rows: number): Float32Array | undefined {
    if (graph.vocabulary === undefined) return undefined;
    const size = rows * graph.vocabulary;
    let buffer = scoreBuffers[run];
    if (buffer === undefined || buffer.length < size)
      scoreBuffers[run] = buffer = new Float32Array(size);
    return buffer;
  }

  async function stepTogether(
    rows: readonly CacheRow[],
    ids: ReadonlyMap<CacheRow, number>,
    run: number,
  ) {
    const block = blockOf(rows);
    const ordered = [...rows].sort((a, b) => a.index - b.index);
    const unread = ordered.map((row) => [ids.get(row) ?? padId]);
    const lengths = ordered.map(({ length }) => length);
    const logits = await graph.run(block, {
      ...stepFeeds(block, lengths, unread),
      logits: "last",
      into: scoreBuffer(run, rows.length),
    });
    return ordered.map((row, index) => {
      row.length++;
      return [row, scoresOf(logits, index)] as const;
    });
  }

  return {
    bytesPerToken: costs.bytesPerToken,
    readsParts: graph.readsParts,
    mostScored: graph.givesLastOnly ? Infinity : Math.floor(MOST_SCORES / vocabulary),
    open: () => ({ block: undefined, index: 0, length: 0 }),

    fork(row, length = row.length) {
      const fork: CacheRow = { block: undefined, index: 0, length };
      if (row.block === undefined) return fork;
      if (length === row.length) enter(fork, row.block, row.index);
      else enter(fork, CacheBlock.gather(memory, [row], "left", [length]), 0);
      return fork;
    },

    async read(row, ids, wanted) {
      if (row.block === undefined) enter(row, new CacheBlock(memory, 1, 0, "left"), 0);
      const block = blockOf([row]);
      const feeds = stepFeeds(block, [row.length], [ids]);
      const logits = await graph.run(block, { ...feeds, logits: wanted });
      row.length += ids.length;
      return logits;
    },

    together(lengths, mostTokens) {
      let [shortest = 0, longest = 0] = [lengths[0], lengths[0]];
      let tokens = 0;
      let count = 0;
      for (const length of lengths.slice(0, MOST_TOGETHER)) {
        shortest = Math.min(shortest, length);
        longest = Math.max(longest, length);
        // Only padding on the left is known to be read past; until that has been tried, and elsewhere, they are equal.
        if (known !== "left" && shortest !== longest) break;
        const padded = longest * (count + 1);
        if (padded > mostTokens || 1 - (tokens + length) / padded > MOST_PADDING) break;
        tokens += length;
        count++;
      }
      return Math.max(1, count);
    },

    async readTogether(rows, prompts, wantsScores) {
      const block = new CacheBlock(memory, rows.length, 0, "left");
      for (const [index, row] of rows.entries()) enter(row, block, index);
      const feeds = promptFeeds(prompts, padId);
      const logits = await graph.run(block, { ...feeds, logits: wantsScores ? "last" : "none" });
      for (const [index, row] of rows.entries()) row.length = prompts[index]?.length ?? 0;
      return logits && rows.map((_, index) => scoresOf(logits, index));
    },

    async step(rows, ids) {
      const next = new Map(rows.map((row, index) => [row, ids[index] ?? padId]));
      const lengths = rows.map(({ length }) => length);
      const isUneven = lengths.some((length) => length !== lengths[0]);
      const cohorts = planCohorts(lengths, isUneven ? await align() : known, costs);
      const scores = new Map<CacheRow, Float32Array>();
      for (const [run, cohort] of cohorts.entries()) {
        const together = cohort.flatMap((index) => rows[index] ?? []);
        for (const [row, own] of await stepTogether(together, next, run)) scores.set(row, own);
      }
      return rows.map((row) => scores.get(row) ?? new Float32Array(0));
    },

    park(row) {
      if (row.block !== undefined) blockOf([row]);
    },

    release(row) {
      leave(row);
      row.length = 0;
    },
  };
}
