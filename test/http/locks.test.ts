/**
 * With API keys every route of every port needs one, but for a list that stands here too. Routes are taken from the apps
 * themselves, so that a new one is asked as well.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { credentials, makeGenericClientConstructor, Metadata, Server } from "@grpc/grpc-js";
import type { Hono } from "hono";

import type { Launcher } from "../../runtime/engine/launcher.ts";
import { createApiKeys, NO_API_KEY } from "../../runtime/http/api-keys.ts";
import type { AppEnv } from "../../runtime/http/context.ts";
import { createManagementApp } from "../../runtime/http/management-app.ts";
import { createMetricsApp } from "../../runtime/http/metrics-app.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createTestApp, post, readyModels } from "../support/app-matrix.ts";
import { createFakeLauncher } from "../support/fake-launcher.ts";
import { openTestGate } from "../support/grpc.ts";

const KEY = "a-key-of-this-test-that-is-long";
const apiKeys = createApiKeys({ keys: [KEY], log: silentLog() });

/** Of the main port, by `GET` and `HEAD`; the page besides, for whoever likes HTML. */
const PUBLIC = [
  "/ping",
  "/health",
  "/health/live",
  "/health/ready",
  "/v2/health/live",
  "/v2/health/ready",
];

const PUBLIC_CALLS = [
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/List",
  "/grpc.health.v1.Health/Watch",
  "/inference.GRPCInferenceService/ServerLive",
  "/inference.GRPCInferenceService/ServerReady",
];

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const main = (compat?: "torchserve"): Hono<AppEnv> =>
  createTestApp({ apiKeys, hasPlayground: true, compat });

function management(manner: "mended" | "original"): Hono<AppEnv> {
  const models = readyModels();
  const launcher: Launcher = createFakeLauncher({ models, store: {} });
  return createManagementApp({
    models,
    launcher,
    metrics: createMetrics(),
    apiKeys,
    isModelApiEnabled: true,
    manner,
    version: "0.0.0",
    log: silentLog(),
  });
}

const metrics = (): Hono<AppEnv> =>
  createMetricsApp({
    models: readyModels(),
    metrics: createMetrics(),
    apiKeys,
    log: silentLog(),
  });

/** A path of each route, with and without a slash at its end, and one that no route has. */
function pathsOf(app: Hono<AppEnv>): string[] {
  const paths = app.routes.map(({ path }) =>
    path.replace(/:\w+(?:\{[^}]*\})?\??/g, "thing").replaceAll("*", "thing"),
  );
  return [...new Set([...paths, "/nothing/here", "/%69nfo", "/ping/x", "/health/../info"])].flatMap(
    (path) => (path === "/" ? ["/"] : [path, `${path}/`]),
  );
}

for (const [port, makeApp, open] of [
  ["main", () => main(), PUBLIC],
  ["main, with --compat torchserve,", () => main("torchserve"), PUBLIC],
  ["management", () => management("mended"), []],
  ["management, with --compat torchserve,", () => management("original"), []],
  ["metrics", metrics, []],
] as const) {
  test(`every route of the ${port} port asks for a key, by every method`, async () => {
    const app = makeApp();
    const found: string[] = [];
    for (const path of pathsOf(app)) {
      for (const method of METHODS) {
        const response = await app.request(path, { method });
        const text = await response.text();
        if (response.status !== 401) {
          found.push(`${method} ${path}`);
          continue;
        }
        assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="hubserve"', path);
        assert.match(response.headers.get("x-request-id") ?? "", /./);
        if (method !== "HEAD") assert.ok(text.includes(NO_API_KEY), `${method} ${path}: ${text}`);
        const opened = await app.request(path, { method, headers: { "x-api-key": KEY } });
        assert.notEqual(opened.status, 401, `${method} ${path} with a key`);
      }
    }
    const wanted = open.flatMap((path) =>
      ["GET", "HEAD"].flatMap((method) => [`${method} ${path}`, `${method} ${path}/`]),
    );
    assert.deepEqual(found.sort(), wanted.sort());
  });
}

test("a wrong key is as good as none, and is not repeated", async () => {
  for (const headers of [
    { authorization: "Bearer wrong-key" },
    { "x-api-key": "wrong-key" },
    { authorization: `Basic ${Buffer.from(`x:${KEY}`).toString("base64")}` },
  ] as Record<string, string>[]) {
    const response = await main().request("/", post({ inputs: "x" }, headers));
    assert.equal(response.status, 401);
    assert.doesNotMatch(await response.text(), /wrong-key/);
  }
});

test("the refusal has the shape of each protocol", async () => {
  const app = main();
  const bodyOf = async (path: string): Promise<Record<string, unknown>> =>
    (await app.request(path, post({}))).json() as Promise<Record<string, unknown>>;
  assert.deepEqual(await bodyOf("/"), { error: NO_API_KEY, error_type: "UNAUTHORIZED" });
  assert.deepEqual((await bodyOf("/v1/chat/completions"))["error"], {
    message: NO_API_KEY,
    type: "invalid_request_error",
    param: null,
    code: "invalid_api_key",
  });
  assert.deepEqual(await bodyOf("/v2/models/x/infer"), { error: NO_API_KEY });
  assert.deepEqual(await bodyOf("/predictions/x"), {
    code: 401,
    type: "InvalidKeyException",
    message: NO_API_KEY,
  });
});

