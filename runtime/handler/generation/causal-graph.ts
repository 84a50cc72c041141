/**
 * A decoder's graph, run by onnxruntime itself: what is fed, what comes out, and where its cache lies.
 *
 * transformers.js loads the session; its `forward` is left out, as it copies caches and makes tensors of its own at every
 * step. Known are graphs whose cache is `[B, H, T, D]` for each key and value, merged, in two files or not, of any family; others
 * (states of recurrent layers, caches in another order) are left to `single-runner.ts`.
 *
 * Letters: `B` rows, `N` new tokens of each, `T` columns of the cache that the run is shown, `V` tokens of the vocabulary.
 */
import { Tensor, type InferenceSession } from "onnxruntime-node";

import type { CacheBlock } from "./cache-block.ts";
import type { CacheArray, CacheTensor } from "./cache-memory.ts";

/** One run of the graph. */
export interface Pass {
  /** `N` tokens for each row, one row after the other: `[B, N]`. */
  readonly ids: BigInt64Array;
  /** `[B, T + N]`: 1 where there is a token, the new ones included. */
  readonly mask: BigInt64Array;
  /** `[B, N]`, from 0. */
  readonly positions: BigInt64Array;
  /** Which scores are wanted: none, those after each row's last column, or those after every token. */
  readonly logits: "none" | "last" | "all";
  /** Where the last scores may be written, if the graph gives no others: at least `B × V`. */
  readonly into?: Float32Array | undefined;
}

/** Scores `[B, N, V]` as float32; `N` is 1 where the graph gave only the last ones. */
export interface Logits {
  readonly data: Float32Array;
  readonly columns: number;
  readonly size: number;
}

export interface CausalGraph {
  readonly tensors: readonly CacheTensor[];
  /** `V`, where the graph says it. */
  readonly vocabulary: number | undefined;
  /** Whether it can be asked for the last token's scores alone. */
  readonly givesLastOnly: boolean;
  /** Whether a prompt may be read in parts: old merged exports have a branch for its first part and one for single tokens. */
  readonly readsParts: boolean;
  /** Whether it can give new columns by themselves, for blocks in place. */
  readonly givesColumns: boolean;
  /** Reads new tokens into the cache, which is as many columns longer afterwards. */
  run(block: CacheBlock, pass: Pass): Promise<Logits | undefined>;
}

/** What is read of a session; transformers.js types it as `any`. */
export type GraphSession = Pick<
  InferenceSession,
  "inputNames" | "outputNames" | "inputMetadata" | "outputMetadata" | "run"
>;

/** Names under which exporters ask how many tokens' scores are wanted. */
const KEEPS_LOGITS = ["num_logits_to_keep", "logits_to_keep"];

const KNOWN_INPUTS = [
  "input_ids",
  "attention_mask",
  "position_ids",
  "use_cache_branch",
  ...KEEPS_LOGITS,
];

/**
 * @param beginning Where an export has two files: the graph that reads into an empty cache, and has no inputs for one. `session` then
 *   reads one token at a time.
 * @param columns What an output `present…` is → the output that has its new columns alone (`../model/new-columns.ts`).
 * @returns `undefined` where the graph has no cache, or one that is not `[B, H, T, D]`.
 */
