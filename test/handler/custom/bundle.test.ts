import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { env } from "@huggingface/transformers";
import { InferenceSession } from "onnxruntime-node";
import { bundleHandler, compileHandler } from "../../../runtime/handler/custom/bundle.ts";
import { RuntimeError } from "../../../runtime/index.ts";
import { runHandler } from "../../support/handler-process.ts";
import { handlerFixture, makeRepository, packageFiles } from "../../support/handler-repository.ts";

/** What a fixture's handler answers, from a process of its own. */
async function answerOf(repository: string, data: unknown, dependencies?: string) {
  const options = { repository, ...(dependencies !== undefined && { dependencies }) };
  const { output, error, files } = await runHandler(options, data);
  assert.equal(error, undefined, JSON.stringify(error));
  assert.equal(output?.kind, "json");
  return { value: output.value as Record<string, unknown>, files };
}

/** The exports of a handler that is compiled and imported here. */
async function exportsOf(files: Readonly<Record<string, string>>, dependencies?: string) {
  await using repository = await makeRepository(files);
  const file = Object.keys(files).find((name) => name.startsWith("handler.")) ?? "handler.ts";
  const { module } = await compileHandler({
    repository: repository.path,
    file,
    ...(dependencies !== undefined && { dependencies }),
  });
  return module;
}

test("a TypeScript handler may use every idiom of the language and of Node", async () => {
  const repository = handlerFixture("everything");
  const { value, files } = await answerOf(repository, { inputs: "de" });
  assert.deepEqual(value, {
    path: repository,
    startedWith: "top-level await",
    level: "High",
    shout: "A",
    whisper: "a",
    labels: { zero: "none", one: "some" },
    zero: "none",
    word: "hallo",
    late: "everything/lib",
    doubled: 4,
    count: 3,
    kinds: ["static block"],
    isError: true,
    url: pathToFileURL(join(repository, "handler.ts")).href,
    dirname: repository,
    filename: join(repository, "handler.ts"),
    resolved: pathToFileURL(join(repository, "labels.json")).href,
    legacy: [repository, join(repository, "handler.ts")],
    text: '{ "zero": "none", "one": "some" }',
    required: { zero: "none", one: "some" },
  });
  const names = ["handler.ts", "labels.json", "lang/de.ts", "lang/en.ts"];
  const lib = ["lib/late.ts", "lib/level.ts", "lib/shout.ts", "lib/whisper.ts"];
  assert.deepEqual(
    files?.toSorted(),
    [...names, ...lib].map((name) => join(repository, name)),
  );
});

test("a CommonJS handler finds require, __dirname, its siblings and the shared libraries", async () => {
  const { value } = await answerOf(handlerFixture("commonjs"), { inputs: 3 });
  assert.deepEqual(value, {
    scaled: 30,
    labels: ["a"],
    optional: "MODULE_NOT_FOUND",
    folder: ["commonjs", "handler.js"],
    computed: "a: 1\n",
    sibling: 20,
    resolved: "scale.js",
    isMain: false,
    sharesEnv: true,
  });
});

test("a handler.mjs may begin with #! and export a class of no name", async () => {
  const { value } = await answerOf(handlerFixture("module"), { inputs: "you" });
  assert.equal(value, "hello you from handler.mjs");
});

test("top-level await works beside a package.json that says commonjs", async () => {
  const module = await exportsOf({
    "package.json": '{"type":"commonjs"}',
    "handler.ts": "export const value: number = await Promise.resolve(1);",
  });
  assert.equal(module["value"], 1);
});

test("the runtime's copies of transformers.js, onnxruntime and hubserve win over the repository's", async () => {
  const module = await exportsOf({
    ...packageFiles("@huggingface/transformers", "export const env = 'another copy';"),
    ...packageFiles("onnxruntime-node", "export const InferenceSession = 'another copy';"),
    ...packageFiles("hubserve", "export const RuntimeError = 'another copy';"),
    "handler.ts": `
      export { env } from "@huggingface/transformers";
      export { InferenceSession } from "onnxruntime-node";
      export { Tensor } from "onnxruntime-common";
      export { Tensor as NodeTensor } from "onnxruntime-node";
      export { RuntimeError } from "hubserve";
    `,
  });
  assert.equal(module["env"], env);
  assert.equal(module["InferenceSession"], InferenceSession);
  assert.equal(module["RuntimeError"], RuntimeError);
  assert.equal(module["Tensor"], module["NodeTensor"]);
});

