/**
 * Where the tokens of a text lie in it: what Python's fast tokenizers call offsets and word ids, and transformers.js does
 * not have.
 *
 * The text runs through the tokenizer's own parts once more, and every step keeps the place of each character
 * (`offsets/`). The ids are those of the tokenizer itself; that the replay comes to the same tokens is checked each time.
 * Positions count code points, as Python's do: `text.slice` in JavaScript counts UTF-16 units, so use `[...text].slice`.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import {
  alignedTo,
  mapCharacters,
  originalSpan,
  replaceMatches,
  sliceAligned,
  type AlignedText,
} from "./offsets/aligned-text.ts";
import {
  configOf,
  partsOf,
  type PartConfig,
  type Parts,
  type Splitter,
} from "./offsets/library.ts";
import { followChange, normalizeAligned } from "./offsets/normalizers.ts";
import { splitAligned, wordMarkOf } from "./offsets/pre-tokenizers.ts";
import { trimSpaces } from "./offsets/trim.ts";
import { placeTokens, type PlacedToken, type WordRules } from "./offsets/words.ts";
import type { Encoding } from "./truncation.ts";

/** A text, or two, as a model reads it, and where every token comes from. All lists are as long as `inputIds`. */
export interface TracedEncoding extends Encoding {
  /** Which text the token is of: 0 or 1; -1 for those that the tokenizer adds. */
  readonly texts: Int8Array;
  /** The first code point of its text that the token stands for, … */
  readonly starts: Int32Array;
  /** … and the one after the last. */
  readonly ends: Int32Array;
  /** Which word of its text it is of, counted from 0; -1 where the tokenizer knows no words. */
  readonly words: Int32Array;
}

/** Finds the places of tokens for one tokenizer. */
export type Tracer = (text: string, pair?: string) => TracedEncoding;

/**
 * @param tokenizer A mended one (`mend-tokenizer.ts`).
 * @param wantsTypes Whether the model reads token types.
 */
export function createTracer(tokenizer: PreTrainedTokenizer, wantsTypes: boolean): Tracer {
  const parts = partsOf(tokenizer);
  const configs = {
    normalizer: configOf(tokenizer, "normalizer"),
    preTokenizer: configOf(tokenizer, "pre_tokenizer"),
    postProcessor: configOf(tokenizer, "post_processor"),
    model: configOf(tokenizer, "model"),
  };

  return (text, pair) => {
    const library = parts.encode(text, {
      text_pair: pair ?? null,
      return_token_type_ids: wantsTypes,
    });
    const place = (side: string): readonly PlacedToken[] =>
      trimSpaces(placeText(side, parts, configs), configs.postProcessor);
    const sides = [place(text), pair === undefined || pair === "" ? null : place(pair)] as const;
    const joined = joinTexts(sides[0], sides[1], parts);
    assertSameTokens(joined, library.tokens);

    const types = library.token_type_ids;
    const numbers = (read: (token: PlacedToken) => number, absent: number): Int32Array =>
      Int32Array.from(joined, (token) => (typeof token === "string" ? absent : read(token)));
    const second = new Set(sides[1]);
    return {
      inputIds: library.ids,
      ...(wantsTypes && types && { tokenTypeIds: types }),
      texts: Int8Array.from(joined, (token) =>
        typeof token === "string" ? -1 : Number(second.has(token)),
      ),
      starts: numbers(({ start }) => start, 0),
      ends: numbers(({ end }) => end, 0),
      words: numbers(({ word }) => word, -1),
    };
  };
}

/** The tokens of both texts with the special ones, which are plain strings, around them. */
function joinTexts(
  first: readonly PlacedToken[],
  second: readonly PlacedToken[] | null,
  { post_processor: processor }: Parts,
): readonly (PlacedToken | string)[] {
  if (processor === null) return [...first, ...(second ?? [])];
  return processor.post_process(first, second, true).tokens;
}

function assertSameTokens(
  traced: readonly (PlacedToken | string)[],
  tokens: readonly string[],
): void {
  const isSame =
    traced.length === tokens.length &&
    traced.every((token, t) => (typeof token === "string" ? token : token.token) === tokens[t]);
  // Not the text itself: errors are logged.
  if (!isSame)
    throw new Error(`traced ${traced.length} tokens, the tokenizer made ${tokens.length}`);
}

interface Configs {
  readonly normalizer: PartConfig;
  readonly preTokenizer: PartConfig;
  readonly model: PartConfig;
}

