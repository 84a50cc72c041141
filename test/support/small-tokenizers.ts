/**
 * Tokenizers of the kinds that are on the Hub, with a vocabulary of a few words: what `tokenizer.json` would say of them.
 */
import { PreTrainedTokenizer } from "@huggingface/transformers";

interface Kind {
  readonly normalizer?: object | null;
  readonly pre_tokenizer?: object | null;
  readonly post_processor?: object | null;
  readonly decoder?: object | null;
  readonly added_tokens?: readonly object[];
  readonly model: object;
  readonly config?: object;
}

/** A tokenizer with these parts; what is left out is null, as in `tokenizer.json`. */
export function tokenizerWith({ config = {}, ...parts }: Kind): PreTrainedTokenizer {
  const json = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    added_tokens: [],
    ...parts,
  };
  return new PreTrainedTokenizer(json, config);
}

/** A token that is not looked up in the vocabulary; `options` are its `lstrip` and so on. */
export function added(content: string, id: number, options: object = {}): object {
  const usual = { special: true, normalized: false, lstrip: false, rstrip: false };
  return { id, content, single_word: false, ...usual, ...options };
}

function numbered(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

/** BERT's, without capitals. */
export function wordPiece(
  tokens: readonly string[],
  { normalizer = {}, config = {} } = {},
): PreTrainedTokenizer {
  const special = (id: string, type_id = 0) => ({ SpecialToken: { id, type_id } });
  return tokenizerWith({
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
      ...normalizer,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, special("[SEP]")],
      pair: [
        special("[CLS]"),
        { Sequence: { id: "A", type_id: 0 } },
        special("[SEP]"),
        { Sequence: { id: "B", type_id: 1 } },
        special("[SEP]", 1),
      ],
    },
    added_tokens: [added("[CLS]", 1), added("[SEP]", 2)],
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: numbered(["[UNK]", "[CLS]", "[SEP]", ...tokens]),
    },
    config: { unk_token: "[UNK]", cls_token: "[CLS]", ...config },
  });
}

/** RoBERTa's: bytes, and offsets without the space before a word. */
export function roberta(
  words: readonly string[],
  { addsSpace = false, trims = true } = {},
): PreTrainedTokenizer {
  const bytes = { add_prefix_space: addsSpace, trim_offsets: trims, use_regex: true };
  return tokenizerWith({
    pre_tokenizer: { type: "ByteLevel", ...bytes },
    post_processor: {
      type: "RobertaProcessing",
      cls: ["<s>", 0],
      sep: ["</s>", 1],
      add_prefix_space: addsSpace,
      trim_offsets: trims,
    },
    added_tokens: [added("<s>", 0), added("</s>", 1), added("<mask>", 2, { lstrip: true })],
    model: pairs(["<s>", "</s>", "<mask>"], words),
    config: { cls_token: "<s>" },
  });
}

/** Byte-pair encoding that knows these words, and the beginnings and characters that it merges them from. */
export function pairs(
  specials: readonly string[],
  words: readonly string[],
  options: { readonly end_of_word_suffix?: string } = {},
): object {
  const vocabulary = new Set(specials);
  const merges = new Map<string, readonly string[]>();
  const ending = options.end_of_word_suffix ?? "";
  for (const word of words) {
    const characters = Array.from(word);
    const parts = characters.map((part, i) => (i === characters.length - 1 ? part + ending : part));
    let left = "";
    for (const right of parts) {
      vocabulary.add(right);
      if (left !== "") merges.set(`${left} ${right}`, [left, right]);
      left += right;
      vocabulary.add(left);
    }
  }
  return {
    type: "BPE",
    unk_token: null,
    fuse_unk: false,
    byte_fallback: false,
    ...options,
    vocab: numbered([...vocabulary]),
    merges: [...merges.values()],
  };
}

/** SentencePiece's unigrams; the first is the unknown token. */
export function unigram(words: readonly string[], parts: Omit<Kind, "model">): PreTrainedTokenizer {
  const score = (word: string): number => -10 + Array.from(word).length;
  const vocab = ["<unk>", ...words].map((word) => [word, score(word)] as const);
  return tokenizerWith({ ...parts, model: { type: "Unigram", unk_id: 0, vocab } });
}

/** Llama's: no words, spaces as `▁`, bytes for what is not in the vocabulary. */
export function llama(words: readonly string[]): PreTrainedTokenizer {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  return tokenizerWith({
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    added_tokens: [added("<unk>", 0)],
    model: {
      ...pairs(["<unk>", ...bytes], words),
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    config: { unk_token: "<unk>" },
  });
}
