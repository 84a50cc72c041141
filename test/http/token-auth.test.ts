import assert from "node:assert/strict";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import {
  createTokenAuthority,
  type Key,
  type TokenAuthority,
  type TokenAuthorityOptions,
} from "../../runtime/http/token-auth.ts";
import { createTestApp, post } from "../support/app-matrix.ts";

interface Scene {
  readonly authority: TokenAuthority;
  readonly file: string;
  readonly folder: string;
  readonly keys: () => Record<"management" | "inference" | "API", Key>;
}

async function open(t: TestContext, more: Partial<TokenAuthorityOptions> = {}): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-keys-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "key_file.json");
  const authority = await createTokenAuthority({ file, expirationMs: 60_000, ...more });
  return {
    authority,
    file,
    folder,
    keys: () => JSON.parse(readFileSync(file, "utf8")) as ReturnType<Scene["keys"]>,
  };
}

test("the key file has TorchServe's form, for its owner alone, and nothing lies beside it", async (t) => {
  const { file, folder, keys } = await open(t, { now: () => 0 });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(folder), ["key_file.json"]);
  const { management, inference, API } = keys();
  assert.deepEqual(Object.keys(keys()), ["management", "inference", "API"]);
  assert.deepEqual(Object.keys(management), ["key", "expiration time"]);
  assert.deepEqual(Object.keys(API), ["key"]);
  assert.equal(inference["expiration time"], "1970-01-01T00:01:00.000Z");
  for (const { key } of [management, inference, API])
    assert.equal(Buffer.from(key, "base64url").byteLength, 32, "256 bits");
  assert.equal(new Set([management.key, inference.key, API.key]).size, 3);
});

test("a key opens its own kind, in a bearer header, until it expires", async (t) => {
  let nowMs = 0;
  const { authority, keys } = await open(t, { now: () => nowMs });
  const { management, API } = keys();
  assert.ok(authority.accepts("management", `Bearer ${management.key}`));
  assert.ok(authority.accepts("management", `bearer ${management.key}`));
  for (const header of [
    undefined,
    "",
    management.key,
    "Bearer",
    "Bearer x",
    `Basic ${management.key}`,
    `Bearer ${management.key}x`,
    `Bearer ${management.key} x`,
    `Bearer ${API.key}`,
  ])
    assert.ok(!authority.accepts("management", header), header);
  assert.ok(!authority.accepts("inference", `Bearer ${management.key}`));
  nowMs = 60_000;
  assert.ok(!authority.accepts("management", `Bearer ${management.key}`));
  assert.ok(authority.accepts("API", `Bearer ${API.key}`), "it renews the others, so it stays");
});

test("in the original's manner bearer is written with a capital", async (t) => {
  const { authority, keys } = await open(t, { isCompat: true });
  assert.ok(!authority.accepts("management", `bearer ${keys().management.key}`));
  assert.ok(authority.accepts("management", `Bearer ${keys().management.key}`));
});

test("a renewed key takes the place of the old one, also where two are renewed at once", async (t) => {
  const { authority, keys, folder } = await open(t);
  const before = keys();
  const [management, inference] = await Promise.all([
    authority.renew("management"),
    authority.renew("inference"),
  ]);
  assert.deepEqual(keys(), { management, inference, API: before.API });
  assert.notEqual(management.key, before.management.key);
  assert.ok(!authority.accepts("management", `Bearer ${before.management.key}`));
  assert.ok(authority.accepts("management", `Bearer ${management.key}`));
  assert.deepEqual(readdirSync(folder), ["key_file.json"]);
});

test("a key that cannot be written does not replace the one that can be read", async (t) => {
  const { authority, folder, keys } = await open(t);
  const { management } = keys();
  rmSync(folder, { recursive: true });
  await assert.rejects(authority.renew("management"), {
    code: "INVALID_OPTION",
    message: /^Cannot write the key file .*: ENOENT; name another with --key-file/,
  });
  assert.ok(authority.accepts("management", `Bearer ${management.key}`));
});

test("the file goes with its server, unless another server has written it since", async (t) => {
  const { authority, folder, file } = await open(t);
  await authority[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(folder), []);
  const second = await createTokenAuthority({ file, expirationMs: 1 });
  writeFileSync(file, "{}");
  chmodSync(file, 0o600);
  await second[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(folder), ["key_file.json"]);
});

test("on the main port everything takes the inference key but probes, metrics and descriptions", async (t) => {
  const { authority, keys } = await open(t);
  for (const compat of [undefined, "torchserve"] as const) {
    const app = createTestApp({ tokens: authority, compat });
    for (const path of ["/ping", "/health", "/health/live", "/metrics", "/api-description"]) {
      const { status } = await app.request(path);
      assert.ok(status < 400, `${path} ${status}`);
    }
    for (const path of ["/", "/predict", "/predictions/owner%2Fname", "/ping"]) {
      const refused = await app.request(path, post({ inputs: 1 }));
      const isTheirs = path.startsWith("/predictions") || path === "/ping";
      assert.equal(refused.status, compat !== undefined && isTheirs ? 400 : 401, path);
      assert.match(refused.headers.get("www-authenticate") ?? "", /^Bearer/);
    }
    const headers = { authorization: `Bearer ${keys().inference.key}` };
    assert.equal((await app.request("/", post({ inputs: 1 }, headers))).status, 200);
  }
});