/** The tokens of one text without special tokens: the library's `encode_text`, step by step. */
function placeText(text: string, parts: Parts, configs: Configs): PlacedToken[] {
  const { normalizer, pre_tokenizer: preTokenizer, model } = parts;
  let words = 0;
  const numberWord = (): number => (preTokenizer === null ? -1 : words++);
  const rules: WordRules = {
    model,
    prefix: configs.model.continuing_subword_prefix || undefined,
    mark: wordMarkOf(configs.preTokenizer),
    numberWord,
  };

  function placeAdded(piece: Piece): PlacedToken {
    const { text, swallowed } = piece;
    const written = swallowed.before.text + text.text + swallowed.after.text;
    return { token: text.text, written, ...spanOf(piece), word: numberWord() };
  }

  function placeSection(section: AlignedText, index: number): PlacedToken[] {
    const clean = normalizer
      ? normalizeAligned(applyOptions(section, parts), normalizer, configs.normalizer)
      : applyOptions(section, parts);
    return splitOffAdded(clean, parts.splitter_normalized, parts).flatMap((piece) => {
      if (piece.isAdded) return [placeAdded(piece)];
      const options = { section_index: index };
      const split = preTokenizer
        ? splitAligned(piece.text, preTokenizer, configs.preTokenizer, options)
        : [piece.text];
      return placeTokens(split, rules);
    });
  }

  return splitOffAdded(alignedTo(text), parts.splitter_unnormalized, parts).flatMap((piece) =>
    piece.isAdded ? [placeAdded(piece)] : placeSection(piece.text, piece.index),
  );
}

/** A part of a text: an added token, or what lies between two. */
interface Piece {
  /** Its place among all parts, the empty ones included. */
  readonly index: number;
  readonly text: AlignedText;
  readonly isAdded: boolean;
  /** White space around an added token that it swallowed; as in Python the token covers it. */
  readonly swallowed: { readonly before: AlignedText; readonly after: AlignedText };
}

function spanOf({ text, swallowed }: Piece): { readonly start: number; readonly end: number } {
  const { start, end } = originalSpan(text, 0, text.text.length);
  return { start: swallowed.before.starts[0] ?? start, end: swallowed.after.ends.at(-1) ?? end };
}

/** Splits at added tokens; those that strip take the white space of their neighbours. */
function splitOffAdded(source: AlignedText, splitter: Splitter, parts: Parts): Piece[] {
  let done = 0;
  const pieces = splitter.split(source.text).map((part, index): Piece => {
    const text = sliceAligned(source, done, (done += part.length));
    const nothing = sliceAligned(text, 0, 0);
    return { index, text, isAdded: false, swallowed: { before: nothing, after: nothing } };
  });
  for (const [index, piece] of pieces.entries()) {
    const added = parts.added_tokens_map.get(piece.text.text);
    if (added === undefined) continue;
    const [previous, next] = [pieces[index - 1], pieces[index + 1]];
    const swallowed = { ...piece.swallowed };
    if (added.lstrip && previous !== undefined) {
      const { text } = previous;
      const kept = text.text.trimEnd().length;
      swallowed.before = sliceAligned(text, kept, text.text.length);
      pieces[index - 1] = { ...previous, text: sliceAligned(text, 0, kept) };
    }
    if (added.rstrip && next !== undefined) {
      const { text } = next;
      const lost = text.text.length - text.text.trimStart().length;
      swallowed.after = sliceAligned(text, 0, lost);
      pieces[index + 1] = { ...next, text: sliceAligned(text, lost, text.text.length) };
    }
    pieces[index] = { ...piece, swallowed };
  }
  return pieces
    .filter(({ text }) => text.text !== "")
    .map((piece) => ({ ...piece, isAdded: parts.added_tokens_map.has(piece.text.text) }));
}

/** What `tokenizer_config.json` may ask for before the normalizer. */
function applyOptions(section: AlignedText, parts: Parts): AlignedText {
  let text = section;
  if (parts.remove_space === true) {
    const trimmed = text.text.trim();
    const from = text.text.length - text.text.trimStart().length;
    text = replaceMatches(sliceAligned(text, from, from + trimmed.length), /\s+/g, " ");
  }
  if (parts.do_lowercase_and_remove_accent) {
    const change = (part: string): string => part.toLowerCase().replaceAll(/\p{M}/gu, "");
    const source = text;
    text = followChange(source, change(source.text), () => mapCharacters(source, change));
  }
  return text;
}