export function openCausalGraph(
  session: GraphSession,
  beginning?: GraphSession,
  columns: ReadonlyMap<string, string> = new Map(),
): CausalGraph | undefined {
  const tensors = cacheTensorsOf(session);
  if (tensors === undefined) return undefined;
  const pasts = new Set(tensors.map(({ past }) => past));
  const isKnown = (name: string): boolean => KNOWN_INPUTS.includes(name) || pasts.has(name);
  if (!session.inputNames.every(isKnown)) return undefined;
  if (beginning !== undefined && !fills(beginning, tensors)) return undefined;
  const keepsOf = ({ inputNames }: GraphSession): string | undefined =>
    KEEPS_LOGITS.find((name) => inputNames.includes(name));
  const scores = scoresOf(session);
  const fresh = tensors.flatMap(({ present }) => columns.get(present) ?? []);
  const givesColumns =
    beginning === undefined &&
    fresh.length === tensors.length &&
    fresh.every((name) => session.outputNames.includes(name));

  return {
    tensors,
    vocabulary: scores.size,
    givesLastOnly: keepsOf(beginning ?? session) !== undefined,
    givesColumns,
    readsParts: beginning === undefined && !session.inputNames.includes("use_cache_branch"),
    async run(block, { ids, mask, positions, logits, into }) {
      const B = block.rows;
      const N = ids.length / B;
      const T = block.width;
      const graph = T === 0 && beginning !== undefined ? beginning : session;
      const has = (name: string): boolean => graph.inputNames.includes(name);
      const keeps = keepsOf(graph);
      const feeds: Record<string, Tensor> = { input_ids: new Tensor("int64", ids, [B, N]) };
      if (has("attention_mask")) feeds["attention_mask"] = new Tensor("int64", mask, [B, T + N]);
      if (has("position_ids")) feeds["position_ids"] = new Tensor("int64", positions, [B, N]);
      if (has("use_cache_branch")) feeds["use_cache_branch"] = new Tensor("bool", [T > 0], [1]);
      if (keeps !== undefined) {
        const count = logits === "all" ? 0n : 1n; // 0 keeps all
        feeds[keeps] = new Tensor("int64", BigInt64Array.of(count), []);
      }
      const fetches: Record<string, Tensor | null> = {};
      if (logits !== "none") {
        const isOnlyLast = logits === "last" && (N === 1 || keeps !== undefined);
        fetches["logits"] =
          isOnlyLast && into !== undefined && scores.size !== undefined && scores.isFloat
            ? new Tensor("float32", into.subarray(0, B * scores.size), [B, 1, scores.size])
            : null;
      }
      for (const [index, { past, present, type }] of tensors.entries()) {
        if (graph === session) feeds[past] = toTensor(type, block.past(index));
        if (!block.inPlace) fetches[present] = toTensor(type, block.present(index, N));
      }
      if (block.inPlace) for (const name of fresh) fetches[name] = null;
      const outputs = await graph.run(feeds, fetches);
      if (block.inPlace)
        block.append(
          fresh.map((name) => toCacheArray(outputs[name])),
          N,
        );
      else block.advance(N);
      return logits === "none" ? undefined : toLogits(outputs["logits"]);
    },
  };
}

/** Whether a graph without a cache of its own writes all of this one. */
function fills(
  { inputNames, outputNames }: GraphSession,
  tensors: readonly CacheTensor[],
): boolean {
  return (
    inputNames.every((name) => KNOWN_INPUTS.includes(name)) &&
    tensors.every(({ present }) => outputNames.includes(present))
  );
}

/** @returns `undefined` where there is none, or where one of them has another form. */
function cacheTensorsOf(session: GraphSession): readonly CacheTensor[] | undefined {
  const tensors: CacheTensor[] = [];
  for (const metadata of session.inputMetadata) {
    const { name } = metadata;
    if (!name.startsWith("past")) continue;
    const present = name.replace(/^past(_key_values)?/, "present");
    if (!metadata.isTensor || !session.outputNames.includes(present)) return undefined;
    const [batch, heads, columns, size, ...more] = metadata.shape;
    const { type } = metadata;
    const isOrdinary =
      typeof batch === "string" && typeof columns === "string" && more.length === 0;
    if (!isOrdinary || typeof heads !== "number" || typeof size !== "number") return undefined;
    if (type !== "float32" && type !== "float16") return undefined;
    tensors.push({ past: name, present, type, heads, size });
  }
  return tensors.length > 0 ? tensors : undefined;
}

/** The scores as the graph declares them. */
function scoresOf({ outputMetadata }: GraphSession): {
  size: number | undefined;
  isFloat: boolean;
} {
  const logits = outputMetadata.find(({ name }) => name === "logits");
  if (logits?.isTensor !== true) return { size: undefined, isFloat: false };
  const size = logits.shape.at(-1);
  return {
    size: typeof size === "number" ? size : undefined,
    isFloat: logits.type === "float32",
  };
}

function toTensor(
  type: CacheTensor["type"],
  { data, dims }: { readonly data: CacheArray; readonly dims: readonly number[] },
): Tensor {
  // Where there is a Float16Array, the library lays one over the bits: no copy.
  return new Tensor(type, data as Float32Array, dims); // its types know no float16 of bits
}

function toCacheArray(tensor: Tensor | undefined): CacheArray {
  const data = tensor?.data;
  if (data instanceof Float32Array || data instanceof Uint16Array) return data;
  if (tensor?.type !== "float16" || !ArrayBuffer.isView(data))
    throw new Error(`the graph's new columns are ${tensor?.type ?? "missing"}`);
  return new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2); // a Float16Array
}

function toLogits(tensor: Tensor | undefined): Logits {
  if (tensor === undefined) throw new Error(`the graph gave no output "logits"`);
  const [, columns = 1, size = 0] = tensor.dims;
  return { data: toFloat32(tensor), columns, size };
}

function toFloat32({ data, type }: Tensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof Uint16Array) return Float32Array.from(data, fromHalf);
  if (type === "float16") return Float32Array.from<string | number | bigint>(data, Number); // a Float16Array
  throw new Error(`the graph's logits are ${type}, wanted float32 or float16`);
}

/** IEEE 754 binary16. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
