import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";

import { groupWords, sumOver, tokenTexts } from "../../../runtime/handler/explain/words.ts";
import { createTracer } from "../../../runtime/handler/model/token-offsets.ts";
import { EMBEDDED, modelPath } from "../../support/goldens.ts";

async function open(path: string) {
  const tokenizer = await AutoTokenizer.from_pretrained(path, { local_files_only: true });
  const trace = createTracer(tokenizer, false);
  return {
    words: (text: string, pair?: string) =>
      groupWords(trace(text, pair), pair === undefined ? [text] : [text, pair]),
    tokens: (text: string) => tokenTexts(tokenizer, trace(text).inputIds),
  };
}

const bert = await open(`${EMBEDDED}/model`);
const gpt2 = await open(modelPath("tiny-gpt2"));

test("words are what their tokens make up, with places in code points", () => {
  const text = "so 😀 unbelievably scared!";
  const groups = bert.words(text);
  const characters = Array.from(text);
  for (const { span } of groups)
    assert.equal(characters.slice(span.start, span.end).join(""), span.word);
  assert.deepEqual(
    groups.map(({ span }) => span.word),
    ["so", "😀", "unbelievably", "scared", "!"],
  );
  assert.ok((groups[2]?.tokens.length ?? 0) > 1, "several tokens are one word");
});

test("a pair's words know which text they are of", () => {
  assert.deepEqual(
    bert.words("I am", "so am I").map(({ text, span }) => [text, span.word, span.start]),
    [
      [0, "I", 0],
      [0, "am", 2],
      [1, "so", 0],
      [1, "am", 3],
      [1, "I", 6],
    ],
  );
});

test("the space before a word is no part of it, nor is GPT-2's sign for it", () => {
  const text = "Once upon a  time";
  assert.deepEqual(
    gpt2.words(text).map(({ span }) => span.word),
    ["Once", "upon", "a", "time"], // the second space is a token of its own
  );
  assert.ok(gpt2.tokens(text).every((token) => !token.includes("Ġ")));
  assert.deepEqual(bert.tokens("I am"), ["[CLS]", "i", "am", "[SEP]"]);
});

test("where the tokenizer knows no words, spaces part them", () => {
  const encoding = {
    inputIds: [0, 1, 2, 3, 4],
    texts: Int8Array.of(-1, 0, 0, 0, 0),
    starts: Int32Array.of(0, 0, 2, 4, 7),
    ends: Int32Array.of(0, 2, 4, 7, 8),
    words: Int32Array.of(-1, -1, -1, -1, -1),
  };
  const groups = groupWords(encoding, ["abcd ef!"]);
  assert.deepEqual(
    groups.map(({ span, tokens }) => [span.word, span.start, tokens]),
    [
      ["abcd", 0, [1, 2]],
      ["ef!", 5, [3, 4]],
    ],
  );
  assert.deepEqual(
    groups.map((group) => sumOver([9, 1, 2, 4, 8], group)),
    [3, 12],
  );
});
