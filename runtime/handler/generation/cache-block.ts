/**
 * Keys and values of sequences that are computed together: one array for each of the cache's tensors.
 *
 * Rows of unequal length are padded to the longest: on the left, so that every row's next token goes into the same new
 * column, or on the right, where a graph wants it so (`alignment.ts`). Two buffers lie behind each array: a run reads one and
 * writes the other, one column longer, so that no step copies a cache in JavaScript; a block that is no longer needed lends its
 * buffers to the next.
 *
 * Where the graph gives the new columns by themselves (`../model/new-columns.ts`) there is one buffer, which has columns to spare. A run
 * reads all of it, the mask hides what is not filled, and the new columns are put in place; rows come and go one by one
 * (`notes/generation.md` has what was measured).
 *
 * Letters: `B` rows, `H` heads of keys and values, `T` columns, `D` a head's size. An array is `[B, H, T, D]`.
 */
import { emptyOf, type CacheArray, type CacheMemory, type CacheTensor } from "./cache-memory.ts";

/** Where the padding of a shorter row lies. */
export type PaddingSide = "left" | "right";

/** What is kept of one sequence: a row of a block. */
export interface CacheRow {
  block: CacheBlock | undefined;
  index: number;
  /** Tokens that are in the cache. */
  length: number;
}

/** Columns that a new buffer has to spare. */
const SPARE_COLUMNS = 64;

/** Columns that a block in place is widened by: few, as every run attends to all of them. */
const WIDER_BY = 32;

/** Rows that a block in place is given memory for at once. */
const ROWS_AT_ONCE = 4;

/** Up to so many numbers a loop is faster than a view and a copy. */
const FEW_NUMBERS = 128;

export class CacheBlock {
  /** The sequences whose keys and values lie here; only while each has a row of its own may the block go on as it is. */
  readonly users = new Set<CacheRow>();
  readonly side: PaddingSide;
  #rows: number;
  #columns: number;
  /** Columns that the buffers are laid out for; those beyond `#columns` are zeros. */
  #width: number;
  readonly #memory: CacheMemory;
  #current: CacheArray[];
  #spare: (CacheArray | undefined)[];

  /** Its contents are whatever was in memory, unless it has no columns. */
  constructor(memory: CacheMemory, rows: number, columns: number, side: PaddingSide) {
    this.#memory = memory;
    this.#rows = rows;
    this.#columns = columns;
    this.#width = columns === 0 || !memory.inPlace ? columns : widthFor(columns + 1);
    this.side = side;
    this.#current = memory.tensors.map((tensor, index) =>
      columns === 0 ? emptyOf(tensor) : this.#take(index, this.#width),
    );
    this.#spare = memory.tensors.map(() => undefined);
  }

  get rows(): number {
    return this.#rows;
  }

  /** The filled ones. */
  get columns(): number {
    return this.#columns;
  }

  /** Those that a run is shown; new tokens come after them. */
  get width(): number {
    return this.#width;
  }

  /** Whether runs give new columns to `append`, and write no `present`. */
  get inPlace(): boolean {
    return this.#memory.inPlace;
  }

  /** What a run reads: tensor `index` as `[B, H, T, D]`. */
  past(index: number): { readonly data: CacheArray; readonly dims: readonly number[] } {
    return this.#view(this.#current[index], index, this.#width);
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
    this.#width = this.#columns;
  }

  /**
   * Puts what a run has read behind what was there.
   *
   * @param fresh For each tensor `[B, H, more, D]`.
   */
  append(fresh: readonly CacheArray[], more: number): void {
    if (this.#columns + more > this.#width) this.#widen(widthFor(this.#columns + more));
    for (const [t, target] of this.#current.entries()) {
      const { heads, size } = this.#tensor(t);
      const source = fresh[t];
      if (source?.length !== this.#rows * heads * more * size)
        throw new TypeError(`the graph gave ${source?.length ?? "no"} numbers of ${more} columns`);
      const length = more * size;
      for (let head = 0; head < this.#rows * heads; head++)
        copy(source, head * length, target, (head * this.#width + this.#columns) * size, length);
    }
    this.#columns += more;
  }

  /** Has room for so many rows; the last ones go where they are fewer. */
  resize(rows: number): void {
    const memory = this.#memory;
    const before = this.#current;
    const used = before.map((_, t) => this.#count(t, this.#width));
    this.#rows = rows;
    this.#current = before.map((array, t) => {
      if (array.length >= this.#count(t, this.#width)) return array;
      const larger = this.#take(t, this.#width);
      larger.set(array.subarray(0, used[t]));
      memory.give(t, array);
      return larger;
    });
  }

  /** Copies a row, of this block or another one, to a place that is free. */
  put(place: number, row: CacheRow): void {
    for (const [t, target] of this.#current.entries())
      this.#copyRow(target, t, place, row, row.length);
  }

  #widen(width: number): void {
    const old = this.#width;
    const before = this.#current;
    this.#width = width;
    this.#current = before.map((array, t) => {
      const { heads, size } = this.#tensor(t);
      const wider = this.#take(t, width);
      const filled = this.#columns * size;
      for (let head = 0; head < this.#rows * heads; head++) {
        const to = head * width * size;
        copy(array, head * old * size, wider, to, filled);
        wider.fill(0, to + filled, to + width * size);
      }
      if (array.length > 0) this.#memory.give(t, array);
      return wider;
    });
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
      const to = (place * heads + head) * this.#width * size;
      // Zeros: padding is masked, but zero times infinity is not a number.
      target.fill(0, to, to + start * size);
      target.fill(0, to + (start + length) * size, to + this.#width * size);
      if (from === undefined || data === undefined) continue;
      const begin = ((index * heads + head) * from.width + from.#startOf(row.length)) * size;
      copy(data, begin, target, to + start * size, length * size);
    }
  }

  #view(array: CacheArray | undefined, index: number, columns: number) {
    if (array === undefined) throw new TypeError("the block has been disposed of");
    const { heads, size } = this.#tensor(index);
    const dims = [this.#rows, heads, columns, size];
    return { data: array.subarray(0, this.#count(index, columns)), dims };
  }

  #tensor(index: number): CacheTensor {
    const tensor = this.#memory.tensors[index];
    if (tensor === undefined) throw new RangeError(`the cache has no tensor ${index}`);
    return tensor;
  }

  #count(index: number, columns: number): number {
    const { heads, size } = this.#tensor(index);
    return this.#rows * heads * columns * size;
  }

  #take(index: number, columns: number): CacheArray {
    const { inPlace } = this.#memory;
    if (!inPlace) return this.#memory.take(index, this.#count(index, columns + SPARE_COLUMNS));
    const { heads, size } = this.#tensor(index);
    const rows = this.#rows === 1 ? 1 : Math.ceil(this.#rows / ROWS_AT_ONCE) * ROWS_AT_ONCE;
    return this.#memory.take(index, rows * heads * columns * size);
  }
}

function widthFor(columns: number): number {
  return Math.ceil(columns / WIDER_BY) * WIDER_BY;
}

function copy(
  source: CacheArray,
  from: number,
  target: CacheArray,
  to: number,
  length: number,
): void {
  if (length > FEW_NUMBERS) target.set(source.subarray(from, from + length), to);
  else for (let i = 0; i < length; i++) target[to + i] = source[from + i] ?? 0;
}
