import assert from "node:assert/strict";
import { test } from "node:test";
import { formatProperty, parseProperties } from "../runtime/properties.ts";

/** Each as `java.util.Properties.load` reads it: the cases of its documentation, and its traps. */
const READ: readonly (readonly [text: string, expected: Record<string, string>])[] = [
  ["Truth = Beauty", { Truth: "Beauty" }],
  [" Truth:Beauty", { Truth: "Beauty" }],
  ["Truth                    :Beauty", { Truth: "Beauty" }],
  ["Truth Beauty", { Truth: "Beauty" }],
  [
    "fruits  apple, banana, \\\n      pear, \\\r\n  mango",
    { fruits: "apple, banana, pear, mango" },
  ],
  ["cheeses", { cheeses: "" }],
  ["a=", { a: "" }],
  ["# a=1\n  ! b=2\n\nc=3", { c: "3" }],
  ["a=1 # not a comment", { a: "1 # not a comment" }],
  ["a=1  ", { a: "1  " }],
  ["a==b", { a: "=b" }],
  ['models={\\\n  "m": 1,\\\n  "n": 2}', { models: '{"m": 1,"n": 2}' }],
  ["a\\ b\\:c\\=d=e", { "a b:c=d": "e" }],
  ["path=C:\\\\x\\ty\\q", { path: "C:\\x\tyq" }],
  ["a=\\u00e9\\u4F60", { a: "é你" }],
  ["a=1\\\\\nb=2", { a: "1\\", b: "2" }],
  ["a=1\\", { a: "1" }],
  ["a=1\\\n# b=2", { a: "1# b=2" }],
  ["a=1\na=2", { a: "2" }],
  ["\uFEFFa=1", { a: "1" }],
  ["", {}],
];

for (const [text, expected] of READ) {
  test(`parseProperties() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(Object.fromEntries(parseProperties(text)), expected);
  });
}

test("parseProperties() refuses a broken escape", () => {
  assert.throws(() => parseProperties("a=\\u00g1"), RangeError);
  assert.throws(() => parseProperties("a=\\u00"), RangeError);
});

test("what formatProperty() writes parseProperties() reads", () => {
  const values = { a: "1", "b c:=#!": " x \\ y\n\t", models: '{"m": {"1.0": {"a": "ü=:"}}}' };
  const text = Object.entries(values).map(([key, value]) => formatProperty(key, value));
  assert.deepEqual(Object.fromEntries(parseProperties(text.join("\n"))), values);
});
