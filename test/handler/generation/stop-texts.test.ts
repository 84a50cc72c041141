import assert from "node:assert/strict";
import { test } from "node:test";

import { array, assert as check, constantFrom, property, string } from "fast-check";

import { createStopMatcher } from "../../../runtime/handler/generation/stop-texts.ts";

/** What is shown of pieces, and which text ended them. */
function show(pieces: readonly string[], stops: readonly string[], keeps = false) {
  const matcher = createStopMatcher(stops, keeps);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { shown: now, stop } = matcher.push(piece);
    shown.push(now);
    if (stop !== undefined) return { shown, stop };
  }
  shown.push(matcher.end());
  return { shown };
}

test("what may begin a stop text is held back until it is clear", () => {
  assert.deepEqual(show(["a", "b", "c"], ["bd"]), { shown: ["a", "", "bc", ""] });
  assert.deepEqual(show(["a", "b", "d", "e"], ["bd"]), { shown: ["a", "", ""], stop: "bd" });
  assert.deepEqual(show(["a", "b"], ["bd"]), { shown: ["a", "", "b"] });
});

test("a stop text may begin and end inside tokens", () => {
  assert.deepEqual(show(["fox na", "med Jack"], ["x named J"]), {
    shown: ["fo", ""],
    stop: "x named J",
  });
  assert.deepEqual(show(["fox na", "med Jack"], ["x named J"], true), {
    shown: ["fo", "x named Jack"],
    stop: "x named J",
  });
});

test("of several, the one that is complete first ends the text", () => {
  assert.deepEqual(show(["one two three"], ["three", "two"]), { shown: ["one "], stop: "two" });
  assert.deepEqual(show(["abcd"], ["cd", "bcd"]), { shown: ["a"], stop: "bcd" });
});

test("special tokens are looked through and not shown", () => {
  const matcher = createStopMatcher(["<end>x"], false);
  assert.deepEqual(matcher.push("a"), { shown: "a" });
  assert.deepEqual(matcher.push("<end>", true), { shown: "" });
  assert.deepEqual(matcher.push("y"), { shown: "y" });
  assert.deepEqual(matcher.push("<end>", true), { shown: "" });
  assert.deepEqual(matcher.push("x"), { shown: "", stop: "<end>x" });
});

test("whatever the pieces, what is shown is the text before the first stop text", () => {
  const text = string({ unit: constantFrom("a", "b", "c"), maxLength: 12 });
  const stop = string({ unit: constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
  check(
    property(array(text, { maxLength: 8 }), array(stop, { maxLength: 3 }), (pieces, stops) => {
      const { shown, stop: found } = show(pieces, stops);
      const whole = pieces.join("");
      // By brute force: the shortest beginning that ends with a stop text, and the longest of those.
      let expected = whole;
      let first: string | undefined;
      for (let end = 1; end <= whole.length && first === undefined; end++) {
        for (const one of [...stops].sort((a, b) => b.length - a.length)) {
          if (first !== undefined || !whole.slice(0, end).endsWith(one)) continue;
          first = one;
          expected = whole.slice(0, end - one.length);
        }
      }
      assert.equal(shown.join(""), expected);
      assert.equal(found, first);
    }),
  );
});
