import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  createJsonAutomaton,
  MOST_BREAKS,
  MOST_DEPTH,
  MOST_LEADING,
  MOST_SPACES,
} from "../../../runtime/handler/generation/json-automaton.ts";
import { MOST_DIGITS } from "../../../runtime/handler/generation/json-number.ts";

type Verdict = "whole" | "beginning" | "wrong";

/** What the automaton says of bytes that come one at a time. */
function judge(bytes: Uint8Array): Verdict {
  const automaton = createJsonAutomaton();
  for (const byte of bytes) {
    const one = Uint8Array.of(byte);
    if (!automaton.accepts(one)) return "wrong";
    automaton.take(one);
  }
  return automaton.isComplete ? "whole" : "beginning";
}

const judgeText = (text: string): Verdict => judge(Buffer.from(text));

/** What JSON.parse and UTF-8 say, where no bound is near. */
function isObject(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

const WHOLE = [
  `{}`,
  ` {\n} `,
  `{"a":1}`,
  `{"a":-0,"b":0.5,"c":10e+3,"d":1E-2,"e":2e9}`,
  `{"a":[1,[],{},[[true]],false,null,"x"],"":{}}`,
  `{"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00":"é€😀\u007f"}`,
  `{ "a" : [ 1 , 2 ] }`,
];
for (const text of WHOLE) {
  test(`${text} is an object, and each of its beginnings may become one`, () => {
    assert.equal(judgeText(text), "whole");
    const bytes = Buffer.from(text.trimEnd());
    for (let end = 0; end < bytes.length; end++)
      assert.equal(judge(bytes.subarray(0, end)), "beginning", `${end}`);
  });
}

const WRONG = [
  `[`,
  `1`,
  `"`,
  `t`,
  `{}{`,
  `{},`,
  `{,`,
  `{"a",`,
  `{"a":}`,
  `{"a":1,}`,
  `{"a":[1,]`,
  `{"a":[}`,
  `{"a":{]`,
  `{a`,
  `{'`,
  `{"a":01`,
  `{"a":+`,
  `{"a":.`,
  `{"a":1.}`,
  `{"a":1.e`,
  `{"a":-}`,
  `{"a":--`,
  `{"a":1e}`,
  `{"a":1e+}`,
  `{"a":1e2.`,
  `{"a":1e2e`,
  `{"a":trux`,
  `{"a":truee`,
  `{"a":T`,
  `{"a":N`,
  `{"a":I`,
  `{"\n`,
  `{"\\x`,
  `{"\\u00g`,
  `{"\\u00:`,
  `{"\\u00@`,
  `{"\\ud83d"`,
  `{"\\ud83d\\n`,
  `{"\\ud83d\\u00`,
  `{"\\ude`,
  `{"a" "`,
  `{"a":1 2`,
  `\u00a0`,
  `\ufeff`,
];
for (const text of WRONG)
  test(`${JSON.stringify(text)} can become none`, () => {
    assert.equal(judgeText(text), "wrong");
    assert.equal(
      judgeText(text.slice(0, -1)),
      text === `{}{` || text === `{},` ? "whole" : "beginning",
    );
  });

test("characters of several bytes are whole: no detours, no halves, none beyond U+10FFFF", () => {
  const inString = (...bytes: number[]): Verdict => judge(Uint8Array.of(0x7b, 0x22, ...bytes));
  for (const good of [
    "\u0080",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
  ])
    assert.equal(inString(...Buffer.from(good)), "beginning", good);
  for (const bad of [
    [0x80],
    [0xc1],
    [0xe0, 0x9f],
    [0xed, 0xa0],
    [0xf0, 0x8f],
    [0xf4, 0x90],
    [0xf5],
    [0xff],
    [0xc3, 0x22],
    [0xe2, 0x82, 0x41],
  ])
    assert.equal(inString(...bad), "wrong", bad.map((byte) => byte.toString(16)).join(" "));
});

test("white space, digits and depth have bounds", () => {
  const spaces = (count: number): Verdict => judgeText(`{${" ".repeat(count)}`);
  assert.deepEqual([spaces(MOST_SPACES), spaces(MOST_SPACES + 1)], ["beginning", "wrong"]);
  assert.equal(
    judgeText(`{${"\t".repeat(MOST_SPACES)}"a"${" ".repeat(MOST_SPACES)}:`),
    "beginning",
  );
  const breaks = (count: number): Verdict => judgeText(`{${"\n  ".repeat(count)}`);
  assert.deepEqual([breaks(MOST_BREAKS), breaks(MOST_BREAKS + 1)], ["beginning", "wrong"]);
  const leading = (count: number): Verdict => judgeText(" ".repeat(count));
  assert.deepEqual([leading(MOST_LEADING), leading(MOST_LEADING + 1)], ["beginning", "wrong"]);
  for (const before of [`{"a":`, `{"a":-`, `{"a":1.`, `{"a":1e`, `{"a":1e-`]) {
    const digits = (count: number): Verdict => judgeText(before + "7".repeat(count));
    assert.deepEqual(
      [digits(MOST_DIGITS), digits(MOST_DIGITS + 1)],
      ["beginning", "wrong"],
      before,
    );
    assert.equal(judgeText(`${before}${"7".repeat(MOST_DIGITS)}}`), "whole");
  }
  const lists = (count: number): Verdict => judgeText(`{"a":${"[".repeat(count)}`);
  assert.deepEqual([lists(MOST_DEPTH - 1), lists(MOST_DEPTH)], ["beginning", "wrong"]);
  assert.equal(judgeText(`{"a":${"[],".repeat(3).replace(/,$/, "")}`), "wrong");
  assert.equal(
    judgeText(`{"a":[${"[],".repeat(200)}[]]}`),
    "whole",
    "what is closed does not count",
  );
});

test("whatever JSON.stringify writes is taken, in one piece or in several", () => {
  const spaces = fc.constantFrom(undefined, 2, "\t");
  const cuts = fc.array(fc.nat(40), { maxLength: 20 });
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()),
      spaces,
      cuts,
      (value, space, sizes) => {
        const bytes = Buffer.from(JSON.stringify(value, undefined, space));
        const automaton = createJsonAutomaton();
        let at = 0;
        for (const size of [...sizes, bytes.length]) {
          const end = Math.min(bytes.length, at + size);
          assert.ok(automaton.accepts(bytes, at, end));
          assert.equal(automaton.isComplete, at === bytes.length, "asking changes nothing");
          automaton.take(bytes, at, end);
          at = end;
        }
        assert.ok(automaton.isComplete);
      },
    ),
    { numRuns: 150, seed: 1 },
  );
});

