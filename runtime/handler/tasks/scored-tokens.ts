/**
 * What the model says of each token, beside what the token is: what `gather_pre_entities` does in Python's
 * `TokenClassificationPipeline`. Letters: `T` tokens, `L` labels.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import { configOf } from "../model/offsets/library.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import type { ScoredToken } from "./entities.ts";
import { softmax } from "./scores.ts";

/**
 * The tokens of a window without the special ones.
 *
 * @param logits The window's: `[T, L]`.
 * @param characters The whole text, one code point each.
 */
export type TokenReader = (
  window: TracedEncoding,
  logits: Float32Array,
  characters: readonly string[],
) => ScoredToken[];

/** Reads the tokens of a window: what `gather_pre_entities` does in Python. */
export function createTokenReader(tokenizer: PreTrainedTokenizer): TokenReader {
  const hasPrefix = Boolean(configOf(tokenizer, "model").continuing_subword_prefix);

  /** Whether the token goes on with a word; where tokens do not show it, the space before it does. */
  function isSubword(
    token: string,
    start: number,
    end: number,
    characters: readonly string[],
  ): boolean {
    if (hasPrefix) return Array.from(token).length !== end - start;
    return start > 0 && characters[start - 1] !== " " && characters[start] !== " ";
  }

  return ({ inputIds, texts, starts, ends }, logits, characters) => {
    const L = logits.length / inputIds.length;
    return inputIds.flatMap((id, index) => {
      if (texts[index] === -1) return [];
      const [start = 0, end = 0] = [starts[index], ends[index]];
      const token = tokenizer._tokenizer.id_to_token(id) ?? "";
      const isUnknown = id === tokenizer.unk_token_id;
      return {
        scores: softmax(logits.subarray(index * L, (index + 1) * L)),
        word: isUnknown ? characters.slice(start, end).join("") : token,
        start,
        end,
        index,
        isSubword: !isUnknown && isSubword(token, start, end, characters),
      };
    });
  };
}

/**
 * Every token of a window as the vocabulary has it, special ones and padding included: those stand at 0 in the text.
 *
 * @param logits The window's, with its padding: `[T, L]`.
 */
export function readAllTokens(
  tokenizer: PreTrainedTokenizer,
  { inputIds, starts, ends, paddedLength = 0 }: TracedEncoding,
  logits: Float32Array,
): ScoredToken[] {
  const T = Math.max(inputIds.length, paddedLength);
  const L = logits.length / T;
  const padId = tokenizer.pad_token_id ?? 0;
  return Array.from({ length: T }, (_, index) => ({
    scores: softmax(logits.subarray(index * L, (index + 1) * L)),
    word: tokenizer._tokenizer.id_to_token(inputIds[index] ?? padId) ?? "",
    start: starts[index] ?? 0,
    end: ends[index] ?? 0,
    index,
    isSubword: false,
  }));
}

/** Makes text of tokens again, as Python's `convert_tokens_to_string` does. */
export function createDecoder(tokenizer: PreTrainedTokenizer): (words: string[]) => string {
  const { decoder } = tokenizer._tokenizer;
  return (words) => decoder?.decode(words) ?? words.join(" ");
}
