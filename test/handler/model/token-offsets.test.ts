import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { PreTrainedTokenizer } from "@huggingface/transformers";

import { createTracer } from "../../../runtime/handler/model/token-offsets.ts";
import { modelPath } from "../../support/goldens.ts";
import {
  added,
  llama,
  pairs,
  roberta,
  tokenizerWith,
  unigram,
  wordPiece,
} from "../../support/small-tokenizers.ts";

/** What a text becomes: `cafe 0-4`, each token with its place in code points. */
function placesOf(tokenizer: PreTrainedTokenizer, text: string): string[] {
  const { inputIds, texts, starts, ends } = createTracer(tokenizer, false)(text);
  return inputIds.flatMap((id, t) =>
    texts[t] === -1
      ? []
      : `${tokenizer._tokenizer.id_to_token(id)} ${String(starts[t])}-${String(ends[t])}`,
  );
}

/** The words of a text's tokens. */
function wordsOf(tokenizer: PreTrainedTokenizer, text: string): number[] {
  const { texts, words } = createTracer(tokenizer, false)(text);
  return Array.from(words).filter((_, t) => texts[t] !== -1);
}

const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always" };
const TOKENIZERS = {
  bert: wordPiece(["cafe", "##s", "x", "xx", "ix", "日", "!", "fi", "##ne", "αος", "αοσ"]),
  /** Without the space that RoBERTa's would put in front. */
  roberta: roberta(["Hello", "Ġworld", "Ġ", "ðŁĳį", "Ã©", "!"].concat("ðŁĳį".split(""))),
  robertaWithSpace: roberta(["ĠHello", "Ġworld", "ĠĠ"], { addsSpace: true }),
  robertaUntrimmed: roberta(["Hello", "Ġworld"], { trims: false }),
  xlmRoberta: unigram(["▁Hello", "▁world", "▁", "▁fi", "ne", "!", "é"], {
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Precompiled", precompiled_charsmap: "" },
        { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
      ],
    },
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, metaspace] },
  }),
  deberta: unigram(["▁Hello", "▁world", "▁", "ld", "▁wor"], {
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Strip", strip_left: true, strip_right: true },
        { type: "Precompiled", precompiled_charsmap: "" },
      ],
    },
    pre_tokenizer: metaspace,
    added_tokens: [added("[SEP]", 99)],
  }),
  llama: llama(["▁Hi", "▁", "日", "👍"].slice(0, 2)),
  clip: tokenizerWith({
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
        { type: "Lowercase" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: "'s|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
          behavior: "Removed",
          invert: true,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    model: pairs([], ["hello", "Ã©", "!"], { end_of_word_suffix: "</w>" }),
  }),
  xlm: wordPiece(["cafe", "x"], {
    config: { remove_space: true, do_lowercase_and_remove_accent: true },
    normalizer: { strip_accents: false },
  }),
};

type Name = keyof typeof TOKENIZERS;

