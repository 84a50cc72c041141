/**
 * Every operator that has a gradient, and those that have none to give.
 *
 * To add one: write its rule, with its formula, in the file of its family, and a case in
 * `test/explain/gradient-rules.test.ts`, which compares it with finite differences.
 */
import { ARITHMETIC } from "./arithmetic.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { LAYOUT } from "./layout.ts";
import { MATRICES } from "./matrices.ts";
import { REDUCTIONS } from "./reductions.ts";
import type { Rule } from "./rule.ts";
import { SELECTION } from "./selection.ts";
import type { Node } from "../onnx-schema.ts";

/** Operator → rule. Operators of other domains than ONNX's own have their domain before the name. */
export const RULES: ReadonlyMap<string, Rule> = new Map(
  Object.entries({
    ...ARITHMETIC,
    ...ELEMENTWISE,
    ...LAYOUT,
    ...MATRICES,
    ...REDUCTIONS,
    ...SELECTION,
  }),
);

/** Rules that know what to do with gradients of further outputs. */
export const MULTIPLE: ReadonlySet<string> = new Set(["Split"]);

/** What these make is an integer or a truth value, or constant between its jumps: no gradient comes back. */
export const WITHOUT_GRADIENT: ReadonlySet<string> = new Set(
  [
    "Shape Size ArgMax ArgMin NonZero ConstantOfShape IsNaN IsInf EyeLike",
    "Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Not Floor Ceil Round Sign",
    "RandomNormalLike RandomUniformLike",
  ].flatMap((line) => line.split(" ")),
);

/** How `RULES` calls a node's operator. */
export function operatorOf({ opType, domain = "" }: Node): string {
  return domain === "" || domain === "ai.onnx" ? opType : `${domain}.${opType}`;
}
