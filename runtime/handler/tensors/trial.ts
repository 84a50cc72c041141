/**
 * Whether a graph that nobody knows answers each row for itself.
 *
 * Names say that a dimension is a batch, but a graph may compute over it (`x - mean(x)`), and two clients whose requests share
 * a run would then read each other. So the first two requests that could share one are answered alone and run together as well:
 * where both agree, later ones may share. Graphs of a task need no trial, as the task itself batches their rows.
 */
import type { NamedTensor, TensorData, TensorDatatype } from "../../inference.ts";
import type { Question } from "./check.ts";
import { keyOf, rowsOf, tokensPerRow } from "./join.ts";

/** The first two questions that would share a run and do not ask the same: the same rows prove nothing. */
export function findTrial(
  questions: readonly Question[],
  maxTokens: number,
): readonly [Question, Question] | undefined {
  const firsts = new Map<string, Question>();
  for (const question of questions) {
    const rows = rowsOf(question);
    if (rows === undefined || 2 * rows * tokensPerRow(question) > maxTokens) continue;
    const key = keyOf(question);
    const first = firsts.get(key);
    if (first === undefined) firsts.set(key, question);
    else if (!isSameQuestion(first, question)) return [first, question];
  }
  return undefined;
}

function isSameQuestion(one: Question, other: Question): boolean {
  return one.inputs.every((tensor, place) => isSameTensor(tensor, other.inputs[place], "exactly"));
}

/** Whether two answers are the same but for rounding. */
export function isSameAnswer(
  some: readonly NamedTensor[],
  others: readonly NamedTensor[],
): boolean {
  return some.every((tensor, place) => isSameTensor(tensor, others[place], "nearly"));
}

function isSameTensor(
  one: NamedTensor,
  other: NamedTensor | undefined,
  how: "exactly" | "nearly",
): boolean {
  if (other === undefined || one.shape.join() !== other.shape.join()) return false;
  const isSame = how === "nearly" ? (NEAR[one.datatype] ?? isEqual) : isEqual;
  for (let place = 0; place < one.data.length; place++)
    if (!isSame(one.data[place], other.data[place])) return false;
  return true;
}

type Compare = (a: TensorData[number] | undefined, b: TensorData[number] | undefined) => boolean;

const isEqual: Compare = (a, b) =>
  typeof a === "object" && typeof b === "object" ? Buffer.compare(a, b) === 0 : Object.is(a, b);

/** Relative to the larger of the two, at least to 1: kernels may add up in another order for other numbers of rows. */
const ROUNDING = 1e-4;
/** Of half precision, which comes as bits: so many of the numbers that it has. */
const ROUNDING_HALF = 8;

const isNear: Compare = (a, b) => {
  const [one, other] = [Number(a), Number(b)];
  const most = ROUNDING * Math.max(1, Math.abs(one), Math.abs(other));
  return Object.is(one, other) || Math.abs(one - other) <= most;
};

const NEAR: Partial<Record<TensorDatatype, Compare>> = {
  FP32: isNear,
  FP64: isNear,
  FP16: (a, b) => Math.abs(Number(a) - Number(b)) <= ROUNDING_HALF,
};
