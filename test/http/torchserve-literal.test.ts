import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import { toPlatformJson, toPythonJson } from "../../runtime/http/protocols/torchserve-json.ts";
import { parseLiteral } from "../../runtime/http/protocols/torchserve-literal.ts";

/** What Python 3.11's `ast.literal_eval` gives, with tuples and sets as lists and bytes as text. */
const LITERALS: readonly (readonly [text: string, value: unknown])[] = [
  [
    `{"text":"Bloomberg has decided to publish.", "target":(1,2)} `,
    { text: "Bloomberg has decided to publish.", target: [1, 2] },
  ],
  [
    `{'question' : 'How is it', 'context' : "It's nice", 'target' : 0}`,
    { question: "How is it", context: "It's nice", target: 0 },
  ],
  [`{"a": True, 'b': False, "c": None}`, { a: true, b: false, c: null }],
  [`(1)`, 1],
  [`(1,)`, [1]],
  [`()`, []],
  [
    `((1, 2), [3, (4,)], )`,
    [
      [1, 2],
      [3, [4]],
    ],
  ],
  [`{1, 2}`, [1, 2]],
  [`{1}`, [1]],
  [`{}`, {}],
  [`{"a": 1, "a": 2,}`, { a: 2 }],
  [`{1: 'x', 2.5: 'y', None: 'z'}`, { "1": "x", "2.5": "y", null: "z" }],
  [`[-1, +2, - 3, 1_000, 0x1F, 0o17, 0b101]`, [-1, 2, -3, 1000, 31, 15, 5]],
  [`[1.5, .5, 5., 1e3, 1.5E-3, 1_0.0_1]`, [1.5, 0.5, 5, 1000, 0.0015, 10.01]],
  [`'a' "b"\n'c'`, "abc"],
  [`'''it's\n"two" lines'''`, `it's\n"two" lines`],
  [`"""a""b"""`, `a""b`],
  [`''`, ""],
  [`r'\\n\\d' u"é" R"\\'"`, `\\n\\dé\\'`],
  [`b'caf\\xc3\\xa9'`, "café"],
  [`b'\\u00e9'`, "\\u00e9"],
  [
    `'\\x41\\u00e9\\U0001F600\\101\\0\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\"\\q'`,
    `Aé😀A\0\x07\b\f\n\r\t\v\\'"\\q`,
  ],
  [`'a\\\nb'`, "ab"],
  [`  [ # a comment\n 1, # another\n 2 ]\n`, [1, 2]],
];

for (const [text, value] of LITERALS) {
  test(`parseLiteral() reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseLiteral(text), value);
  });
}

test("parseLiteral() reads JSON's words beside Python's, which Python refuses", () => {
  assert.deepEqual(parseLiteral(`{'a': true, "b": [false, null], "c": "\\/"}`), {
    a: true,
    b: [false, null],
    c: "/",
  });
});

test("parseLiteral() makes a key of __proto__, and changes no prototype", () => {
  const value = parseLiteral(`{"__proto__": {"polluted": True}}`) as object;
  assert.deepEqual(Object.keys(value), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.ok(!("polluted" in {}));
});

const BROKEN: readonly (readonly [text: string, at: number])[] = [
  ["", 0],
  ["{", 1],
  [`{"a" 1}`, 5],
  [`{"a": }`, 6],
  [`{"a": 1 "b": 2}`, 8],
  [`[1 2]`, 3],
  [`[1,,2]`, 3],
  [`(,)`, 1],
  [`'a`, 2],
  [`'a\nb'`, 2],
  [`open('x')`, 0],
  [`__import__`, 0],
  [`1 + 2`, 2],
  [`{[1]: 2}`, 5],
  [`[1] [2]`, 4],
  [`1_`, 0],
  [`'\\x4'`, 5],
  [`'\\U00110000'`, 12],
  [`'\\N{DASH}'`, 10],
  [`truely`, 0],
];

for (const [text, at] of BROKEN) {
  test(`parseLiteral() refuses ${JSON.stringify(text)} at character ${at}`, () => {
    assert.throws(
      () => parseLiteral(text),
      (error: unknown) => {
        assert.ok(error instanceof RuntimeError);
        assert.equal(error.code, "INVALID_INPUT");
        assert.equal(
          error.message,
          `Cannot read the body: it is neither JSON nor a Python literal; it breaks off at character ${at}`,
        );
        return true;
      },
    );
  });
}

test("parseLiteral() refuses what is nested too deep, and reads long texts in linear time", () => {
  assert.throws(() => parseLiteral("[".repeat(100_000)), /neither JSON nor/);
  const startedAtMs = performance.now();
  const long = "a ".repeat(500_000);
  assert.equal(parseLiteral(`'${long}'`), long);
  assert.throws(() => parseLiteral("#".repeat(1_000_000)), /neither JSON nor/);
  assert.ok(performance.now() - startedAtMs < 2000);
});

test("toPythonJson() prints as json.dumps(value, indent=2) does", () => {
  const value = {
    label: "é😀\u007f\u2028\0\n",
    empty: [{}, []],
    pairs: [["[CLS]", "O"], []],
    yes: true,
    none: null,
    small: 1e-7,
    smaller: 4.470348358154297e-7,
    edge: 0.0001,
    count: 12,
    large: 12345678901234567000,
  };
  assert.equal(
    toPythonJson(value, false),
    `{
  "label": "\\u00e9\\ud83d\\ude00\\u007f\\u2028\\u0000\\n",
  "empty": [
    {},
    []
  ],
  "pairs": [
    [
      "[CLS]",
      "O"
    ],
    []
  ],
  "yes": true,
  "none": null,
  "small": 1e-07,
  "smaller": 4.470348358154297e-07,
  "edge": 0.0001,
  "count": 12,
  "large": 12345678901234567168
}`,
  );
});

test("toPythonJson() prints whole numbers under the names of scores as Python's floats", () => {
  const value = { importances: [0, -0, 0.5, 1], delta: 0, start: 3, score: 1e16 };
  assert.equal(
    toPythonJson(value, true).replace(/\s+/g, ""),
    `{"importances":[0.0,-0.0,0.5,1.0],"delta":0.0,"start":3,"score":1e+16}`,
  );
  assert.match(toPythonJson(value, false), /"delta": 0,/);
});

test("toPlatformJson() prints as Gson does, HTML's characters escaped", () => {
  assert.equal(
    toPlatformJson({ message: `Model not found: <b>'&=` }),
    `{\n  "message": "Model not found: \\u003cb\\u003e\\u0027\\u0026\\u003d"\n}\n`,
  );
});
