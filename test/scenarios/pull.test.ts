/**
 * `hubserve pull`: a repository in a plain folder.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { makeRepository } from "../support/handler-repository.ts";
import { filesFromFolder, startHubServer, type HubServer } from "../support/hub-server.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const CLI = join(ROOT, "runtime/cli.ts");

let hub: HubServer;

before(async () => {
  const model = await filesFromFolder(join(ROOT, "test/fixtures/models/seqcls-bert-2way"));
  const files = {
    ...model,
    "model.safetensors": { lfs: "foreign weights" },
    "twin/config.json": model["config.json"]!,
  };
  hub = await startHubServer({
    repositories: {
      "owner/name": { files, revisions: { "v1.0": files } },
      "owner/large": {
        files: { "handler.ts": "x", "onnx/model.onnx": { lfs: "0123456789".repeat(500) } },
      },
    },
  });
});
after(async () => hub.close());

async function pull(cwd: string, args: readonly string[]): ReturnType<typeof runHubserve> {
  return runHubserve({ args: ["pull", ...args], cwd, env: { HF_ENDPOINT: hub.url, HF_HOME: cwd } });
}

test("what serving needs comes into a folder of the repository's name, as files, and can be served", async () => {
  await using place = await makeRepository({});
  const { code, stdout, stderr } = await pull(place.path, ["owner/name"]);
  assert.equal(code, 0, stderr);
  const folder = join(place.path, "name");
  assert.match(stdout, /^\S+\/name holds owner\/name at commit [0-9a-f]{12}: \d+ added, /);
  assert.match(stdout, /Serve it: {2}hubserve \.\/name$/m);
  assert.ok(!existsSync(join(folder, "model.safetensors")));
  assert.ok(!existsSync(join(folder, "onnx/model.onnx")), "int8 is what serving prefers");
  assert.ok(lstatSync(join(folder, "onnx/model_quantized.onnx")).isFile());
  assert.ok(lstatSync(join(folder, "config.json")).isFile(), "and no link");
  assert.deepEqual(
    readFileSync(join(folder, "twin/config.json")),
    readFileSync(join(folder, "config.json")),
  );
  const call = await runHubserve({ args: ["call", folder, '{"inputs":"I love you"}'] });
  assert.equal(call.code, 0, call.stderr);

  const again = await pull(place.path, ["owner/name", "--json"]);
  const { files } = JSON.parse(again.stdout) as { files: { state: string }[] };
  assert.ok(files.length > 3 && files.every(({ state }) => state === "unchanged"));
});

test("--all takes every file, and a folder may be named", async () => {
  await using place = await makeRepository({});
  const { stdout, stderr } = await pull(place.path, ["owner/name@v1.0", "here", "--all", "--json"]);
  const pulled = JSON.parse(stdout) as { folder: string; commit: string };
  assert.equal(pulled.folder, join(place.path, "here"), stderr);
  assert.equal(pulled.commit, hub.commitOf("owner/name", "v1.0"));
  assert.equal(readFileSync(join(pulled.folder, "model.safetensors"), "utf8"), "foreign weights");
});

test("what was changed here is left alone unless told otherwise; what the Hub changed is brought", async () => {
  await using place = await makeRepository({});
  hub.push("owner/large", { "handler.ts": "one", "labels.json": "[1]" });
  assert.equal((await pull(place.path, ["owner/large"])).code, 0);
  hub.push("owner/large", { "handler.ts": "two", "labels.json": "[2]" });
  const folder = join(place.path, "large");
  await place.write("large/labels.json", "[mine]");

  const { code, stderr } = await pull(place.path, ["owner/large"]);
  assert.equal(code, 1);
  assert.match(stderr, /files of those names with another content: labels\.json; --force/);
  assert.equal(readFileSync(join(folder, "handler.ts"), "utf8"), "one", "nothing is half done");

  await place.write("large/labels.json", "[1]");
  const updated = await pull(place.path, ["owner/large", "--json"]);
  const { files } = JSON.parse(updated.stdout) as { files: { state: string }[] };
  assert.deepEqual([...new Set(files.map(({ state }) => state))], ["updated"]);
  assert.equal(readFileSync(join(folder, "handler.ts"), "utf8"), "two");

  await place.write("large/labels.json", "[mine]");
  assert.equal((await pull(place.path, ["owner/large", "--force"])).code, 0);
  assert.equal(readFileSync(join(folder, "labels.json"), "utf8"), "[2]");
});

test("a download that was broken off goes on where it stopped", async () => {
  await using place = await makeRepository({});
  const content = "0123456789".repeat(500);
  hub.push("owner/large", { "handler.ts": "x", "onnx/model.onnx": { lfs: content } });
  hub.misbehave(/^CDN GET/, { cutAfterBytes: 3000 }, 1);
  hub.misbehave(/^CDN GET/, { status: 403 }, 4); // as often as it asks again
  const broken = await pull(place.path, ["owner/large"]);
  assert.equal(broken.code, 1, broken.stdout);
  const shelf = join(place.path, "large/.cache/huggingface/download");
  assert.ok(readdirSync(shelf).some((name) => name.endsWith(".incomplete")));

  const before = hub.requests.length;
  const { code, stderr } = await pull(place.path, ["owner/large"]);
  assert.equal(code, 0, stderr);
  const ranges = hub.requests.slice(before).filter(({ server }) => server === "cdn");
  assert.deepEqual(
    ranges.map(({ range }) => range),
    ["bytes=3000-4999"],
  );
  assert.equal(readFileSync(join(place.path, "large/onnx/model.onnx"), "utf8"), content);
  assert.ok(readdirSync(shelf).every((name) => !name.endsWith(".incomplete")));
});

test("Ctrl-C ends a download with 130, keeps what came and leaves no lock behind", async () => {
  await using place = await makeRepository({});
  const content = "0123456789".repeat(500);
  hub.push("owner/large", { "handler.ts": "y", "onnx/model.onnx": { lfs: content } });
  hub.misbehave(/^CDN GET/, { stallAfterBytes: 3000 });
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), CLI, "pull", "owner/large"],
    { cwd: place.path, env: { ...process.env, HF_ENDPOINT: hub.url }, stdio: "ignore" },
  );
  const exited = once(child, "exit");
  const shelf = join(place.path, "large/.cache/huggingface/download");
  const partial = (): number =>
    readdirSync(shelf, { withFileTypes: true })
      .filter(({ name }) => name.endsWith(".incomplete"))
      .reduce((sum, { name }) => sum + statSync(join(shelf, name)).size, 0);
  while (!existsSync(shelf) || partial() < 3000)
    await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGINT");
  assert.deepEqual(await exited, [130, null]);
  assert.equal(partial(), 3000);
  assert.deepEqual(
    readdirSync(shelf).filter((name) => name.endsWith(".hubserve")),
    [],
  );
});

test("a name that is none, or a model that is not there, is told in a sentence", async () => {
  await using place = await makeRepository({ taken: "" });
  const none = await pull(place.path, []);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /wanted the repository's name, owner\/name/);
  assert.equal((await pull(place.path, ["owner/name", "taken"])).code, 2);
  const missing = await pull(place.path, ["owner/missing"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /Cannot download "owner\/missing": the Hub shows no such model/);
});
