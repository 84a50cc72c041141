import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoTokenizer, type PreTrainedTokenizer } from "@huggingface/transformers";
import { array, assert as check, constantFrom, integer, property, string } from "fast-check";

import { createTextStream } from "../../../runtime/handler/generation/text-stream.ts";
import { modelPath } from "../../support/goldens.ts";
import { llama } from "../../support/small-tokenizers.ts";

const gpt2 = await AutoTokenizer.from_pretrained(modelPath("tiny-gpt2"), {
  local_files_only: true,
});

/** Spaces are `▁`, the first of a text is taken away, and what is not in the vocabulary is bytes. */
const sentencePiece = llama(["▁the", "▁cat", "▁sat", "s", "▁"]);

const idsOf = (tokenizer: PreTrainedTokenizer, text: string): number[] =>
  tokenizer(text, { add_special_tokens: false, return_tensor: false }).input_ids;

const whole = (tokenizer: PreTrainedTokenizer, ids: number[]): string =>
  ids.length === 0
    ? ""
    : tokenizer.decode(ids, { skip_special_tokens: true, clean_up_tokenization_spaces: false });

function piecesOf(tokenizer: PreTrainedTokenizer, prompt: number[], ids: number[]): string[] {
  const stream = createTextStream(tokenizer, prompt);
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

const texts = string({
  unit: constantFrom("a", "the", " ", "cat", "é", "日本", "😀", "👩‍👩‍👧", "\n", "  ", "ß"),
  maxLength: 40,
});

for (const [name, tokenizer] of [
  ["byte-level", gpt2],
  ["SentencePiece", sentencePiece],
] as const) {
  test(`${name}: pieces are the text, and none has half a character`, () => {
    check(
      property(texts, texts, (before, text) => {
        const prompt = idsOf(tokenizer, `the cat ${before}`);
        const all = idsOf(tokenizer, `the cat ${before}${text}`);
        // Only where the tokens of the text follow those of the prompt.
        if (prompt.some((id, place) => id !== all[place])) return;
        const ids = all.slice(prompt.length);
        const pieces = piecesOf(tokenizer, prompt, ids);
        const expected = whole(tokenizer, all).slice(whole(tokenizer, prompt).length);
        assert.equal(pieces.join(""), expected);
        for (const piece of pieces)
          assert.ok(!/[\uD800-\uDBFF]$/.test(piece) && !piece.includes("\uFFFD"), piece);
      }),
      { numRuns: 300 },
    );
  });

  test(`${name}: a character comes with the last of its tokens`, () => {
    const prompt = idsOf(tokenizer, "the cat");
    const ids = idsOf(tokenizer, "the cat😀").slice(prompt.length);
    assert.ok(ids.length >= 3, `${ids.length} tokens`);
    const pieces = piecesOf(tokenizer, prompt, ids);
    assert.deepEqual(
      pieces.filter((piece) => piece !== ""),
      ["😀"],
    );
    assert.equal(pieces.at(-2), "😀");
    // One that never becomes whole is told at the end.
    const broken = piecesOf(tokenizer, prompt, ids.slice(0, -1));
    assert.match(broken.join(""), /^\uFFFD+$/);
    assert.equal(broken.slice(0, -1).join(""), "");
  });
}

test("any tokens at all are told, in little memory", () => {
  check(
    property(array(integer({ min: 1, max: 777 }), { maxLength: 120 }), (ids) => {
      const pieces = piecesOf(gpt2, [], ids);
      const expected = whole(gpt2, ids);
      // Where bytes make no characters, how many signs stand for them may differ with where one looks.
      const clean = (text: string): string => text.replaceAll(/\uFFFD+/g, "?");
      assert.equal(clean(pieces.join("")), clean(expected));
    }),
    { numRuns: 200 },
  );
});
