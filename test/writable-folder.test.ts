import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { placeToWrite } from "../runtime/moved-files.ts";
import { silentLog } from "../runtime/observe/log.ts";
import { npmEnvironment } from "../runtime/repository/requirements-npm.ts";
import { isWritable, temporaryPath, writableFolder } from "../runtime/writable-folder.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-writable-"));
after(() => rmSync(root, { recursive: true, force: true }));

test("isWritable() looks at the folder, or at the nearest that is there", () => {
  assert.ok(isWritable(root));
  assert.ok(isWritable(join(root, "not/yet/made")));
  assert.ok(!isWritable("/dev/null/.cache"), "no home");
  writeFileSync(join(root, "file"), "");
  assert.ok(isWritable(join(root, "file")), "whoever writes there names it");
});

test("isWritable() says no where this user may not write", (t) => {
  if (process.getuid?.() === 0) return t.skip("root may write everywhere but to read-only disks");
  const closed = join(root, "closed");
  mkdirSync(closed);
  chmodSync(closed, 0o555);
  assert.ok(!isWritable(join(closed, "x")));
  return undefined;
});

test("writableFolder() keeps what can be written, and says where else it writes", () => {
  const lines: string[] = [];
  const log = { ...silentLog(), info: (text: string) => void lines.push(text) };
  assert.equal(writableFolder(root, "x", log), root);
  assert.deepEqual(lines, []);
  const folder = writableFolder("/dev/null/cache", "archives", log);
  assert.equal(folder, join(temporaryPath(), "archives"));
  assert.deepEqual(lines, [`Cannot write to /dev/null/cache: using ${folder} in its place`]);
});

test("placeToWrite() moves what nobody named, and only that", () => {
  assert.equal(placeToWrite("key_file.json", true, root), "key_file.json");
  assert.equal(placeToWrite("key_file.json", false, "/dev/null"), "key_file.json");
  const moved = join(temporaryPath(), "key_file.json");
  assert.equal(placeToWrite("key_file.json", true, "/dev/null"), moved);
});

test("npm gets a cache of its own where the home cannot be written, unless it was told of one", () => {
  const scratch = (): string => "/scratch";
  assert.equal(npmEnvironment({ HOME: "/dev/null" }, scratch)["npm_config_cache"], "/scratch/npm");
  assert.equal(npmEnvironment({ HOME: root }, scratch)["npm_config_cache"], undefined);
  const told = npmEnvironment({ HOME: "/dev/null", NPM_CONFIG_CACHE: "/own" }, scratch);
  assert.deepEqual([told["NPM_CONFIG_CACHE"], told["npm_config_cache"]], ["/own", undefined]);
});
