/**
 * What a body may hold before anything is made of it, and texts that would keep a regular expression busy: each of these
 * took minutes, or would fill the memory, where it is not looked at first.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";

import { compressionAlgorithms, credentials, makeGenericClientConstructor } from "@grpc/grpc-js";

import { parseForm } from "../../runtime/http/form.ts";
import { parseJson } from "../../runtime/http/json-body.ts";
import { parseLiteral } from "../../runtime/http/protocols/torchserve-literal.ts";
import { nearestWord } from "../../runtime/nearest-word.ts";
import { splitKeys } from "../../runtime/api-key-text.ts";
import { createApiKeys } from "../../runtime/http/api-keys.ts";
import { redact } from "../../runtime/observe/redact.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createTestApp, post } from "../support/app-matrix.ts";
import { openTestGate } from "../support/grpc.ts";

const wants = (said: RegExp) => ({ code: "INVALID_INPUT", message: said });

test("a body that is compressed is refused by every protocol, so that none can unfold", async () => {
  const app = createTestApp({ maxBodyBytes: 1_000_000 });
  const bomb = Buffer.alloc(50_000_000, 32);
  for (const [encoding, body] of [
    ["gzip", gzipSync(bomb)],
    ["deflate", deflateSync(bomb)],
    ["br", brotliCompressSync(bomb)],
    ["zstd", Buffer.from("x")],
    ["gzip, gzip", gzipSync(gzipSync(bomb))],
  ] as const) {
    for (const path of [
      "/",
      "/v1/chat/completions",
      "/v1/models/owner/name:predict",
      "/v2/models/owner%2Fname/infer",
      "/predictions/owner%2Fname",
    ]) {
      const headers = { "content-type": "application/json", "content-encoding": encoding };
      const response = await app.request(path, { method: "POST", headers, body });
      assert.equal(response.status, 415, `${encoding} ${path}`);
      assert.match(await response.text(), /Content-Encoding is/);
    }
  }
});

test("a gRPC message that is compressed counts as large as it unfolds to", async (t) => {
  await using gate = await openTestGate({ maxMessageBytes: 100_000 });
  const Client = makeGenericClientConstructor({}, "Client");
  const client = new Client(gate.url, credentials.createInsecure(), {
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
  });
  t.after(() => client.close());
  const found = await new Promise<string>((resolve) => {
    const same = (bytes: Buffer): Buffer => bytes;
    client.makeUnaryRequest(
      "/inference.GRPCInferenceService/ModelInfer",
      same,
      same,
      Buffer.alloc(50_000_000),
      (error) => resolve(`${error?.code} ${error?.details}`),
    );
  });
  assert.match(found, /^8 .*(?:larger than|max)/);
});

test("a body beyond its size is refused with the option's name", async () => {
  const app = createTestApp({ maxBodyBytes: 1000 });
  const response = await app.request("/", post({ inputs: "x".repeat(1000) }));
  assert.equal(response.status, 413);
  assert.match(await response.text(), /\(--max-body-size\)/);
});

test("JSON that is nested deep, or of very many parts, is refused before it is parsed", () => {
  const parse = (text: string): unknown => parseJson(Buffer.from(text));
  for (const [open, close] of [
    ["[", "]"],
    ['{"a":', "}"],
  ] as const) {
    assert.doesNotThrow(() => parse(open.repeat(200) + "1" + close.repeat(200)));
    assert.throws(
      () => parse(open.repeat(201) + "1" + close.repeat(201)),
      wants(/nested deeper than 200 levels/),
    );
  }
  const many = (part: string): string => `[${`${part},`.repeat(2_000_000)}1]`;
  for (const part of ["[]", "{}"])
    assert.throws(
      () => parse(many(part)),
      wants(/has 2000001 lists, objects and keys, wanted at most 2000000/),
    );
  const keys = `{${'"":1,'.repeat(2_000_000)}"a":1}`;
  assert.throws(() => parse(keys), wants(/lists, objects and keys/));
  assert.deepEqual(parse('{"a":"[[[[{{{{::::"}'), { a: "[[[[{{{{::::" }, "text is text");
  assert.equal((parse(`[${"1,".repeat(3_000_000)}1]`) as unknown[]).length, 3_000_001, "numbers");
});

test("a form of very many parts, or with a name that is none, is refused", async () => {
  const form = (...parts: readonly string[]): Uint8Array =>
    Buffer.from(`${parts.map((part) => `--x\r\n${part}\r\n`).join("")}--x--\r\n`);
  const field = (name: string): string =>
    `Content-Disposition: form-data; name="${name}"\r\n\r\nvalue`;
  const read = (bytes: Uint8Array): Promise<unknown> =>
    parseForm(bytes, "multipart/form-data; boundary=x");
  await read(form(...Array.from({ length: 1000 }, (_, i) => field(`f${i}`))));
  for (const [bytes, said] of [
    [form(...Array.from({ length: 1001 }, (_, i) => field(`f${i}`))), /more than 1000 parts/],
    [form(field("__proto__")), /named "__proto__"/],
    [form(field("n".repeat(1025))), /has 1025 characters, wanted at most 1024/],
  ] as const)
    await assert.rejects(read(bytes), wants(said));
});

test("a word that nobody can have meant is not compared with any", () => {
  assert.equal(nearestWord("temperatur", ["temperature"]), "temperature");
  assert.equal(nearestWord("t".repeat(5_000_000), ["temperature", "t".repeat(64)]), undefined);
});

/** Long enough that a step for each pair of characters would not end within this test's time. */
const LONG = 1_000_000;

