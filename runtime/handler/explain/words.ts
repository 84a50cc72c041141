/**
 * From numbers per token to what a person reads: the tokens, and the words that they make up, with their places.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import type { TracedEncoding } from "../model/token-offsets.ts";

/** A word, or whatever the tokenizer keeps together before it cuts it into tokens. */
export type Span = {
  readonly word: string;
  /** Code points of its text: `[...text].slice(start, end).join("")` is the word. */
  readonly start: number;
  readonly end: number;
};

/** The tokens as TorchServe's handler shows them: `convert_ids_to_tokens`, without the sign for a space of GPT-2's kind. */
export function tokenTexts(tokenizer: PreTrainedTokenizer, ids: readonly number[]): string[] {
  return ids.map((id) => (tokenizer._tokenizer.id_to_token(id) ?? "").replaceAll("Ġ", ""));
}

/** Which tokens make up a word of which text. */
export interface TokenGroup {
  readonly text: 0 | 1;
  readonly tokens: readonly number[];
  readonly span: Span;
}

/**
 * The words of the texts, in order. Tokens that the tokenizer adds belong to none, nor do those of nothing but spaces.
 *
 * @param texts The texts that were tokenized.
 */
export function groupWords(encoding: TracedEncoding, texts: readonly string[]): TokenGroup[] {
  const characters = texts.map((text) => Array.from(text));
  const groups: number[][] = [];
  for (const t of encoding.inputIds.keys()) {
    if (encoding.texts[t] === -1) continue;
    const group = groups.at(-1);
    const last = group?.at(-1);
    if (group !== undefined && last !== undefined && isSameWord(encoding, last, t, characters))
      group.push(t);
    else groups.push([t]);
  }
  return groups.flatMap((tokens): TokenGroup[] => {
    const text = encoding.texts[tokens[0] ?? 0] === 1 ? 1 : 0;
    const all = characters[text] ?? [];
    let start = Math.min(...tokens.map((t) => encoding.starts[t] ?? 0));
    const end = Math.max(...tokens.map((t) => encoding.ends[t] ?? 0));
    // Some tokenizers count the space before a word to it.
    while (start < end && isSpace(all[start])) start++;
    if (start === end) return [];
    return [{ text, tokens, span: { word: all.slice(start, end).join(""), start, end } }];
  });
}

/** Whether two neighbouring tokens are of one word; where the tokenizer knows no words, spaces tell. */
function isSameWord(
  { texts, words, starts, ends }: TracedEncoding,
  before: number,
  t: number,
  characters: readonly (readonly string[])[],
): boolean {
  if (texts[before] !== texts[t] || before !== t - 1) return false;
  if (words[t] !== -1) return words[before] === words[t];
  const [start = 0, end = 0] = [starts[t], ends[before]];
  return start <= end && !isSpace(characters[texts[t] ?? 0]?.[start]);
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /^\s$/u.test(character);
}

/** What the tokens of a word have together. */
export function sumOver(importances: readonly number[], { tokens }: TokenGroup): number {
  return tokens.reduce((sum, t) => sum + (importances[t] ?? 0), 0);
}
