/**
 * `hubserve archive` and what it makes, served by the program itself.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { modelPath } from "../support/goldens.ts";
import { runHubserve, startHubserve } from "../support/hubserve.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-archive-cli-"));
const env = { XDG_CACHE_HOME: join(root, "cache") };
const store = join(root, "store");

before(() => {
  mkdirSync(store);
  mkdirSync(join(root, "lib"));
  writeFileSync(
    join(root, "greet.ts"),
    'import { greet } from "./words.ts";\nexport class EndpointHandler {\n' +
      "  call({ inputs }: { inputs: unknown }) { return [greet(inputs)]; }\n}\n",
  );
  writeFileSync(join(root, "lib/words.ts"), "export const greet = (x: unknown) => `Hello ${x}`;\n");
});
after(() => rmSync(root, { recursive: true, force: true }));

const archive = (...args: string[]) => runHubserve({ args: ["archive", ...args], cwd: root, env });
const GREET = ["--model-name", "greet", "--version", "2.0", "--handler", "greet.ts"];

test("hubserve archive packs a handler with its files, prints where, and the server serves it", async () => {
  const made = await archive(...GREET, "--extra-files", "lib", "--export-path", "store");
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout, `${join(store, "greet.mar")}\n`);

  await using server = await startHubserve({ args: ["store/greet.mar"], cwd: root, env });
  await server.line(/Ready after/);
  assert.deepEqual(await (await server.post("Ada")).json(), ["Hello Ada"]);
  const named = await fetch(`${server.url}/predictions/greet/2.0`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"inputs":"Bob"}',
  });
  assert.equal(named.status, 200, "its name and version are the manifest's");
});

const FORMATS = { tgz: "seq.tar.gz", "zip-store": "seq.mar", "no-archive": "seq" };
for (const [format, file] of Object.entries(FORMATS)) {
  test(`a model with no handler, archived as ${format}, is served by the default handler`, async () => {
    const folder = join(root, format);
    mkdirSync(folder);
    const model = modelPath("seqcls-bert-2way");
    const flags = ["--model-name", "seq", "-v", "1.0", "--extra-files", model, "-f"];
    const made = await archive(...flags, "--archive-format", format, "--export-path", folder);
    assert.equal(made.code, 0, made.stderr);
    await using server = await startHubserve({ args: [join(folder, file)], cwd: root, env });
    await server.line(/Ready after/);
    const response = await fetch(`${server.url}/predictions/seq`, {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: "The bank rejected my application.",
    });
    assert.equal(await response.text(), "Not Accepted");
  });
}

const REFUSED: readonly (readonly [args: readonly string[], sentence: string])[] = [
  [["--version", "1"], "wanted --model-name"],
  [["--model-name", "a"], "wanted --version"],
  [["--model-name", "../a", "-v", "1"], '--model-name: found "../a", wanted letters, digits'],
  [[...GREET.slice(0, 4), "--handler", "none.ts"], "--handler: there is no file none.ts"],
  [[...GREET.slice(0, 4), "--serialized-file", "x.onnx"], "there is no file x.onnx"],
  [[...GREET, "--export-path", "nowhere"], "--export-path: there is no folder nowhere"],
  [[...GREET, "--runtime", "ruby"], '--runtime: found "ruby", wanted one of node, python, python3'],
  [[...GREET, "--archive-format", "rar"], '--archive-format: found "rar", wanted one of default'],
  [[...GREET, "--extra-file", "lib"], 'did you mean "--extra-files"'],
];
for (const [args, sentence] of REFUSED) {
  test(`hubserve archive ${args.join(" ")} is refused with a sentence`, async () => {
    const { code, stderr, stdout } = await archive(...args);
    assert.equal(code, 2);
    assert.match(stderr, /ERROR Cannot make the archive: /);
    assert.ok(stderr.includes(sentence), stderr);
    assert.equal(stdout, "");
  });
}

test("a broken archive stops the start with one sentence and leaves the store as it was", async () => {
  const whole = readFileSync(join(store, "greet.mar"));
  writeFileSync(join(store, "broken.mar"), whole.subarray(0, whole.length / 2));
  const before = readdirSync(store);
  const cached = readdirSync(join(root, "cache/hubserve/archives"));
  const { code, stderr } = await runHubserve({
    args: ["store/broken.mar", "--port", "0"],
    cwd: root,
    env,
  });
  assert.equal(code, 1);
  assert.match(stderr, /ERROR Cannot open the archive "broken\.mar": it is damaged/);
  assert.deepEqual(readdirSync(store), before);
  assert.deepEqual(readdirSync(join(root, "cache/hubserve/archives")), cached);
});
