import assert from "node:assert/strict";
import { test } from "node:test";
import { findPathProblem } from "../../runtime/repository/hub-listing.ts";
import { assertReference } from "../../runtime/repository/hub-reference.ts";

for (const name of ["owner/name", "gpt2", "a/b", "_a/b_", "Owner-1/name.v2_x", "a".repeat(96)]) {
  test(`assertReference() lets the name ${name.slice(0, 30)} pass`, () => {
    assertReference({ name, revision: "main" });
  });
}

const WRONG_NAMES: Readonly<Record<string, RegExp>> = {
  "a/b/c": /: found 2 slashes, wanted "owner\/name"$/,
  "owner/na me": /: wanted "owner\/name" of letters, digits/,
  "owner/naïve": /: wanted "owner\/name" of letters, digits/,
  "owner/name?x=1": /: wanted "owner\/name" of letters, digits/,
  "owner\\name": /: wanted "owner\/name" of letters, digits/,
  "owner/": /: wanted "owner\/name" of letters, digits/,
  "/name": /: wanted "owner\/name" of letters, digits/,
  "": /: wanted "owner\/name" of letters, digits/,
  "..": /: wanted "owner\/name" of letters, digits/,
  "owner/.name": /: wanted "owner\/name" of letters, digits/,
  "owner/name-": /: wanted "owner\/name" of letters, digits/,
  "owner/name\n": /: wanted "owner\/name" of letters, digits/,
  "owner/na--me": /: found "--", which no name on the Hub has$/,
  "owner/na..me": /: found "\.\.", which no name on the Hub has$/,
  "owner/name.git": /: found "\.git" at the end, wanted the name without it$/,
  ["a".repeat(97)]: /: found 97 characters in a row, wanted at most 96$/,
};

for (const [name, problem] of Object.entries(WRONG_NAMES)) {
  test(`assertReference() refuses the name ${JSON.stringify(name).slice(0, 30)}`, () => {
    assert.throws(
      () => assertReference({ name, revision: "main" }),
      (error: Error) => {
        assert.match(error.message, /^Cannot ask the Hub for the model "/);
        assert.match(error.message, problem);
        return "code" in error && error.code === "INVALID_OPTION";
      },
    );
  });
}

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
for (const revision of ["main", "v1.0", "refs/pr/1", "feature/a_b", COMMIT, "ünïcode"]) {
  test(`assertReference() lets the revision ${revision} pass`, () => {
    assertReference({ name: "owner/name", revision });
  });
}

const WRONG_REVISIONS = [
  "",
  "..",
  "a/../b",
  "/etc",
  "a//b",
  "a/",
  ".hidden",
  "a/.b",
  "a.lock",
  "a.",
  "a\\b",
  "a b",
  "a\0b",
  "a:b",
  "a~1",
  "a^",
  "a?b",
  "a*",
  "a[",
  "HEAD@{1}",
  "a\nb",
  "x".repeat(256),
];
for (const revision of WRONG_REVISIONS) {
  test(`assertReference() refuses the revision ${JSON.stringify(revision).slice(0, 30)}`, () => {
    assert.throws(() => assertReference({ name: "owner/name", revision }), {
      code: "INVALID_OPTION",
      message: /^Cannot ask the Hub for the revision ".*" of "owner\/name": found characters/s,
    });
  });
}

for (const path of ["a", "a/b.json", "a b/c#d?.txt", "…/x", "..a/b..", "run 12:00/x"]) {
  test(`findPathProblem() has nothing against ${path}`, () => {
    assert.equal(findPathProblem(path), undefined);
  });
}

const WRONG_PATHS = [
  "",
  "/etc/passwd",
  "../x",
  "a/../x",
  "a/..",
  "..",
  ".",
  "a/./b",
  "a//b",
  "a/",
  "a\\..\\x",
  "\\\\host\\share",
  "C:\\x",
  "C:x",
  "a/d:x",
  "a\0b",
  "a\nb",
];
for (const path of WRONG_PATHS) {
  test(`findPathProblem() refuses ${JSON.stringify(path)}`, () => {
    assert.notEqual(findPathProblem(path), undefined);
  });
}
