import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { pathToFileURL } from "node:url";

import { RuntimeError } from "../../runtime/errors.ts";
import { createLog, silentLog } from "../../runtime/observe/log.ts";
import { findStored, type StoreOptions } from "../../runtime/repository/model-store.ts";
import { createModelStore } from "../support/model-store.ts";

interface Scene {
  readonly store: string;
  readonly find: (source: string, more?: Partial<StoreOptions>) => ReturnType<typeof findStored>;
}

function open(t: TestContext, options: Partial<StoreOptions> = {}): Scene {
  const store = createModelStore(["1.0"], { "plain.txt": "", "bare/handler.ts": "" });
  const cache = mkdtempSync(join(tmpdir(), "hubserve-cache-"));
  t.after(() => {
    store[Symbol.dispose]();
    rmSync(cache, { recursive: true, force: true });
  });
  return {
    store: store.path,
    find: (source, more = {}) =>
      findStored(source, {
        modelStore: store.path,
        allowedUrls: [],
        cache,
        signal: new AbortController().signal,
        log: silentLog(),
        ...options,
        ...more,
      }),
  };
}

/** A host of files that answers as the test says. */
async function startHost(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ origin: string; requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(request, response);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** A real archive, small as can be: a zip file with one stored entry, the manifest. */
function archiveOf(name: string, version: string): Buffer {
  const content = Buffer.from(
    JSON.stringify({ runtime: "node", model: { modelName: name, modelVersion: version } }),
  );
  const path = Buffer.from("MAR-INF/MANIFEST.json");
  const shared = Buffer.alloc(26);
  shared.writeUInt16LE(20, 0);
  shared.writeUInt32LE(crc32(content), 10);
  shared.writeUInt32LE(content.length, 14);
  shared.writeUInt32LE(content.length, 18);
  shared.writeUInt16LE(path.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), shared, path, content]);
  const central = Buffer.concat([
    Buffer.from("PK\x01\x02\x14\x00"),
    shared,
    Buffer.alloc(14), // no comment, first disk, no attributes, at the beginning
    path,
  ]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

test("a folder or an archive of the store has its manifest's name and version, or its file's", async (t) => {
  const { store, find } = open(t);
  const folder = await find("echo-1.0");
  assert.deepEqual([folder.name, folder.version, folder.isOnHub], ["echo", "1.0", false]);
  assert.ok(folder.reference.endsWith("/echo-1.0"));
  const bare = await find("bare");
  assert.deepEqual([bare.name, bare.version], ["bare", undefined]);
  writeFileSync(join(store, "x.mar"), archiveOf("packed", "3"));
  const packed = await find("x.mar");
  assert.deepEqual([packed.name, packed.version], ["packed", "3"]);
  await packed.discard();
  assert.ok(existsSync(join(store, "x.mar")), "what was not fetched is not taken away");
});

test("nothing outside the store is found", async (t) => {
  const { store, find } = open(t);
  const outside = `${store}-outside`;
  mkdirSync(outside);
  t.after(() => rmSync(outside, { recursive: true }));
  const sources = ["", ".", "/etc/passwd", outside, "../x", "a\0b", `${store}/../x`, "nothing.mar"];
  for (const source of sources)
    await assert.rejects(find(source), { code: "MODEL_NOT_FOUND" }, source);
  await assert.rejects(find("echo-1.0", { modelStore: undefined }), {
    code: "MODEL_NOT_FOUND",
    message: /there is no model store, name one with --model-store$/,
  });
});

test("a Hub repository is called by the last part of its name, and the store goes before the Hub", async (t) => {
  const { store, find } = open(t);
  for (const [source, reference] of [
    ["owner/name", "hf://owner/name"],
    ["owner/name@v1", "hf://owner/name@v1"],
    ["hf://owner/name", "hf://owner/name"],
  ] as const) {
    const { name, isOnHub, ...found } = await find(source);
    assert.deepEqual([name, isOnHub, found.reference], ["name", true, reference]);
  }
  mkdirSync(join(store, "owner", "name"), { recursive: true });
  assert.equal((await find("owner/name")).isOnHub, false);
});

test("an archive behind an allowed URL comes into the store, and its digest into the log", async (t) => {
  const archive = archiveOf("far", "2.0");
  const { origin } = await startHost(t, (_request, response) => response.end(archive));
  const lines: string[] = [];
  const { store, find } = open(t, {
    allowedUrls: [`${origin}/models/.*`],
    log: createLog({ write: (line) => lines.push(line) }),
  });
  const found = await find(`${origin}/models/far.mar?token=x`);
  assert.deepEqual([found.name, found.version], ["far", "2.0"]);
  assert.deepEqual(readFileSync(join(store, "far.mar")), archive);
  assert.match(lines.join("\n"), /Fetched far\.mar from http:.*sha256=[0-9a-f]{64}/);
  await assert.rejects(find(`${origin}/models/far.mar`), {
    code: "CONFLICT",
    message: "Model file already exists far.mar",
  });
  await found.discard();
  assert.ok(!existsSync(join(store, "far.mar")));
});

test("a URL that is not allowed is not asked, by its own name or by a redirect", async (t) => {
  const secret = await startHost(t, (_request, response) => response.end("secret"));
  const { origin } = await startHost(t, (request, response) => {
    response.writeHead(302, { location: `${secret.origin}/models/x.mar` });
    response.end(request.url);
  });
  const { store, find } = open(t, { allowedUrls: [`${origin}/.*`] });
  for (const url of [
    `${secret.origin}/x.mar`,
    `http://127.0.0.1.evil.example/x.mar`,
    `${origin.replace("http://", "http://user@")}.evil.example/x.mar`,
    pathToFileURL("/etc/passwd").href,
    "ftp://files.example/x.mar",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https:",
  ])
    await assert.rejects(find(url), { code: "FORBIDDEN" }, url);
  await assert.rejects(find(`${origin}/x.mar`), {
    code: "DOWNLOAD_FAILED",
    message: /leads to a URL of a host from which this server does not fetch \(--allowed-urls\)$/,
  });
  assert.deepEqual(secret.requests, []);
  assert.ok(!existsSync(join(store, "x.mar")));
});

test("a private address is not asked where a pattern allows it, only where its host is named", async (t) => {
  const { origin, requests } = await startHost(t, (_request, response) => response.end("x"));
  const port = new URL(origin).port;
  const { find } = open(t, { allowedUrls: ["http://.*"] });
  const problem = { code: "DOWNLOAD_FAILED", message: /is a URL of a private address/ };
  await assert.rejects(find(`${origin}/x.mar`), problem);
  const resolve = async (): Promise<{ address: string; family: number }[]> => [
    { address: "127.0.0.1", family: 4 },
  ];
  await assert.rejects(find(`http://files.test:${port}/x.mar`, { resolve }), problem);
  assert.deepEqual(requests, []);
  const named = [`http://files.test:${port}/.*`];
  await assert.rejects(find(`http://files.test:${port}/x.mar`, { resolve, allowedUrls: named }), {
    code: "REPOSITORY_INVALID",
  });
  assert.deepEqual(requests, ["/x.mar"]);
});

test("a download that fails leaves the store as it was", async (t) => {
  const answers: Record<string, (response: ServerResponse) => void> = {
    "/missing.mar": (response) => response.writeHead(404).end(),
    "/large.mar": (response) => response.end(Buffer.alloc(2000)),
    "/half.mar": (response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write("half", () => response.destroy());
    },
    "/never.mar": () => undefined,
    "/broken.mar": (response) => response.end("no archive"),
  };
  const { origin } = await startHost(t, ({ url = "" }, response) => answers[url]?.(response));
  const { store, find } = open(t, {
    allowedUrls: [`${origin}/.*`],
    limitBytes: 1000,
    timeoutMs: 500,
  });
  const before = readdirSync(store);
  for (const [path, code, message] of [
    ["/missing.mar", "DOWNLOAD_FAILED", /its host answers 404$/],
    ["/large.mar", "DOWNLOAD_FAILED", /it is larger than 1000 bytes$/],
    ["/half.mar", "DOWNLOAD_FAILED", /aborted|premature|terminated/i],
    ["/never.mar", "DOWNLOAD_FAILED", /it took longer than 0\.5 s$/],
    ["/broken.mar", "REPOSITORY_INVALID", /./],
    ["/", "DOWNLOAD_FAILED", /its path does not end with a file's name$/],
    ["/.hidden", "DOWNLOAD_FAILED", /its path does not end with a file's name$/],
    ["/a%2Fb.mar", "DOWNLOAD_FAILED", /its path does not end with a file's name$/],
  ] as const) {
    await assert.rejects(find(`${origin}${path}`), (error: unknown) => {
      assert.ok(error instanceof RuntimeError, String(error));
      assert.equal(error.code, code, path);
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(readdirSync(store), before, path);
  }
});

test("a file URL is read where a pattern names its path", async (t) => {
  const { store, find } = open(t);
  const url = pathToFileURL(join(store, "echo-1.0")).href;
  await assert.rejects(find(url), { code: "FORBIDDEN" });
  const allowedUrls = [`file://${store}/.*`];
  assert.equal((await find(url, { allowedUrls })).name, "echo");
  await assert.rejects(find(`${url}/../../x`, { allowedUrls }), { code: "FORBIDDEN" });
  await assert.rejects(find(pathToFileURL(join(store, "no")).href, { allowedUrls }), {
    code: "MODEL_NOT_FOUND",
  });
});
