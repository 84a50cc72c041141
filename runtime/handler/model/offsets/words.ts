/**
 * Tokens of words, each with the part of the word that it stands for.
 */
import { originalSpan, type AlignedText } from "./aligned-text.ts";
import type { VocabularyModel } from "./library.ts";

/** A token of a text. */
export interface PlacedToken {
  /** As the library names it: with its prefix or suffix, or, for an unknown part, that part itself. */
  readonly token: string;
  /** What Python has in its place, where that is more: white space that an added token swallowed is part of it. */
  readonly written?: string;
  /** Code points of the original. */
  readonly start: number;
  readonly end: number;
  /** Which word of the text it is of; -1 where the tokenizer knows no words. */
  readonly word: number;
}

/** A token as a part of its word, in UTF-16 units. */
interface Part {
  readonly token: string;
  readonly from: number;
  readonly to: number;
}

/** How words become tokens. */
export interface WordRules {
  readonly model: VocabularyModel;
  /** What a token begins with that goes on with its word: `##`. */
  readonly prefix: string | undefined;
  /** What a word begins with of which the library gives several at once: `▁`. */
  readonly mark: string | undefined;
  /** Gives the next word its number. */
  readonly numberWord: () => number;
}

/** The tokens of words that follow each other. */
export function placeTokens(
  words: readonly AlignedText[],
  { model, prefix, mark, numberWord }: WordRules,
): PlacedToken[] {
  return words.flatMap((word) => {
    let number = numberWord();
    let counted = 1;
    const tokens = splitWord(word.text, model, prefix).map(({ token, from, to }): PlacedToken => {
      for (; counted <= from; counted++)
        if (mark !== undefined && word.text.startsWith(mark, counted)) number = numberWord();
      return { token, ...originalSpan(word, from, to), word: number };
    });
    return model.fuse_unk ? fuseUnknown(tokens, model) : tokens;
  });
}

function splitWord(word: string, model: VocabularyModel, prefix: string | undefined): Part[] {
  if (model.bpe !== undefined) return splitIntoPairs(word, model, model.bpe(word));
  const tokens = model.encode([word]);
  if (tokens.length === 1) return tokens.map((token) => ({ token, from: 0, to: word.length }));
  const parts: Part[] = [];
  let done = 0;
  for (const token of tokens) {
    const isInside = parts.length > 0 && prefix !== undefined && token.startsWith(prefix);
    const surface = isInside ? token.slice(prefix.length) : token;
    const at = Math.max(done, word.indexOf(surface, done));
    done = Math.min(word.length, at + surface.length);
    parts.push({ token, from: at, to: done });
  }
  return parts;
}

/** Byte-pair encoding: the parts are known before those without a token of their own become bytes, or unknown. */
function splitIntoPairs(word: string, model: VocabularyModel, symbols: readonly string[]): Part[] {
  const { tokens_to_ids: vocabulary, end_of_word_suffix: ending, unk_token: unknown } = model;
  if (model.ignore_merges === true && vocabulary.has(word))
    return [{ token: word, from: 0, to: word.length }];
  const parts: Part[] = [];
  let from = 0;
  for (const [index, symbol] of symbols.entries()) {
    const isLast = index === symbols.length - 1;
    const suffix = (isLast ? ending : model.continuing_subword_suffix) ?? "";
    const to = isLast ? word.length : from + symbol.length - suffix.length;
    for (const token of tokensOfSymbol(symbol, model, unknown ?? undefined))
      parts.push({ token, from, to });
    from = to;
  }
  return parts;
}

function tokensOfSymbol(
  symbol: string,
  { tokens_to_ids: vocabulary, byte_fallback: hasBytes }: VocabularyModel,
  unknown: string | undefined,
): string[] {
  if (vocabulary.has(symbol)) return [symbol];
  if (hasBytes === true) {
    const bytes = [...Buffer.from(symbol)].map(
      (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    if (bytes.every((byte) => vocabulary.has(byte))) return bytes;
  }
  return unknown === undefined ? [] : [unknown];
}

/** Unknown tokens of a word that follow each other become one. */
function fuseUnknown(tokens: readonly PlacedToken[], model: VocabularyModel): PlacedToken[] {
  const { tokens_to_ids: vocabulary, unk_token_id: unknown } = model;
  const isUnknown = (token: string): boolean => (vocabulary.get(token) ?? unknown) === unknown;
  const fused: PlacedToken[] = [];
  let wasUnknown = false;
  for (const token of tokens) {
    const last = fused.at(-1);
    if (last !== undefined && wasUnknown && isUnknown(token.token)) {
      const grows = vocabulary.get(last.token) !== unknown;
      const text = grows ? last.token + token.token : last.token;
      fused[fused.length - 1] = { ...last, token: text, end: Math.max(last.end, token.end) };
      continue;
    }
    wasUnknown = isUnknown(token.token);
    fused.push(token);
  }
  return fused;
}
