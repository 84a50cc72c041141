/**
 * Which tensor requests share a run of the graph, and which rows of it are whose.
 *
 * Rows are joined along the first dimension where the graph says that it is a batch: every input and every output has it
 * first, under one name with "batch" in it, nowhere else, and no other size of an output is its own to choose (a sound as
 * long as the batch's longest). Then a run over the rows of several requests gives the rows that each would get alone: exactly
 * those where kernels add up row by row, which most do; within rounding where a product of matrices is blocked by its rows;
 * and a little off in int8 with dynamic quantization, whose scale is that of the whole batch, as for predictions. Nothing is
 * padded: only requests that agree in every other size are joined. By the same rule a request larger than a run should be is cut.
 */
import type { NamedTensor, TensorData } from "../../inference.ts";
import { tensorTokens } from "../../text-length.ts";
import type { Question } from "./check.ts";
import type { Signature } from "./signature.ts";

/** Rows of one question, or all of it where the graph has no rows. */
export interface Piece {
  readonly question: Question;
  readonly rows?: { readonly from: number; readonly to: number };
}

/** What is run at once: pieces of questions that agree in all but their number of rows. */
export type Run = readonly Piece[];

/** Whether the first dimension of everything is one batch. */
export function hasRows({ inputs, outputs }: Signature): boolean {
  const batch = inputs[0]?.axes[0];
  if (typeof batch !== "string" || !/batch/i.test(batch)) return false;
  const known = new Set(inputs.flatMap(({ axes }) => axes));
  const isBatchFirst = [...inputs, ...outputs].every(
    ({ axes: [first, ...others] }) => first === batch && !others.includes(batch),
  );
  return (
    isBatchFirst &&
    outputs.every(({ axes }) =>
      axes.every((axis) => typeof axis === "number" || (axis !== "" && known.has(axis))),
    )
  );
}

/**
 * @param joins What `hasRows` says of the graph.
 * @param maxTokens The most that one run should read; a single row may be more.
 */
export function planRuns(
  questions: readonly Question[],
  joins: boolean,
  maxTokens: number,
): readonly Run[] {
  const runs: Run[] = [];
  const families = new Map<string, Question[]>();
  for (const question of questions) {
    if (!joins || rowsOf(question) === undefined) {
      runs.push([{ question }]);
      continue;
    }
    const key = keyOf(question);
    const family = families.get(key);
    if (family === undefined) families.set(key, [question]);
    else family.push(question);
  }
  for (const family of families.values()) runs.push(...planFamily(family, maxTokens));
  return runs;
}

/** Whole questions go together as far as they fit; one that does not fit by itself is cut. */
function planFamily(family: readonly Question[], maxTokens: number): Run[] {
  const [first] = family;
  const most = first === undefined ? 1 : Math.max(1, Math.floor(maxTokens / tokensPerRow(first)));
  const runs: Run[] = [];
  let run: Piece[] = [];
  let room = most;
  for (const question of family) {
    const rows = rowsOf(question) ?? 0;
    if (rows > room && run.length > 0) {
      runs.push(run);
      run = [];
      room = most;
    }
    for (let from = 0; from < rows; from += most) {
      const to = Math.min(from + most, rows);
      if (to < rows) runs.push([{ question, rows: { from, to } }]);
      else {
        run.push({ question, rows: { from, to } });
        room -= to - from;
      }
    }
  }
  if (run.length > 0) runs.push(run);
  return runs;
}

/** The size of the inputs' first dimension, where all have the same, and any. */
export function rowsOf({ inputs }: Question): number | undefined {
  const rows = inputs[0]?.shape[0];
  return rows !== undefined && rows > 0 && inputs.every(({ shape }) => shape[0] === rows)
    ? rows
    : undefined;
}

/** Questions of one key agree in everything but their rows. */
export function keyOf({ inputs, outputs }: Question): string {
  return JSON.stringify([inputs.map(({ shape }) => shape.slice(1)), outputs]);
}

/** What a row of the most expensive input costs. */
export function tokensPerRow(question: Question): number {
  const rows = rowsOf(question) ?? 1;
  return Math.max(1, ...question.inputs.map((tensor) => tensorTokens(tensor) / rows));
}

/** What the graph reads in a run. */
export function joinInputs(run: Run): readonly NamedTensor[] {
  const parts = run.map(({ question, rows }) =>
    question.inputs.map((tensor) => (rows === undefined ? tensor : sliceRows(tensor, rows))),
  );
  const [first = []] = parts;
  if (parts.length === 1) return first;
  return first.map((_, place) => joinRows(parts.flatMap((part) => part[place] ?? [])));
}

/**
 * What each piece gets of a run's outputs.
 *
 * @returns `undefined` where the outputs have other rows than the inputs, whatever the graph said of itself.
 */
export function splitOutputs(
  run: Run,
  outputs: readonly NamedTensor[],
): readonly (readonly NamedTensor[])[] | undefined {
  if (run.length === 1 && run[0]?.rows === undefined) return [outputs];
  const counts = run.map(({ rows }) => (rows === undefined ? 0 : rows.to - rows.from));
  const sum = counts.reduce((total, count) => total + count, 0);
  if (!outputs.every(({ shape }) => shape[0] === sum)) return undefined;
  if (run.length === 1) return [outputs];
  let from = 0;
  return counts.map((count) => {
    const rows = { from, to: from + count };
    from = rows.to;
    return outputs.map((tensor) => ownRows(sliceRows(tensor, rows)));
  });
}

/** A view, no copy. */
function sliceRows(
  tensor: NamedTensor,
  { from, to }: { readonly from: number; readonly to: number },
): NamedTensor {
  const [rows = 0, ...rest] = tensor.shape;
  if (from === 0 && to === rows) return tensor;
  const { data } = tensor;
  const size = data.length / rows;
  const [start, end] = [from * size, to * size];
  const slice = ArrayBuffer.isView(data) ? data.subarray(start, end) : data.slice(start, end);
  return { ...tensor, shape: [to - from, ...rest], data: slice };
}

/** A copy: the neighbours' rows must not travel along. */
function ownRows(tensor: NamedTensor): NamedTensor {
  return { ...tensor, data: tensor.data.slice() };
}

/** Tensors of one name, below one another. */
export function joinRows(tensors: readonly NamedTensor[]): NamedTensor {
  const [first] = tensors;
  if (first === undefined) throw new RangeError("no rows to join");
  const rows = tensors.reduce((sum, { shape: [count = 0] }) => sum + count, 0);
  const shape = [rows, ...first.shape.slice(1)];
  return { ...first, shape, data: joinData(tensors.map(({ data }) => data)) };
}

function joinData(parts: readonly TensorData[]): TensorData {
  const [first] = parts;
  if (!ArrayBuffer.isView(first)) return parts.flatMap((part) => part as readonly Uint8Array[]); // parts are of one datatype
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const joined = new (first.constructor as Float32ArrayConstructor)(length); // any typed array: only copied
  let at = 0;
  for (const part of parts) {
    joined.set(part as Float32Array, at); // likewise
    at += part.length;
  }
  return joined;
}