test("numbers of a Python literal are read in one go, however long and wrong they are", () => {
  for (const text of [
    `[${"1".repeat(LONG)}x]`,
    `[${"1_".repeat(LONG)}x]`,
    `[1.${"0".repeat(LONG)}x]`,
    `[1e${"0".repeat(LONG)}x]`,
    `[0x${"f".repeat(LONG)}z]`,
    `[${"+ ".repeat(LONG)}]`,
    `[${"'".repeat(LONG)}x]`,
    `[${"# ".repeat(LONG)}`,
    `[${" \\\n".repeat(LONG)}x]`,
  ])
    assert.throws(() => parseLiteral(text), wants(/./), text.slice(0, 10));
  for (const [text, value] of [
    [
      "[1, 1., .5, 1.5, 1_000.0_1, 1e3, 1.e3, 0x_ff, 0b1, -  2]",
      [1, 1, 0.5, 1.5, 1000.01, 1000, 1000, 255, 1, -2],
    ],
  ] as const)
    assert.deepEqual(parseLiteral(text), value);
});

test("base64 is looked at in one go, on every route that takes it", async () => {
  const app = createTestApp({
    maxBodyBytes: 10 * LONG,
    description: { handler: "default", task: "image-classification" },
  });
  const spaces = " ".repeat(LONG);
  for (const b64 of [
    `${spaces}!`,
    `${"=".repeat(LONG)}!`,
    `${"A".repeat(LONG)}!`,
    `${spaces}=${spaces}!`,
  ]) {
    const response = await app.request(
      "/v1/models/owner/name:predict",
      post({ instances: [{ image: { b64 } }] }),
    );
    assert.match((await response.text()).slice(0, 500), /is not base64/);
    assert.equal(response.status, 400);
  }
  for (const b64 of ["YQ==", "YQ", " YQ = = ".replace(" = = ", "== "), "YQ=\n"]) {
    const response = await app.request(
      "/v1/models/owner/name:predict",
      post({ instances: [{ image: { b64 } }] }),
    );
    assert.equal(response.status, 200);
  }
});

test("long texts of every kind are answered by every route, one way or another", async () => {
  const app = createTestApp({ maxBodyBytes: 10 * LONG });
  const default_ = createTestApp({ maxBodyBytes: 10 * LONG, description: { handler: "default" } });
  const chunks = [
    " ",
    "\t",
    "\n",
    "a",
    "0",
    "_",
    "/",
    "\\",
    "-",
    "=",
    '"',
    "'",
    "[",
    "{",
    "(",
    "<",
    ".",
    ":",
    ";",
    ",",
    "@",
    "#",
    "é",
    "a=",
    "; ",
    "a/",
    '["',
    "%0a",
  ];
  for (const chunk of chunks) {
    const text = `${chunk.repeat(LONG / 5 / chunk.length)}\0`;
    for (const [path, init] of [
      ["/", post({ inputs: text })],
      ["/", { method: "POST", headers: { "content-type": "text/plain" }, body: text }],
      [
        "/",
        { method: "POST", headers: { "content-type": "application/octet-stream" }, body: text },
      ],
      ["/predictions/owner%2Fname", { method: "POST", body: text }],
      ["/predictions/owner%2Fname", { method: "POST", body: `[${text}` }],
      ["/invocations", { method: "POST", headers: { "content-type": "text/csv" }, body: text }],
      ["/v1/models/owner/name:predict", post({ instances: [text, { b64: text }] })],
      ["/v1/chat/completions", post({ model: text, messages: [{ role: text, content: text }] })],
      [
        "/v2/models/owner%2Fname/infer",
        post({ inputs: [{ name: text, datatype: text, shape: [1], data: [text] }] }),
      ],
      ["/v2/models/owner%2Fname/generate", post({ text_input: text, [text]: 1 })],
    ] as [string, RequestInit][]) {
      for (const each of [app, default_]) await (await each.request(path, init)).text();
    }
    const name = text.slice(0, 8000).replace(/[^\x20-\x7e]/g, "x");
    const headers = Object.fromEntries(
      [
        "accept",
        "content-type",
        "traceparent",
        "tracestate",
        "x-request-timeout-ms",
        "authorization",
        "user-agent",
        "inference-header-content-length",
        "if-none-match",
        "accept-encoding",
      ].map((header) => [header, name]),
    );
    for (const path of [
      "/",
      `/${encodeURIComponent(name)}`,
      `/v1/models/${encodeURIComponent(name)}`,
      `/v2/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(name)}/infer`,
    ])
      for (const method of ["GET", "POST"])
        await (await app.request(path, { method, headers: { ...headers } })).text();
  }
});

test("what goes into a line of the log is looked through in one go", () => {
  for (const chunk of ["a.", "a+", "&key", "eyJaaaaaaaa.", "Bearer ", "://", "a://", "hf_", "x@"])
    redact(chunk.repeat(LONG / 5));
});

test("keys and the header that holds one are read in one go", () => {
  const keys = createApiKeys({ keys: ["k".repeat(20)], log: silentLog() });
  for (const header of [
    `Bearer${" ".repeat(LONG)}`,
    `Bearer ${"a ".repeat(LONG)}`,
    "Bearer ".repeat(LONG),
  ])
    assert.equal(
      keys?.accepts(() => header),
      false,
    );
  assert.throws(() => splitKeys(" ".repeat(LONG) + "\0"), RangeError);
});
