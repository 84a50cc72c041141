import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readConfig } from "../../runtime/config.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import type { Reference } from "../../runtime/repository/reference.ts";
import { chooseReference, nameOf, prepareRepository } from "../../runtime/repository/resolve.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-resolve-"));
const full = join(root, "full");
const empty = join(root, "empty");
mkdirSync(join(full, "model"), { recursive: true });
mkdirSync(empty);
writeFileSync(join(full, "handler.ts"), "export class EndpointHandler { call() {} }\n");

after(() => rmSync(root, { recursive: true, force: true }));

function choose(args: readonly string[], env: Record<string, string> = {}): Reference {
  return chooseReference(readConfig({ args, env, cwd: root, home: root }));
}

const HUB: Reference = { kind: "hub", name: "owner/name", revision: "main" };

test("the reference on the command line wins over everything in the environment", () => {
  const env = { HF_MODEL_DIR: full, HF_MODEL_ID: "other/name" };
  assert.deepEqual(choose(["owner/name"], env), HUB);
  assert.deepEqual(choose(["./full"], env), { kind: "folder", path: full });
});

test("a folder from the environment wins over a Hub repository, unless it is empty or not there", () => {
  const env = { HF_MODEL_ID: "owner/name" };
  assert.deepEqual(choose([], { ...env, HF_MODEL_DIR: full }), { kind: "folder", path: full });
  assert.deepEqual(choose([], { ...env, HF_MODEL_DIR: empty }), HUB);
  assert.deepEqual(choose([], { ...env, HF_MODEL_DIR: join(root, "nowhere") }), HUB);
  assert.throws(() => choose([], { HF_MODEL_DIR: "nowhere" }), { code: "REPOSITORY_NOT_FOUND" });
});

test("a Hub repository from the environment takes its revision, and may have no owner", () => {
  assert.deepEqual(choose([], { HF_MODEL_ID: "owner/name", HF_REVISION: "v1" }), {
    ...HUB,
    revision: "v1",
  });
  assert.deepEqual(choose([], { HF_MODEL_ID: "gpt2" }), { ...HUB, name: "gpt2" });
});

test("with nothing said the current folder is served", () => {
  assert.deepEqual(choose([]), { kind: "folder", path: root });
});

test("a model is named for its Hub repository or its folder", () => {
  assert.equal(nameOf(HUB), "owner/name");
  assert.equal(nameOf({ kind: "folder", path: full }), "full");
});

test("prepareRepository() finds a folder, says what is going on, and passes on what was asked for", async () => {
  const details: string[] = [];
  const settings = readConfig({
    args: ["./full", "--task", "fill-mask", "--dtype", "fp32"],
    env: {},
    cwd: root,
    home: root,
  });
  const { name, revision, load } = await prepareRepository({
    settings,
    signal: new AbortController().signal,
    log: silentLog(),
    onProgress: (detail) => details.push(detail),
  });
  assert.equal(name, "full");
  assert.equal(revision, undefined);
  assert.deepEqual(load, { repository: full, task: "fill-mask", dtype: "fp32" });
  assert.ok(details.length > 0);
});

test("prepareRepository() refuses a folder with nothing to serve", async () => {
  const settings = readConfig({ args: ["./empty"], env: {}, cwd: root, home: root });
  const pending = prepareRepository({
    settings,
    signal: new AbortController().signal,
    log: silentLog(),
  });
  await assert.rejects(pending, { code: "REPOSITORY_NOT_FOUND", message: /it has no handler\.ts/ });
});
