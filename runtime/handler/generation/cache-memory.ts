/**
 * What a cache is made of: the tensors that a graph declares, and memory for them that is handed on from block to block.
 */

/** One of the cache's tensors, as the graph declares it. */
export interface CacheTensor {
  /** Its name as an input, and as an output. */
  readonly past: string;
  readonly present: string;
  readonly type: "float32" | "float16";
  readonly heads: number;
  readonly size: number;
}

/** float16 has its bits here, whatever array the runtime makes of them. */
export type CacheArray = Float32Array | Uint16Array;

/** Buffers that wait for their next use: enough for the two of a block. */
const MOST_FREE = 2;

/** Memory for blocks. New memory costs a page fault every 4 KiB, which can take longer than the copy. */
export class CacheMemory {
  readonly tensors: readonly CacheTensor[];
  /** Whether its blocks are filled in place: the graph gives new columns by themselves, and may be shown masked ones. */
  readonly inPlace: boolean;
  readonly #free: CacheArray[][];

  constructor(tensors: readonly CacheTensor[], { inPlace = false } = {}) {
    this.tensors = tensors;
    this.inPlace = inPlace;
    this.#free = tensors.map(() => []);
  }

  /** At least `count` elements, whatever they are. */
  take(index: number, count: number): CacheArray {
    const free = this.#free[index] ?? [];
    const place = free.findIndex(({ length }) => length >= count && length <= 4 * count);
    const [found] = place < 0 ? [] : free.splice(place, 1);
    if (found !== undefined) return found;
    return this.tensors[index]?.type === "float16"
      ? new Uint16Array(count)
      : new Float32Array(count);
  }

  /** The largest are kept. */
  give(index: number, array: CacheArray): void {
    const free = this.#free[index];
    if (free === undefined) return;
    free.push(array);
    free.sort((a, b) => b.length - a.length);
    free.length = Math.min(free.length, MOST_FREE);
  }
}

/** What one token of one sequence takes in the cache, in bytes. */
export function bytesPerToken(tensors: readonly CacheTensor[]): number {
  return tensors.reduce(
    (sum, { heads, size, type }) => sum + heads * size * (type === "float16" ? 2 : 4),
    0,
  );
}

/** A cache without columns. */
export function emptyOf({ type }: CacheTensor): CacheArray {
  return type === "float16" ? new Uint16Array(0) : new Float32Array(0);
}