test("a package is looked for in the repository, above it, in requirements.json's and among the runtime's", async () => {
  await using installed = await makeRepository({
    ...packageFiles("first", "export default 'requirements';"),
    ...packageFiles("second", "export default 'requirements';"),
    ...packageFiles("third", "export default 'requirements';"),
    ...packageFiles("yaml", "export default 'requirements';"),
  });
  await using folder = await makeRepository({
    ...packageFiles("second", "export default 'above';"),
    ...packageFiles("first", "export default 'repository';", "repository/node_modules"),
    "repository/handler.ts": `
      import first from "first"; import second from "second"; import third from "third";
      import yaml from "yaml"; import { z } from "zod";
      export default [first, second, third, yaml, typeof z.object];
    `,
  });
  const { module } = await compileHandler({
    repository: join(folder.path, "repository"),
    file: "handler.ts",
    dependencies: installed.path,
  });
  const expected = ["repository", "above", "requirements", "requirements", "function"];
  assert.deepEqual(module["default"], expected);
});

test("import and require each get the entry that a package has for them, and packages stay out of the bundle", async () => {
  await using repository = await makeRepository({
    "node_modules/two-faced/package.json": JSON.stringify({
      name: "two-faced",
      exports: { ".": { module: "./m.mjs", import: "./i.mjs", require: "./r.cjs" } },
    }),
    "node_modules/two-faced/m.mjs": "export default 'module';",
    "node_modules/two-faced/i.mjs": "export default 'import';",
    "node_modules/two-faced/r.cjs": "module.exports = 'require';",
    "handler.ts": `
      import { createRequire } from "node:module";
      import imported from "two-faced";
      import required = require("two-faced");
      const late = await import("two-faced");
      export default [imported, required, late.default];
    `,
  });
  const options = { repository: repository.path, file: "handler.ts" };
  const { module, files } = await compileHandler(options);
  assert.deepEqual(module["default"], ["import", "require", "import"]);
  assert.deepEqual(files, [join(repository.path, "handler.ts")]);
});

test("#imports of package.json and paths of tsconfig.json lead where they say", async () => {
  const module = await exportsOf({
    "package.json": '{"imports":{"#own/*":"./lib/*.ts","#pkg":"named"}}',
    "tsconfig.json": '{"compilerOptions":{"paths":{"@lib/*":["./lib/*"]}}}',
    "lib/a.ts": "export default 'own';",
    ...packageFiles("named", "export default 'package';"),
    "handler.ts": `import a from "#own/a"; import b from "#pkg"; import c from "@lib/a"; export default [a, b, c];`,
  });
  assert.deepEqual(module["default"], ["own", "package", "own"]);
});

test("decorators follow the repository's tsconfig.json", async () => {
  const module = await exportsOf({
    "tsconfig.json": '{"compilerOptions":{"experimentalDecorators":true}}',
    "handler.ts": `
      const seen: unknown[] = [];
      function mark(target: object, key: string, index: number) { seen.push(key, index); }
      class A { call(@mark data: unknown) { return data; } }
      export default seen;
    `,
  });
  assert.deepEqual(module["default"], ["call", 0]);
});

test("Node's modules are found with and without node:", async () => {
  const module = await exportsOf({
    "handler.ts": `import fs from "fs"; import nodeFs from "node:fs"; export default fs === nodeFs;`,
  });
  assert.equal(module["default"], true);
});

test("JSON inside a package can be imported without an attribute", async () => {
  const module = await exportsOf({
    "node_modules/data/package.json": '{"name":"data","version":"2.0.0"}',
    "handler.ts": `import { version } from "data/package.json"; export default version;`,
  });
  assert.equal(module["default"], "2.0.0");
});

test("native and WebAssembly files are named, not bundled", async () => {
  await using repository = await makeRepository({
    "handler.js": `exports.load = () => require("./native.node"); exports.wasm = () => import("./a.wasm");`,
    "native.node": "",
    "a.wasm": "",
  });
  const { code, files } = await bundleHandler({ repository: repository.path, file: "handler.js" });
  assert.ok(code.includes(JSON.stringify(join(repository.path, "native.node"))));
  assert.ok(code.includes(pathToFileURL(join(repository.path, "a.wasm")).href));
  assert.deepEqual(files, [join(repository.path, "handler.js")]);
});

