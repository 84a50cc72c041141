import assert from "node:assert/strict";
import { test } from "node:test";

import type { PreTrainedTokenizer } from "@huggingface/transformers";

import { createTracer } from "../../../runtime/handler/model/token-offsets.ts";
import { createDecoder, createTokenReader } from "../../../runtime/handler/tasks/scored-tokens.ts";
import { assertNear } from "../../support/goldens.ts";
import { roberta, unigram, wordPiece } from "../../support/small-tokenizers.ts";

/** The words of a text; `+` before those that go on with the one before. Two labels each, equally likely. */
function wordsOf(tokenizer: PreTrainedTokenizer, text: string): string[] {
  const encoding = createTracer(tokenizer, false)(text);
  const logits = new Float32Array(encoding.inputIds.length * 2);
  const tokens = createTokenReader(tokenizer)(encoding, logits, Array.from(text));
  return tokens.map(({ word, isSubword }) => (isSubword ? "+" : "") + word);
}

test("a piece with a prefix goes on with its word, an unknown token never does", () => {
  const bert = wordPiece(["cafe", "##s", "x"]);
  assert.deepEqual(wordsOf(bert, "Cafés 日x x日"), ["cafe", "+##s", "日", "x", "x", "日"]);
});

test("without prefixes, a token goes on with a word unless a space is before it", () => {
  const bytes = roberta(["Hello", "Ġwor", "l", "d", "!"]);
  assert.deepEqual(wordsOf(bytes, "Hello world!"), ["Hello", "Ġwor", "+l", "+d", "+!"]);
  const pieces = unigram(["▁He", "l", "▁wor", "▁"], {
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
  });
  assert.deepEqual(wordsOf(pieces, "Hel worl"), ["▁He", "+l", "▁wor", "+l"]);
});

test("scores are probabilities of the token's own row, special tokens left out", () => {
  const tokenizer = wordPiece(["x", "y"]);
  const encoding = createTracer(tokenizer, false)("x y");
  const logits = Float32Array.from([9, 0, 0, 2, 3, 0, 0, 9]);
  const tokens = createTokenReader(tokenizer)(encoding, logits, Array.from("x y"));
  assert.deepEqual(
    tokens.map(({ index, start, end }) => [index, start, end]),
    [
      [1, 0, 1],
      [2, 2, 3],
    ],
  );
  const sure = (difference: number): number => 1 / (1 + Math.exp(-difference));
  assertNear(
    tokens.flatMap(({ scores }) => Array.from(scores)),
    [sure(-2), sure(2), sure(3), sure(-3)],
    1e-7,
  );
});

test("tokens without a decoder are joined with spaces", () => {
  assert.equal(createDecoder(wordPiece(["x"]))(["x", "x"]), "x x");
});
