/**
 * What reads prompts and writes tokens for the scheduler, several sequences at a time where the graph allows it.
 *
 * `batched-runner.ts` keeps the cache of ordinary graphs itself, `single-runner.ts` runs every other kind one sequence after
 * the other. Letters: `V` tokens of the vocabulary.
 */
import type { CacheRow } from "./cache-block.ts";
import type { Logits } from "./causal-graph.ts";

export interface Runner {
  /** What one token of one sequence takes in memory. */
  readonly bytesPerToken: number;
  /** Whether a prompt may be read in parts, and its beginning copied from another sequence. */
  readonly readsParts: boolean;
  /** The most tokens of a part whose last scores are cheap to have: the others' are thrown away. */
  readonly mostScored: number;
  /** An empty sequence. */
  open(): CacheRow;
  /** Another sequence that goes on from here; absent where caches cannot be copied. @param length Its beginning only. */
  readonly fork?: (row: CacheRow, length?: number) => CacheRow;
  /** Reads the next tokens of a sequence. @returns The scores that are wanted. */
  read(
    row: CacheRow,
    ids: readonly number[],
    wanted: "none" | "last" | "all",
  ): Promise<Logits | undefined>;
  /** How many of the prompts, counted from the first, had better be read in one run. */
  together(lengths: readonly number[], mostTokens: number): number;
  /** Reads prompts into empty sequences at once. @returns Scores `[V]` after each, where they are wanted. */
  readTogether(
    rows: readonly CacheRow[],
    prompts: readonly (readonly number[])[],
    wantsScores: boolean,
  ): Promise<readonly Float32Array[] | undefined>;
  /** One more token for every sequence. @returns Scores `[V]` after each; the caller may change them. */
  step(rows: readonly CacheRow[], ids: readonly number[]): Promise<Float32Array[]>;
  /** The sequence will sit out some steps. */
  park(row: CacheRow): void;
  /** Frees its memory. */
  release(row: CacheRow): void;
}