test("names that are computed at run time are found where written ones are", async () => {
  await using installed = await makeRepository(packageFiles("third", "export default 'third';"));
  await using repository = await makeRepository({
    ...packageFiles("first", "export default 'first';"),
    "data.mjs": "export default 'relative';",
    "handler.mjs": `
      import * as transformers from "@huggingface/transformers";
      import * as hubserve from "hubserve";
      const named = async (name) => (await import(name)).default;
      export class EndpointHandler {
        async call({ inputs }) {
          const [first, relative, third, shared, self, missing] = inputs;
          return [
            await named(first),
            await named(relative),
            await named(third),
            (await import(shared)).env === transformers.env,
            (await import(self)).RuntimeError === hubserve.RuntimeError,
            await named(missing).catch((error) => error.code),
            require("node:path").sep,
          ];
        }
      }
    `,
  });
  const names = [
    "first",
    "./data.mjs",
    "third",
    "@huggingface/transformers",
    "hubserve",
    "nowhere",
  ];
  const { value } = await answerOf(repository.path, { inputs: names }, installed.path);
  const code = "ERR_MODULE_NOT_FOUND";
  assert.deepEqual(value, ["first", "relative", "third", true, true, code, "/"]);
});

test("a repository made of links, as in the Hub's cache, keeps its own file names", async () => {
  await using cache = await makeRepository({
    "blobs/1": `import { b } from "./lib/b.ts"; export default [b, import.meta.filename];`,
    "blobs/2": "export const b: string = 'b';",
  });
  const snapshot = join(cache.path, "snapshots", "abc");
  await mkdir(join(snapshot, "lib"), { recursive: true });
  await symlink("../../blobs/1", join(snapshot, "handler.ts"));
  await symlink("../../../blobs/2", join(snapshot, "lib", "b.ts"));
  const { module, files } = await compileHandler({ repository: snapshot, file: "handler.ts" });
  assert.deepEqual(module["default"], ["b", join(snapshot, "handler.ts")]);
  assert.deepEqual(files, [join(snapshot, "lib", "b.ts"), join(snapshot, "handler.ts")]);
});

test("names with spaces, # and % are kept", async () => {
  await using folder = await makeRepository({
    "a #1 100%/handler.ts": "export default import.meta.url;\nexport const error = new Error('x');",
  });
  const repository = join(folder.path, "a #1 100%");
  const { module } = await compileHandler({ repository, file: "handler.ts" });
  assert.equal(module["default"], pathToFileURL(join(repository, "handler.ts")).href);
  assert.match((module["error"] as Error).stack ?? "", /a #1 100%\/handler\.ts:2:22/);
});

test("every compilation sees the files as they are then", async () => {
  await using repository = await makeRepository({ "handler.ts": "export default 1;" });
  const options = { repository: repository.path, file: "handler.ts" };
  assert.equal((await compileHandler(options)).module["default"], 1);
  await repository.write("handler.ts", "export default 2;");
  assert.equal((await compileHandler(options)).module["default"], 2);
});

test("several compilations at once do not stop each other's compiler", async () => {
  await using repository = await makeRepository({ "handler.ts": "export default 1;" });
  const options = { repository: repository.path, file: "handler.ts" };
  const all = await Promise.all(Array.from({ length: 5 }, () => compileHandler(options)));
  assert.deepEqual(
    all.map(({ module }) => module["default"]),
    [1, 1, 1, 1, 1],
  );
});

test("nothing is left behind: no compiler process, no temporary file, nothing in the repository", async (t) => {
  await using repository = await makeRepository({
    "handler.mjs": `
      import { readdirSync, readFileSync } from "node:fs";
      export class EndpointHandler {
        call() {
          // A child that has ended but was not waited for yet (state Z) is no process any more.
          const isAlive = (pid) => !readFileSync("/proc/" + pid + "/stat", "utf8").includes(") Z ");
          const list = () => readFileSync("/proc/self/task/" + process.pid + "/children", "utf8");
          const children = process.platform === "linux" ? list().split(" ").filter(Boolean).filter(isAlive) : [];
          return { children, temporary: readdirSync(process.env.TMPDIR).filter((n) => n.startsWith("hubserve-")) };
        }
      }
    `,
  });
  if (process.getuid?.() === 0)
    t.diagnostic("root writes to read-only folders: only the listing is compared");
  await chmod(repository.path, 0o555);
  const temporary = await mkdtemp(join(tmpdir(), "handler-test-"));
  try {
    const { output } = await runHandler({ repository: repository.path }, {}, { TMPDIR: temporary });
    assert.deepEqual(output, { kind: "json", value: { children: [], temporary: [] } });
    assert.deepEqual(await readdir(repository.path), ["handler.mjs"]);
  } finally {
    await chmod(repository.path, 0o755);
    await rm(temporary, { recursive: true });
  }
});

test("a handler that ends the process while it is imported leaves no temporary file either", async () => {
  await using repository = await makeRepository({ "handler.ts": "process.exit(7);" });
  const temporary = await mkdtemp(join(tmpdir(), "handler-test-"));
  try {
    const running = runHandler({ repository: repository.path }, {}, { TMPDIR: temporary });
    await assert.rejects(running, { code: 7 });
    const left = await readdir(temporary);
    assert.deepEqual(
      left.filter((name) => name.startsWith("hubserve-")),
      [],
    );
  } finally {
    await rm(temporary, { recursive: true });
  }
});

test("what esbuild finds odd is handed on with its place", async () => {
  await using repository = await makeRepository({
    "lib.ts": "export const a = 1;",
    "handler.ts": `import * as lib from "./lib.ts";\n\nexport default lib.b;`,
  });
  const { warnings } = await bundleHandler({ repository: repository.path, file: "handler.ts" });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /^handler\.ts:3:20: Import "b" will always be undefined/);
});

