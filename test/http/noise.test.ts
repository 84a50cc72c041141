/**
 * Bodies that nobody would send: whatever they are, the answer is a client's error in words, never the server's.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { createTestApp } from "../support/app-matrix.ts";

const TYPES: readonly (string | undefined)[] = [
  undefined,
  "",
  "application/json",
  "application/json; charset=utf-16",
  "application/octet-stream",
  "application/x-www-form-urlencoded",
  "multipart/form-data",
  "multipart/form-data; boundary=x",
  'multipart/form-data; boundary="',
  "text/plain",
  "text/csv; header",
  "image/png",
  "audio/",
  "video/mp4",
  ";;;",
  "a/b/c",
  "\u00ff/\u00ff",
];

/** Bytes that look random and are the same in every run. */
function noise(seed: number, length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, block) =>
    createHash("sha256").update(`${seed} ${block}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

const PART = '--x\r\nContent-Disposition: form-data; name="__proto__"\r\n\r\n{"a": 1}\r\n';

const BODIES: readonly Uint8Array[] = [
  new Uint8Array(),
  ...[1, 2, 3, 4, 5, 6].map((seed) => noise(seed, 7 ** seed % 5000)),
  ...[
    "{",
    '{"inputs"',
    '{"inputs": "\\ud800"}',
    '{"inputs": {"__proto__": {"toString": 1}}, "__proto__": 3}',
    '{"inputs": 1e999, "parameters": {"__proto__": null}}',
    '{"inputs": "a", "parameters": []}',
    "[".repeat(300),
    "\ufeff{}",
    "--x--",
    "--x\r\n\r\n\r\n--x--\r\n",
    `${PART}--x--\r\n`,
    `${PART.replace("__proto__", "inputs")}${PART}--x--\r\n`,
    `${PART.replace("__proto__", "parameters").replace('{"a": 1}', "[".repeat(300))}--x--\r\n`,
    '--x\r\nContent-Disposition: form-data; name="a"; filename="../../etc/passwd"\r\n\r\n\r\n--x--\r\n',
  ].map((text) => Buffer.from(text)),
];

for (const [handler, task] of [
  ["custom", undefined],
  ["default", "text-classification"],
  ["default", "visual-question-answering"],
  ["default", "table-question-answering"],
  ["default", "constructor"],
] as const) {
  test(`no body, whatever its type, is a mistake of the server's (${handler}, ${task})`, async () => {
    const description = { handler, ...(task !== undefined && { task }) };
    const app = createTestApp({ description });
    for (const type of TYPES)
      for (const userAgent of ["curl/8.5.0", "hf_hub/1.33.0"])
        for (const [index, body] of BODIES.entries()) {
          const response = await app.request("/?__proto__=1&a[]=%5B%5B", {
            method: "POST",
            headers: {
              "user-agent": userAgent,
              ...(type !== undefined && { "content-type": type }),
            },
            body: body as BodyInit,
          });
          const answer = (await response.json()) as { error?: unknown };
          const found = `${response.status} for body ${index} as ${type}`;
          assert.ok([200, 400, 413, 415].includes(response.status), found);
          if (response.status !== 200) assert.equal(typeof answer.error, "string", found);
        }
    assert.equal(({} as Record<string, unknown>)["a"], undefined, "no prototype was touched");
  });
}