/** Expectations by the rules of Hugging Face's tokenizers (Rust), as its source has them. */
const PLACES: readonly (readonly [name: Name, text: string, places: readonly string[]])[] = [
  ["bert", "Cafés", ["cafe 0-4", "##s 4-5"]],
  ["bert", "Cafe\u0301s", ["cafe 0-4", "##s 5-6"]], // the mark is nobody's
  ["bert", "x 日本", ["x 0-1", "日 2-3", "[UNK] 3-4"]],
  ["bert", "x\u0000x\u200bx", ["[UNK] 0-5"]],
  ["bert", "x\u0000x", ["xx 0-3"]],
  ["bert", "İX", ["ix 0-2"]],
  ["bert", "👍🏽 x!", ["[UNK] 0-2", "x 3-4", "! 4-5"]],
  ["bert", "ΑΟΣ x", ["αος 0-3", "x 4-5"]], // JavaScript knows the final sigma
  ["bert", " x\t x ", ["x 1-2", "x 4-5"]],
  ["bert", "x[SEP]x", ["x 0-1", "[SEP] 1-6", "x 6-7"]],
  ["roberta", "Hello world", ["Hello 0-5", "Ġworld 6-11"]],
  ["roberta", "é👍!", ["Ã© 0-1", "ðŁĳį 1-2", "! 2-3"]],
  ["roberta", "Hello  world", ["Hello 0-5", "Ġ 6-6", "Ġworld 7-12"]],
  ["roberta", "Hello <mask>!", ["Hello 0-5", "<mask> 6-12", "! 12-13"]],
  ["robertaWithSpace", "Hello world", ["ĠHello 0-5", "Ġworld 6-11"]],
  ["robertaWithSpace", "  ", ["ĠĠ 2-2"]],
  ["robertaUntrimmed", "Hello world", ["Hello 0-5", "Ġworld 5-11"]],
  ["xlmRoberta", "Hello  world!", ["▁Hello 0-5", "▁world 7-12", "! 12-13"]],
  ["xlmRoberta", "Hello ﬁne", ["▁Hello 0-5", "▁fi 6-7", "ne 7-9"]],
  ["xlmRoberta", "e\u0301!", ["▁ 0-1", "é 0-1", "! 2-3"]],
  ["xlmRoberta", "日本!", ["▁ 0-1", "<unk> 0-2", "! 2-3"]],
  ["deberta", "Hello world", ["▁Hello 0-5", "▁world 5-11"]],
  ["deberta", "  Hello", ["▁Hello 2-7"]],
  ["deberta", "Hello [SEP]", ["▁Hello 0-5", "[SEP] 6-11"]],
  ["llama", "Hi 日", ["▁Hi 0-2", "▁ 2-3", "<0xE6> 3-4", "<0x97> 3-4", "<0xA5> 3-4"]],
  ["clip", "Hello  HELLO!", ["hello</w> 0-5", "hello</w> 7-12", "!</w> 12-13"]],
  ["clip", "e\u0301 !", ["Ã©</w> 0-1", "!</w> 3-4"]],
  ["xlm", "  x \n cafe\u0301", ["x 2-3", "cafe 6-10"]],
];

for (const [name, text, places] of PLACES) {
  test(`tokens of ${JSON.stringify(text)} lie where Python's ${name} tokenizer has them`, () => {
    const found = placesOf(TOKENIZERS[name], text);
    // A Metaspace token between text and an added token stands for the space alone.
    assert.deepEqual(
      found.filter((place) => place !== "▁ 5-6"),
      places,
    );
  });
}

test("words are what the pre-tokenizer made, and what SentencePiece's mark begins", () => {
  assert.deepEqual(wordsOf(TOKENIZERS.bert, "Cafés x!"), [0, 0, 1, 2]);
  assert.deepEqual(wordsOf(TOKENIZERS.roberta, "Hello world!"), [0, 1, 2]);
  assert.deepEqual(wordsOf(TOKENIZERS.xlmRoberta, "ﬁne world!"), [0, 0, 1, 1]);
  assert.deepEqual(wordsOf(TOKENIZERS.deberta, "Hello world Hello"), [0, 1, 2]);
});

test("a tokenizer without pre-tokenizer knows no words", () => {
  assert.deepEqual(wordsOf(TOKENIZERS.llama, "Hi Hi"), [-1, -1]);
});

test("tokens of a pair belong to their texts, special tokens to none", () => {
  const encoding = createTracer(TOKENIZERS.bert, true)("Cafés", "x x");
  assert.deepEqual(Array.from(encoding.texts), [-1, 0, 0, -1, 1, 1, -1]);
  assert.deepEqual(Array.from(encoding.starts), [0, 0, 4, 0, 0, 2, 0]);
  assert.deepEqual(Array.from(encoding.ends), [0, 4, 5, 0, 1, 3, 0]);
  assert.deepEqual(Array.from(encoding.words), [-1, 0, 0, -1, 0, 1, -1]);
  assert.deepEqual(encoding.tokenTypeIds, [0, 0, 0, 0, 1, 1, 1]);
});

test("two texts that are the same keep their own tokens", () => {
  const { texts } = createTracer(TOKENIZERS.bert, false)("x", "x");
  assert.deepEqual(Array.from(texts), [-1, 0, -1, 1, -1]);
});

test("a tokenizer whose replay comes to other tokens is refused", () => {
  const tokenizer = wordPiece(["x"]);
  const trace = createTracer(tokenizer, false);
  tokenizer._tokenizer.encode = () => ({ ids: [3], tokens: ["x"], attention_mask: [1] });
  assert.throws(() => trace("x"), { message: "traced 3 tokens, the tokenizer made 1" });
});

/** Every tokenizer that lies among the models of the tests, besides the small ones. */
const FIXTURES = readdirSync(modelPath("."))
  .filter((name) => existsSync(modelPath(`${name}/tokenizer.json`)))
  .map((name) => {
    const read = (file: string): object => JSON.parse(readFileSync(modelPath(file), "utf8"));
    const parts = [read(`${name}/tokenizer.json`), read(`${name}/tokenizer_config.json`)] as const;
    return [name, new PreTrainedTokenizer(...parts)] as const;
  });

