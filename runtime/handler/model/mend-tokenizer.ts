/**
 * What the tokenizers of transformers.js (@huggingface/tokenizers 0.2) do otherwise than Python's, put right.
 *
 * Each of these changes the tokens that a model reads, for some texts: two texts for a byte-level tokenizer (the second
 * was lost), SentencePiece's map of characters, Unicode's white space, Chinese characters beyond U+FFFF, Greek capitals,
 * unknown words in a row. `test/handler/model/token-places.test.ts` compares with Python's.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import { readCharsmap, type Charsmap } from "./offsets/charsmap.ts";
import {
  configOf,
  partConfig,
  partsOf,
  type Normalizer,
  type PartConfig,
  type Parts,
  type PostProcessor,
  type PreTokenizer,
} from "./offsets/library.ts";
import { strippedSpan } from "./offsets/strip.ts";

/** Changes the tokenizer; twice does no harm. */
export function mendTokenizer(tokenizer: PreTrainedTokenizer): void {
  const parts = partsOf(tokenizer);
  mendNormalizer(parts.normalizer);
  mendPreTokenizer(parts.pre_tokenizer, configOf(tokenizer, "pre_tokenizer"));
  mendUnknown(parts.model);
  if (parts.post_processor) mendPostProcessor(parts.post_processor);
}

const charsmaps = new WeakMap<Normalizer, Charsmap>();

/** The map of a `Precompiled` normalizer that was mended. */
export function charsmapOf(normalizer: Normalizer): Charsmap | undefined {
  return charsmaps.get(normalizer);
}

function mendNormalizer(normalizer: Normalizer | null): void {
  if (normalizer === null) return;
  for (const inner of normalizer.normalizers ?? []) mendNormalizer(inner);
  mendPattern(normalizer);
  const normalize = normalizer.normalize.bind(normalizer);
  switch (partConfig(normalizer.config).type ?? "") {
    case "Precompiled": {
      const charsmap = readCharsmap(partConfig(normalizer.config).precompiled_charsmap);
      if (charsmap === undefined) return;
      charsmaps.set(normalizer, charsmap);
      normalizer.normalize = (text) => charsmap.map(text).text;
      return;
    }
    case "BertNormalizer":
      normalizer.tokenize_chinese_chars = spaceChinese;
      normalizer.normalize = (text) =>
        normalize(normalizer.config?.["lowercase"] === true ? lowerSigma(text) : text);
      return;
    case "Strip":
      normalizer.normalize = (text) => {
        const { start, end } = strippedSpan(text, partConfig(normalizer.config));
        return text.slice(start, end);
      };
      return;
    case "Lowercase":
      normalizer.normalize = (text) => normalize(lowerSigma(text));
      return;
    default:
  }
}

/** JavaScript knows that a sigma ends a word, Rust does not ask. */
function lowerSigma(text: string): string {
  return text.replaceAll("Σ", "σ");
}

/** By code points, where the library goes by halves of surrogate pairs. The blocks are those of BERT. */
function spaceChinese(text: string): string {
  return text.replaceAll(
    /[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu,
    " $& ",
  );
}

function mendPreTokenizer(preTokenizer: PreTokenizer | null, config: PartConfig): void {
  if (preTokenizer === null) return;
  for (const [index, inner] of (preTokenizer.tokenizers ?? []).entries())
    mendPreTokenizer(inner, partConfig(config.pretokenizers?.[index]));
  mendPattern(preTokenizer);
  switch (config.type ?? "") {
    case "WhitespaceSplit":
      preTokenizer.pre_tokenize_text = (text) => text.match(/\P{White_Space}+/gu) ?? [];
      return;
    case "Whitespace": // `\w` of Rust's regular expressions, where the library's knows ASCII alone
      preTokenizer.pre_tokenize_text = (text) => text.match(WORDS) ?? [];
      return;
    case "Digits":
      preTokenizer.pattern = config.individual_digits ? /\P{N}+|\p{N}/gu : /\P{N}+|\p{N}+/gu;
      return;
    default:
  }
}

const WORDS =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

/** JavaScript's `\s` has U+FEFF and lacks U+0085. */
function mendPattern(part: { pattern?: RegExp | null }): void {
  const { pattern } = part;
  if (!pattern?.unicode) return;
  const source = pattern.source.replaceAll(/\\(.)/gsu, (escape, letter: string) =>
    letter === "s" ? "\\p{White_Space}" : letter === "S" ? "\\P{White_Space}" : escape,
  );
  if (source !== pattern.source) part.pattern = new RegExp(source, pattern.flags);
}

/** Unknown parts become one token within a word, not from one word to the next. */
function mendUnknown(model: Parts["model"]): void {
  // A vocabulary of whole words: the library does not look for its unknown token.
  const unknown = partConfig(model.config).unk_token;
  if (typeof unknown === "string") model.unk_token_id ??= model.tokens_to_ids.get(unknown);
  const call = model._call.bind(model);
  model._call = (words) => words.flatMap((word) => call([word]));
}

function mendPostProcessor(processor: PostProcessor): void {
  const process = processor.post_process.bind(processor);
  const { type } = partConfig(processor.config);
  processor.post_process = (tokens, pair, addSpecial) => {
    const { tokens_pair: left, ...done } = process(tokens, pair, addSpecial);
    // Byte-level processors add nothing, and leave the second text beside the first.
    if (left) {
      return {
        tokens: [...done.tokens, ...left],
        token_type_ids: [...done.tokens.map(() => 0), ...left.map(() => 1)],
      };
    }
    const types = type === "RobertaProcessing" ? done.tokens.map(() => 0) : done.token_type_ids;
    return { ...done, ...(types && { token_type_ids: types }) };
  };
}
