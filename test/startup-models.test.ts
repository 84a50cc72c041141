import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readConfig, type Config } from "../runtime/config.ts";
import type { LaunchedModel, Launcher, LaunchRequest } from "../runtime/engine/launcher.ts";
import { createModels } from "../runtime/engine/models.ts";
import { RuntimeError } from "../runtime/errors.ts";
import { createLog, silentLog } from "../runtime/observe/log.ts";
import { createSnapshots, hasSnapshots, withChanges } from "../runtime/snapshots.ts";
import { chooseModels, startModels } from "../runtime/startup-models.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-startup-"));
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
function read(args: readonly string[], properties = "", env: Record<string, string> = {}): Config {
  const cwd = join(root, String(++count));
  mkdirSync(join(cwd, "store"), { recursive: true });
  writeFileSync(join(cwd, "config.properties"), properties);
  return readConfig({ args, env, cwd, home: root });
}

/** A launcher that finds and launches at once, and keeps what it was asked for. */
function fakeLauncher(failing: readonly string[] = []) {
  const models = createModels();
  const requests: LaunchRequest[] = [];
  const held = new Map<string, LaunchedModel>();
  const settings = {
    minWorkers: 1,
    maxWorkers: 2,
    batchSize: 4,
    maxBatchDelayMs: 50,
    requestTimeoutMs: 60_000,
    startupTimeoutMs: 30_000,
    jobQueueSize: 100,
  };
  // Proof of the cast: what is not here is not called by those under test.
  const launcher = {
    locate: (source: string) =>
      failing.includes(source)
        ? Promise.reject(new RuntimeError("MODEL_NOT_FOUND", `Cannot find "${source}"`))
        : Promise.resolve({ reference: `/store/${source}`, name: source.split(".")[0] ?? "" }),
    launch(request: LaunchRequest) {
      requests.push(request);
      const { name = "reference", version = "1.0", origin = name, isLazy } = request;
      const entry = models.register(name, { version, origin });
      const launched = {
        entry,
        ready: Promise.resolve(),
        settings,
        isIdle: isLazy === true,
        scale: () => Promise.resolve(),
      };
      held.set(`${name} ${version}`, launched as unknown as LaunchedModel);
      return launched as unknown as LaunchedModel;
    },
    find: (name: string, version: string) => held.get(`${name} ${version}`),
    remove(name: string, version?: string) {
      models.remove(name, version);
      return Promise.resolve();
    },
  } as unknown as Launcher;
  return { launcher, models, requests };
}

const log = silentLog();

test("chooseModels() leaves a reference, or what stands for one, to be served alone", () => {
  assert.equal(chooseModels(read([]), log), undefined);
  assert.equal(chooseModels(read(["./x", "--models", "a.mar"]), log), undefined);
  assert.equal(chooseModels(read([], "", { HF_MODEL_ID: "a/b" }), log), undefined);
  assert.equal(chooseModels(read(["./x"], "load_models=all\nmodel_store=s"), log), undefined);
});

test("chooseModels() reads lists, names, none, and an empty store", () => {
  const choose = (list: string) =>
    chooseModels(read(["--model-store", "store", "--models", list]), log);
  assert.deepEqual(choose("a.mar,b=c.mar"), [{ source: "a.mar" }, { name: "b", source: "c.mar" }]);
  assert.deepEqual(choose("https://h/x.mar?a=b,b=https://h/y.mar"), [
    { source: "https://h/x.mar?a=b" },
    { name: "b", source: "https://h/y.mar" },
  ]);
  assert.deepEqual(choose("none"), []);
  assert.deepEqual(choose("ALL"), []);
  assert.deepEqual(chooseModels(read(["--model-store", "store"]), log), []);
  assert.throws(() => chooseModels(read(["--models", "all"]), log), { code: "INVALID_OPTION" });
});

const SNAPSHOT = JSON.stringify({
  models: {
    a: { "1.0": { marName: "a.mar" }, "2.0": { marName: "a2.mar", defaultVersion: true } },
    b: { "1.0": { marName: "b.mar", minWorkers: 0, maxWorkers: 0 } },
  },
});

