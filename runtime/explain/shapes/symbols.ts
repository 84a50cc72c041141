/**
 * Sizes that are known only when the graph runs, as expressions that can be compared.
 *
 * A dimension is a number, or text like `sequence_length` or `2·batch_size+1`: a sum of products with integer factors,
 * in one normal form, so two equal texts are equal sizes. Two different texts may be equal too; nobody may conclude
 * that they differ.
 */

/** A size: known, or an expression of the graph's symbolic sizes. */
export type Dim = number | string;

export type Shape = readonly Dim[];

/** Stands for a size of which nothing is known until the value has a name to call it by. Equal to nothing. */
export const UNKNOWN = "?";

/** More terms or factors than any model's sizes have; a hostile graph could double them with every node. */
const MOST_PARTS = 16;

/** Product of symbols (sorted, joined by `·`; empty for the constant) → its factor. */
type Terms = ReadonlyMap<string, number>;

const ONE = "";

function termsOf(dim: Dim): Terms {
  if (typeof dim === "number") return new Map(dim === 0 ? [] : [[ONE, dim]]);
  const terms = new Map<string, number>();
  for (const text of dim.split("+")) {
    const [first = "", ...rest] = text.split("·");
    const isFactor = /^-?\d+$/.test(first);
    const product = isFactor ? rest.join("·") : text;
    terms.set(product, isFactor ? Number(first) : 1);
  }
  return terms;
}

function toDim(terms: Terms): Dim {
  const kept = [...terms].filter(([, factor]) => factor !== 0).sort(([a], [b]) => (a < b ? -1 : 1));
  if (kept.length === 0) return 0;
  const isLong = kept.some(([product]) => product.split("·").length > MOST_PARTS);
  const isExact = kept.every(([, factor]) => Number.isSafeInteger(factor));
  if (isLong || !isExact || kept.length > MOST_PARTS) return UNKNOWN;
  const [only, factor] = kept[0] ?? [ONE, 0];
  if (kept.length === 1 && only === ONE) return factor;
  const texts = kept.map(([product, count]) => {
    if (product === ONE) return String(count);
    return count === 1 ? product : `${count}·${product}`;
  });
  return texts.join("+");
}

/** A name as a symbol: the signs of expressions are taken out of it. */
export function symbol(name: string): Dim {
  return `[${name.replaceAll(/[+·[\]]/g, "_")}]`;
}

export function add(a: Dim, b: Dim): Dim {
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  const terms = new Map(termsOf(a));
  for (const [product, factor] of termsOf(b))
    terms.set(product, (terms.get(product) ?? 0) + factor);
  return toDim(terms);
}

export function multiply(a: Dim, b: Dim): Dim {
  if (a === UNKNOWN || b === UNKNOWN) return UNKNOWN;
  const terms = new Map<string, number>();
  for (const [left, x] of termsOf(a)) {
    for (const [right, y] of termsOf(b)) {
      const symbols = [...left.split("·"), ...right.split("·")].filter((name) => name !== ONE);
      const product = symbols.sort().join("·");
      terms.set(product, (terms.get(product) ?? 0) + x * y);
    }
  }
  return toDim(terms);
}

export function subtract(a: Dim, b: Dim): Dim {
  return add(a, multiply(b, -1));
}

/** `a / b` where that is exact for any value of the symbols, else `undefined`. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  if (a === UNKNOWN || b === UNKNOWN) return undefined;
  const divisor = [...termsOf(b)];
  const [symbols, number] = divisor[0] ?? [ONE, 0];
  if (divisor.length !== 1 || number === 0) return undefined;
  const terms = new Map<string, number>();
  for (const [product, factor] of termsOf(a)) {
    const left = product.split("·");
    for (const name of symbols.split("·").filter((text) => text !== ONE)) {
      const at = left.indexOf(name);
      if (at === -1) return undefined;
      left.splice(at, 1);
    }
    if (factor % number !== 0) return undefined;
    terms.set(left.join("·"), factor / number);
  }
  return toDim(terms);
}

export function productOf(dims: Shape): Dim {
  return dims.reduce<Dim>(multiply, 1);
}

/** The size of two broadcast sizes, or `undefined` where it cannot be told. */
export function broadcastDim(a: Dim, b: Dim): Dim | undefined {
  if (a === b) return a;
  if (a === 1) return b;
  if (b === 1) return a;
  // A known size beside a symbol: the symbol is that size or one.
  if (typeof a === "number") return a;
  return typeof b === "number" ? b : undefined;
}
