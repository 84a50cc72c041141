import assert from "node:assert/strict";
import { test } from "node:test";

import { keptLengths, maxTokensOf, truncate } from "../../runtime/handler/model/truncation.ts";

test("keptLengths() shares the room as Hugging Face's tokenizers do", () => {
  type Case = readonly [
    first: number,
    second: number | undefined,
    room: number,
    truncation: Parameters<typeof keptLengths>[3],
    kept: [number, number] | undefined,
  ];
  const cases: readonly Case[] = [
    [10, undefined, 6, "longest_first", [6, 0]],
    [10, undefined, 20, "longest_first", [10, 0]],
    [10, undefined, 6, "only_second", [6, 0]], // there is no second that could give way
    [10, undefined, -1, "longest_first", undefined],
    [3, 4, 7, "longest_first", [3, 4]],
    [3, 9, 7, "longest_first", [3, 4]], // the longer gives way alone
    [9, 3, 7, "longest_first", [4, 3]],
    [9, 9, 7, "longest_first", [3, 4]], // both do, the second keeps the odd one
    [10, 9, 7, "longest_first", [4, 3]],
    [9, 9, 0, "longest_first", [0, 0]],
    [9, 3, 7, "only_first", [4, 3]],
    [9, 8, 7, "only_first", undefined],
    [3, 9, 7, "only_second", [3, 4]],
    [8, 9, 7, "only_second", undefined],
  ];
  for (const [first, second, room, truncation, kept] of cases) {
    assert.deepEqual(
      keptLengths(first, second, room, truncation),
      kept,
      `${first} and ${second} into ${room}, ${truncation}`,
    );
  }
});

/** `[CLS] 11 12 13 [SEP]` and `[CLS] 11 12 13 [SEP] 21 22 23 24 [SEP]`, with 1 for [CLS] and 2 for [SEP]. */
const SINGLE = { inputIds: [1, 11, 12, 13, 2] };
const PAIR = {
  inputIds: [1, 11, 12, 13, 2, 21, 22, 23, 24, 2],
  tokenTypeIds: [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
};

test("truncate() keeps the special tokens", () => {
  const cut = truncate(SINGLE, [11, 12, 13], undefined, 4, "longest_first", "right");
  assert.deepEqual(cut, { inputIds: [1, 11, 12, 2] });
});

test("truncate() cuts the beginning when asked to", () => {
  const cut = truncate(SINGLE, [11, 12, 13], undefined, 4, "longest_first", "left");
  assert.deepEqual(cut, { inputIds: [1, 12, 13, 2] });
});

test("truncate() cuts both texts of a pair, and their types with them", () => {
  const cut = truncate(PAIR, [11, 12, 13], [21, 22, 23, 24], 7, "longest_first", "right");
  assert.deepEqual(cut, {
    inputIds: [1, 11, 12, 2, 21, 22, 2],
    tokenTypeIds: [0, 0, 0, 0, 1, 1, 1],
  });
});

test("truncate() can leave nothing but special tokens, and no less", () => {
  const cutTo = (limit: number) =>
    truncate(SINGLE, [11, 12, 13], undefined, limit, "longest_first", "right");
  assert.deepEqual(cutTo(2), { inputIds: [1, 2] });
  assert.equal(cutTo(1), undefined);
});

test("truncate() cuts the end where the text is not found in the sequence", () => {
  const cut = truncate(SINGLE, [99, 98], undefined, 3, "longest_first", "left");
  assert.deepEqual(cut, { inputIds: [1, 11, 12] });
});

test("maxTokensOf() takes the smaller of the tokenizer's and the model's limit", () => {
  type Config = Parameters<typeof maxTokensOf>[0];
  const cases: readonly (readonly [config: Config, tokenizer: number, limit: number])[] = [
    [{ model_type: "bert", max_position_embeddings: 512 }, 128, 128],
    [{ model_type: "bert", max_position_embeddings: 512 }, 1e30, 512],
    [{ model_type: "roberta", max_position_embeddings: 514, pad_token_id: 1 }, 1e30, 512],
    [{ model_type: "xlm-roberta", max_position_embeddings: 514 }, Infinity, 512],
    [{ model_type: "mpnet", max_position_embeddings: 514, pad_token_id: 1 }, 512, 512],
    [{ model_type: "t5" }, 512, 512],
    [{ model_type: "xlnet", max_position_embeddings: -1 }, 1e30, Infinity],
    [{}, Infinity, Infinity],
  ];
  for (const [config, tokenizer, limit] of cases) {
    assert.equal(maxTokensOf(config, tokenizer), limit, JSON.stringify(config));
  }
});
