/**
 * torchserve's command line: start, stop, several models, snapshots, and `hubserve config`.
 */
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
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runHubserve, startHubserve } from "../support/hubserve.ts";
import { rawZip } from "../support/raw-archives.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-torchserve-"));
const store = join(root, "store");
const env = {
  XDG_CACHE_HOME: join(root, "cache"),
  HUBSERVE_PORT: "0",
  HUBSERVE_HOST: "127.0.0.1",
  HUBSERVE_MANAGEMENT_PORT: "0",
  HUBSERVE_METRICS_PORT: "off",
};

/** A model that answers with a word. */
function mar(name: string, version: string, word: string): Buffer {
  const manifest = { runtime: "node", model: { modelName: name, modelVersion: version } };
  return rawZip([
    {
      name: "handler.ts",
      content: `export class EndpointHandler { call() { return "${word}"; } }`,
    },
    { name: "model-config.yaml", content: "minWorkers: 1\nmaxWorkers: 1\n" },
    { name: "MAR-INF/MANIFEST.json", content: JSON.stringify(manifest) },
  ]);
}

before(() => {
  mkdirSync(store);
  writeFileSync(join(store, "one.mar"), mar("one", "1.0", "first"));
  writeFileSync(join(store, "one-2.mar"), mar("one", "2.0", "second"));
  writeFileSync(join(store, "two.mar"), mar("two", "1.0", "other"));
});
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
/** A folder to start in, so that logs and snapshots of tests do not meet. */
function place(): string {
  const cwd = join(root, `cwd-${++count}`);
  mkdirSync(cwd);
  return cwd;
}

async function predict(url: string, path: string): Promise<string> {
  return (await fetch(`${url}/predictions/${path}`, { method: "POST", body: "x" })).text();
}

const SNAPSHOT = /^\d{17}-(startup|snapshot|shutdown)\.cfg$/;
const kindsIn = (folder: string) =>
  readdirSync(folder)
    .sort()
    .map((name) => SNAPSHOT.exec(name)?.[1] ?? name);

test("start runs in the background and returns once models answer; stop returns once it is gone", async () => {
  const cwd = place();
  const own = { ...env, XDG_CACHE_HOME: join(cwd, "cache") };
  const run = (...args: string[]) => runHubserve({ args, cwd, env: own });
  const args = ["--start", "--ncs", "--model-store", store, "--models", "one.mar", "b=two.mar"];
  const started = await run(...args, "--disable-token-auth", "--log-config", "x.xml");
  try {
    assert.equal(started.code, 0, started.stderr);
    assert.match(started.stdout, /^Ignoring --log-config: it changes nothing in hubserve$/m);
    const [, url = "", pid] =
      /answers on (\S+), as process (\d+); its log is logs\/hubserve\.log/.exec(started.stdout) ??
      [];
    assert.equal(await predict(url, "one"), "first");
    assert.equal(await predict(url, "b"), "other");

    const again = await run(...args);
    assert.equal(again.code, 1);
    assert.match(again.stderr, new RegExp(`it is already running, as process ${pid}`));
    const stopped = await run("--stop");
    assert.equal(stopped.stdout, "hubserve has stopped\n");
    await assert.rejects(fetch(url));
  } finally {
    await run("stop");
  }
  const none = await run("stop");
  assert.equal(none.code, 0);
  assert.equal(none.stdout, "hubserve is not currently running\n");
  assert.ok(!existsSync(join(cwd, "logs/config")), "--ncs writes no snapshot");
});

test("start says why a server did not come up, and leaves no process to stop", async () => {
  const cwd = place();
  const run = (...args: string[]) => runHubserve({ args, cwd, env });
  const failed = await run("start", "--model-store", store, "--models", "none.mar");
  assert.equal(failed.code, 1);
  assert.match(
    failed.stderr,
    /ERROR Cannot start the server: Cannot find "none\.mar".*; its log is/,
  );
  assert.equal((await run("stop")).stdout, "hubserve is not currently running\n");
  const nowhere = await run("start", "--model-store", "nowhere");
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /--model-store directory not found: nowhere/);
  assert.equal((await run("start", "--prot", "1")).code, 2);
});

test("start --foreground stays, and stop from elsewhere ends it", async () => {
  const cwd = place();
  const args = ["start", "--foreground", "--ncs", "--model-store", store, "--models", "two.mar"];
  await using server = await startHubserve({ args, cwd, env });
  await server.line(/Ready after/);
  assert.equal(await predict(server.url, "two"), "other");
  const stopped = await runHubserve({ args: ["stop"], cwd, env });
  assert.equal(stopped.stdout, "hubserve has stopped\n");
  assert.equal(await server.exited, 0);
});

test("--models all serves the whole store; what cannot be served is logged and harms no other", async () => {
  const cwd = place();
  const mixed = join(cwd, "mixed");
  mkdirSync(join(mixed, "folder"), { recursive: true });
  writeFileSync(join(mixed, "two.mar"), mar("two", "1.0", "other"));
  writeFileSync(join(mixed, "broken.mar"), mar("three", "1.0", "x").subarray(0, 200));
  writeFileSync(join(mixed, "notes.txt"), "x");
  writeFileSync(
    join(mixed, "folder/handler.ts"),
    'export class EndpointHandler { call() { return "plain"; } }',
  );
  const args = ["serve", "--model-store", mixed, "--models", "all", "--workers", "1"];
  await using server = await startHubserve({ args, cwd, env });
  await server.line(/Ready after/);
  assert.equal(await predict(server.url, "two"), "other");
  assert.equal(await predict(server.url, "folder"), "plain");
  await server.line(
    /ERROR Cannot serve "broken\.mar": Cannot open the archive "broken\.mar": it is da/,
  );
  assert.deepEqual(readdirSync(mixed).sort(), ["broken.mar", "folder", "notes.txt", "two.mar"]);
  assert.deepEqual(
    existsSync(join(cwd, "logs/config")),
    false,
    "nothing incomplete is written down",
  );
});