test("the page of the playground needs no key, what it shows does", async () => {
  const html = { accept: "text/html" };
  const page = await main().request("/", { headers: html });
  assert.equal(page.status, 200);
  assert.doesNotMatch(await page.text(), /owner\/name/);
  assert.equal((await main().request("/playground/models", { headers: html })).status, 401);
  assert.equal((await main().request("/", { headers: { accept: "*/*" } })).status, 401);
  const without = createTestApp({ apiKeys });
  assert.equal((await without.request("/", { headers: html })).status, 401, "--no-playground");
});

test("a preflight is answered without a key, and a refusal can be read by pages of that origin", async () => {
  const cors = {
    corsAllowedOrigin: "https://app.example",
    corsAllowedMethods: "POST",
    corsAllowedHeaders: "Authorization",
  };
  const app = createTestApp({ apiKeys, cors });
  const preflight = await app.request("/", {
    method: "OPTIONS",
    headers: { origin: "https://app.example", "access-control-request-method": "POST" },
  });
  assert.equal(preflight.status, 204);
  const refused = await app.request("/", post({ inputs: "x" }));
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), "https://app.example");
});

test("without --cors-allowed-origin no answer has a header of CORS", async () => {
  const app = createTestApp({});
  for (const init of [
    post({ inputs: "x" }, { origin: "https://evil.example" }),
    {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    },
  ]) {
    const response = await app.request("/", init);
    const names = [...response.headers.keys()].filter((name) => name.startsWith("access-control"));
    assert.deepEqual(names, []);
  }
});

test("an API key and TorchServe's token are two locks: the one in x-api-key, the other in Authorization", async () => {
  const tokens = {
    accepts: (kind: string, header?: string) =>
      kind === "inference" && header === "Bearer the-token",
    renew: () => Promise.reject(new Error("not here")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const app = createTestApp({ apiKeys, tokens });
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await app.request("/", post({ inputs: "x" }, headers))).status;
  assert.equal(await status({ "x-api-key": KEY, authorization: "Bearer the-token" }), 200);
  assert.equal(await status({ "x-api-key": KEY }), 401);
  assert.equal(await status({ authorization: "Bearer the-token" }), 401);
  assert.equal(await status({ authorization: `Bearer ${KEY}` }), 401);
});

test("no handler sees a key", async () => {
  let seen: Readonly<Record<string, string>> = {};
  const app = createTestApp({
    apiKeys,
    answer: ({ headers }) => {
      seen = headers;
      return { kind: "json", value: null };
    },
  });
  const headers = {
    authorization: `Bearer ${KEY}`,
    "x-api-key": KEY,
    "api-key": KEY,
    "x-mine": "1",
  };
  assert.equal((await app.request("/", post({ inputs: "x" }, headers))).status, 200);
  assert.equal(seen["x-mine"], "1");
  assert.doesNotMatch(JSON.stringify(seen), new RegExp(KEY));
});

test("every call of the gRPC port asks for a key", async (t) => {
  const registered = t.mock.method(Server.prototype, "register");
  await using gate = await openTestGate({ apiKeys });
  const paths = registered.mock.calls.map((call) => call.arguments[0]);
  assert.ok(paths.includes("/inference.GRPCInferenceService/ModelInfer"), paths.join("\n"));
  assert.ok(paths.some((path) => path.includes("ServerReflection")));

  const Client = makeGenericClientConstructor({}, "Client");
  const client = new Client(gate.url, credentials.createInsecure());
  t.after(() => client.close());
  /** The status that a call ends with, or that it goes on. */
  const ask = (path: string, headers: Record<string, string> = {}): Promise<string> =>
    new Promise((resolve) => {
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      const same = (bytes: Buffer): Buffer => bytes;
      const call = client.makeBidiStreamRequest(path, same, same, metadata);
      call.on("error", () => undefined);
      call.on("data", () => (resolve("OK"), call.cancel()));
      call.on("status", ({ code, details }) => resolve(`${code} ${details}`));
      call.write(Buffer.alloc(0));
      call.end();
    });
  const open: string[] = [];
  for (const path of paths) {
    const found = await ask(path);
    if (found === `16 ${NO_API_KEY}`) {
      assert.doesNotMatch(await ask(path, { authorization: `Bearer ${KEY}` }), /^16 /, path);
      assert.doesNotMatch(await ask(path, { "x-api-key": KEY }), /^16 /, path);
      assert.match(await ask(path, { "x-api-key": "wrong-key" }), /^16 /, path);
    } else open.push(path);
  }
  assert.deepEqual(open.sort(), PUBLIC_CALLS);
});
