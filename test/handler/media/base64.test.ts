import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBase64 } from "../../../runtime/handler/media/base64.ts";

function decoded(text: string): string | undefined {
  const found = decodeBase64(text);
  return found && Buffer.from(found.bytes).toString("latin1");
}

test("both alphabets, missing padding and white space are base64", () => {
  assert.equal(decoded("+/8="), "\xfb\xff");
  assert.equal(decoded("-_8="), "\xfb\xff");
  assert.equal(decoded("-_8"), "\xfb\xff");
  assert.equal(decoded("aGVs\r\nbG8g\n d29ybGQ="), "hello world");
  assert.equal(decoded("YQ=="), "a");
});

test("a data URL says its type, where it has one", () => {
  assert.equal(decodeBase64("data:image/png;base64,YQ==")?.contentType, "image/png");
  assert.equal(decodeBase64("DATA:audio/wav;rate=8000;BASE64,YQ==")?.contentType, "audio/wav");
  assert.equal(decodeBase64("data:;base64,YQ==")?.contentType, undefined);
  assert.equal(decoded("data:;base64,YQ=="), "a");
});

test("what is no base64 is nothing, never noise", () => {
  for (const text of [
    "",
    "=",
    "a",
    "abcde",
    "not base64!",
    "./cat.png",
    "file:///etc/passwd",
    "data:text/plain,hello",
    "data:image/png;base64,",
    "data:image/png;base64,@@@",
    "YQ==YQ==",
    "\0\0\0\0",
  ])
    assert.equal(decodeBase64(text), undefined, JSON.stringify(text));
});