test("what changes is written down, and served again at the next start", async () => {
  const cwd = place();
  const snapshots = join(cwd, "logs/config");
  const base = ["serve", "--model-store", store, "--disable-token-auth"];
  {
    const args = [...base, "--models", "one.mar,one-2.mar,two.mar"];
    await using server = await startHubserve({ args, cwd, env });
    await server.line(/Ready after/);
    assert.deepEqual(kindsIn(snapshots), ["startup"]);
    assert.equal(await predict(server.url, "one"), "first");
    const [management = ""] = /http:\S+?(?=,)/.exec(await server.line(/Management on/)) ?? [];
    const changed = await fetch(`${management}/models/one/2.0/set-default`, { method: "PUT" });
    assert.equal(changed.status, 200, await changed.text());
    assert.equal(await predict(server.url, "one"), "second");
    const shared = await fetch(`${management}/models/one/traffic`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ "1.0": 0, "2.0": 10 }),
    });
    assert.equal(shared.status, 200, await shared.text());
    server.kill("SIGTERM");
    assert.equal(await server.exited, 0);
  }
  assert.deepEqual(kindsIn(snapshots), ["startup", "snapshot", "snapshot", "shutdown"]);
  const last = readFileSync(join(snapshots, readdirSync(snapshots).sort().at(-1) ?? ""), "utf8");
  const [, json = ""] = /^model_snapshot=(.*)$/m.exec(last) ?? [];
  const { models, modelCount } = JSON.parse(json) as {
    models: Record<string, Record<string, object>>;
    modelCount: number;
  };
  assert.equal(modelCount, 2);
  assert.deepEqual(models["one"]?.["2.0"], {
    defaultVersion: true,
    marName: "one-2.mar",
    minWorkers: 1,
    maxWorkers: 1,
    maxBatchDelay: 0,
    responseTimeout: 120,
    startupTimeout: 600,
    runtimeType: "node",
  });
  {
    await using server = await startHubserve({ args: base, cwd, env });
    await server.line(/Ready after/);
    assert.equal(await predict(server.url, "one"), "second");
    assert.equal(await predict(server.url, "one/1.0"), "first");
    assert.equal(await predict(server.url, "two"), "other");
    const [management = ""] = /http:\S+?(?=,)/.exec(await server.line(/Management on/)) ?? [];
    const traffic = await fetch(`${management}/models/one/traffic`);
    assert.deepEqual(await traffic.json(), { "1.0": 0, "2.0": 10 });
  }
});

test("hubserve config prints each value with its origin, and no secret", async () => {
  const cwd = place();
  writeFileSync(
    join(cwd, "config.properties"),
    "job_queue_size=5\nload_models=a.mar,b.mar\nvmargs=x\n",
  );
  const secret = { ...env, HF_TOKEN: "hf_secret", HUBSERVE_BATCH_SIZE: "3" };
  const run = (...args: string[]) => runHubserve({ args: ["config", ...args], cwd, env: secret });
  const { code, stdout } = await run("--port", "99");
  assert.equal(code, 0);
  assert.match(stdout, /^port +99 +--port$/m);
  assert.match(stdout, /^job-queue-size +5 +job_queue_size in config\.properties$/m);
  assert.match(stdout, /^models +a\.mar,b\.mar +load_models in config\.properties$/m);
  assert.match(stdout, /^batch-size +3 +HUBSERVE_BATCH_SIZE$/m);
  assert.match(stdout, /^threads +- +default$/m);
  assert.match(stdout, /^token +\*\*\* +HF_TOKEN$/m);
  assert.match(stdout, /^Ignoring vmargs in config\.properties: it changes nothing in hubserve$/m);
  assert.ok(!stdout.includes("hf_secret"));
  const json = JSON.parse((await run("--json")).stdout) as Record<string, unknown>;
  assert.deepEqual(json["job-queue-size"], {
    value: 5,
    origin: "job_queue_size in config.properties",
  });
  assert.deepEqual(json["threads"], { value: null, origin: "default" });
});

test("cors_* of config.properties let pages of another origin in, also where an answer is an error", async () => {
  const cwd = place();
  const lines = ["origin=https://app.example.com", "methods=GET, POST", "headers=Content-Type"];
  writeFileSync(
    join(cwd, "config.properties"),
    lines.map((line) => `cors_allowed_${line}`).join("\n"),
  );
  await using server = await startHubserve({ args: [join(store, "two.mar")], cwd, env });
  await server.line(/Ready after/);
  const preflight = { origin: "https://app.example.com", "access-control-request-method": "POST" };
  const requests = [
    [204, "/predictions/two", { method: "OPTIONS", headers: preflight }],
    [200, "/predictions/two", { method: "POST", body: "x" }],
    [404, "/predictions/none", { method: "POST", body: "x" }],
  ] as const;
  for (const [status, path, init] of requests) {
    const response = await fetch(`${server.url}${path}`, init);
    assert.equal(response.status, status);
    assert.equal(response.headers.get("access-control-allow-origin"), "https://app.example.com");
    assert.equal(response.headers.get("access-control-allow-methods"), "GET, POST");
    assert.equal(response.headers.get("access-control-allow-headers"), "Content-Type");
    assert.equal(await response.text().then((text) => text !== ""), status !== 204);
  }
});
