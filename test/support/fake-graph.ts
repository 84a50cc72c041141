/**
 * A decoder that counts: after a token comes the next one. Its cache is the sequence itself, so that a row that is fed another's cache,
 * or padding, says something else.
 */
import { Tensor } from "onnxruntime-node";

import type { GraphSession } from "../../runtime/handler/generation/causal-graph.ts";

export interface FakeGraphOptions {
  /** Tokens of the vocabulary. */
  readonly V?: number;
  /** What the graph does with rows of unequal length. */
  readonly kind?: "masks" | "counts columns" | "looks at the beginning";
  readonly inputs?: readonly string[];
  readonly type?: "float32" | "float16";
  /** Whether it also gives new columns alone, as `fresh.0.key`. */
  readonly givesColumns?: boolean;
  /** Called before each run. */
  readonly onRun?: (run: FakeRun) => void;
}

export interface FakeRun {
  readonly rows: number;
  readonly columns: number;
  readonly fed: number;
  readonly wantsScores: boolean;
  readonly feeds: Readonly<Record<string, Tensor>>;
}

const FRESH = "fresh.0.key";
const PAST = "past_key_values.0.key";

/** Runs like onnxruntime's session: into the arrays that it is given. */
export function fakeGraph({
  V = 10,
  kind = "masks",
  inputs = [],
  type = "float32",
  givesColumns = false,
  onRun = () => undefined,
}: FakeGraphOptions = {}): GraphSession {
  const tensor = (name: string, shape: (string | number)[]) => ({
    name,
    isTensor: true as const,
    type,
    shape,
  });
  const names = ["input_ids", "attention_mask", "position_ids", PAST, ...inputs];
  return {
    inputNames: names,
    outputNames: ["logits", "present.0.key", ...(givesColumns ? [FRESH] : [])],
    inputMetadata: names.map((name) =>
      name === PAST ? tensor(name, ["batch", 1, "past", 1]) : tensor(name, []),
    ),
    outputMetadata: [tensor("logits", ["batch", "sequence", V])],

    async run(feeds: Record<string, Tensor>, fetches: Record<string, Tensor | null>) {
      await new Promise((resolve) => void setImmediate(resolve)); // as the real one
      const { input_ids: ids, attention_mask: mask, [PAST]: past } = feeds;
      const present = fetches["present.0.key"];
      const isFresh = givesColumns && FRESH in fetches;
      if (!ids || !mask || !past || !(present || isFresh)) throw new Error("something was not fed");
      const [rows = 0, fed = 0] = ids.dims;
      const columns = past.dims[2] ?? 0;
      onRun({ rows, columns, fed, wantsScores: "logits" in fetches, feeds });
      const width = columns + fed;
      const read = numbersOf(past);
      const written = Array.from({ length: rows * width }, () => 0);
      const scores = new Float32Array(rows * fed * V);
      for (let row = 0; row < rows; row++) {
        const ones = numbersOf(mask).slice(row * width, (row + 1) * width);
        const filled = ones.filter((one) => one === 1).length;
        const all = [
          ...read.slice(row * columns, (row + 1) * columns),
          ...numbersOf(ids).slice(row * fed, (row + 1) * fed),
        ];
        if (kind === "looks at the beginning" && columns > 0) {
          const last = all.splice(columns, fed);
          all.splice(filled - fed, fed, ...last);
          while (all.length < width) all.push(0);
        }
        written.splice(row * width, width, ...all);
        for (let column = 0; column < fed; column++) {
          const seen =
            kind === "looks at the beginning"
              ? all.slice(0, filled - fed + column + 1)
              : all.slice(0, columns + column + 1).filter((_, index) => ones[index] === 1);
          // What comes next depends on all that was seen, and, for some graphs, on how many columns there were.
          const sum = seen.reduce((total, id, index) => total + id * (index + 1), 0);
          const shift = kind === "counts columns" ? columns : 0;
          scores[(row * fed + column) * V + ((sum + shift) % V)] = 8;
        }
      }
      if (present) fill(present, written);
      const columnsOnly = isFresh ? { [FRESH]: freshOf(ids, type) } : {};
      if (!("logits" in fetches)) return columnsOnly;
      const onlyLast = feeds["num_logits_to_keep"] !== undefined;
      const kept = onlyLast ? lastOf(scores, rows, fed, V) : scores;
      const given = fetches["logits"];
      const dims = [rows, onlyLast ? 1 : fed, V];
      if (given) fill(given, [...kept]);
      return { ...columnsOnly, logits: given ?? new Tensor("float32", kept, dims) };
    },
  };
}

/** What the cache is lengthened by: the tokens themselves. */
function freshOf(ids: Tensor, type: "float32" | "float16"): Tensor {
  const [rows = 0, fed = 0] = ids.dims;
  const empty = type === "float32" ? new Float32Array(rows * fed) : new Uint16Array(rows * fed);
  const tensor = new Tensor(type, empty as Float32Array, [rows, 1, fed, 1]); // its types know no float16 of bits
  fill(tensor, numbersOf(ids));
  return tensor;
}

/** The tokens that a fake graph of the kind that masks writes after a prompt. */
export function expectedOf(prompt: readonly number[], count: number, V = 10): number[] {
  const ids = [...prompt];
  for (let step = 0; step < count; step++)
    ids.push(ids.reduce((total, id, index) => total + id * (index + 1), 0) % V);
  return ids.slice(prompt.length);
}

function lastOf(scores: Float32Array, rows: number, fed: number, V: number): Float32Array {
  const last = new Float32Array(rows * V);
  for (let row = 0; row < rows; row++)
    last.set(scores.subarray(((row + 1) * fed - 1) * V, (row + 1) * fed * V), row * V);
  return last;
}

function numbersOf({ data }: Tensor): number[] {
  return Array.from<string | number | bigint, number>(data, Number);
}

function fill({ data }: Tensor, values: readonly number[]): void {
  if (data instanceof Float32Array || data instanceof Uint16Array) data.set(values);
  else if (ArrayBuffer.isView(data) && "set" in data) (data as unknown as Float32Array).set(values); // a Float16Array
  else throw new Error("the array cannot be written");
}
