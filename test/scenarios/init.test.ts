/**
 * `hubserve init`: what it writes works, by `hubserve call` and by its own test.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeRepository, type TemporaryRepository } from "../support/handler-repository.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const MODELS = join(ROOT, "test/fixtures/models");

async function copyOf(model: string): Promise<TemporaryRepository> {
  const repository = await makeRepository({});
  cpSync(join(MODELS, model), repository.path, { recursive: true });
  return repository;
}

/** What `npm install --no-save hubserve tsx` would bring, as links to this checkout. */
function installHere(folder: string): void {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "hubserve"), { recursive: true });
  symlinkSync(join(ROOT, "node_modules/@huggingface"), join(modules, "@huggingface"));
  const manifest = { name: "hubserve", type: "module", exports: "./index.ts" };
  writeFileSync(join(modules, "hubserve/package.json"), JSON.stringify(manifest));
  const index = `export * from ${JSON.stringify(join(ROOT, "runtime/index.ts"))};\n`;
  writeFileSync(join(modules, "hubserve/index.ts"), index);
}

/** `npx tsx --test handler.test.ts`, with the tsx of this checkout. */
async function runOwnTest(folder: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), "--test", "handler.test.ts"],
    { cwd: folder, env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => (output += String(data)));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

async function call(folder: string, payload: unknown): Promise<unknown> {
  const { code, stdout, stderr } = await runHubserve({
    args: ["call", folder, JSON.stringify(payload), "--json"],
  });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim().split("\n").length, 1);
  return JSON.parse(stdout);
}

interface Label {
  readonly label: string;
  readonly score: number;
}

test("a handler for text classification answers as the default handler does", async () => {
  await using repository = await copyOf("seqcls-bert-2way");
  const payload = { inputs: ["Bloomberg publishes a report", "I love you"] };
  const expected = (await call(repository.path, payload)) as Label[];

  const { code, stdout, stderr } = await runHubserve({ args: ["init", repository.path] });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Wrote handler\.ts, handler\.test\.ts, requirements\.json, README\.md in /);
  assert.match(stdout, /text-classification, which the architecture BertFor/);
  assert.match(stdout, /^ {2}hubserve call .*\n +runs it on one payload$/m);
  assert.match(stdout, /^ {2}hubserve push /m);

  const answer = (await call(repository.path, payload)) as Label[];
  assert.deepEqual(
    answer.map(({ label }) => label),
    expected.map(({ label }) => label),
  );
  for (const [index, { score }] of answer.entries())
    assert.ok(Math.abs(score - expected[index]!.score) < 0.02, `${score} beside the default's`);

  installHere(repository.path);
  const own = await runOwnTest(repository.path);
  assert.equal(own.code, 0, own.output);
  assert.match(own.output, /the handler answers its example/);
});

test("a handler for embeddings pools as the repository says, and its own test sees what breaks it", async () => {
  await using repository = await copyOf("minilm-embed");
  const payload = { inputs: ["a small cat", "a large dog"] };
  const expected = (await call(repository.path, payload)) as number[][];
  const { stdout } = await runHubserve({ args: ["init", "--json"], cwd: repository.path });
  const { task, files } = JSON.parse(stdout) as { task: string; files: string[] };
  assert.equal(task, "feature-extraction");
  assert.deepEqual(files, ["handler.ts", "handler.test.ts", "requirements.json", "README.md"]);

  const answer = (await call(repository.path, payload)) as number[][];
  assert.equal(answer.length, 2);
  for (const [row, vector] of answer.entries())
    for (const [column, value] of vector.entries())
      assert.ok(Math.abs(value - expected[row]![column]!) < 0.02);

  installHere(repository.path);
  const own = await runOwnTest(repository.path);
  assert.equal(own.code, 0, own.output);
  const handler = join(repository.path, "handler.ts");
  writeFileSync(handler, readFileSync(handler, "utf8").replace("vectors.tolist()", "[]"));
  assert.notEqual((await runOwnTest(repository.path)).code, 0);
});

test("what is there is left alone, unless told otherwise; the README's section stands once", async () => {
  await using repository = await copyOf("seqcls-bert-2way");
  await repository.write("handler.mjs", "export default class {}\n");
  const refused = await runHubserve({ args: ["init", repository.path] });
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /has handler\.mjs already; --force writes over them/);
  rmSync(join(repository.path, "handler.mjs"));
  const card = readFileSync(join(repository.path, "README.md"), "utf8");

  assert.equal((await runHubserve({ args: ["init", repository.path] })).code, 0);
  await repository.write("handler.ts", "mine\n");
  const again = await runHubserve({ args: ["init", repository.path] });
  assert.equal(again.code, 2);
  assert.equal(readFileSync(join(repository.path, "handler.ts"), "utf8"), "mine\n");
  assert.equal((await runHubserve({ args: ["init", repository.path, "--force"] })).code, 0);
  const readme = readFileSync(join(repository.path, "README.md"), "utf8");
  assert.ok(readme.startsWith(card));
  assert.equal(readme.match(/<!-- hubserve -->/g)?.length, 1);
});

test("--bare writes a handler without a model, which works", async () => {
  await using repository = await makeRepository({});
  const none = await runHubserve({ args: ["init", repository.path] });
  assert.equal(none.code, 1);
  assert.match(none.stderr, /config\.json/);
  assert.equal((await runHubserve({ args: ["init", repository.path, "--bare"] })).code, 0);
  assert.deepEqual(await call(repository.path, { inputs: "two words" }), {
    text: "two words",
    words: 2,
  });
  installHere(repository.path);
  const own = await runOwnTest(repository.path);
  assert.equal(own.code, 0, own.output);
});

test("a task that transformers.js cannot run in Node is refused with what to do", async () => {
  await using repository = await copyOf("tiny-whisper");
  const { code, stderr } = await runHubserve({ args: ["init", repository.path] });
  assert.equal(code, 1);
  assert.match(stderr, /Cannot write a handler for automatic-speech-recognition: .*--bare/);
});
