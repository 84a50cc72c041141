import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { RuntimeError } from "../../runtime/errors.ts";
import { createLog } from "../../runtime/observe/log.ts";
import { parseModelConfig, readModelConfig } from "../../runtime/repository/model-config.ts";
import { sizeOfWeights } from "../../runtime/repository/weights-size.ts";

const FILE = "model-config.yaml";

/** What the file says, and the warnings it gave. */
function parse(text: string) {
  const lines: string[] = [];
  const log = createLog({ write: (line) => lines.push(line) });
  return { ...parseModelConfig(FILE, text, log), lines };
}

test("parseModelConfig() reads TorchServe's keys in TorchServe's units", () => {
  const { settings, handler, lines } = parse(`
# TorchServe's frontend takes the first seven, its handlers the rest
minWorkers: 1
maxWorkers: 4
batchSize: 8
maxBatchDelay: 100
responseTimeout: 30
startupTimeout: 1.5
jobQueueSize: 50
handler:
  model_name: bert-base-uncased
  do_lower_case: true
`);
  assert.deepEqual(settings, {
    minWorkers: 1,
    maxWorkers: 4,
    batchSize: 8,
    maxBatchDelayMs: 100,
    requestTimeoutMs: 30_000,
    startupTimeoutMs: 1500,
    jobQueueSize: 50,
  });
  assert.deepEqual(handler, { model_name: "bert-base-uncased", do_lower_case: true });
  assert.deepEqual(lines, []);
});

test("parseModelConfig() says once that pt2 changes nothing, where it asks for something", () => {
  const text = "pt2 in model-config.yaml changes nothing here: onnxruntime optimizes the graph";
  for (const asks of [
    "pt2: {compile: {enable: True, backend: inductor}}",
    "pt2: {compile: {backend: inductor}}",
    "pt2: inductor",
    "pt2: {export: {aot_compile: true}}",
  ]) {
    const { lines } = parse(asks);
    assert.equal(lines.length, 1, asks);
    assert.ok(lines[0]?.includes(text), lines[0]);
  }
  assert.deepEqual(parse("pt2: {compile: {enable: False}}").lines, []);
  assert.deepEqual(parse("pt2:").lines, []);
});

test("parseModelConfig() reads settings within each other as deep as people write them", () => {
  const text = `handler: ${'{"a": ['.repeat(20)}1${"]}".repeat(20)}`;
  assert.equal(JSON.stringify(parse(text).handler), text.slice(9).replaceAll(" ", ""));
});

test("parseModelConfig() finds no settings for the handler where the section is empty", () => {
  assert.equal(parse("handler:\n").handler, undefined);
  assert.equal(parse("handler:\n  # mode: text_generation\n").handler, undefined);
});

test("parseModelConfig() takes numbers in quotes, as TorchServe's users write them", () => {
  const { settings } = parse("batchSize: '4'\nresponseTimeout: \"120\"\n");
  assert.deepEqual(settings, { batchSize: 4, requestTimeoutMs: 120_000 });
});

test("parseModelConfig() finds nothing in a file of comments", () => {
  for (const text of ["", "# nothing yet\n", "---\n", "null"]) {
    assert.deepEqual(parse(text), { file: FILE, settings: {}, handler: undefined, lines: [] });
  }
});

test("parseModelConfig() names all keys it does not know in one warning, with what was meant", () => {
  const { settings, lines } = parse(
    "batchsize: 2\ndeviceType: cpu\ntorchrun: {nproc-per-node: 4}\n",
  );
  assert.deepEqual(settings, {});
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /Ignoring "batchsize" \(did you mean "batchSize"\), "deviceType", "torchrun" in model-config\.yaml: /,
  );
});

test("parseModelConfig() leaves a key named __proto__ without effect", () => {
  const { settings, handler } = parse("__proto__: {batchSize: 2}\nhandler: {__proto__: {a: 1}}\n");
  assert.deepEqual(settings, {});
  assert.equal((handler as { a?: unknown }).a, undefined);
  assert.equal(({} as { batchSize?: unknown }).batchSize, undefined);
});

const LAUGHS = `a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
handler: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
`;

