import assert from "node:assert/strict";
import { test } from "node:test";
import { isRuntimeError } from "../../runtime/errors.ts";
import { parseRequirements } from "../../runtime/repository/requirements-file.ts";
import { locateSyntaxError } from "../../runtime/repository/requirements-syntax.ts";

const WANTED =
  'packages and their versions are wanted, such as {"dependencies": {"date-holidays": "^3"}}';

test("parseRequirements() reads what npm reads, sorted by name", () => {
  const specs = {
    range: "^3",
    "@scope/name": "1.x || >=2",
    tag: "latest",
    any: "",
    alias: "npm:other@1",
    git: "git+https://github.com/a/b.git#v1",
    ssh: "git+ssh://git@github.com/a/b.git",
    short: "github:a/b",
    hosted: "a/b",
    web: "https://example.com/a.tgz",
    JSONStream: "1",
  };
  const found = parseRequirements(`\uFEFF${JSON.stringify({ dependencies: specs })}`);
  assert.deepEqual(Object.fromEntries(found.map(({ name, spec }) => [name, spec])), specs);
  assert.deepEqual(
    found.map(({ name }) => name),
    Object.keys(specs).toSorted(),
  );
});

for (const [text, found] of [
  ["[]", `${WANTED}, found an array`],
  ["null", `${WANTED}, found null`],
  ['"ms"', `${WANTED}, found a string`],
  ['{"dependencies": ["ms"]}', `"dependencies" must be an object, found an array; ${WANTED}`],
  ['{"ms": 3}', '"ms" must have a version such as "^3", found a number'],
  ['{"ms": {"version": "3"}}', '"ms" must have a version such as "^3", found an object'],
  ['{"../ms": "3"}', '"../ms" is not the name of a package'],
  ['{"": "3"}', '"" is not the name of a package'],
  ['{"a b": "3"}', '"a b" is not the name of a package'],
  ['{"node_modules": "3"}', '"node_modules" is not the name of a package'],
  ['{\n  "ms": "3",\n}', 'line 3, column 1 is not JSON, found "}"'],
  ["", "line 1, column 1 is not JSON, found the end of the file"],
  [`{"ms": "${"x".repeat(300_000)}"}`, "it is larger than 256 KiB"],
] as const) {
  test(`parseRequirements() refuses ${text.slice(0, 40)}`, () => {
    const wanted = {
      code: "REQUIREMENTS_FAILED",
      message: `Cannot read requirements.json: ${found}`,
    };
    assert.throws(() => parseRequirements(text), wanted);
  });
}

for (const spec of [
  "file:../x",
  "link:../x",
  "workspace:*",
  "git+file:///x.git",
  "./x",
  "../x",
  "..",
  "/x",
  "~/x",
  "C:\\x",
  "C:/x",
  "x.tgz",
  " file:x ",
]) {
  test(`parseRequirements() refuses the path ${JSON.stringify(spec)}`, () => {
    const isRefusal = (error: unknown): boolean =>
      isRuntimeError(error) &&
      /"ms" is wanted from ".*", a path of this machine/.test(error.message);
    assert.throws(() => parseRequirements(JSON.stringify({ ms: spec })), isRefusal);
  });
}

for (const [text, line, column, found] of [
  ['{"a": 1,}', 1, 9, '"}"'],
  ['{\n  "a": 1\n  "b": 2\n}', 3, 3, '"b"'],
  ["{a: 1}", 1, 2, '"a"'],
  ["{'a': 1}", 1, 2, '"\'"'],
  ['{"a" 1}', 1, 6, '"1"'],
  ['{"a": }', 1, 7, '"}"'],
  ['{"a": 1} x', 1, 10, '"x"'],
  ['{"a": [1, 2', 1, 12, "the end of the file"],
  ['{"a": "b\n"}', 1, 7, '"b'],
  ["// comment\n{}", 1, 1, '"/"'],
  ['{"a": undefined}', 1, 7, '"undefined"'],
  ['{"a": 01}', 1, 8, '"1"'],
] as const) {
  test(`locateSyntaxError() points at ${found} in ${JSON.stringify(text)}`, () => {
    assert.throws(() => JSON.parse(text));
    assert.deepEqual(locateSyntaxError(text), { line, column, found });
  });
}

test("locateSyntaxError() is not upset by depth", () => {
  assert.equal(locateSyntaxError("[".repeat(100_000)).line, 1);
});
