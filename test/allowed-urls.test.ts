import assert from "node:assert/strict";
import { test } from "node:test";

import { parseAllowedUrl, permitUrl } from "../runtime/allowed-urls.ts";
import { toAllowedUrls } from "../runtime/option-values.ts";

const permit = (url: string, ...patterns: string[]): string | undefined =>
  permitUrl(new URL(url), patterns);

test("TorchServe's own examples of patterns allow what they are meant to", () => {
  const patterns = ["https://s3.amazonaws.com/.*", "https://torchserve.pytorch.org/.*"];
  assert.equal(permit("https://s3.amazonaws.com/bucket/m.mar", ...patterns), "named");
  assert.equal(permit("https://TORCHSERVE.pytorch.org:443/mar_files/m.mar", ...patterns), "named");
  assert.equal(permit("http://s3.amazonaws.com/m.mar", ...patterns), undefined);
  assert.equal(permit("https://any.example/m.mar?x=1", "http(s)?://.*"), "pattern");
  assert.equal(permit("file:///models/m.mar", "file://.*"), "pattern");
  assert.equal(
    permit("https://eu.files.example/m.mar", "https://[^/.]+\\.files.example/.*"),
    "pattern",
  );
  assert.equal(
    permit("https://files.example/a/b.mar", "https:\\/\\/files.example\\/a\\/[^/]+"),
    "named",
  );
});

test("nothing is allowed where nothing is named", () => {
  assert.equal(permit("https://example.com/m.mar"), undefined);
});

test("a host is the host: not the beginning of one, not a user's name, not a path", () => {
  for (const [url, pattern] of [
    ["https://s3.amazonaws.com.evil.example/m.mar", "https://s3.amazonaws.com.*"],
    ["https://s3.amazonaws.com@evil.example/m.mar", "https://s3.amazonaws.com.*"],
    ["https://s3xamazonaws.com/m.mar", "https://s3.amazonaws.com/.*"],
    ["https://evil.example/https://s3.amazonaws.com/m.mar", ".*://s3.amazonaws.com/.*"],
    ["https://evil.example/?https://s3.amazonaws.com/m.mar", "https://s3.amazonaws.com/.*"],
    ["https://s3.amazonaws.com:8443/m.mar", "https://s3.amazonaws.com/.*"],
    ["https://files.example/models/../secret", "https://files.example/models/.*"],
    ["https://files.example/models/%2e%2e/secret", "https://files.example/models/.*"],
    ["ftp://files.example/m.mar", "http(s)?://.*"],
  ] as const)
    assert.equal(permit(url, pattern), undefined, `${url} by ${pattern}`);
});

test("a path belongs to its host in full; without one every path is meant", () => {
  const pattern = "https://files.example/models/.*\\.mar";
  assert.equal(permit("https://files.example/models/a.mar", pattern), "named");
  assert.equal(permit("https://files.example/models/a.mar?version=2", pattern), undefined);
  for (const whole of ["https://files.example", "https://files.example.*"])
    assert.equal(permit("https://files.example/x/y", whole), "named", whole);
  assert.equal(permit("http://127.0.0.1:9000/m.mar", "http://127.0.0.1:9000/.*"), "named");
});

test("one that names the host in full goes before a pattern, wherever it stands in the list", () => {
  const url = "https://files.example/m.mar";
  assert.equal(permit(url, "https://.*", "https://files.example/.*"), "named");
});

test("what is no pattern is refused when it is read", () => {
  for (const text of ["files.example", "https://(", "://x", "(https://a/.*|https://b/.*)"])
    assert.throws(() => parseAllowedUrl(text), RangeError, text);
  assert.deepEqual(toAllowedUrls("https://a.example/.*, https://b.example/.*"), [
    "https://a.example/.*",
    "https://b.example/.*",
  ]);
});