test("columns on the first line are those of the source, although a line of ours stands before it", async () => {
  await using repository = await makeRepository({
    "handler.ts": "export default import.meta.url foo;",
  });
  const bundling = bundleHandler({ repository: repository.path, file: "handler.ts" });
  await assert.rejects(bundling, { message: /: handler\.ts:1:32: Expected ";" but found "foo"$/ });
});

test("a small handler compiles in well under a second", async (t) => {
  const repository = handlerFixture("everything");
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const { compileMs } = await compileHandler({ repository, file: "handler.ts" });
    times.push(Math.round(compileMs));
  }
  t.diagnostic(`8 files compiled in ${times.join(", ")} ms`);
  assert.ok(Math.min(...times) < 1000);
});

test("side effects happen once, in order, also where package.json promises none", async () => {
  const module = await exportsOf({
    "package.json": '{"sideEffects":false}',
    "setup.ts": "(globalThis as any).hubserveTestOrder = ['setup'];",
    "handler.ts": `import "./setup.ts"; (globalThis as any).hubserveTestOrder.push("handler");
      export default (globalThis as any).hubserveTestOrder;`,
  });
  assert.deepEqual(module["default"], ["setup", "handler"]);
});

test("without a temporary folder the message says what to set", async (t) => {
  await using repository = await makeRepository({ "handler.ts": "export default 1;" });
  const TMPDIR = process.env["TMPDIR"];
  t.after(() => {
    if (TMPDIR === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = TMPDIR;
  });
  process.env["TMPDIR"] = join(repository.path, "handler.ts");
  await assert.rejects(compileHandler({ repository: repository.path, file: "handler.ts" }), {
    code: "INTERNAL",
    message:
      /^Cannot compile the handler: no temporary file can be written \(ENOTDIR\); set TMPDIR/,
  });
});

test("the source of a package that is linked into node_modules stays one instance", async () => {
  await using folder = await makeRepository({
    ...packageFiles("real", "export const token = {};", "store/node_modules"),
    "repository/handler.ts": `import { token } from "linked"; export default token;`,
  });
  const real = join(folder.path, "store", "node_modules", "real");
  await mkdir(join(folder.path, "repository", "node_modules"), { recursive: true });
  await symlink(real, join(folder.path, "repository", "node_modules", "linked"));
  const repository = join(folder.path, "repository");
  const { module } = await compileHandler({ repository, file: "handler.ts" });
  const direct = (await import(pathToFileURL(join(real, "index.js")).href)) as { token: object };
  assert.equal(module["default"], direct.token);
});