test("a snapshot is restored with names, versions, defaults and idle models, over --models", async () => {
  const lines: string[] = [];
  const config = read(
    ["--model-store", "store", "--models", "z.mar"],
    `model_snapshot=${SNAPSHOT}`,
  );
  const { launcher, models, requests } = fakeLauncher();
  const loud = createLog({ write: (line) => void lines.push(line) });
  const { isComplete } = await startModels({ config, launcher, models, log: loud });
  assert.ok(isComplete);
  assert.deepEqual(
    requests.map(({ name, version, origin, isLazy }) => [name, version, origin, isLazy === true]),
    [
      ["a", "1.0", "a.mar", false],
      ["a", "2.0", "a2.mar", false],
      ["b", "1.0", "b.mar", true],
    ],
  );
  assert.equal(models.defaultVersion("a"), "2.0");
  assert.match(lines.join("\n"), /WARN Ignoring --models: the snapshot says what is served/);
});

test("models are launched in their order, however long each takes to be found", async () => {
  const { launcher, models, requests } = fakeLauncher();
  const slowly: Launcher = {
    ...launcher,
    async locate(source) {
      if (source === "a.mar") await new Promise((resolve) => setTimeout(resolve, 20));
      return launcher.locate(source);
    },
  };
  const config = read(["--model-store", "store", "--models", "a.mar,b.mar,c.mar"]);
  await startModels({ config, launcher: slowly, models, log });
  assert.deepEqual(
    requests.map(({ name }) => name),
    ["a", "b", "c"],
  );
});

test("what models={…} says of an archive is used when that archive is loaded", async () => {
  const served = {
    marName: "a.mar",
    minWorkers: 2,
    maxWorkers: 3,
    batchSize: 4,
    maxBatchDelay: 50,
    responseTimeout: 60,
    startupTimeout: 30,
  };
  const properties = `load_models=a.mar,b.mar\nmodel_store=s\nmodels=${JSON.stringify({ a: { "1.0": served } })}`;
  const { launcher, models, requests } = fakeLauncher();
  await startModels({ config: read([], properties), launcher, models, log });
  assert.deepEqual(requests[0]?.settings, {
    reference: "/store/a.mar",
    minWorkers: 2,
    maxWorkers: 3,
    batchSize: 4,
    maxBatchDelayMs: 50,
    requestTimeoutMs: 60_000,
    startupTimeoutMs: 30_000,
  });
  assert.deepEqual(requests[1]?.settings, { reference: "/store/b.mar" });
});

test("startModels() serves what it can, and fails only where nothing can be", async () => {
  const config = read(["--model-store", "store", "--models", "a.mar,b.mar"]);
  const { launcher, models } = fakeLauncher(["a.mar"]);
  const { launched, isComplete } = await startModels({ config, launcher, models, log });
  assert.equal(launched.length, 1);
  assert.equal(isComplete, false);
  const none = fakeLauncher(["a.mar", "b.mar"]);
  await assert.rejects(startModels({ config, ...none, log }), { code: "MODEL_NOT_FOUND" });
});

test("snapshots are written one after the other, can be read again, and the newest fifty are kept", async () => {
  const config = read(["--model-store", "store"], "job_queue_size=5\nvmargs=a\\=b\n");
  const { launcher, models } = fakeLauncher();
  launcher.launch({ name: "a", version: "1.0", origin: "https://h/x/a.mar?token=1" });
  launcher.launch({ name: "hub", version: "1.0", origin: "owner/name", isLazy: true });
  const now = () => new Date(Date.UTC(2026, 10, 21, 3, 59, 9, 123));
  const snapshots = createSnapshots({ config, models, launcher, log, now });
  const folder = join(config.cwd, "logs/config");
  await snapshots.write("shutdown");
  await assert.rejects(async () => readdirSync(folder), { code: "ENOENT" }); // nothing was known yet
  await Promise.all(Array.from({ length: 60 }, async () => snapshots.write("startup")));
  const names = readdirSync(folder).sort();
  assert.equal(names.length, 50);
  assert.equal(names.at(-1), "20261121035909182-startup.cfg", "each has a time of its own");
  const again = readConfig({ args: [], env: {}, cwd: config.cwd, home: root });
  assert.equal(again.jobQueueSize, 5);
  assert.equal(again.modelStore, join(config.cwd, "store"));
  assert.equal(again.configFile?.properties.get("vmargs"), "a=b");
  assert.deepEqual(again.configFile?.snapshot, {
    a: {
      "1.0": {
        defaultVersion: true,
        marName: "a.mar",
        minWorkers: 1,
        maxWorkers: 2,
        batchSize: 4,
        maxBatchDelay: 50,
        responseTimeout: 60,
        startupTimeout: 30,
        runtimeType: "node",
      },
    },
    hub: {
      "1.0": {
        defaultVersion: true,
        marName: "owner/name",
        minWorkers: 0,
        maxWorkers: 0,
        batchSize: 4,
        maxBatchDelay: 50,
        responseTimeout: 60,
        startupTimeout: 30,
        runtimeType: "node",
      },
    },
  });
});

