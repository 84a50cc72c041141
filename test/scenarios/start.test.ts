/**
 * How a start goes wrong, and what a person reads then: one sentence, an exit code, no stack.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runHubserve, startHubserve } from "../support/hubserve.ts";

const FIXTURES = "test/fixtures/repositories";

async function assertFails(
  args: readonly string[],
  sentence: RegExp,
  code = 1,
  env: Record<string, string> = {},
): Promise<void> {
  const { code: found, stderr } = await runHubserve({ args: [...args, "--port", "0"], env });
  assert.match(stderr, sentence);
  assert.equal(found, code, stderr);
  assert.ok(!/^\s+at /m.test(stderr), `a stack was printed:\n${stderr}`);
}

test("a handler without the class stops the start and says what is wanted", async () => {
  await assertFails([`${FIXTURES}/no-class`], /handler\.ts.*EndpointHandler/);
});

test("a handler that does not compile stops the start with its file and line", async () => {
  await assertFails([`${FIXTURES}/syntax-error`], /handler\.ts:3:\d+/);
});

test("a handler that throws while it loads stops the start with its reason", async () => {
  await assertFails([`${FIXTURES}/throws-on-load`], /the licence server is down/);
});

test("a handler that ends its process while it loads is given up after three tries", async () => {
  await assertFails(
    [`${FIXTURES}/dies-on-load`],
    /Cannot load the model: its worker died 3 times in a row, last with code 7/,
  );
});

test("a folder with nothing to serve is refused by name", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-empty-"));
  writeFileSync(join(folder, "notes.txt"), "nothing");
  await assertFails([folder], /it has no handler\.ts, no config\.json and no model\//);
  rmSync(folder, { recursive: true });
});

test("a Python handler without weights: the warning names it, and the error says what is missing", async () => {
  const { code, stderr } = await runHubserve({ args: [`${FIXTURES}/python-only`, "--port", "0"] });
  assert.equal(code, 1);
  assert.match(stderr, /handler\.py/);
});

test("a folder that is not there, a flag that is not one and a port that is taken each get their sentence", async () => {
  await assertFails(["./nowhere"], /Cannot serve "\.\/nowhere": there is no folder at/);
  await assertFails([".", "--prot", "1"], /"--prot" is not one; did you mean "--port"/, 2);
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as AddressInfo; // it listens on TCP
  const { code, stderr } = await runHubserve({
    args: [".", "--port", String(port), "--host", "127.0.0.1"],
  });
  taken.close();
  assert.equal(code, 1);
  assert.match(stderr, /Cannot listen on 127\.0\.0\.1:\d+: it is taken; name another with --port/);
});

test("while the model loads the gate is open and says so", async () => {
  await using server = await startHubserve({ args: [`${FIXTURES}/odd-jobs`] });
  const response = await fetch(`${server.url}/health`);
  if (response.status !== 200) {
    assert.equal(response.status, 503);
    assert.equal(((await response.json()) as { status: string }).status, "starting");
  }
  await server.line(/Ready after/);
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
});

test("SIGTERM while the model loads ends the program with 0", async () => {
  await using server = await startHubserve({ args: ["."] });
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
});

test("--help and --version print and exit with 0", async () => {
  const help = await runHubserve({ args: ["--help"] });
  assert.equal(help.code, 0);
  assert.match(help.stdout, /hubserve \[serve\] \[reference\]/);
  assert.match(help.stdout, /--port <port>/);
  const version = await runHubserve({ args: ["--version"] });
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});
