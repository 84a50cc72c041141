/**
 * Cutting a tokenized text to a length as the Python tokenizers do: special tokens stay, only the text gives way.
 *
 * transformers.js cuts the finished sequence at its end, and so loses the closing `[SEP]` that models were trained with;
 * on the embedded model that moved scores of long texts by up to 0.17. So the text and the special tokens
 * around it are told apart here, by finding the bare text's tokens inside the finished sequence.
 */
import type { ModelConfig } from "./folder.ts";

/** A text or a pair of texts as a model reads it. */
export interface Encoding {
  readonly inputIds: readonly number[];
  /** Which text each token belongs to; only for models that want to know. */
  readonly tokenTypeIds?: readonly number[];
  /** Tokens of padding included, where a text is read at a fixed length. */
  readonly paddedLength?: number;
}

/** Which text of a pair gives way, as in the Python tokenizers; `"none"` refuses what is too long. */
export type Truncation = "longest_first" | "only_first" | "only_second" | "none";

/** The end of a text that is lost. */
export type TruncationSide = "left" | "right";

/**
 * Cuts `whole` to at most `limit` tokens.
 *
 * @param whole The finished sequence: special tokens, the first text, perhaps more special tokens and the second text.
 * @param first The first text's tokens alone, and `second` the second's.
 * @returns `undefined` when nothing can be cut that far: too little room, or no such text.
 */
export function truncate(
  whole: Encoding,
  first: readonly number[],
  second: readonly number[] | undefined,
  limit: number,
  truncation: Exclude<Truncation, "none">,
  side: TruncationSide,
): Encoding | undefined {
  const firstAt = indexOfRun(whole.inputIds, first, 0);
  const secondAt = second && indexOfRun(whole.inputIds, second, firstAt + first.length);
  // A tokenizer that joins texts otherwise than by a template: cutting the end is all that is left.
  if (firstAt === -1 || secondAt === -1) return pick(whole, [[0, limit]]);

  const secondLength = second?.length ?? 0;
  const room = limit - (whole.inputIds.length - first.length - secondLength);
  const kept = keptLengths(first.length, second && secondLength, room, truncation);
  if (kept === undefined) return undefined;
  const keep = (at: number, length: number, count: number): [number, number] =>
    side === "right" ? [at, at + count] : [at + length - count, at + length];

  const firstEnd = firstAt + first.length;
  const spans: [number, number][] = [[0, firstAt], keep(firstAt, first.length, kept[0])];
  if (secondAt === undefined) spans.push([firstEnd, Infinity]);
  else {
    spans.push([firstEnd, secondAt], keep(secondAt, secondLength, kept[1]));
    spans.push([secondAt + secondLength, Infinity]);
  }
  return pick(whole, spans);
}

/**
 * How many tokens each text keeps, by the rule of Hugging Face's `tokenizers` (`utils/truncation.rs`): the longer of a
 * pair gives way until both are equal, then both do.
 *
 * @param second `undefined` when there is no second text; the first then gives way, whatever `truncation` says.
 * @param room Tokens that both may have together.
 * @returns `undefined` when the text that should give way is too short for that.
 */
export function keptLengths(
  first: number,
  second: number | undefined,
  room: number,
  truncation: Exclude<Truncation, "none">,
): [first: number, second: number] | undefined {
  if (room < 0) return undefined;
  if (second === undefined) return [Math.min(first, room), 0];
  if (first + second <= room) return [first, second];
  if (truncation === "only_first") return second <= room ? [room - second, second] : undefined;
  if (truncation === "only_second") return first <= room ? [first, room - first] : undefined;
  const shorter = Math.min(first, second);
  const half = Math.floor(room / 2);
  const [short, long] = shorter <= half ? [shorter, room - shorter] : [half, room - half];
  return first <= second ? [short, long] : [long, short];
}

/** Model types whose positions begin after the padding token's, so that `max_position_embeddings` promises more. */
const SHIFTED_POSITIONS = new Set([
  "camembert",
  "data2vec-text",
  "esm",
  "ibert",
  "longformer",
  "mpnet",
  "roberta",
  "roberta-prelayernorm",
  "xlm-roberta",
  "xlm-roberta-xl",
  "xmod",
]);

/**
 * How many tokens a model can read, special tokens included.
 *
 * @param tokenizerLimit The tokenizer's `model_max_length`, which is huge where nobody set it.
 * @returns `Infinity` when neither sets a limit.
 */
export function maxTokensOf(
  config: Pick<ModelConfig, "model_type" | "max_position_embeddings" | "pad_token_id">,
  tokenizerLimit: number,
): number {
  const positions = config.max_position_embeddings ?? -1;
  const shift = SHIFTED_POSITIONS.has(config.model_type ?? "") ? (config.pad_token_id ?? 1) + 1 : 0;
  const modelLimit = positions > shift ? positions - shift : Infinity;
  const limit = Math.min(modelLimit, tokenizerLimit);
  return limit < 1e9 ? limit : Infinity; // Python writes "no limit" as int(1e30)
}

/** Where `run` begins in `ids`, at `from` or after; only special tokens lie before it. */
function indexOfRun(ids: readonly number[], run: readonly number[], from: number): number {
  for (let start = from; start + run.length <= ids.length; start++) {
    if (run.every((id, offset) => ids[start + offset] === id)) return start;
  }
  return -1;
}

function pick(whole: Encoding, spans: readonly (readonly [number, number])[]): Encoding {
  const cut = (values: readonly number[]) => spans.flatMap(([from, to]) => values.slice(from, to));
  return {
    inputIds: cut(whole.inputIds),
    ...(whole.tokenTypeIds && { tokenTypeIds: cut(whole.tokenTypeIds) }),
  };
}