test("a snapshot that cannot be written is a warning, and leaves no half of it", async () => {
  const lines: string[] = [];
  const config = read(["--model-store", "store", "--snapshots", "store/file/x"]);
  writeFileSync(join(config.cwd, "store/file"), "in the way");
  const loud = createLog({ write: (line) => void lines.push(line) });
  await createSnapshots({ config, ...fakeLauncher(), log: loud }).write("startup");
  assert.match(lines.join("\n"), /WARN Cannot write a snapshot into .*store\/file\/x: ENOTDIR/);
  assert.equal(readFileSync(join(config.cwd, "store/file"), "utf8"), "in the way");
});

test("changes that come together are one snapshot, what changes nothing is none, and traffic is in it", async () => {
  const config = read(["--model-store", "store"]);
  const fake = fakeLauncher();
  const snapshots = createSnapshots({ config, ...fake, log });
  const { launcher, models } = withChanges(fake, () => snapshots.write("snapshot"));
  const folder = join(config.cwd, "logs/config");
  const count = () => readdirSync(folder).length;
  const readAgain = () => readConfig({ args: [], env: {}, cwd: config.cwd, home: root }).configFile;
  const first = launcher.launch({ name: "a", version: "1.0", origin: "a.mar" });
  await first.ready;
  assert.equal(count(), 1, "it is on the disk before whoever waits hears of it");
  await first.scale(1, 2);
  assert.equal(count(), 1, "a scale to what is there changes nothing");
  await launcher.launch({ name: "a", version: "2.0", origin: "a2.mar" }).ready;
  models.setDefault("a", "2.0");
  models.setTraffic("a", { "1.0": 90, "2.0": 10 });
  await snapshots.write("snapshot");
  assert.equal(count(), 3, "the default and the weights came in one turn");
  assert.deepEqual(readAgain()?.traffic, { a: { "1.0": 90, "2.0": 10 } });
  assert.equal(readAgain()?.snapshot?.["a"]?.["2.0"]?.defaultVersion, true);
  models.setTraffic("a", undefined);
  await snapshots.write("snapshot");
  assert.equal(readAgain()?.traffic, undefined);
});

test("a snapshot's weights are restored, those of versions that could not be served left out", async () => {
  const lines: string[] = [];
  const loud = createLog({ write: (line) => void lines.push(line) });
  const weights = { a: { "1.0": 90, "2.0": 10, "3.0": 5 }, gone: { "1.0": 1 } };
  const snapshot = JSON.stringify({ ...(JSON.parse(SNAPSHOT) as object), traffic: weights });
  const config = read(["--model-store", "store"], `model_snapshot=${snapshot}`);
  const { launcher, models } = fakeLauncher();
  await startModels({ config, launcher, models, log: loud });
  assert.deepEqual(models.traffic("a"), { "1.0": 90, "2.0": 10 });
  assert.match(lines.join("\n"), /WARN Sharing out the requests of a without version 3\.0/);
  assert.match(lines.join("\n"), /WARN Sharing out the requests of gone without version 1\.0/);
});

test("withChanges() tells of each launch, scale, removal, new default and weights, and of nothing else", async () => {
  const fake = fakeLauncher();
  let changes = 0;
  const { launcher, models } = withChanges(fake, async () => void changes++);
  await launcher.launch({ name: "a", version: "1.0" }).ready;
  await launcher.launch({ name: "a", version: "2.0" }).ready;
  await Promise.resolve();
  assert.equal(changes, 2);
  await launcher.find("a", "2.0").scale(1, 1);
  assert.equal(changes, 3);
  models.setDefault("a", "2.0");
  assert.equal(changes, 4);
  models.setTraffic("a", { "2.0": 1 });
  assert.equal(changes, 5);
  models.setTraffic("a", undefined);
  assert.equal(changes, 6);
  await launcher.remove("a", "1.0");
  assert.equal(changes, 7);
  assert.deepEqual(
    models.list.map(({ version }) => version),
    ["2.0"],
  );
  assert.equal(models.find("a").version, "2.0");
  assert.equal(changes, 7);
});

test("hasSnapshots() is for servers of a model store", () => {
  assert.ok(hasSnapshots(read(["--model-store", "store"])));
  assert.ok(!hasSnapshots(read([])));
  assert.ok(!hasSnapshots(read(["./x", "--model-store", "store"])));
  assert.ok(!hasSnapshots(read(["--model-store", "store", "--no-config-snapshots"])));
});
