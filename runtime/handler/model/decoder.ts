/**
 * A decoder and its cache: one more token for every row, and which rows go on.
 *
 * transformers.js's `generate()` has no place to drop rows that are done or to reorder them for beams, so the loop is
 * ours (`generation.ts`, `beam-search.ts`); the library still loads the graphs, makes positions and feeds the cache.
 * Letters: `B` rows, `T` tokens, `V` tokens of the vocabulary.
 */
import { Tensor, type PreTrainedModel } from "@huggingface/transformers";

import { toFloats, type FloatTensor } from "./encoder.ts";

/** One generation's state. Rows are numbered as they are now. */
export interface Decoder {
  /**
   * Reads tokens and scores what may follow.
   *
   * @param tokens What each row has not read yet: at first its prompt, then one token.
   * @returns Logits `[B, V]` after each row's last token. The caller owns them and may change them.
   */
  step(tokens: readonly (readonly number[])[]): Promise<FloatTensor>;
  /** Goes on with these rows in this order; a row may be named several times, or not at all. */
  select(rows: readonly number[]): void;
}

/** A decoder alone. */
export interface CausalDecoder extends Decoder {
  /**
   * Reads the first tokens of one row.
   *
   * @returns Logits `[1, T, V]` after each of them.
   */
  score(tokens: readonly number[]): Promise<FloatTensor>;
}

/** What is read of an onnxruntime session, which transformers.js types as `any`. */
interface Session {
  readonly inputNames: readonly string[];
  run(feeds: Record<string, unknown>): Promise<Record<string, unknown>>;
}

/** A loaded model, as far as it is needed here. */
export type Network = Pick<PreTrainedModel, "sessions" | "forward">;

type Cache = Readonly<Record<string, Tensor>>;

/** A decoder alone. Prompts are padded on the left, so that every row's last token is in the last place. */
export function openCausalDecoder(network: Network, padId: number): CausalDecoder {
  const { sessions } = network;
  const session: Session =
    sessions["decoder_model_merged"] ?? sessions["decoder_with_past_model"] ?? sessions["model"];
  // Exported without a cache, a graph reads the whole sequence for every token.
  const isCached = session.inputNames.some((name) => name.startsWith("past_"));
  const keepsLogits = session.inputNames.includes("num_logits_to_keep");
  let cache: Cache | undefined;
  let mask: Tensor | undefined;
  let rowCount = 0;
  /** Everything that each row has read; only kept where there is no cache. */
  let sequences: (readonly number[])[] = [];

  /** @param kept How many of the last tokens are scored, where the graph lets one choose: 0 for all. */
  async function read(tokens: readonly (readonly number[])[], kept: bigint) {
    rowCount = tokens.length;
    if (!isCached) {
      sequences = tokens.map((unread, row) => [...(sequences[row] ?? []), ...unread]);
    }
    const fed = padded(isCached ? tokens : sequences, padId, "left");
    mask = cache && mask ? withOnes(mask) : fed.mask;
    const outputs: Record<string, Tensor> = await network.forward({
      input_ids: fed.ids,
      attention_mask: mask,
      ...(cache && { past_key_values: cache }),
      ...(keepsLogits && { num_logits_to_keep: new Tensor("int64", [kept], []) }),
    });
    if (isCached) cache = cacheOf(outputs, cache);
    return outputs;
  }

  return {
    step: async (tokens) => lastLogits(await read(tokens, 1n)),
    score: async (tokens) => toFloats(logitsOf(await read([tokens], 0n))),

    select(rows) {
      if (!isCached) sequences = rows.map((row) => sequences[row] ?? []);
      if (mask) mask = pickRows(mask, rows, rowCount);
      if (cache) cache = mapValues(cache, (tensor) => pickRows(tensor, rows, rowCount));
      rowCount = rows.length;
    },
  };
}

/**
 * A decoder that reads what an encoder made of its inputs.
 *
 * @param inputs What the encoder reads, one row each: `input_ids` and `attention_mask`, or `pixel_values`;
 *   `encoder_outputs` where it has read them.
 */
export async function openSeq2SeqDecoder(
  network: Network,
  inputs: Readonly<Record<string, Tensor>>,
): Promise<Decoder> {
  let hidden = inputs["encoder_outputs"] ?? (await encode(network, inputs));
  let mask = inputs["attention_mask"];
  let cache: Cache | undefined;
  /** Which of the encoder's rows each row reads: beams share one. */
  let sources = Array.from({ length: hidden.dims[0] ?? 0 }, (_, row) => row);
  let length = 0;

  return {
    async step(tokens) {
      length += tokens[0]?.length ?? 0;
      const outputs: Record<string, Tensor> = await network.forward({
        encoder_outputs: hidden,
        // Without any mask (images, sounds) the library makes an empty cache for one row, however many there are.
        ...(mask
          ? { attention_mask: mask }
          : { decoder_attention_mask: allOnes(tokens.length, length) }),
        decoder_input_ids: padded(tokens, 0, "left").ids, // equally long: nothing is padded
        ...(cache && { past_key_values: cache }),
      });
      cache = cacheOf(outputs, cache);
      return lastLogits(outputs);
    },

    select(rows) {
      const B = sources.length;
      const chosen = rows.map((row) => sources[row] ?? 0);
      const isSameEncoding =
        chosen.length === B && chosen.every((source, row) => source === sources[row]);
      sources = chosen;
      if (cache) {
        cache = mapValues(cache, (tensor, name) =>
          isSameEncoding && isOfEncoder(name) ? tensor : pickRows(tensor, rows, B),
        );
      }
      if (isSameEncoding) return;
      hidden = pickRows(hidden, rows, B);
      if (mask) mask = pickRows(mask, rows, B);
    },
  };
}

