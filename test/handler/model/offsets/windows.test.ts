import assert from "node:assert/strict";
import { test } from "node:test";

import { cutWindows, roomFor } from "../../../../runtime/handler/model/offsets/windows.ts";
import { createTracer } from "../../../../runtime/handler/model/token-offsets.ts";
import { wordPiece } from "../../../support/small-tokenizers.ts";

const trace = createTracer(wordPiece(Array.from("abcdefghij")), true);
const single = trace("a b c d e f g");
const pair = trace("a b", "c d e f g");

/** The letters of each window, the special tokens as dots. */
function lettersOf(windows: readonly { readonly inputIds: readonly number[] }[]): string[] {
  return windows.map(({ inputIds }) =>
    inputIds.map((id) => (id < 3 ? "." : "abcdefghij".charAt(id - 3))).join(""),
  );
}

test("windows share stride tokens, and the last one ends with the text", () => {
  const options = { text: 0, maxTokens: 5, side: "right" } as const;
  const cut = (stride: number) => lettersOf(cutWindows(single, { ...options, stride }));
  assert.deepEqual(cut(0), [".abc.", ".def.", ".g."]);
  assert.deepEqual(cut(1), [".abc.", ".cde.", ".efg."]);
  assert.deepEqual(cut(2), [".abc.", ".bcd.", ".cde.", ".def.", ".efg."]);
});

test("a text that is cut on the left begins with its end", () => {
  const options = { text: 0, maxTokens: 5, stride: 1, side: "left" } as const;
  assert.deepEqual(lettersOf(cutWindows(single, options)), [".efg.", ".cde.", ".abc."]);
  assert.deepEqual(lettersOf(cutWindows(single, { ...options, stride: 0 })), [
    ".efg.",
    ".bcd.",
    ".a.",
  ]);
});

test("either text of a pair can be cut, the other one is in each window", () => {
  const options = { maxTokens: 7, stride: 0, side: "right" } as const;
  const context = cutWindows(pair, { ...options, text: 1 });
  assert.deepEqual(lettersOf(context), [".ab.cd.", ".ab.ef.", ".ab.g."]);
  assert.deepEqual(context[2]?.tokenTypeIds, [0, 0, 0, 0, 1, 1]);
  assert.deepEqual(Array.from(context[1]?.starts ?? []), [0, 0, 2, 0, 4, 6, 0]);
  assert.deepEqual(Array.from(context[1]?.ends ?? []), [0, 1, 3, 0, 5, 7, 0]);
  assert.deepEqual(Array.from(context[1]?.words ?? []), [-1, 0, 1, -1, 2, 3, -1]);
  assert.deepEqual(Array.from(context[2]?.texts ?? []), [-1, 0, 0, -1, 1, -1]);
  const [question] = cutWindows(pair, { ...options, maxTokens: 9, text: 0 });
  assert.deepEqual(question && lettersOf([question]), [".a.cdefg."]);
});

test("what fits is its own only window", () => {
  const options = { text: 0, maxTokens: 9, stride: 3, side: "right" } as const;
  assert.deepEqual(cutWindows(single, options), [single]);
});

test("a window needs room for one more token than it shares", () => {
  assert.equal(roomFor(single, 0, 5), 3);
  assert.equal(roomFor(pair, 1, 4), -1);
  const options = { text: 0, maxTokens: 5, side: "right" } as const;
  assert.throws(() => cutWindows(single, { ...options, stride: 3 }), RangeError);
  assert.throws(() => cutWindows(single, { ...options, maxTokens: 2, stride: 0 }), RangeError);
});
