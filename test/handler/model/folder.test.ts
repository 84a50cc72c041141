import assert from "node:assert/strict";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { EMBEDDED, variantOf } from "../../support/goldens.ts";

const CONFIG = { model_type: "bert", architectures: ["BertModel"] };

test("readModelFolder() finds the model at the repository's root", async () => {
  await using repository = await variantOf(undefined, {
    "config.json": CONFIG,
    "onnx/model.onnx": "",
    "README.md": "---\npipeline_tag: fill-mask\n---\n# A model\n",
  });
  const folder = await readModelFolder(repository.path);
  assert.equal(folder.prefix, "");
  assert.deepEqual(folder.files, ["README.md", "config.json", "onnx/model.onnx"]);
  assert.equal(folder.pipelineTag, "fill-mask");
  assert.equal(folder.config.model_type, "bert");
  assert.deepEqual(folder.warnings, []);
});

test("readModelFolder() finds the embedded model in model/", async () => {
  const folder = await readModelFolder(EMBEDDED);
  assert.equal(folder.prefix, "model/");
  assert.equal(folder.path, join(EMBEDDED, "model/"));
  assert.deepEqual(folder.config.architectures, ["DistilBertForSequenceClassification"]);
});

test("readModelFolder() prefers the model folder's card to the repository's", async () => {
  await using repository = await variantOf(undefined, {
    "model/config.json": CONFIG,
    "README.md": "---\npipeline_tag: fill-mask\n---\n",
    "model/README.md": "---\r\ntags:\r\n- a\r\npipeline_tag: feature-extraction\r\n---\r\ntext",
  });
  assert.equal((await readModelFolder(repository.path)).pipelineTag, "feature-extraction");
});

test("readModelFolder() lives with any card", async () => {
  const cards: readonly (readonly [card: string, tag: string | undefined, warnings: number])[] = [
    ["# No front matter\n---\npipeline_tag: no\n---\n", undefined, 0],
    ["---\nlicense: mit\n---\n", undefined, 0],
    ["---\n\n---\n", undefined, 0],
    ["---\npipeline_tag:\n---\n", undefined, 0],
    ["---\n{[ not yaml\n---\n", undefined, 1],
    ["---\n- a list\n---\n", undefined, 1],
    ["---\npipeline_tag: [a, b]\n---\n", undefined, 1],
    ["\uFEFF---\npipeline_tag: fill-mask\n---", "fill-mask", 0],
  ];
  for (const [card, tag, warnings] of cards) {
    await using repository = await variantOf(undefined, {
      "config.json": CONFIG,
      "README.md": card,
    });
    const folder = await readModelFolder(repository.path);
    assert.equal(folder.pipelineTag, tag, card);
    assert.equal(folder.warnings.length, warnings, card);
  }
});

test("readModelFolder() follows links to files as in the Hub's cache, not to folders", async () => {
  await using blobs = await variantOf(undefined, { blob: JSON.stringify(CONFIG), "deep/file": "" });
  await using repository = await variantOf(undefined, {
    "README.md": "",
    ".git/config": "",
    "node_modules/x/index.js": "",
  });
  await symlink(join(blobs.path, "blob"), join(repository.path, "config.json"));
  await symlink(join(blobs.path, "missing"), join(repository.path, "broken.json"));
  await symlink(repository.path, join(repository.path, "ring"));
  await mkdir(join(repository.path, "a/b/c/d/e"), { recursive: true });
  const folder = await readModelFolder(repository.path);
  assert.deepEqual(folder.files, ["README.md", "config.json"]);
});

test("readModelFolder() refuses what is no model, and says what it found", async () => {
  await using empty = await variantOf(undefined, {});
  await using other = await variantOf(undefined, { "a.txt": "", "b.txt": "" });
  await using broken = await variantOf(undefined, { "config.json": "{" });
  await using odd = await variantOf(undefined, { "config.json": { architectures: "Bert" } });
  await using list = await variantOf(undefined, { "model/config.json": "[]" });
  const refusals: readonly (readonly [path: string, message: RegExp])[] = [
    [empty.path, /^Cannot read the model: wanted config\.json in .*, found no file at all$/],
    [other.path, /, found only a\.txt, b\.txt$/],
    [broken.path, /^Cannot read config\.json: .*JSON/],
    [
      odd.path,
      /^Cannot read config\.json: "architectures" is not what was wanted \(a list of strings\)$/,
    ],
    [list.path, /^Cannot read model\/config\.json: it is not what was wanted/],
    [join(empty.path, "missing"), /^Cannot read the model's folder .*: ENOENT$/],
  ];
  for (const [path, message] of refusals) {
    await assert.rejects(readModelFolder(path), { code: "MODEL_INVALID", message });
  }
});
