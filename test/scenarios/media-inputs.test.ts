/**
 * One image, in every way that a client may hand it over, to the real program: the answer is the same.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { golden } from "../support/clients.ts";
import { assertNear, modelPath } from "../support/goldens.ts";
import { startHubserve } from "../support/hubserve.ts";

const PNG = golden("images/shapes-64x64-0.png");
const OTHER = golden("images/shapes-64x64-1.png");
const LABELS = ["circle", "square"];

/** Numbers that do not depend on which images are computed together, except in their last digits. */
const FIXED = ["--dtype", "fp32", "--workers", "1", "--threads", "1"];
const TOLERANCE = 1e-5;

async function startFileServer(): Promise<
  AsyncDisposable & { readonly url: string; asked: number }
> {
  const server = createServer((_request, response) => {
    files.asked++;
    response.setHeader("content-type", "text/plain").end(PNG.bytes); // the type is not believed
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const files = {
    url: `http://127.0.0.1:${port}`,
    asked: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return files;
}

function form(
  ...parts: readonly (readonly [name: string, value: string | Uint8Array])[]
): FormData {
  const body = new FormData();
  for (const [name, value] of parts) {
    if (typeof value === "string") body.append(name, value);
    else body.append(name, new Blob([value as BlobPart]), "image.png");
  }
  return body;
}

function json(body: unknown): RequestInit {
  return { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

test("a file is the same file as bytes, base64, a data URL, a form's part and an allowed URL", async () => {
  await using files = await startFileServer();
  const model = modelPath("tiny-clip");
  const args = [model, ...FIXED, "--allow-url-inputs", files.url];
  await using server = await startHubserve({ args });
  await server.line(/Ready after/);

  async function ask(init: RequestInit, path = "/"): Promise<unknown> {
    const response = await fetch(`${server.url}${path}`, { method: "POST", ...init });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return JSON.parse(text);
  }

  const parameters = { candidate_labels: LABELS };
  const base64 = Buffer.from(PNG.bytes).toString("base64");
  const expected = await ask(json({ inputs: base64, parameters }));
  const query = `/?candidate_labels=${LABELS.join(",")}`;
  for (const [name, init, path] of [
    ["a data URL", json({ inputs: `data:image/png;base64,${base64}`, parameters })],
    ["bytes", { body: PNG.bytes as BodyInit, headers: { "content-type": "image/png" } }, query],
    ["bytes of no type", { body: PNG.bytes as BodyInit }, query],
    [
      "labels given twice",
      { body: PNG.bytes as BodyInit },
      "/?candidate_labels=circle&candidate_labels=square",
    ],
    [
      "labels as JSON",
      { body: PNG.bytes as BodyInit },
      `/?candidate_labels=${encodeURIComponent(JSON.stringify(LABELS))}`,
    ],
    ["a form", { body: form(["file", PNG.bytes], ["candidate_labels", "circle,square"]) }],
    [
      "a form with JSON",
      { body: form(["inputs", PNG.bytes], ["parameters", JSON.stringify(parameters)]) },
    ],
    ["a URL", json({ inputs: `${files.url}/a.png`, parameters })],
    [
      "a URL in a form",
      { body: form(["inputs", `${files.url}/a.png`], ["candidate_labels", "circle,square"]) },
    ],
  ] as const satisfies readonly (readonly [string, RequestInit, string?])[])
    assert.deepEqual(await ask(init, path), expected, name);
  assert.equal(files.asked, 2);

  const two = await ask({
    body: form(["file", PNG.bytes], ["file", OTHER.bytes], ["candidate_labels", "circle,square"]),
  });
  assert.ok(Array.isArray(two) && two.length === 2);
  const scoresOf = (labels: unknown) => (labels as { score: number }[]).map(({ score }) => score);
  assertNear(scoresOf(two[0]), scoresOf(expected), TOLERANCE);

  const refused = await fetch(server.url, {
    method: "POST",
    ...json({ inputs: "https://example.com/a.png", parameters }),
  });
  assert.equal(refused.status, 400);
  assert.match(
    ((await refused.json()) as { error: string }).error,
    /"inputs" is a URL of a host from which this server does not fetch \(--allow-url-inputs\)$/,
  );
});
