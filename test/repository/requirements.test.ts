import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, watch } from "node:fs";
import { chmod, mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { RuntimeError } from "../../runtime/errors.ts";
import { compileHandler } from "../../runtime/handler/custom/bundle.ts";
import { SHARED_PACKAGES } from "../../runtime/handler/custom/scope.ts";
import { createLog } from "../../runtime/observe/log.ts";
import {
  BROUGHT_ALONG,
  installRequirements,
  type InstallOptions,
} from "../../runtime/repository/requirements.ts";
import type { NpmCommand } from "../../runtime/repository/requirements-npm.ts";
import { makeRepository } from "../support/handler-repository.ts";

const FAKE_NPM = fileURLToPath(new URL("../support/handler-fake-npm.mjs", import.meta.url));

/** npm that does as `plan` says: see the program. */
function fakeNpm(plan: Readonly<Record<string, unknown>> = {}): NpmCommand {
  return [process.execPath, FAKE_NPM, JSON.stringify(plan)];
}

/** A repository with a requirements.json, and an empty cache beside it. */
async function makeScene(requirements: unknown, npm: NpmCommand = fakeNpm()) {
  const text = typeof requirements === "string" ? requirements : JSON.stringify(requirements);
  const scene = await makeRepository({
    "repository/handler.ts": "export default 1;",
    "repository/requirements.json": text,
  });
  const lines: string[] = [];
  const options: InstallOptions = {
    repository: join(scene.path, "repository"),
    cacheDir: join(scene.path, "cache"),
    env: { PATH: process.env["PATH"], HOME: scene.path },
    signal: new AbortController().signal,
    log: createLog({ write: (line) => lines.push(line.replace(/^[\d:]+ /, "")) }),
    npm,
  };
  const shelf = join(options.cacheDir, "requirements");
  return {
    path: scene.path,
    options,
    lines,
    shelf,
    listShelf: async () => (existsSync(shelf) ? await readdir(shelf) : []),
    [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose](),
  };
}

/** Resolves once a file exists. */
async function appeared(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await new Promise<void>((resolve) => {
    const watcher = watch(dirname(path), check);
    function check(): void {
      if (!existsSync(path)) return;
      watcher.close();
      resolve();
    }
    check();
  });
}

test("what requirements.json asks for is installed once, and the log says so", async () => {
  const wanted = { dependencies: { "date-holidays": "^3", yaml: "2.0.0" } };
  await using scene = await makeScene(wanted, fakeNpm({ packages: 12 }));
  const folder = await installRequirements(scene.options);
  assert.ok(folder !== undefined);
  assert.deepEqual((await readdir(join(folder, "node_modules"))).toSorted(), [
    "date-holidays",
    "yaml",
  ]);
  assert.equal(dirname(folder), scene.shelf);
  assert.equal(
    scene.lines[0],
    "Installing 2 packages that requirements.json asks for: date-holidays@^3, yaml@2.0.0",
  );
  assert.match(scene.lines[1] ?? "", /^Installed 12 packages in \d+\.\d s$/);

  const again = await installRequirements({ ...scene.options, npm: ["/nowhere/npm"] });
  assert.equal(again, folder);
  assert.equal(scene.lines.length, 2);
  assert.deepEqual(await scene.listShelf(), [basename(folder)]);
});

test("the bare object is the same as the one under dependencies, in any order", async () => {
  await using scene = await makeScene({ b: "2", a: "1" });
  const folder = await installRequirements(scene.options);
  const file = join(scene.options.repository, "requirements.json");
  await writeFile(file, '{ "dependencies": { "a": "1", "b": "2" } }');
  assert.equal(await installRequirements(scene.options), folder);
  await writeFile(file, '{ "a": "1", "b": "3" }');
  assert.notEqual(await installRequirements(scene.options), folder);
});

for (const [name, requirements] of [
  ["lists nothing", { dependencies: {} }],
  ["is an empty object", {}],
  ["lists only what hubserve brings along", { "@huggingface/transformers": "^4", hubserve: "*" }],
] as const) {
  test(`nothing is installed when requirements.json ${name}`, async () => {
    await using scene = await makeScene(requirements, ["/nowhere/npm"]);
    assert.equal(await installRequirements(scene.options), undefined);
    assert.deepEqual(await scene.listShelf(), []);
  });
}

test("nothing is installed without requirements.json, and a requirements.txt is named as Python's", async () => {
  await using scene = await makeScene({});
  await using bare = await makeRepository({ "requirements.txt": "torch\n" });
  const options = { ...scene.options, repository: bare.path };
  assert.equal(await installRequirements(options), undefined);
  assert.match(scene.lines.join("\n"), /^Found requirements\.txt, which is Python's/);
});

test("what hubserve brings along is what the handlers share, and the log names what is left out", async () => {
  assert.deepEqual(BROUGHT_ALONG.toSorted(), [...SHARED_PACKAGES, "hubserve"].toSorted());
  await using scene = await makeScene({ ms: "2", "onnxruntime-node": "^1" });
  const folder = (await installRequirements(scene.options)) ?? "";
  assert.deepEqual(await readdir(join(folder, "node_modules")), ["ms"]);
  assert.equal(scene.lines[0], "Not installing what hubserve brings along: onnxruntime-node@^1");
});

test("nothing is written into the repository", async (t) => {
  await using scene = await makeScene({ ms: "2" });
  const { repository } = scene.options;
  const before = await readdir(repository);
  if (process.getuid?.() === 0)
    t.diagnostic("root writes to read-only folders: only the listing is compared");
  await chmod(repository, 0o555);
  try {
    await installRequirements(scene.options);
    assert.deepEqual(await readdir(repository), before);
  } finally {
    await chmod(repository, 0o755);
  }
});

test("npm runs no scripts and sees no tokens of ours", async () => {
  await using scene = await makeScene({ ms: "2" });
  const env = {
    ...scene.options.env,
    HF_TOKEN: "hf_abcdefgh",
    MY_SECRET: "x",
    NODE_OPTIONS: "--import tsx",
    https_proxy: "http://proxy",
    npm_config_registry: "https://registry.example",
    npm_config_workspace: "other",
    npm_config_prefix: "/elsewhere",
  };
  const folder = (await installRequirements({ ...scene.options, env })) ?? "";
  const call = JSON.parse(await readFile(join(folder, "npm-call.json"), "utf8")) as {
    args: string[];
    env: Record<string, string>;
  };
  assert.deepEqual(Object.keys(call.env).toSorted(), [
    "HOME",
    "ONNXRUNTIME_NODE_INSTALL",
    "PATH",
    "https_proxy",
    "npm_config_registry",
  ]);
  assert.equal(call.args[0], "install");
  assert.ok(call.args.includes("--ignore-scripts"));
  assert.ok(!call.args.join(" ").includes(scene.options.repository));
});

test("a password in an address is not logged", async () => {
  await using scene = await makeScene({ ms: "git+https://me:secret@example.com/ms.git" });
  await installRequirements(scene.options);
  assert.match(scene.lines[0] ?? "", /: ms@git\+https:\/\/\[redacted\]@example\.com\/ms\.git$/);
});

test("a handler imports what was installed", async () => {
  await using scene = await makeScene({ "made-up-package": "1" });
  const dependencies = (await installRequirements(scene.options)) ?? "";
  const { repository } = scene.options;
  await writeFile(
    join(repository, "handler.ts"),
    'import made from "made-up-package"; export default made;',
  );
  const { module } = await compileHandler({ repository, file: "handler.ts", dependencies });
  assert.equal(module["default"], "installed");
});

test("a failure leaves nothing, and the next try may succeed", async () => {
  await using scene = await makeScene(
    { ms: "2" },
    fakeNpm({ exitCode: 1, stderr: "npm error code EWEIRD\nnpm error it broke\n" }),
  );
  await assert.rejects(installRequirements(scene.options), {
    code: "REQUIREMENTS_FAILED",
    message: "Cannot install the packages of requirements.json: it broke (EWEIRD)",
  });
  assert.deepEqual(await scene.listShelf(), []);
  assert.ok(await installRequirements({ ...scene.options, npm: fakeNpm() }));
});

for (const stubborn of [false, true]) {
  test(`a cancelled install ends npm and leaves nothing${stubborn ? ", even if npm ignores SIGTERM" : ""}`, async () => {
    await using scene = await makeScene({ ms: "2" });
    const started = join(scene.path, "signs", "started");
    await mkdir(dirname(started), { recursive: true });
    const abort = new AbortController();
    const npm = fakeNpm({ hang: started, stubborn });
    const installing = installRequirements({ ...scene.options, npm, signal: abort.signal });
    const refused = assert.rejects(installing, { code: "CANCELLED" });
    await appeared(started);
    abort.abort();
    await refused;
    const pid = Number(await readFile(started, "utf8"));
    assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
    assert.deepEqual(await scene.listShelf(), []);
  });
}

test("a reason of ours is kept, and a signal that has fired already starts nothing", async () => {
  await using scene = await makeScene({ ms: "2" }, ["/nowhere/npm"]);
  const reason = new RuntimeError("NOT_READY", "Cannot start: the server is stopping");
  const signal = AbortSignal.abort(reason);
  await assert.rejects(
    installRequirements({ ...scene.options, signal }),
    (error) => error === reason,
  );
});

test("an npm that never ends is ended", async () => {
  await using scene = await makeScene({ ms: "2" });
  const npm = fakeNpm({ hang: join(scene.path, "started") });
  await assert.rejects(installRequirements({ ...scene.options, npm, timeoutMs: 500 }), {
    code: "REQUIREMENTS_FAILED",
    message: "Cannot install the packages of requirements.json: npm took longer than 0.5 s",
  });
});

test("installs in the middle of which the process is killed are swept away by a later one", async () => {
  await using scene = await makeScene({ ms: "2" });
  await mkdir(join(scene.shelf, ".old-abc", "node_modules"), { recursive: true });
  await mkdir(join(scene.shelf, ".new-abc"), { recursive: true });
  const longAgo = new Date(Date.now() - 2 * 3600_000);
  await utimes(join(scene.shelf, ".old-abc"), longAgo, longAgo);
  const folder = (await installRequirements(scene.options)) ?? "";
  assert.deepEqual((await scene.listShelf()).toSorted(), [".new-abc", basename(folder)].toSorted());
});

test("a process that is killed with its npm leaves no half-made folder under the final name", async () => {
  await using scene = await makeScene({ ms: "2" });
  const started = join(scene.path, "signs", "started");
  await mkdir(dirname(started), { recursive: true });
  const { repository, cacheDir } = scene.options;
  const program = `
    import { installRequirements } from ${JSON.stringify(new URL("../../runtime/repository/requirements.ts", import.meta.url).href)};
    import { silentLog } from ${JSON.stringify(new URL("../../runtime/observe/log.ts", import.meta.url).href)};
    await installRequirements({
      repository: ${JSON.stringify(repository)}, cacheDir: ${JSON.stringify(cacheDir)}, env: process.env,
      signal: new AbortController().signal, log: silentLog(), npm: ${JSON.stringify(fakeNpm({ hang: started }))},
    });`;
  const child = execFile(process.execPath, [
    "--import",
    "tsx",
    "--input-type=module",
    "--eval",
    program,
  ]);
  const ended = new Promise((resolve) => child.on("exit", resolve));
  await appeared(started);
  child.kill("SIGKILL");
  await ended;
  process.kill(Number(await readFile(started, "utf8")), "SIGKILL");
  const left = await scene.listShelf();
  assert.deepEqual(
    left.map((name) => name.startsWith(".")),
    [true],
  );
  const folder = (await installRequirements(scene.options)) ?? "";
  assert.deepEqual(await readdir(join(folder, "node_modules")), ["ms"]);
});

test("of several installs at once one wins, and all use its folder", async () => {
  await using scene = await makeScene({ ms: "2" });
  const gate = join(scene.path, "signs", "open");
  await mkdir(dirname(gate), { recursive: true });
  const npm = fakeNpm({ gate });
  const installing = Array.from({ length: 3 }, () =>
    installRequirements({ ...scene.options, npm }),
  );
  const all = Promise.all(installing);
  await writeFile(gate, "");
  const folders = await all;
  assert.equal(new Set(folders).size, 1);
  assert.deepEqual(await scene.listShelf(), [basename(folders[0] ?? "")]);
});

test("a cache that cannot be written is named", async () => {
  await using scene = await makeScene({ ms: "2" });
  await writeFile(scene.options.cacheDir, "a file, not a folder");
  await assert.rejects(installRequirements(scene.options), {
    code: "REQUIREMENTS_FAILED",
    message:
      "Cannot install the packages of requirements.json: the cache folder cannot be written (ENOTDIR)",
  });
});

test("a missing npm is named", async () => {
  await using scene = await makeScene({ ms: "2" }, ["/nowhere/npm"]);
  await assert.rejects(installRequirements(scene.options), {
    message:
      "Cannot install the packages of requirements.json: npm was not found; it comes with Node",
  });
});

test("real npm installs a real package, and names one that is not there", async (t) => {
  await using scene = await makeScene({ ms: "2.1.3" });
  const run = promisify(execFile);
  const isReachable = await run("npm", [
    "view",
    "ms",
    "version",
    "--fetch-retries=0",
    "--fetch-timeout=5000",
  ]).then(
    () => true,
    () => false,
  );
  if (!isReachable) return t.skip("the npm registry cannot be reached from here");
  const { npm: _, ...options } = { ...scene.options, env: process.env };
  const folder = (await installRequirements(options)) ?? "";
  assert.match(scene.lines.at(-1) ?? "", /^Installed 1 package in /);
  const entry = pathToFileURL(join(folder, "node_modules", "ms", "index.js")).href;
  const { default: ms } = (await import(entry)) as { default: (text: string) => number };
  assert.equal(ms("1m"), 60_000);

  const file = join(options.repository, "requirements.json");
  await writeFile(file, '{ "@hubserve-tests/there-is-no-such-package": "1" }');
  await assert.rejects(installRequirements(options), {
    message:
      'Cannot install the packages of requirements.json: npm knows no package "@hubserve-tests/there-is-no-such-package"',
  });
  await writeFile(file, '{ "ms": "^999" }');
  await assert.rejects(installRequirements(options), {
    message: 'Cannot install the packages of requirements.json: no version of "ms" matches "^999"',
  });
  assert.deepEqual(await scene.listShelf(), [basename(folder)]);
});
