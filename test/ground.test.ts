/** The small things that every room stands on: errors, nearest words, media types. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  fromPlainError,
  isRuntimeError,
  messageOf,
  RuntimeError,
  toPlainError,
  toRuntimeError,
} from "../runtime/errors.ts";
import { sniffMediaType } from "../runtime/media-type.ts";
import { nearestWord } from "../runtime/nearest-word.ts";

test("a RuntimeError crosses the process wall as data and is whole again behind it", () => {
  const error = new RuntimeError("QUEUE_FULL", "Cannot accept the request: it is full");
  const back = fromPlainError(structuredClone(toPlainError(error)));
  assert.equal(back.code, "QUEUE_FULL");
  assert.equal(back.message, error.message);
  assert.ok(isRuntimeError(back));
});

test("isRuntimeError() knows one that another copy of hubserve made, and nothing that only looks like it", () => {
  const foreign = Object.assign(new Error("x"), { name: "RuntimeError", code: "INVALID_INPUT" });
  assert.ok(isRuntimeError(foreign));
  assert.ok(
    !isRuntimeError(Object.assign(new Error("x"), { name: "RuntimeError", code: "E_MINE" })),
  );
  assert.ok(!isRuntimeError({ name: "RuntimeError", code: "INVALID_INPUT" }));
});

test("toRuntimeError() keeps ours and wraps others with their cause", () => {
  const ours = new RuntimeError("INTERNAL", "a");
  assert.equal(toRuntimeError(ours, "HUB_UNREACHABLE", "Cannot download"), ours);
  const cause = new TypeError("fetch failed");
  const wrapped = toRuntimeError(cause, "HUB_UNREACHABLE", "Cannot download");
  assert.equal(wrapped.message, "Cannot download: fetch failed");
  assert.equal(wrapped.cause, cause);
});

test("messageOf() says something whatever was thrown", () => {
  assert.deepEqual([new Error("a"), new Error(""), "b", null, 3, undefined].map(messageOf), [
    "a",
    "Error",
    "b",
    "a thrown null",
    "a thrown number",
    "a thrown undefined",
  ]);
});

test("nearestWord() finds what was meant and guesses nothing wild", () => {
  const words = ["port", "host", "job-queue-size", "top_k"];
  assert.equal(nearestWord("prot", words), "port");
  assert.equal(nearestWord("job-queue-sise", words), "job-queue-size");
  assert.equal(nearestWord("topk", words), "top_k");
  assert.equal(nearestWord("elephant", words), undefined);
});

test("sniffMediaType() knows images, audio and JSON by their first bytes", () => {
  const cases: readonly [string, string | undefined][] = [
    ["\x89PNG\r\n\x1a\n....", "image/png"],
    ["\xff\xd8\xff\xe0", "image/jpeg"],
    ["RIFF\0\0\0\0WEBPVP8 ", "image/webp"],
    ["RIFF\0\0\0\0WAVEfmt ", "audio/wav"],
    ["fLaC\0", "audio/flac"],
    ['  {"inputs": 1}', "application/json"],
    ["\xef\xbb\xbf[1]", "application/json"],
    ["inputs=a", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of cases)
    assert.equal(sniffMediaType(Buffer.from(text, "latin1")), expected, text);
});
