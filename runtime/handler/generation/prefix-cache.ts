/**
 * Prompts that begin alike are read once: the keys and values of what they have in common are copied.
 *
 * Looked through are the sequences that run, and those that have ended lately, as many as a budget of tokens allows.
 */
import type { CacheRow } from "./cache-block.ts";
import type { Runner } from "./runner.ts";

/** A sequence whose cache holds the beginning of `ids`: `row.length` of them. */
export interface ReadSequence {
  readonly row: CacheRow;
  readonly ids: readonly number[];
}

export interface PrefixCache {
  /** Tokens that are kept. */
  readonly tokens: number;
  /**
   * @param ids What is to be read.
   * @param running Sequences that run now.
   * @returns A sequence of its own that has read the longest common beginning; `undefined` where that is too short to matter.
   */
  find(ids: readonly number[], running: readonly ReadSequence[]): CacheRow | undefined;
  /** Keeps a copy of a sequence that ends. */
  keep(ids: readonly number[], row: CacheRow): void;
  clear(): void;
}

/** Shorter beginnings are read faster than they are found. */
const FEWEST_TOKENS = 16;
/** More would take longer to look through than they save. */
const MOST_KEPT = 64;

/** @param maxTokens The most tokens that are kept of sequences that have ended. */
export function createPrefixCache(
  runner: Required<Pick<Runner, "fork">> & Runner,
  maxTokens: number,
): PrefixCache {
  /** Least lately used first. */
  let kept: ReadSequence[] = [];
  let tokens = 0;

  function drop(sequence: ReadSequence): void {
    tokens -= sequence.row.length;
    kept = kept.filter((other) => other !== sequence);
    runner.release(sequence.row);
  }

  return {
    get tokens() {
      return tokens;
    },

    find(ids, running) {
      let best: ReadSequence | undefined;
      let most = FEWEST_TOKENS - 1;
      for (const sequence of [...running, ...kept]) {
        const common = commonLength(ids, sequence);
        if (common > most) [best, most] = [sequence, common];
      }
      if (best === undefined) return undefined;
      const found = best;
      if (kept.includes(found)) kept = [...kept.filter((other) => other !== found), found];
      return runner.fork(found.row, most);
    },

    keep(ids, row) {
      const length = Math.min(row.length, ids.length);
      if (length < FEWEST_TOKENS || length > maxTokens) return;
      // What a longer sequence begins with is not kept twice.
      const sequence = { row, ids };
      if (kept.some((other) => commonLength(ids.slice(0, length), other) === length)) return;
      for (const other of kept)
        if (commonLength(other.ids.slice(0, other.row.length), sequence) === other.row.length)
          drop(other);
      while (tokens + length > maxTokens || kept.length >= MOST_KEPT) {
        const [oldest] = kept;
        if (oldest === undefined) break;
        drop(oldest);
      }
      const copy = runner.fork(row, length);
      runner.park(copy);
      kept.push({ row: copy, ids: ids.slice(0, length) });
      tokens += length;
    },

    clear() {
      for (const sequence of kept) drop(sequence);
    },
  };
}

function commonLength(ids: readonly number[], { row, ids: theirs }: ReadSequence): number {
  const most = Math.min(ids.length, row.length, theirs.length);
  let length = 0;
  while (length < most && ids[length] === theirs[length]) length++;
  return length;
}
