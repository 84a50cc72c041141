/**
 * Keys and values of sequences that are computed together: one array for each of the cache's tensors.
 *
 * Rows of unequal length are padded to the longest: on the left, so that every row's next token goes into the same new
 * column, or on the right, where a graph wants it so (`alignment.ts`). Two buffers lie behind each array: a run reads one and
 * writes the other, one column longer, so that no step copies a cache in JavaScript or leaves one to the garbage
 * collector; a block that is no longer needed lends its buffers to the next (`notes/generation.md` has what was measured).
 *
 * Letters: `B` rows, `H` heads of keys and values, `T` columns, `D` a head's size. An array is `[B, H, T, D]`.
 */

/** Where the padding of a shorter row lies. */
export type PaddingSide = "left" | "right";

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

/** What is kept of one sequence: a row of a block. */
export interface CacheRow {
  block: CacheBlock | undefined;
  index: number;
  /** Tokens that are in the cache. */
  length: number;
}

/** Columns that a new buffer has to spare. */
const SPARE_COLUMNS = 64;

/** Buffers that wait for their next use: enough for the two of a block. */
const MOST_FREE = 2;

/** Memory for blocks. New memory costs a page fault every 4 KiB, which can take longer than the copy. */
export class CacheMemory {
  readonly tensors: readonly CacheTensor[];
  readonly #free: CacheArray[][];

  constructor(tensors: readonly CacheTensor[]) {
    this.tensors = tensors;
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

export class CacheBlock {
  /** The sequences whose keys and values lie here; only while each has a row of its own may the block go on as it is. */
  readonly users = new Set<CacheRow>();
  readonly rows: number;
  readonly side: PaddingSide;
  #columns: number;
  readonly #memory: CacheMemory;
  #current: CacheArray[];
  #spare: (CacheArray | undefined)[];

  /** Its contents are whatever was in memory, unless it has no columns. */
  constructor(memory: CacheMemory, rows: number, columns: number, side: PaddingSide) {
    this.#memory = memory;
    this.rows = rows;
    this.#columns = columns;
    this.side = side;
    this.#current = memory.tensors.map((tensor, index) =>
      columns === 0 ? emptyOf(tensor) : this.#take(index, columns),
    );
    this.#spare = memory.tensors.map(() => undefined);
  }

  get columns(): number {
    return this.#columns;
  }

  /** What a run reads: tensor `index` as `[B, H, T, D]`. */
  past(index: number): { readonly data: CacheArray; readonly dims: readonly number[] } {
    return this.#view(this.#current[index], index, this.#columns);
  }

  /** Where a run writes it, `more` columns longer. */
  present(index: number, more: number): { data: CacheArray; dims: readonly number[] } {
    const columns = this.#columns + more;
    let spare = this.#spare[index];
    if (spare === undefined || spare.length < this.#count(index, columns)) {
      if (spare !== undefined) this.#memory.give(index, spare);
      this.#spare[index] = spare = this.#take(index, columns);
    }
    return this.#view(spare, index, columns);
  }

  /** What was written is what the next run reads. */
  advance(more: number): void {
    for (const [index, written] of this.#spare.entries()) {
      if (written === undefined) throw new TypeError("nothing was written");
      this.#spare[index] = this.#current[index];
      this.#current[index] = written;
    }
    this.#columns += more;
  }

  /** Lends its buffers to others; it must not be read any more. */
  dispose(): void {
    for (const arrays of [this.#current, this.#spare]) {
      for (const [index, array] of arrays.entries()) {
        if (array !== undefined && array.length > 0) this.#memory.give(index, array);
      }
    }
    this.#current = [];
    this.#spare = [];
  }

  /** The column where a row of `length` tokens begins. */
  #startOf(length: number): number {
    return this.side === "left" ? this.#columns - length : 0;
  }

  /**
   * Copies rows into a block of their own, side by side.
   *
   * @param rows At least one; a row without a block is empty.
   * @param lengths How many tokens are taken of each, from its beginning; all where absent.
   */
  static gather(
    memory: CacheMemory,
    rows: readonly CacheRow[],
    side: PaddingSide,
    lengths: readonly number[] = rows.map(({ length }) => length),
  ): CacheBlock {
    const block = new CacheBlock(memory, rows.length, Math.max(...lengths), side);
    for (const [t, target] of block.#current.entries()) {
      for (const [place, row] of rows.entries()) {
        block.#copyRow(target, t, place, row, lengths[place] ?? 0);
      }
    }
    return block;
  }

  #copyRow(target: CacheArray, t: number, place: number, row: CacheRow, length: number): void {
    const { heads, size } = this.#tensor(t);
    const { block: from, index } = row;
    const data = from === undefined ? undefined : from.#current[t];
    const start = this.#startOf(length);
    for (let head = 0; head < heads; head++) {
      const to = (place * heads + head) * this.#columns * size;
      // Zeros: padding is masked, but zero times infinity is not a number.
      target.fill(0, to, to + start * size);
      target.fill(0, to + (start + length) * size, to + this.#columns * size);
      if (from === undefined || data === undefined) continue;
      const begin = ((index * heads + head) * from.columns + from.#startOf(row.length)) * size;
      target.set(data.subarray(begin, begin + length * size), to + start * size);
    }
  }

  #view(array: CacheArray | undefined, index: number, columns: number) {
    if (array === undefined) throw new TypeError("the block has been disposed of");
    const { heads, size } = this.#tensor(index);
    const dims = [this.rows, heads, columns, size];
    return { data: array.subarray(0, this.#count(index, columns)), dims };
  }

  #tensor(index: number): CacheTensor {
    const tensor = this.#memory.tensors[index];
    if (tensor === undefined) throw new RangeError(`the cache has no tensor ${index}`);
    return tensor;
  }

  #count(index: number, columns: number): number {
    const { heads, size } = this.#tensor(index);
    return this.rows * heads * columns * size;
  }

  #take(index: number, columns: number): CacheArray {
    return this.#memory.take(index, this.#count(index, columns + SPARE_COLUMNS));
  }
}

/** What one token of one sequence takes in the cache, in bytes. */
export function bytesPerToken(tensors: readonly CacheTensor[]): number {
  return tensors.reduce(
    (sum, { heads, size, type }) => sum + heads * size * (type === "float16" ? 2 : 4),
    0,
  );
}

function emptyOf({ type }: CacheTensor): CacheArray {
  return type === "float16" ? new Uint16Array(0) : new Float32Array(0);
}
