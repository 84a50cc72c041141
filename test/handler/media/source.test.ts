import assert from "node:assert/strict";
import { test } from "node:test";
import { RuntimeError } from "../../../runtime/errors.ts";
import { readSource, type SourceOptions } from "../../../runtime/handler/media/source.ts";

const OPTIONS: SourceOptions = {
  action: "classify the image",
  name: "inputs[2]",
  wanted: "an image",
  signal: new AbortController().signal,
};

const BYTES = new Uint8Array([0xfb, 0xff]);

test("base64, a data URL, a form's file and a Blob are the same bytes", async () => {
  for (const [value, contentType] of [
    ["+/8=", "application/octet-stream"],
    ["data:image/png;base64,+/8=", "image/png"],
    [{ bytes: BYTES, contentType: "image/png" }, "image/png"],
    [new Blob([BYTES], { type: "image/png" }), "image/png"],
  ] as const) {
    assert.deepEqual(await readSource(value, OPTIONS), { bytes: BYTES, contentType });
  }
});

async function refusal(value: unknown, more: Partial<SourceOptions> = {}): Promise<string> {
  const error: unknown = await readSource(value, { ...OPTIONS, ...more }).catch(
    (error: unknown) => error,
  );
  assert.ok(error instanceof RuntimeError, String(error));
  assert.equal(error.code, "INVALID_INPUT");
  return error.message;
}

test("a URL is refused unless its host is allowed, a path always", async () => {
  assert.equal(
    await refusal("https://example.com/a.png"),
    'Cannot classify the image: "inputs[2]" is a URL, which this server does not fetch',
  );
  const urlHosts = ["*.example.com"];
  assert.match(await refusal("HTTPS://example.org/a.png", { urlHosts }), /--allow-url-inputs/);
  assert.match(await refusal("https://", { urlHosts }), /"inputs\[2\]" is not a valid URL$/);
  for (const path of ["./cat.png", "/etc/hosts.conf", "file:///etc/passwd", "C:\\cat.png"])
    assert.match(await refusal(path, { urlHosts }), /is not base64, wanted an image in base64$/);
});

test("a value of another kind is refused, also one that only looks like a form's file", async () => {
  for (const value of [null, 3, {}, ["+/8="], { bytes: [251, 255], contentType: "image/png" }])
    assert.match(await refusal(value), /"inputs\[2\]" is not a string, wanted an image in base64$/);
});
