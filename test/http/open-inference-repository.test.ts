/**
 * The model repository extension: the index, loading and unloading, and who may.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { createTokenAuthority } from "../../runtime/http/token-auth.ts";
import { createTestApp, post } from "../support/app-matrix.ts";
import { createFakeLauncher, type FakeLauncherOptions } from "../support/fake-launcher.ts";
import { readError } from "../support/open-inference.ts";

const STORE = {
  "bert.mar": { name: "bert", version: "3.0" },
  folder: {},
  "owner/hub": { isOnHub: true },
};

function open(more: Partial<FakeLauncherOptions> = {}) {
  const models = createModels();
  const launcher = createFakeLauncher({ models, store: STORE, ...more });
  return { models, launcher, app: createTestApp({ models, repository: { launcher } }) };
}

type App = ReturnType<typeof open>["app"];

async function change(app: App, path: string, body?: unknown): Promise<unknown> {
  const init = body === undefined ? { method: "POST" } : post(body);
  const response = await app.request(`/v2/repository/models/${path}`, init);
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

async function index(app: App, body?: unknown): Promise<unknown> {
  const init = body === undefined ? { method: "POST" } : post(body);
  const response = await app.request("/v2/repository/index", init);
  assert.equal(response.status, 200);
  return response.json();
}

test("the index names every version, whether it answers, and why not", async () => {
  const { app, models, launcher } = open();
  assert.deepEqual(await index(app), []);
  await launcher.launch({ name: "m" }).ready;
  models.register("m", { version: "2.0" }).progress("Downloading owner/name");
  models.register("broken").failed("Its workers died again and again");
  models.register("idle").unloaded("It has no workers yet");
  const ready = { name: "m", version: "1.0", state: "READY", reason: "" };
  assert.deepEqual(await index(app), [
    ready,
    { name: "m", version: "2.0", state: "LOADING", reason: "Downloading owner/name" },
    {
      name: "broken",
      version: "1.0",
      state: "UNAVAILABLE",
      reason: "Its workers died again and again",
    },
    { name: "idle", version: "1.0", state: "UNAVAILABLE", reason: "It has no workers yet" },
  ]);
  assert.deepEqual(await index(app, { ready: true }), [ready]);
  const wrong = await app.request("/v2/repository/index", post({ ready: "yes" }));
  assert.match(await readError(wrong, 400), /"ready" is a string, wanted true or false$/);
});

test("an unloaded model stays registered, is not ready, and comes back", async () => {
  const { app, launcher } = open();
  await launcher.launch({ name: "owner/m" }).ready;
  await launcher.launch({ name: "owner/m", version: "2.0" }).ready;
  assert.deepEqual(await change(app, "owner%2Fm/unload"), {});
  const unavailable = { name: "owner/m", state: "UNAVAILABLE", reason: "no workers" };
  assert.deepEqual(await index(app), [
    { ...unavailable, version: "1.0" },
    { ...unavailable, version: "2.0" },
  ]);
  assert.equal((await app.request("/v2/models/owner/m/ready")).status, 503);
  assert.equal((await app.request("/v2/health/ready")).status, 503);
  assert.equal((await app.request("/v2/models/owner/m")).status, 200); // what it was is still known
  assert.deepEqual(await change(app, "owner/m/load"), {});
  assert.equal((await app.request("/v2/models/owner/m/versions/2.0/ready")).status, 200);
  assert.deepEqual(await change(app, "owner/m/load", { parameters: {} }), {}); // once more, for nothing
  assert.equal(launcher.requests.length, 2);
});

test("a model that is not registered is found by its name, or by the url that the client gives", async () => {
  const { app, launcher, models } = open();
  await change(app, "bert/load");
  await change(app, "owner/hub/load");
  await change(app, "mine/load", { parameters: { url: "folder" } });
  assert.deepEqual(
    models.list.map(({ name, version, origin }) => [name, version, origin]),
    [
      ["bert", "3.0", "bert"],
      ["owner/hub", "1.0", "owner/hub"],
      ["mine", "1.0", "folder"],
    ],
  );
  const [bert, hub, mine] = launcher.requests.map(({ settings }) => settings?.reference);
  assert.deepEqual([bert, hub, mine], ["bert.mar", "owner/hub", "folder"]);
  assert.equal((await app.request("/v2/models/mine/ready")).status, 200);
});

test("what cannot be loaded says so, and leaves nothing behind", async () => {
  const { app, models, launcher } = open({
    failures: {
      folder: new RuntimeError("MODEL_INVALID", "Cannot load the model: it is broken"),
    },
    refusals: {
      gone: new RuntimeError("HUB_UNREACHABLE", "Cannot reach the Hub: no network"),
      "https://x": new RuntimeError("FORBIDDEN", "Cannot fetch it: not allowed"),
    },
  });
  const load = (name: string, body: unknown = {}) =>
    app.request(`/v2/repository/models/${name}/load`, post(body));
  assert.match(await readError(await load("folder"), 400), /it is broken$/);
  assert.deepEqual(launcher.discarded, ["folder"]);
  assert.match(await readError(await load("nowhere"), 404), /^Cannot find "nowhere"$/);
  assert.match(await readError(await load("gone"), 503), /no network$/);
  const url = { parameters: { url: "https://x" } };
  assert.match(await readError(await load("x", url), 403), /not allowed$/);
  const config = { parameters: { config: "{}" } };
  assert.match(
    await readError(await load("folder", config), 400),
    /"parameters" is an object, wanted an object with nothing but "url"/,
  );
  assert.match(
    await readError(await load("folder", []), 400),
    /^Cannot read the body: it is a list, wanted an object such as/,
  );
  assert.deepEqual(models.list, []);
  const unload = await app.request("/v2/repository/models/x/unload", { method: "POST" });
  assert.match(await readError(unload, 404), /^Cannot find the model "x": this server has none$/);
});

test("nobody loads or unloads where the server does not let them", async () => {
  const { models } = open();
  const app = createTestApp({ models });
  for (const action of ["load", "unload"]) {
    const response = await app.request(`/v2/repository/models/m/${action}`, { method: "POST" });
    assert.match(await readError(response, 403), /takes --enable-model-api and a management key/);
  }
});

test("where there are keys it takes the management key, and the inference key is none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-keys-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "key_file.json");
  const tokens = await createTokenAuthority({ file, expirationMs: 60_000 });
  const keys = JSON.parse(readFileSync(file, "utf8")) as Record<string, { key: string }>;
  const { models, launcher } = open();
  for (const inferenceTokens of [undefined, tokens]) {
    const app = createTestApp({
      models,
      tokens: inferenceTokens,
      repository: { launcher, tokens },
    });
    const load = (kind?: string) =>
      app.request("/v2/repository/models/folder/load", {
        method: "POST",
        headers: kind === undefined ? {} : { authorization: `Bearer ${keys[kind]?.key}` },
      });
    for (const kind of [undefined, "inference", "API", "other"]) {
      const response = await load(kind);
      assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="hubserve management"');
      await readError(response, 401);
    }
    assert.equal((await load("management")).status, 200);
    // The rest of the protocol is the inference key's, where that is asked for; probes are nobody's.
    const wanted = inferenceTokens === undefined ? 200 : 401;
    assert.equal((await app.request("/v2/models")).status, wanted);
    assert.equal((await app.request("/v2/repository/index", { method: "POST" })).status, wanted);
    assert.equal((await app.request("/v2/health/ready")).status, 200);
    const infer = await app.request("/v2/models/folder/infer", post({}));
    await readError(infer, inferenceTokens === undefined ? 400 : 401);
  }
});
