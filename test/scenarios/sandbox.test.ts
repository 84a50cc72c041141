/**
 * `--sandbox` with the published program: what a handler may no longer do, and that what it should do still works.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, readFile, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { openSandbox } from "../../runtime/engine/sandbox.ts";
import { compileProgram, type CompiledProgram } from "../support/compiled.ts";
import { makeRepository, packageFiles } from "../support/handler-repository.ts";
import { runHubserve, startHubserve } from "../support/hubserve.ts";

const MODELS = fileURLToPath(new URL("../fixtures/models/", import.meta.url));
const IMAGES = fileURLToPath(new URL("../fixtures/images/", import.meta.url));

let program: CompiledProgram;
before(async () => void (program = await compileProgram()));
after(() => program[Symbol.asyncDispose]());

const HANDLER = `
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";
import { shout } from "./shout.ts";
import installed from "installed";

const attempt = async (run: () => unknown): Promise<string> => {
  try {
    return "done: " + String(await run()).slice(0, 40);
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};

export class EndpointHandler {
  constructor(private readonly path: string) {}

  async call({ inputs }: { inputs: string }) {
    if (inputs === "loop") for (;;);
    const note = join(tmpdir(), "note");
    return {
      shouted: shout(inputs),
      installed,
      data: await attempt(() => readFileSync(join(this.path, "data.txt"), "utf8")),
      note: await attempt(() => (writeFileSync(note, "mine"), readFileSync(note, "utf8"))),
      passwd: await attempt(() => readFileSync("/etc/passwd", "utf8")),
      passwdLater: await attempt(() => readFile("/etc/passwd", "utf8")),
      environment: await attempt(() => readFileSync("/proc/self/environ", "utf8")),
      home: await attempt(() => readdirSync(homedir())),
      above: await attempt(() => readdirSync(join(this.path, ".."))),
      secret: await attempt(() => readFileSync(join(this.path, "..", "secret"), "utf8")),
      ownRepository: await attempt(() => writeFileSync(join(this.path, "data.txt"), "changed")),
      elsewhere: await attempt(() => mkdirSync(join(this.path, "..", "made"))),
      program: await attempt(() => execFileSync("/bin/echo", ["x"])),
      programLater: await attempt(() => spawn("/bin/echo").pid),
      thread: await attempt(() => new Worker("1", { eval: true }).threadId),
    };
  }
}
`;

const FILES = {
  "repository/handler.ts": HANDLER,
  "repository/shout.ts": "export const shout = (text: string): string => text.toUpperCase();",
  "repository/data.txt": "data",
  ...Object.fromEntries(
    Object.entries(packageFiles("installed", 'export default "a package";')).map(([name, text]) => [
      `repository/${name}`,
      text,
    ]),
  ),
  secret: "secret",
};

const start = (repository: string, ...args: readonly string[]): ReturnType<typeof startHubserve> =>
  startHubserve({ entry: program.cli, args: [repository, "--sandbox", "--workers", "1", ...args] });

test("a handler reads its repository and its packages, has a folder to write to, and nothing else", async () => {
  await using folder = await makeRepository(FILES);
  const repository = join(folder.path, "repository");
  await using server = await start(repository);
  await server.line(/Ready after/);
  const found = (await (await server.post("hello")).json()) as Record<string, string>;
  assert.deepEqual(found, {
    shouted: "HELLO",
    installed: "a package",
    data: "done: data",
    note: "done: mine",
    ...Object.fromEntries(
      [
        "passwd",
        "passwdLater",
        "environment",
        "home",
        "above",
        "secret",
        "ownRepository",
        "elsewhere",
        "program",
        "programLater",
        "thread",
      ].map((name) => [name, "ERR_ACCESS_DENIED"]),
    ),
  });
  assert.equal(await readFile(join(repository, "data.txt"), "utf8"), "data");
  assert.doesNotMatch(server.lines.join("\n"), /SecurityWarning|ExperimentalWarning/);
});

test("without --sandbox the same handler may do all of it", async () => {
  await using folder = await makeRepository(FILES);
  await using server = await startHubserve({
    entry: program.cli,
    args: [join(folder.path, "repository"), "--workers", "1"],
  });
  await server.line(/Ready after/);
  const found = (await (await server.post("hello")).json()) as Record<string, string>;
  for (const name of ["passwd", "secret", "ownRepository", "program", "thread"])
    assert.match(found[name] ?? "", /^done: /, name);
});

test("a worker's own folder goes with it, also when it hangs and is killed", async () => {
  const folders = (): string[] =>
    readdirSync(tmpdir()).filter((name) => name.startsWith("hubserve-worker-"));
  const old = new Set(folders());
  const left = (): string[] => folders().filter((name) => !old.has(name));
  await using folder = await makeRepository(FILES);
  await using server = await start(join(folder.path, "repository"), "--request-timeout", "200ms");
  await server.line(/Ready after/);
  assert.equal(left().length, 1);
  const [first] = left();
  assert.equal((await server.post("loop")).status, 504);
  while ((await server.post("x").catch(() => undefined))?.status !== 200); // a new worker is there
  assert.ok(!existsSync(join(tmpdir(), first!)));
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
  assert.deepEqual(left(), []);
});

test("a handler that wants more when it is loaded is told what the sandbox does not give", async () => {
  await using folder = await makeRepository({
    "handler.ts": `import { readFileSync } from "node:fs";
      const text: string = readFileSync("/etc/hostname", "utf8");
      export class EndpointHandler { call() { return text; } }`,
  });
  const { code, stderr } = await runHubserve({
    entry: program.cli,
    args: ["serve", folder.path, "--sandbox", "--port", "0"],
  });
  assert.equal(code, 1, stderr);
  assert.match(stderr, /it wants what --sandbox does not give \(FileSystemRead/);
});

test("a handler that does not compile is refused as ever", async () => {
  await using folder = await makeRepository({ "handler.ts": "export class EndpointHandler {" });
  const { code, stderr } = await runHubserve({
    entry: program.cli,
    args: ["serve", folder.path, "--sandbox", "--port", "0"],
  });
  assert.equal(code, 1, stderr);
  assert.match(stderr, /Cannot (?:load|compile) the handler: handler\.ts:1:/);
});

test("the default handler serves texts, images and generated texts, also from the Hub's cache of links", async () => {
  await using folder = await makeRepository({});
  // As the Hub's cache lays it out: snapshots of links to blobs beside them.
  const entry = join(folder.path, "models--owner--name");
  const snapshot = join(entry, "snapshots", "abc");
  await mkdir(join(entry, "blobs"), { recursive: true });
  let blobs = 0;
  const link = async (from: string, name: string): Promise<void> => {
    const blob = `${++blobs}`;
    await cp(join(from, name), join(entry, "blobs", blob));
    await mkdir(dirname(join(snapshot, name)), { recursive: true });
    const up = name.includes("/") ? "../../.." : "../..";
    await symlink(join(up, "blobs", blob), join(snapshot, name));
  };
  const model = join(MODELS, "minilm-embed");
  for (const name of readdirSync(model, { recursive: true }).map(String))
    if (/\.\w+$/.test(name)) await link(model, name.replaceAll("\\", "/"));

  for (const [repository, init] of [
    [snapshot, { headers: { "content-type": "application/json" }, body: '{"inputs":"a text"}' }],
    [join(MODELS, "tiny-vit"), { body: await readFile(join(IMAGES, "alpha.png")) }],
    [
      join(MODELS, "tiny-gpt2"),
      {
        headers: { "content-type": "application/json" },
        body: '{"inputs":"Once","parameters":{"max_new_tokens":3}}',
      },
    ],
  ] as [string, RequestInit][]) {
    await using server = await start(repository);
    await server.line(/Ready after/);
    const response = await fetch(server.url, { method: "POST", ...init });
    assert.equal(response.status, 200, `${repository}: ${await response.text()}`);
  }
});

test("openSandbox() names what this Node knows, each folder once, and refuses what it cannot do", async () => {
  await using folder = await makeRepository({
    "inner/handler.js": "",
    "with,comma/handler.js": "",
  });
  const load = { repository: folder.path, dependencies: join(folder.path, "inner") };
  const flagsOf = (...known: readonly string[]): readonly string[] => {
    const sandbox = openSandbox({ load, knows: (flag) => known.includes(flag), runsBare: true });
    sandbox.close();
    return sandbox.flags;
  };
  assert.equal(flagsOf("--experimental-permission")[0], "--experimental-permission");
  assert.equal(flagsOf("--permission", "--experimental-permission")[0], "--permission");
  assert.ok(flagsOf("--permission", "--allow-net").includes("--allow-net"));
  const reads = flagsOf("--permission").filter((flag) => flag.startsWith("--allow-fs-read="));
  assert.equal(new Set(reads).size, reads.length);
  assert.ok(!reads.some((flag) => flag.endsWith("inner")), "it lies in another");
  for (const flag of ["--allow-child-process", "--allow-worker", "--allow-wasi"])
    assert.ok(!flagsOf("--permission").includes(flag));

  const refusal = (message: RegExp) => ({ code: "INVALID_OPTION", message });
  assert.throws(
    () => openSandbox({ load, knows: () => false }),
    refusal(/^Cannot use --sandbox: this Node \(v[\d.]+\) has no permission model/),
  );
  assert.throws(
    () => openSandbox({ load, runsBare: false }),
    refusal(/runs from its TypeScript source.*npm run build/),
  );
  assert.throws(
    () => openSandbox({ load: { repository: join(folder.path, "with,comma") }, runsBare: true }),
    refusal(/has a comma or a star/),
  );
});
