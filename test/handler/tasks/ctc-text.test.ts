import assert from "node:assert/strict";
import { test } from "node:test";

import { cutWindows, roundHalfEven } from "../../../runtime/handler/tasks/asr-chunks.ts";
import { decodeCtc } from "../../../runtime/handler/tasks/ctc-text.ts";

const TOKENS = ["<pad>", "<unk>", "|", "H", "E", "L", "O"];
const VOCABULARY = {
  tokenOf: (id: number) => TOKENS[id] ?? "",
  padToken: "<pad>",
  wordDelimiter: "|",
  isLowerCase: false,
};

test("repeated tokens are one, and a blank keeps two apart", () => {
  const { text, chars } = decodeCtc([3, 3, 4, 5, 0, 5, 5, 6, 0], VOCABULARY);
  assert.equal(text, "HELLO");
  assert.deepEqual(
    chars.map(({ start, end }) => [start, end]),
    [
      [0, 2],
      [2, 3],
      [3, 4],
      [5, 7],
      [7, 8],
    ],
  );
});

test("words lie between delimiters, with the frames of their first and last character", () => {
  const { text, words, chars } = decodeCtc([2, 3, 4, 2, 2, 0, 2, 5, 0, 6, 2], VOCABULARY);
  assert.equal(text, "HE  LO"); // two delimiters with a blank between them are two spaces, as in Python
  assert.deepEqual(words, [
    { text: "HE", start: 1, end: 3 },
    { text: "LO", start: 7, end: 10 },
  ]);
  assert.equal(chars.filter((char) => char.text === " ").length, 4);
});

test("what the model does not know stays visible, and lower case is made where the tokenizer asks", () => {
  assert.equal(decodeCtc([3, 1, 4], VOCABULARY).text, "H<unk>E");
  assert.equal(decodeCtc([3, 4], { ...VOCABULARY, isLowerCase: true }).text, "he");
  assert.deepEqual(decodeCtc([0, 0], VOCABULARY), { text: "", chars: [], words: [] });
});

test("cutWindows() covers a sound once when the overlaps are taken off", () => {
  const size = { length: 100, left: 20, right: 10 };
  for (const length of [5, 100, 101, 169, 170, 171, 500]) {
    const windows = cutWindows(length, size, "hear");
    const own = windows.map(({ start, length: all, left, right }) => [
      start + left,
      start + all - right,
    ]);
    assert.equal(own[0]?.[0], 0);
    assert.equal(own.at(-1)?.[1], length);
    for (const [index, [start]] of own.slice(1).entries()) assert.equal(start, own[index]?.[1]);
  }
});

test("cutWindows() refuses to make very many", () => {
  const size = { length: 3, left: 1, right: 1 };
  assert.throws(() => cutWindows(57_600_000, size, "hear"), {
    code: "INVALID_INPUT",
    message: `Cannot hear: "chunk_length_s" and "stride_length_s" would make more than 10800 windows of the sound`,
  });
});

test("halves are rounded to the even neighbour, as Python rounds", () => {
  assert.deepEqual([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven), [0, 2, 2, 2, 3]);
});
