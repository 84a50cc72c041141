/**
 * What is used of @huggingface/tokenizers (0.2) beyond what its types make public: the parts that a tokenizer runs a text
 * through, one after the other. transformers.js's tokenizer is a thin coat over them.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

/** Changes a text before it is split; a sequence has `normalizers`. */
export interface Normalizer {
  normalize(text: string): string;
  readonly normalizers?: readonly (Normalizer | null)[];
  /** A `Replace`'s. */
  pattern?: RegExp | null;
  readonly config?: Readonly<Record<string, unknown>>;
  /** `BertNormalizer`'s. */
  tokenize_chinese_chars?(text: string): string;
}

/** Splits a text into words, and may change them; a sequence has `tokenizers`. */
export interface PreTokenizer {
  pre_tokenize_text(text: string, options: SplitOptions): string[];
  readonly tokenizers?: readonly (PreTokenizer | null)[];
  /** What `ByteLevel` and `Split` look for. */
  pattern?: RegExp | null;
}

export interface SplitOptions {
  /** Which piece between added tokens it is. */
  readonly section_index: number;
}

/** Makes tokens of words. */
export interface VocabularyModel {
  /** The tokens of all words, before unknown ones are fused … */
  encode(words: readonly string[]): string[];
  /** … and after. */
  _call(words: readonly string[]): string[];
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  unk_token_id?: number | undefined;
  readonly unk_token?: string | null | undefined;
  readonly fuse_unk: boolean;
  readonly config?: unknown;
  /** A word's parts before the vocabulary is asked; only byte-pair encoding has it. */
  bpe?(word: string): string[];
  readonly ignore_merges?: boolean;
  readonly byte_fallback?: boolean;
  readonly end_of_word_suffix?: string | null | undefined;
  readonly continuing_subword_suffix?: string | null;
}

/** Adds the special tokens; it only joins lists, whatever they hold. */
export interface PostProcessor {
  post_process<T>(
    tokens: readonly T[],
    pair: readonly T[] | null,
    addSpecial: boolean,
  ): { tokens: (T | string)[]; tokens_pair?: readonly T[] | null; token_type_ids?: number[] };
  readonly config?: unknown;
}

/** Finds added tokens: the parts of the text in order, nothing lost. */
export interface Splitter {
  split(text: string): string[];
}

export interface AddedToken {
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** A tokenizer's parts. */
export interface Parts {
  encode(
    text: string,
    options: { text_pair: string | null; return_token_type_ids: boolean },
  ): { ids: number[]; tokens: string[]; token_type_ids?: number[] };
  readonly normalizer: Normalizer | null;
  readonly pre_tokenizer: PreTokenizer | null;
  readonly model: VocabularyModel;
  readonly post_processor: PostProcessor | null;
  readonly splitter_unnormalized: Splitter;
  readonly splitter_normalized: Splitter;
  readonly added_tokens_map: ReadonlyMap<string, AddedToken>;
  readonly remove_space?: boolean | null;
  readonly do_lowercase_and_remove_accent: boolean;
}

export function partsOf(tokenizer: PreTrainedTokenizer): Parts {
  // Its types call some of these private; that they are there, and give the same tokens, is what the tests are for.
  const parts: unknown = tokenizer._tokenizer;
  return parts as Parts;
}

/** What `tokenizer.json` says of the parts: their kinds, which the objects themselves do not all know. */
export type PartConfig = z.infer<typeof PartConfig>;
const PartConfig = z.object({
  type: z.string().nullish(),
  normalizers: z.array(z.unknown()).nullish(),
  pretokenizers: z.array(z.unknown()).nullish(),
  processors: z.array(z.unknown()).nullish(),
  /** What a `Replace` writes. */
  content: z.string().nullish(),
  prepend: z.string().nullish(),
  /** What a `Precompiled` maps, in base64. */
  precompiled_charsmap: z.string().nullish(),
  strip_left: z.boolean().nullish(),
  strip_right: z.boolean().nullish(),
  /** How `Metaspace` writes a space, … */
  replacement: z.string().nullish(),
  str_rep: z.string().nullish(),
  /** … and whether a word begins there. */
  split: z.boolean().nullish(),
  behavior: z.string().nullish(),
  invert: z.boolean().nullish(),
  add_prefix_space: z.boolean().nullish(),
  use_regex: z.boolean().nullish(),
  trim_offsets: z.boolean().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  individual_digits: z.boolean().nullish(),
  unk_token: z.string().nullish(),
});

/** One part's configuration; empty where there is none. */
export function partConfig(value: unknown): PartConfig {
  return PartConfig.safeParse(value).data ?? {};
}

/** The configuration of a tokenizer's part as `tokenizer.json` has it. */
export function configOf(
  tokenizer: PreTrainedTokenizer,
  part: "normalizer" | "pre_tokenizer" | "post_processor" | "model",
): PartConfig {
  const json: Record<string, unknown> = tokenizer._tokenizerJSON;
  return partConfig(json[part]);
}
