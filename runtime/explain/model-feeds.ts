/**
 * Token ids as the inputs that exporters give a transformer. Letters: `N` rows, `T` tokens.
 */
import { Tensor, type InferenceSession } from "onnxruntime-node";

import { RuntimeError } from "../errors.ts";

export interface Row {
  readonly inputIds: readonly number[];
  /** Zeros when absent. */
  readonly tokenTypeIds?: readonly number[] | undefined;
}

export interface FeedOptions {
  /** The length that rows are filled up to, on the right. */
  readonly T: number;
  readonly padId: number;
}

/** What an input holds at row `n` and token `t`. */
const CELLS: Readonly<Record<string, (row: Row, t: number, padId: number) => number>> = {
  input_ids: ({ inputIds }, t, padId) => inputIds[t] ?? padId,
  attention_mask: ({ inputIds }, t) => Number(t < inputIds.length),
  token_type_ids: ({ tokenTypeIds }, t) => tokenTypeIds?.[t] ?? 0,
  position_ids: (_row, t) => t,
};

/**
 * @param inputs The session's, as far as they are wanted.
 * @throws RuntimeError `NOT_SUPPORTED` for an input that is not known.
 */
export function toFeeds(
  inputs: readonly InferenceSession.ValueMetadata[],
  rows: readonly Row[],
  { T, padId }: FeedOptions,
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const input of inputs) {
    if (!input.isTensor) throw unknownInput(input.name);
    const { name, shape, type } = input;
    const cell = CELLS[name];
    if (cell !== undefined) {
      const cells = rows.flatMap((row) => Array.from({ length: T }, (_, t) => cell(row, t, padId)));
      feeds[name] = toIntegers(name, type, cells, [rows.length, T]);
    } else if (/^past(_key_values)?[._]/.test(name) && type === "float32") {
      // A cache that holds nothing yet: its rows are the batch's, its other free dimension the length.
      const dims = shape.map((dim, axis) =>
        axis === 0 ? rows.length : typeof dim === "number" ? dim : 0,
      );
      const size = dims.reduce((product, dim) => product * dim, 1);
      feeds[name] = new Tensor("float32", new Float32Array(size), dims);
    } else throw unknownInput(name);
  }
  return feeds;
}

function toIntegers(
  name: string,
  type: string,
  cells: readonly number[],
  dims: readonly number[],
): Tensor {
  if (type === "int64") return new Tensor("int64", BigInt64Array.from(cells, BigInt), dims);
  if (type === "int32") return new Tensor("int32", Int32Array.from(cells), dims);
  if (type === "float32") return new Tensor("float32", Float32Array.from(cells), dims);
  throw unknownInput(`${name} of ${type}`);
}

function unknownInput(name: string): RuntimeError {
  const known = Object.keys(CELLS).join(", ");
  return new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot explain the prediction: the graph reads "${name}", wanted only ${known} and an empty cache`,
  );
}
