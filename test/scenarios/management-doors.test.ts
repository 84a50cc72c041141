/**
 * Who and what the management port lets in, and what it shows: keys, URLs, broken models, metrics.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createModelStore } from "../support/model-store.ts";
import { predictions, startManaged } from "../support/managed.ts";

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

test("an archive behind an allowed URL comes into the store, and goes with its model", async () => {
  using store = createModelStore(["1.0"]);
  const requests: string[] = [];
  const files = createServer((request, response) => {
    requests.push(request.url ?? "");
    response.end("no archive at all");
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
  } finally {
    files.closeAllConnections();
    files.close();
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