/** Rows of unequal length as `[B, T]`, with the mask of what is not padding. */
export function padded(
  rows: readonly (readonly number[])[],
  padId: number,
  side: "left" | "right",
): { readonly ids: Tensor; readonly mask: Tensor } {
  const B = rows.length;
  const T = Math.max(...rows.map((row) => row.length));
  const ids = new BigInt64Array(B * T).fill(BigInt(padId));
  const mask = new BigInt64Array(B * T);
  for (const [b, row] of rows.entries()) {
    const start = b * T + (side === "left" ? T - row.length : 0);
    for (const [t, id] of row.entries()) {
      ids[start + t] = BigInt(id);
      mask[start + t] = 1n;
    }
  }
  return { ids: new Tensor("int64", ids, [B, T]), mask: new Tensor("int64", mask, [B, T]) };
}

/** What the encoder makes of its inputs, `[B, T, H]`. */
export async function encode(network: Network, inputs: Readonly<Record<string, Tensor>>) {
  const session: Session = network.sessions["model"];
  const feeds: Record<string, unknown> = {};
  for (const name of session.inputNames) feeds[name] = inputs[name]?.ort_tensor;
  const { last_hidden_state } = await session.run(feeds);
  if (last_hidden_state === undefined) {
    throw new Error(`the encoder gave no output "last_hidden_state"`);
  }
  return new Tensor(last_hidden_state as Tensor["ort_tensor"]);
}

/** What the graph calls present is past in the next step. */
function cacheOf(outputs: Readonly<Record<string, Tensor>>, before: Cache | undefined): Cache {
  const cache: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    const match = /^present(_[a-z]+)?(.*)$/.exec(name);
    if (match === null) continue;
    const past = `past${match[1] ?? "_key_values"}${match[2]}`;
    // Merged decoders give an empty tensor in place of what the first step has made of the encoder's output.
    cache[past] = (isOfEncoder(past) ? before?.[past] : undefined) ?? tensor;
  }
  return cache;
}

function isOfEncoder(name: string): boolean {
  return name.includes(".encoder.");
}

/** `[B, T, V]` → `[B, V]` at the last token. */
function lastLogits(outputs: Readonly<Record<string, Tensor>>): FloatTensor {
  const { data, dims } = toFloats(logitsOf(outputs));
  const [B = 0, T = 0, V = 0] = dims;
  const last = new Float32Array(B * V);
  for (let b = 0; b < B; b++) {
    const end = (b + 1) * T * V;
    last.set(data.subarray(end - V, end), b * V);
  }
  return { data: last, dims: [B, V] };
}

function logitsOf({ logits }: Readonly<Record<string, Tensor>>): Tensor {
  if (logits === undefined) throw new Error(`the decoder gave no output "logits"`);
  return logits;
}

function allOnes(B: number, T: number): Tensor {
  return new Tensor("int64", new BigInt64Array(B * T).fill(1n), [B, T]);
}

/** A mask `[B, T]` for one more token: `[B, T + 1]`. */
function withOnes(mask: Tensor): Tensor {
  const [B = 0, T = 0] = mask.dims;
  const before = mask.data as BigInt64Array; // made so by `padded`
  const longer = new BigInt64Array(B * (T + 1)).fill(1n);
  for (let b = 0; b < B; b++) longer.set(before.subarray(b * T, (b + 1) * T), b * (T + 1));
  return new Tensor("int64", longer, [B, T + 1]);
}

/** Rows of a tensor whose first dimension is `B`, or a multiple of it (heads within rows). */
function pickRows(tensor: Tensor, rows: readonly number[], B: number): Tensor {
  const { data, dims, type } = tensor;
  const size = data.length / B;
  const picked = data.slice(0, 0).constructor as new (length: number) => typeof data;
  const target = new picked(rows.length * size) as Float32Array; // any typed array: only copied
  for (const [place, row] of rows.entries()) {
    target.set((data as Float32Array).subarray(row * size, (row + 1) * size), place * size);
  }
  const [first = 0, ...rest] = dims;
  return new Tensor(type, target, [(first / B) * rows.length, ...rest]);
}

function mapValues(cache: Cache, change: (tensor: Tensor, name: string) => Tensor): Cache {
  return Object.fromEntries(
    Object.entries(cache).map(([name, tensor]) => [name, change(tensor, name)]),
  );
}
