import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../runtime/config.ts";
import { toUrlHosts } from "../runtime/option-values.ts";
import { findUrlHost, parseUrlHost } from "../runtime/url-hosts.ts";

function allows(hosts: readonly string[], url: string): boolean {
  return findUrlHost(new URL(url), hosts) !== undefined;
}

test("a name stands for that host over https on its usual port, and for nothing else", () => {
  const hosts = ["Example.com"];
  assert.ok(allows(hosts, "https://example.com/a.png"));
  assert.ok(allows(hosts, "https://EXAMPLE.com:443/a.png"));
  for (const url of [
    "http://example.com/",
    "https://example.com:8443/",
    "https://www.example.com/",
    "https://example.com.evil.org/",
    "https://notexample.com/",
    "https://example.com@evil.org/",
    "https://example.com./",
    "ftp://example.com/",
  ])
    assert.ok(!allows(hosts, url), url);
});

test("a wildcard stands for every host below a name and not for the name itself", () => {
  const hosts = ["*.example.com"];
  assert.ok(allows(hosts, "https://a.example.com/"));
  assert.ok(allows(hosts, "https://a.b.example.com/"));
  assert.ok(!allows(hosts, "https://example.com/"));
  assert.ok(!allows(hosts, "https://aexample.com/"));
});

test("a scheme and a port can be named; addresses and foreign names are read as URL reads them", () => {
  assert.ok(allows(["http://localhost:9000"], "http://localhost:9000/a"));
  assert.ok(!allows(["http://localhost:9000"], "https://localhost:9000/a"));
  assert.ok(!allows(["http://localhost:9000"], "http://localhost/a"));
  assert.ok(allows(["http://127.0.0.1"], "http://0x7f.1/a"), "one address, two spellings");
  assert.ok(allows(["http://[::1]:80"], "http://[0:0:0:0:0:0:0:1]/a"));
  assert.ok(allows(["bücher.example"], "https://xn--bcher-kva.example/"));
});

test("the host's own name is found before a wildcard, whatever their order", () => {
  const host = findUrlHost(new URL("https://a.example.com/"), ["*.example.com", "a.example.com"]);
  assert.equal(host?.isWildcard, false);
});

test("what names no host is refused with what was wanted", () => {
  for (const text of [
    "*",
    "",
    "*.",
    "a b",
    "https://example.com/path",
    "user@example.com",
    "ftp://example.com",
    "a.*.com",
    "example.com:99999",
  ])
    assert.throws(() => parseUrlHost(text), RangeError, text);
  assert.throws(() => toUrlHosts("example.com, *"), /hosts such as "example.com"/);
  assert.deepEqual(toUrlHosts("example.com, *.example.org,"), ["example.com", "*.example.org"]);
});

test("--allow-url-inputs may be repeated, and set by its variable; what it cannot mean stops the start", () => {
  const around = { env: {}, cwd: "/", home: "/" };
  const read = (args: readonly string[], env = {}) =>
    readConfig({ ...around, args, env }).allowUrlInputs;
  assert.deepEqual(read([]), []);
  const twice = ["--allow-url-inputs", "a.org,*.b.org", "--allow-url-inputs", "http://c.org:90"];
  assert.deepEqual(read(twice), ["a.org", "*.b.org", "http://c.org:90"]);
  assert.deepEqual(read([], { HUBSERVE_ALLOW_URL_INPUTS: "a.org" }), ["a.org"]);
  assert.throws(
    () => read(["--allow-url-inputs", "*"]),
    /^RuntimeError: Cannot read --allow-url-inputs: found "\*", wanted hosts such as "example.com"/,
  );
});
