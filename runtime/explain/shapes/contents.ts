/**
 * Follows the integers of a graph: sizes that it reads with Shape, takes apart, computes with and puts together again
 * for Reshape, Expand and Slice.
 */
import { findAttribute, intOf, intsOf, numbersOf, toNumber } from "../attributes.ts";
import { ELEMENT, type Node } from "../onnx-schema.ts";
import { add, divideExactly, multiply, productOf, subtract, type Dim } from "./symbols.ts";
import type { Value } from "./value.ts";

type Contents = readonly (Dim | undefined)[];

/** More than any shape has, and enough for tables of axes. */
const MOST = 64;

/** The contents of the node's first output, where they can be told. */
export function inferContents(node: Node, inputs: readonly Value[]): Contents | undefined {
  const contents = RULES[node.opType]?.(node, inputs);
  return contents !== undefined && contents.length <= MOST ? contents : undefined;
}

type Rule = (node: Node, inputs: readonly Value[]) => Contents | undefined;

const same: Rule = (_, [x]) => x?.contents;

/** Of two lists that are as long, or of which one has a single entry. */
function elementwise(combine: (a: Dim, b: Dim) => Dim | undefined): Rule {
  return (_, [a, b]) => {
    const [left, right] = [a?.contents, b?.contents];
    if (left === undefined || right === undefined) return undefined;
    if (left.length !== right.length && left.length !== 1 && right.length !== 1) return undefined;
    const length = Math.max(left.length, right.length);
    return Array.from({ length }, (__, index) => {
      const x = left[left.length === 1 ? 0 : index];
      const y = right[right.length === 1 ? 0 : index];
      return x === undefined || y === undefined ? undefined : combine(x, y);
    });
  };
}

const RULES: Readonly<Record<string, Rule>> = {
  Identity: same,
  Squeeze: same,
  Unsqueeze: same,
  Reshape: same,
  Flatten: same,
  Add: elementwise(add),
  Sub: elementwise(subtract),
  Mul: elementwise(multiply),
  Div: elementwise((a, b) => {
    if (typeof a === "number" && typeof b === "number" && b !== 0) return Math.trunc(a / b);
    return divideExactly(a, b);
  }),
  // A size is never negative, so it differs from the -1 that means "as it is".
  Equal: elementwise((a, b) => {
    if (a === b) return 1;
    if (typeof a === "number" && typeof b === "number") return 0;
    return (typeof a === "number" && a < 0) || (typeof b === "number" && b < 0) ? 0 : undefined;
  }),
  Max: elementwise((a, b) => {
    if (typeof a === "number" && typeof b === "number") return Math.max(a, b);
    return a === b ? a : undefined;
  }),
  Neg: (_, [x]) => x?.contents?.map((dim) => (dim === undefined ? dim : multiply(dim, -1))),

  Cast: (node, [x]) => {
    const to = intOf(node, "to");
    return to === ELEMENT.int64 || to === ELEMENT.int32 || to === ELEMENT.bool
      ? x?.contents
      : undefined;
  },

  Shape: (node, [x]) => x?.shape?.slice(intOf(node, "start", 0), intOf(node, "end")),
  Size: (_, [x]) => x?.shape && [productOf(x.shape)],

  Constant: (node) => {
    const tensor = findAttribute(node, "value")?.t;
    if (tensor?.dataType === ELEMENT.int64 || tensor?.dataType === ELEMENT.int32)
      return numbersOf(tensor, MOST);
    const one = findAttribute(node, "value_int")?.i;
    return one === undefined ? intsOf(node, "value_ints") : [toNumber(one)];
  },

  ConstantOfShape: (node, [size]) => {
    const [count] = size?.contents ?? [];
    const tensor = findAttribute(node, "value")?.t;
    if (size?.contents?.length !== 1 || typeof count !== "number" || count > MOST) return undefined;
    if (tensor?.dataType !== ELEMENT.int64) return undefined;
    const [value] = numbersOf(tensor) ?? [];
    return Array.from({ length: count }, () => value);
  },

  Concat: (_, inputs) => {
    if (inputs.some(({ contents }) => contents === undefined)) return undefined;
    return inputs.flatMap(({ contents }) => contents ?? []);
  },

  Where: (_, [condition, x, y]) => {
    const [yes, no] = [x?.contents, y?.contents];
    return condition?.contents?.map((isTrue, index) => {
      const [a, b] = [yes?.[yes.length === 1 ? 0 : index], no?.[no.length === 1 ? 0 : index]];
      if (typeof isTrue === "number") return isTrue === 0 ? b : a;
      return a === b ? a : undefined;
    });
  },

  Gather: (node, [x, indices]) => {
    if (x?.contents === undefined || indices?.contents === undefined) return undefined;
    if (intOf(node, "axis", 0) !== 0 || (x.shape?.length ?? 1) !== 1) return undefined;
    return indices.contents.map((index) =>
      typeof index === "number" ? x.contents?.at(index) : undefined,
    );
  },

  Slice: (node, [x, ...rest]) => {
    if (x?.contents === undefined || x.shape?.length !== 1) return undefined;
    const [start] = intsOf(node, "starts") ?? rest[0]?.contents ?? [];
    const [end] = intsOf(node, "ends") ?? rest[1]?.contents ?? [];
    const step = rest[3]?.contents?.[0] ?? 1;
    const hasBounds = typeof start === "number" && typeof end === "number";
    return hasBounds && step === 1 ? x.contents.slice(start, end) : undefined;
  },
};