test("bytes that anybody makes up are an object for it exactly where they are one for JSON.parse", () => {
  const pieces = fc.constantFrom(
    `{`,
    `}`,
    `[`,
    `]`,
    `"`,
    `:`,
    `,`,
    ` `,
    `\n`,
    `\\`,
    `\\u`,
    `\\"`,
    `"a"`,
    `"a":`,
    `{"a":`,
    `0`,
    `1`,
    `-`,
    `.`,
    `e`,
    `E+`,
    `true`,
    `null`,
    `fals`,
    `é`,
    `😀`,
    `\\u00e9`,
    `\\ud83d\\ude00`,
    `x`,
  );
  const made = fc.array(pieces, { maxLength: 14 }).map((all) => `{${all.join("")}`);
  // An object with something changed in it is nearly one.
  const changed = fc
    .tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(), fc.nat(2), pieces)
    .map(([value, where, cut, piece]) => {
      const text = JSON.stringify(value);
      const at = where % (text.length + 1);
      return text.slice(0, at) + piece + text.slice(at + cut);
    });
  let whole = 0;
  fc.assert(
    fc.property(fc.oneof(made, changed), (text) => {
      const bytes = Buffer.from(text);
      const isWhole = judge(bytes) === "whole";
      if (isWhole) whole++;
      assert.equal(isWhole, isObject(bytes));
    }),
    { numRuns: 2000, seed: 2 },
  );
  assert.ok(whole > 80, `${whole} of them were objects`);
});

test("random bytes never pass for what they are not", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 6 }), (bytes) => {
      const inside = Buffer.concat([Buffer.from(`{"`), bytes, Buffer.from(`":0}`)]);
      assert.equal(judge(inside) === "whole", isObject(inside));
    }),
    { numRuns: 2000, seed: 3 },
  );
});

test("it goes nowhere that it was told it cannot", () => {
  const automaton = createJsonAutomaton();
  automaton.take(Buffer.from(`{"a`));
  assert.throws(() => automaton.take(Buffer.from(`":}`)), RangeError);
  automaton.take(Buffer.from(`":1}`));
  assert.ok(automaton.isComplete);
});