const PIECES =
  `a B the London don't 's 123 ½ é e\u0301 \u0301 a\u0323\u0302 Σ ΑΣ İ ß ǅ ﬁ ① ～ 日本 𠀀 한국 \u1112\u1161\u11ab 👍🏽
  👨‍👩‍👧 \u0f71\u0f72 \ud800 \u0000 \u200b \ufeff — “ \`\` ▁ ## </w> | [MASK] [SEP] <s> </s> <mask> <unk> Ġ`
    .split(/ |\n +/)
    .concat([" ", "  ", "\n", "\t", "\u00a0", "\u3000"]);

/** A text of random pieces, the same in every run: a linear congruential generator (Numerical Recipes). */
function createTexts(seed: number): () => string {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return () =>
    Array.from(
      { length: 1 + below(12) },
      () => (PIECES[below(PIECES.length)] ?? "") + (below(3) === 0 ? " " : ""),
    ).join("");
}

for (const [name, tokenizer] of [...FIXTURES, ...Object.entries(TOKENIZERS)]) {
  test(`${name}: the ids of random texts are the tokenizer's own, their places in order`, () => {
    const trace = createTracer(tokenizer, true);
    const nextText = createTexts(11);
    for (let i = 0; i < 400; i++) {
      const [text, pair] = [nextText(), i % 4 === 0 ? `x${nextText()}` : undefined];
      const shown = JSON.stringify([text, pair]);
      const { inputIds, texts, starts, ends } = trace(text, pair);
      const { input_ids } = tokenizer(text, {
        ...(pair !== undefined && { text_pair: pair }),
        return_tensor: false,
      });
      assert.deepEqual(inputIds, input_ids, shown);
      for (const [side, length] of [text, pair ?? ""].map((t) => Array.from(t).length).entries()) {
        let last = 0;
        for (let t = 0; t < inputIds.length; t++) {
          const [start = -1, end = -1] = [starts[t], ends[t]];
          // A space that was put in front and is then left out lies behind its letter, in Python as well.
          if (texts[t] !== side || start === end) continue;
          assert.ok(last <= start && start < end && end <= length, `${shown} at ${t}`);
          last = start;
        }
      }
    }
  });
}

/** Tokenizers that lose no letter: every other one here has a normalizer that drops some. */
const KEEPING = FIXTURES.filter(([, { _tokenizerJSON: json }]) =>
  ["WordPiece", "BPE", "Unigram"].includes(json.model.type),
);

test("every letter of a random text is in a token, unless it melts into the one before it", () => {
  assert.ok(KEEPING.length >= 5);
  for (const [name, tokenizer] of KEEPING) {
    const trace = createTracer(tokenizer, false);
    const nextText = createTexts(5);
    for (let i = 0; i < 200; i++) {
      const text = nextText();
      const { texts, starts, ends } = trace(text);
      const covered = new Set<number>();
      for (let t = 0; t < texts.length; t++)
        for (let at = starts[t] ?? 0; at < (ends[t] ?? 0); at++) covered.add(at);
      for (const [at, character] of Array.from(text).entries()) {
        const isLetter = /[\p{L}\p{N}]/u.test(character) && !/[\u1100-\u11ff]/.test(character);
        assert.ok(!isLetter || covered.has(at), `${name}: ${JSON.stringify(text)} at ${at}`);
      }
    }
  }
});

test("a word piece is the text at its place, without capitals and accents", () => {
  const [, tokenizer] = FIXTURES.find(([name]) => name === "qa-bert") ?? [];
  assert.ok(tokenizer);
  const trace = createTracer(tokenizer, false);
  const text = "Zoë's café — naïve, 42% of Ångström? Peter 👍 LIVES in São Paulo.";
  const { inputIds, texts, starts, ends } = trace(text);
  let compared = 0;
  for (const [t, id] of inputIds.entries()) {
    const token: string | undefined = tokenizer._tokenizer.id_to_token(id);
    if (texts[t] === -1 || token === "[UNK]") continue;
    const slice = Array.from(text).slice(starts[t], ends[t]).join("");
    const plain = slice
      .toLowerCase()
      .normalize("NFD")
      .replaceAll(/\p{Mn}/gu, "");
    assert.equal(token?.replace("##", ""), plain);
    compared++;
  }
  assert.ok(compared > 20);
});
