import assert from "node:assert/strict";
import { test } from "node:test";

import {
  alignedTo,
  type AlignedText,
} from "../../../../runtime/handler/model/offsets/aligned-text.ts";
import { partConfig } from "../../../../runtime/handler/model/offsets/library.ts";
import { normalizeAligned } from "../../../../runtime/handler/model/offsets/normalizers.ts";
import { tokenizerWith } from "../../../support/small-tokenizers.ts";

function normalize(config: object, text: string): AlignedText {
  const tokenizer = tokenizerWith({ normalizer: config, model: { type: "WordPiece", vocab: {} } });
  const { normalizer } = tokenizer._tokenizer;
  assert.ok(normalizer);
  return normalizeAligned(alignedTo(text), normalizer, partConfig(config));
}

/** Each character of the result with its place: `h0-1 e1-2`. */
function placesOf({ text, starts, ends }: AlignedText): string {
  let unit = 0;
  return Array.from(text, (character) => {
    const place = `${character}${String(starts[unit])}-${String(ends[unit])}`;
    unit += character.length;
    return place;
  }).join(" ");
}

const bert = { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true };
const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });

/** By the rules of `NormalizedString` in Rust: added characters go with the one before them, removed ones with none. */
const CASES: readonly (readonly [what: string, config: object, text: string, places: string])[] = [
  ["NFD takes apart", { type: "NFD" }, "éa", "e0-1 \u03010-1 a1-2"],
  ["NFC composes, and loses the mark's place", { type: "NFC" }, "e\u0301a", "é0-1 a2-3"],
  ["NFC orders marks", { type: "NFC" }, "a\u0302\u0323b", "ậ0-1 b3-4"],
  ["NFC composes syllables", { type: "NFC" }, "\u1112\u1161\u11aba", "한0-1 a3-4"],
  ["NFKC takes ligatures apart", { type: "NFKC" }, "ﬁx", "f0-1 i0-1 x1-2"],
  ["NFKD does both", { type: "NFKD" }, "①é", "10-1 e1-2 \u03011-2"],
  ["Lowercase may add", { type: "Lowercase" }, "İX", "i0-1 \u03070-1 x1-2"],
  ["Lowercase knows a final sigma", { type: "Lowercase" }, "ΑΣ", "α0-1 ς1-2"],
  ["StripAccents removes marks", { type: "StripAccents" }, "e\u0301a", "e0-1 a2-3"],
  ["BertNormalizer removes controls", bert, "a\u0000b\tc", "a0-1 b2-3  3-4 c4-5"],
  ["BertNormalizer puts spaces around", bert, "a日", "a0-1  1-2 日1-2  1-2"],
  ["Strip cuts both ends", { type: "Strip", strip_left: true, strip_right: true }, " a ", "a1-2"],
  [
    "Strip cuts one end",
    { type: "Strip", strip_left: false, strip_right: true },
    " a ",
    " 0-1 a1-2",
  ],
  ["Prepend goes with the first", { type: "Prepend", prepend: "▁" }, "ab", "▁0-1 a0-1 b1-2"],
  ["Replace goes with the last", replace({ String: "``" }, '"'), "a``b", 'a0-1 "2-3 b3-4'],
  ["Replace may remove", replace({ Regex: "\\s+" }, ""), "a \tb", "a0-1 b3-4"],
  ["Replace may insert", replace({ Regex: "(?=b)" }, "_"), "ab", "a0-1 _0-1 b1-2"],
  ["Precompiled maps spaces", { type: "Precompiled" }, "a\u3000b", "a0-1  1-2 b2-3"],
  ["Precompiled removes first", { type: "Precompiled" }, "\u0001e\u0301ｆ", "é1-2 f3-4"],
  ["Precompiled leaves its tilde", { type: "Precompiled" }, "～e\u0301", "～0-1 é1-2"],
  [
    "a sequence keeps count",
    { type: "Sequence", normalizers: [{ type: "NFKC" }, replace({ Regex: " {2,}" }, " ")] },
    "ﬁ  e\u0301👍x",
    "f0-1 i0-1  2-3 é3-4 👍5-6 x6-7",
  ],
];

for (const [what, config, text, places] of CASES) {
  test(`${what}: ${JSON.stringify(text)}`, () => {
    assert.equal(placesOf(normalize(config, text)), places);
  });
}

test("what cannot be followed is known between what is equal at both ends", () => {
  const odd = { normalize: (text: string) => text.replace("bcd", "XY") };
  const aligned = normalizeAligned(alignedTo("abcde"), odd, {});
  assert.equal(placesOf(aligned), "a0-1 X1-4 Y1-4 e4-5");
});

test("marks without end are placed in linear time", () => {
  // One kind: putting several in order is quadratic in `String.prototype.normalize` itself.
  const marks = "\u0301".repeat(400_000);
  const startedAtMs = performance.now();
  assert.ok(normalize({ type: "NFC" }, `e${marks}`).text.length > 300_000);
  // Half a second here; looking for each mark among all of them would take hours.
  assert.ok(performance.now() - startedAtMs < 20_000);
});
