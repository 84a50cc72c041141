import assert from "node:assert/strict";
import { homedir } from "node:os";
import { test } from "node:test";
import { parseReference, type Reference } from "../../runtime/repository/reference.ts";

const FOLDERS = new Set([
  "/work",
  "/work/mine",
  "/models/a",
  "/work/owner/name",
  `${homedir()}/mine`,
  "/",
]);

function parse(text: string, revision?: string): Reference {
  return parseReference(text, {
    cwd: "/work",
    isFolder: (path) => FOLDERS.has(path),
    isFile: (path) => path === "/work/store/bert.mar",
    revision,
  });
}

const READ: readonly [text: string, expected: Reference][] = [
  [".", { kind: "folder", path: "/work" }],
  ["..", { kind: "folder", path: "/" }],
  ["./mine", { kind: "folder", path: "/work/mine" }],
  ["mine", { kind: "folder", path: "/work/mine" }],
  ["/models/a", { kind: "folder", path: "/models/a" }],
  ["~/mine", { kind: "folder", path: `${homedir()}/mine` }],
  ["owner/name", { kind: "folder", path: "/work/owner/name" }],
  ["other/name", { kind: "hub", name: "other/name", revision: "main" }],
  ["other/name@v1.0", { kind: "hub", name: "other/name", revision: "v1.0" }],
  ["other/name@refs/pr/1", { kind: "hub", name: "other/name", revision: "refs/pr/1" }],
  ["hf://owner/name@abc", { kind: "hub", name: "owner/name", revision: "abc" }],
  ["store/bert.mar", { kind: "archive", path: "/work/store/bert.mar" }],
  ["hf://gpt2", { kind: "hub", name: "gpt2", revision: "main" }],
];

for (const [text, expected] of READ) {
  test(`parseReference() reads "${text}" as ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(parse(text), expected);
  });
}

test("parseReference() takes the revision from the settings where the reference names none", () => {
  assert.deepEqual(parse("other/name", "dev"), {
    kind: "hub",
    name: "other/name",
    revision: "dev",
  });
  assert.deepEqual(parse("other/name@v1", "dev"), {
    kind: "hub",
    name: "other/name",
    revision: "v1",
  });
});

const REFUSED: readonly [text: string, sentence: string][] = [
  ["./nowhere", 'Cannot serve "./nowhere": there is no folder at /work/nowhere'],
  ["/nowhere", 'Cannot serve "/nowhere": there is no folder at /nowhere'],
  [
    "gpt2",
    'Cannot serve "gpt2": there is no such folder here; a Hub repository is written owner/name or hf://gpt2',
  ],
  ["bert.tar.gz", 'Cannot serve "bert.tar.gz": there is no archive at /work/bert.tar.gz'],
  ["store/none.mar", 'Cannot serve "store/none.mar": there is no archive at /work/store/none.mar'],
  [
    "other/name@",
    'Cannot read the reference "other/name@": wanted a folder, owner/name, owner/name@revision or hf://owner/name',
  ],
  [
    "hf://",
    'Cannot read the reference "hf://": wanted a folder, owner/name, owner/name@revision or hf://owner/name',
  ],
];

for (const [text, message] of REFUSED) {
  test(`parseReference() refuses "${text}" with one sentence`, () => {
    assert.throws(() => parse(text), { message });
  });
}
