/**
 * From the scores of beginnings and ends to the best spans.
 *
 * Python's question answering (transformers 4.57) multiplies every beginning with every end and sorts them. Here only pairs
 * are looked at that may be an answer, and only those that can still be among the best. Letter: `T` tokens.
 */

/** Tokens of a window, the last one included. */
export interface Span {
  readonly first: number;
  readonly last: number;
  readonly score: number;
}

export interface SpanOptions {
  /** The tokens that may be in an answer: from here … */
  readonly from: number;
  /** … to before here. */
  readonly to: number;
  /** The most tokens of an answer. */
  readonly maxLength: number;
  /** How many spans are wanted. */
  readonly count: number;
}

/**
 * The spans with the largest products, best first; of equal ones the earlier, then the shorter.
 *
 * @param starts Each token's probability of being the first: `[T]`.
 * @param ends Each token's probability of being the last: `[T]`.
 */
export function bestSpans(
  starts: Float64Array,
  ends: Float64Array,
  { from, to, maxLength, count }: SpanOptions,
): Span[] {
  const best = createBest(count);
  const surestEnd = ends.subarray(from, to).reduce((a, b) => Math.max(a, b), 0);
  for (let first = from; first < to; first++) {
    const start = starts[first] ?? 0;
    if (!best.takes(start * surestEnd)) continue;
    const stop = Math.min(to, first + maxLength);
    for (let last = first; last < stop; last++) {
      const score = start * (ends[last] ?? 0);
      if (best.takes(score)) best.add({ first, last, score });
    }
  }
  return best.sorted();
}

interface Best {
  /** Whether a span of this score would be among the best so far. */
  takes(score: number): boolean;
  add(span: Span): void;
  sorted(): Span[];
}

/** Keeps the `count` best spans: a heap whose root is the worst of them. Equal ones are kept as they came. */
function createBest(count: number): Best {
  const heap: Span[] = [];

  /** Whether `a` goes before `b` is dropped; later spans go first, as they come after. */
  function isWorse(a: Span, b: Span): boolean {
    if (a.score !== b.score) return a.score < b.score;
    return a.first !== b.first ? a.first > b.first : a.last > b.last;
  }

  function put(place: number, span: Span): void {
    let at = place;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left !== undefined && right !== undefined && isWorse(right, left)) child++;
      const worst = heap[child];
      if (worst === undefined || !isWorse(worst, span)) break;
      heap[at] = worst;
      at = child;
    }
    heap[at] = span;
  }

  function rise(span: Span): void {
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isWorse(span, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = span;
  }

  return {
    takes(score) {
      const worst = heap[0];
      return heap.length < count || worst === undefined || score > worst.score;
    },
    add(span) {
      if (heap.length < count) rise(span);
      else put(0, span);
    },
    sorted: () => heap.toSorted((a, b) => (isWorse(b, a) ? -1 : 1)),
  };
}
