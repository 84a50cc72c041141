import assert from "node:assert/strict";
import { test } from "node:test";
import { describeForClient } from "../../../runtime/handler/custom/message.ts";

for (const text of [
  "a/b and c/d/e",
  "n/a, and/or, 1/2, 24/7",
  "see https://huggingface.co/docs/x/y.html#z",
  "application/json; charset=utf-8",
  "</p><br/>",
  "POST /predict is wanted",
  "./model/x.onnx or ../model/y.onnx or ~/models/z",
  "sentence-transformers/all-MiniLM-L6-v2",
  "a: b, c:d, 12:30",
  "C:",
  "tensor[0]/tensor[1]/2",
  "rate is 5 / 3 / 2",
]) {
  test(`describeForClient() leaves ordinary text alone: ${text}`, () => {
    assert.equal(describeForClient(text), text);
  });
}

for (const [text, clean] of [
  ["ENOENT: no such file, open '/home/me/a b/model.onnx'", "ENOENT: no such file, open '[path]'"],
  ["cannot read /etc/passwd", "cannot read [path]"],
  ["cannot read /etc/passwd: denied", "cannot read [path]: denied"],
  ["(/var/lib/x.ts:3:4)", "([path])"],
  ["path=/var/lib/x", "path=[path]"],
  ["imported from file:///srv/models/handler.ts", "imported from [path]"],
  ["at file:///C:/models/handler.ts:1:2", "at [path]"],
  ["C:\\Users\\me\\model.onnx is missing", "[path] is missing"],
  ["open 'D:\\a b\\c'", "open '[path]'"],
  ["\\\\server\\share\\x is missing", "[path] is missing"],
  ["token hf_abcdefghijklmnop was refused", "token [redacted] was refused"],
  ["Bearer abc.def-ghi", "Bearer [redacted]"],
  ["first line\nsecond line\n    at call (/x/y.ts:1:2)", "first line"],
  ["\n\n  after blank lines", "after blank lines"],
  ["", ""],
] as const) {
  test(`describeForClient() turns ${JSON.stringify(text)} into ${JSON.stringify(clean)}`, () => {
    assert.equal(describeForClient(text), clean);
  });
}

test("describeForClient() shortens to 500 characters", () => {
  const long = describeForClient("x".repeat(100_000));
  assert.equal(long.length, 500);
  assert.ok(long.endsWith("…"));
  assert.equal(describeForClient("x".repeat(500)).length, 500);
});

test("describeForClient() takes no longer for hostile texts", () => {
  const startedAtMs = performance.now();
  for (const unit of ["/", "/a", "'/a/", "C:\\", "file://", "\\\\", "a/b "]) {
    describeForClient(unit.repeat(200_000), { repository: "/srv/model" });
  }
  assert.ok(performance.now() - startedAtMs < 500);
});

for (const [text, clean] of [
  ["open '/srv/model/lib/a b.json'", "open 'lib/a b.json'"],
  ["in file:///srv/model/lib/x.ts", "in lib/x.ts"],
  [
    "The module '/opt/app/node_modules/@scope/name/dist/i.js' has no export",
    "The module '@scope/name' has no export",
  ],
  ["'file:///srv/model/node_modules/plain/i.js' has no export", "'plain' has no export"],
  ["open '/etc/shadow/x'", "open '[path]'"],
] as const) {
  test(`describeForClient() names the repository's files and packages for its author: ${text}`, () => {
    assert.equal(describeForClient(text, { repository: "/srv/model" }), clean);
  });
}
