/**
 * Who and what the management port lets in, and what it shows: keys, URLs, broken models, metrics.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { startHubServer } from "../support/hub-server.ts";
import { createModelStore } from "../support/model-store.ts";
import { predictions, startManaged } from "../support/managed.ts";
import { rawZip } from "../support/raw-archives.ts";

test("what fails leaves server and store as they were", async () => {
  using store = createModelStore(["1.0", "2.0"], {
    "broken.mar": "this is no archive",
    "loud/handler.ts":
      "throw new Error('not today');\nexport class EndpointHandler { call() {} }\n",
  });
  await using managed = await startManaged(store);
  const { manage } = managed;
  const broken = await manage("POST", "/models?url=broken.mar&initial_workers=1");
  assert.equal(broken.status, 400);
  assert.equal(broken.body.type, "InvalidModelException");
  const loud = await manage("POST", "/models?url=loud&initial_workers=1");
  assert.equal(loud.status, 500);
  assert.match(
    loud.body.message,
    /^Failed to start workers for model loud version: 1\.0 \(.*not today.*\)$/s,
  );
  for (const url of ["/etc/passwd", "echo-1.0%2F..%2F..", "file%3A%2F%2F%2Fetc%2Fpasswd"])
    assert.equal((await manage("POST", `/models?url=${url}`)).status, 404, url);
  const { models } = (await manage("GET", "/models")).body;
  assert.equal(models.length, 1, "only what it was started with");
  assert.equal((await fetch(predictions(managed), { method: "POST", body: "{}" })).status, 200);

  // Loaded later, a model that cannot start says so then and can be tried again.
  await manage("POST", "/models?url=loud&initial_workers=0");
  const scaled = await manage("PUT", "/models/loud?synchronous=true");
  assert.equal(scaled.status, 500);
  assert.equal((await managed.describe("loud"))[0]?.workers.length, 0);
  assert.equal((await manage("DELETE", "/models/loud")).status, 200);
});

test("hostile archives are refused by the management port, and leave store and server as they were", async () => {
  using store = createModelStore(["1.0"]);
  const handler = { name: "handler.ts", content: "export class EndpointHandler { call() {} }" };
  const manifest = (text: string) => ({ name: "MAR-INF/MANIFEST.json", content: text });
  const archives: Readonly<Record<string, readonly [content: Buffer, sentence: RegExp]>> = {
    "slip.mar": [rawZip([handler, { name: "../../slip.ts", content: "x" }]), /leads out of its/],
    "link.mar": [
      rawZip([handler, { name: "a", content: "/etc/passwd", mode: 0o120_777 }]),
      /"a" is a symbolic link/,
    ],
    "device.mar": [rawZip([handler, { name: "a", mode: 0o060_666 }]), /is a device or a pipe/],
    "bomb.mar": [
      rawZip([{ name: "handler.ts", content: Buffer.alloc(64 * 1024 ** 2), isDeflated: true }]),
      /too much for an archive/,
    ],
    "nobody.mar": [
      rawZip([handler, manifest('{"runtime":"node"}')]),
      /^Missing Model entry in manifest file\.$/,
    ],
    "nameless.mar": [
      rawZip([handler, manifest('{"runtime":"node","model":{"modelVersion":"1.0"}}')]),
      /^Model name is not defined\.$/,
    ],
    "timeless.mar": [
      rawZip([handler, manifest('{"runtime":"node","model":{"modelName":"m"}}')]),
      /^Model version is not defined\.$/,
    ],
    "homeless.mar": [
      rawZip([handler, manifest('{"model":{"modelName":"m","modelVersion":"1.0"}}')]),
      /^Runtime is not defined or invalid\.$/,
    ],
  };
  for (const [file, [content]] of Object.entries(archives))
    writeFileSync(join(store.path, file), content);
  const cache = join(store.path, "cache");
  mkdirSync(cache);
  await using managed = await startManaged(store, ["--disable-token-auth", "--cache", cache]);
  const before = readdirSync(store.path).sort();
  for (const [file, [, sentence]] of Object.entries(archives)) {
    const { status, body } = await managed.manage("POST", `/models?url=${file}&initial_workers=1`);
    assert.deepEqual([status, body.type], [400, "InvalidModelException"], file);
    assert.match(body.message, sentence, file);
  }
  assert.deepEqual(readdirSync(store.path).sort(), before);
  const unpacked = join(cache, "archives");
  assert.deepEqual(existsSync(unpacked) ? readdirSync(unpacked) : [], []);
  assert.equal((await managed.manage("GET", "/models")).body.models.length, 1);
  assert.equal((await fetch(predictions(managed), { method: "POST", body: "{}" })).status, 200);
});

test("an archive behind an allowed URL comes into the store, and goes with its model", async () => {
  using store = createModelStore(["1.0"]);
  const requests: string[] = [];
  const manifest = { runtime: "node", model: { modelName: "fetched", modelVersion: "3.0" } };
  const good = rawZip([
    { name: "handler.ts", content: 'export class EndpointHandler { call() { return "here"; } }' },
    { name: "MAR-INF/MANIFEST.json", content: JSON.stringify(manifest) },
  ]);
  const files = createServer((request, response) => {
    requests.push(request.url ?? "");
    response.end(request.url === "/models/good.mar" ? good : "no archive at all");
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => files.once("listening", resolve));
  const origin = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  try {
    await using managed = await startManaged(store, [
      "--disable-token-auth",
      "--allowed-urls",
      `${origin}/models/.*`,
    ]);
    const refused = await managed.manage("POST", `/models?url=${origin}/other/x.mar`);
    assert.equal(refused.status, 404);
    assert.equal(
      refused.body.message,
      `Given URL ${origin}/other/x.mar does not match any allowed URL(s)`,
    );
    assert.deepEqual(requests, []);
    const broken = await managed.manage("POST", `/models?url=${origin}/models/x.mar`);
    assert.equal(broken.status, 400, "what came was no archive");
    assert.deepEqual(requests, ["/models/x.mar"]);
    assert.ok(!existsSync(join(store.path, "x.mar")), "and nothing of it stays");

    const url = `${origin}/models/good.mar`;
    const fetched = await managed.manage("POST", `/models?url=${url}&initial_workers=1`);
    assert.equal(
      fetched.body.status,
      'Model "fetched" Version: 3.0 registered with 1 initial workers',
    );
    const answer = await fetch(predictions(managed, "fetched/3.0"), { method: "POST", body: "x" });
    assert.equal(await answer.text(), "here");
    assert.ok(existsSync(join(store.path, "good.mar")));
    const twice = await managed.manage("POST", `/models?url=${url}&model_name=other`);
    assert.equal(twice.body.message, "Model file already exists good.mar");
    assert.equal((await managed.manage("DELETE", "/models/fetched")).status, 200);
    assert.ok(!existsSync(join(store.path, "good.mar")));
  } finally {
    files.closeAllConnections();
    files.close();
  }
});

test("a Hub repository is registered by its name, and waited for only if asked to", async () => {
  using store = createModelStore(["1.0"]);
  const handler = 'export class EndpointHandler { call() { return "from the Hub"; } }';
  const hub = await startHubServer({
    repositories: { "owner/name": { files: { "handler.ts": handler } } },
  });
  try {
    await using managed = await startManaged(store, [
      "--disable-token-auth",
      "--endpoint",
      hub.url,
      "--hub-cache",
      join(store.path, "hub"),
    ]);
    const query = "url=owner/name&initial_workers=1";
    const soon = await managed.manage("POST", `/models?${query}&synchronous=false&model_name=soon`);
    assert.deepEqual([soon.status, soon.body.status], [202, "Processing worker updates..."]);
    const done = await managed.manage("POST", `/models?${query}`);
    assert.equal(done.body.status, 'Model "name" Version: 1.0 registered with 1 initial workers');
    const answer = await fetch(predictions(managed, "name"), { method: "POST", body: "x" });
    assert.equal(await answer.text(), "from the Hub");
    const none = await managed.manage("POST", "/models?url=owner/none&initial_workers=1");
    assert.deepEqual([none.status, none.body.type], [404, "ModelNotFoundException"]);
    assert.equal((await fetch(`${managed.managementUrl}/models/none`)).status, 404);
  } finally {
    await hub.close();
  }
});

test("keys are asked for, renewed and taken away; health needs none", async () => {
  using store = createModelStore(["1.0"]);
  await using managed = await startManaged(store, ["--token-auth"]);
  const { server, managementUrl } = managed;
  const file = join(store.path, "key_file.json");
  type Keys = Record<string, { key: string }>;
  const keysOf = (): Keys => JSON.parse(readFileSync(file, "utf8")) as Keys;
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const keys = keysOf();
  assert.deepEqual(Object.keys(keys), ["management", "inference", "API"]);
  const ask = async (url: string, key?: string, method = "GET"): Promise<Response> =>
    fetch(url, {
      method,
      ...(key !== undefined && { headers: { authorization: `Bearer ${key}` } }),
    });

  const refused = await ask(`${managementUrl}/models`);
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get("www-authenticate") ?? "", /^Bearer realm=/);
  assert.deepEqual(await refused.json(), {
    code: 401,
    type: "InvalidKeyException",
    message:
      "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
  });
  assert.equal((await ask(`${managementUrl}/models`, keys["inference"]?.key)).status, 401);
  assert.equal((await ask(`${managementUrl}/models`, keys["management"]?.key)).status, 200);
  assert.equal((await ask(`${managementUrl}/api-description`)).status, 200);

  assert.equal((await ask(`${server.url}/ping`)).status, 200);
  assert.equal((await ask(`${server.url}/health`)).status, 200);
  assert.equal((await ask(`${server.url}/metrics`)).status, 200);
  assert.equal((await ask(predictions(managed), undefined, "POST")).status, 401);
  assert.equal((await ask(`${server.url}/`, undefined, "POST")).status, 401);
  assert.equal((await ask(`${server.url}/info`)).status, 401);
  assert.equal((await ask(predictions(managed), keys["inference"]?.key, "POST")).status, 200);

  const renewal = `${managementUrl}/token?type=inference`;
  assert.equal((await ask(renewal, keys["management"]?.key)).status, 401);
  assert.equal((await ask(`${managementUrl}/token?type=x`, keys["API"]?.key)).status, 400);
  const renewed = (await (await ask(renewal, keys["API"]?.key)).json()) as { key: string };
  assert.equal(keysOf()["inference"]?.key, renewed.key);
  assert.equal((await ask(predictions(managed), keys["inference"]?.key, "POST")).status, 401);
  assert.equal((await ask(predictions(managed), renewed.key, "POST")).status, 200);

  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
  assert.ok(!existsSync(file), "keys that open nothing are not left lying about");
});

test("the metrics port has TorchServe's names beside our own, all or some of them", async () => {
  using store = createModelStore(["1.0"]);
  await using managed = await startManaged(store);
  const { server } = managed;
  await (await fetch(predictions(managed), { method: "POST", body: "{}" })).text();
  const url = /http:\/\/\S+/.exec(await server.line(/Metrics on /))?.[0] ?? "";
  const page = await (await fetch(url, { method: "POST" })).text();
  assert.match(page, /^Requests2XX\{Level="Host",Hostname=".*",\} \d+\.\d+$/m);
  assert.match(
    page,
    /^WorkerLoadTime\{WorkerName="W-9000-echo_1\.0",Level="Host",Hostname=".*",\} \d/m,
  );
  assert.match(page, /^MemoryUsed\{Level="Host",Hostname=".*",\} \d/m);
  assert.match(page, /^hubserve_answers_total\{model="echo",version="1\.0",outcome="ok"\} 1$/m);
  const some = await (await fetch(`${url}?name[]=Requests5XX&name[]=hubserve_workers`)).text();
  const names = some
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => /^[^\s{]+/.exec(line)?.[0]);
  assert.deepEqual(new Set(names), new Set(["Requests5XX", "hubserve_workers"]));
  assert.equal((await fetch(new URL("/other", url))).status, 404);
});