const REFUSED: readonly [text: string, sentence: RegExp][] = [
  ["batchSize: many", /: batchSize: found "many", wanted a whole number from 1 to 1024$/],
  ["batchSize: ''", /: batchSize: found "", wanted a whole number from 1 to 1024$/],
  ["batchSize: 2.5", /: batchSize: found 2\.5, wanted a whole number/],
  ["batchSize: 0", /: batchSize: found 0, wanted a whole number from 1 to 1024$/],
  ["minWorkers: true", /: minWorkers: found true, wanted a whole number from 1 to 256$/],
  ["minWorkers:", /: minWorkers: found null, wanted a whole number from 1 to 256$/],
  ["maxBatchDelay: -1", /: maxBatchDelay: found -1, wanted milliseconds from 0 to 60000$/],
  ["responseTimeout: 2m", /: responseTimeout: found "2m", wanted seconds, above 0 and at most/],
  ["startupTimeout: .inf", /: startupTimeout: .*wanted seconds/],
  ["jobQueueSize: [1]", /: jobQueueSize: found \[1\], wanted a whole number from 0 to 1000000$/],
  ["minWorkers: 4\nmaxWorkers: 2", /: minWorkers: found 4, wanted at most maxWorkers, 2$/],
  ["handler: bert", /: handler: found "bert", wanted keys and values, such as "mode: sequence_/],
  ["handler: [mode]", /: handler: found \["mode"\], wanted keys and values/],
  ["handler: {max_length: .inf}", /: handler: found \{"max_length":null\}, wanted keys and values/],
  [`handler: ${"[".repeat(3000)}${"]".repeat(3000)}`, /: found more than 60 levels of lists and/],
  [`handler:\n  ${"- ".repeat(50_000)}1`, /: found more than 60 levels of lists and keys within/],
  ["- batchSize", /: found no keys, wanted lines such as "batchSize: 8"$/],
  ["batchSize 8", /: found no keys, wanted/],
  ["batchSize: 1\nbatchSize: 2", /: Map keys must be unique at line 2/],
  ["batchSize: [", /at line 1/],
  ["handler: !!python/object:os.system x", /: Unresolved tag: \S*python\/object:os\.system/],
  ["handler: !!binary aGk=", /: Unresolved tag/],
  ["batchSize: 1\n---\nbatchSize: 2", /: Source contains multiple documents/],
  [LAUGHS, /: Excessive alias count/],
];

for (const [text, sentence] of REFUSED) {
  test(`parseModelConfig() refuses ${JSON.stringify(text.slice(0, 40))} with one sentence`, () => {
    assert.throws(
      () => parse(text),
      (error: RuntimeError) => {
        assert.equal(error.code, "MODEL_INVALID");
        assert.match(error.message, sentence);
        assert.match(error.message, /^Cannot read model-config\.yaml: [^\n]+$/);
        return true;
      },
    );
  });
}

test("readModelConfig() finds the file under either name, and nothing where there is none", () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-"));
  const log = createLog({ level: "error" });
  assert.equal(readModelConfig(folder, log), undefined);
  writeFileSync(join(folder, "model-config.yml"), "batchSize: 2\n");
  assert.deepEqual(readModelConfig(folder, log), {
    file: "model-config.yml",
    settings: { batchSize: 2 },
    handler: undefined,
  });
  writeFileSync(join(folder, "model-config.yaml"), "batchSize: 3\n");
  assert.equal(readModelConfig(folder, log)?.file, "model-config.yaml");
  writeFileSync(join(folder, "model-config.yaml"), `handler: ${"x".repeat(2 ** 20)}\n`);
  assert.throws(() => readModelConfig(folder, log), /found 1048586 bytes, wanted at most 1048576$/);
  rmSync(folder, { recursive: true });
});

test("sizeOfWeights() counts the files of the dtype that is served, and none where there are none", () => {
  const model = fileURLToPath(new URL("../../model/", import.meta.url));
  assert.equal(sizeOfWeights(model), 1_390_806);
  assert.equal(sizeOfWeights(model, "fp32"), 5_360_769);
  assert.equal(sizeOfWeights(join(model, "..")), 1_390_806, "the weights of the folder model/");
  assert.equal(sizeOfWeights(join(model, "onnx", "nowhere")), undefined);
});
