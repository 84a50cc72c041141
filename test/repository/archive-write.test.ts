import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../runtime/observe/log.ts";
import { collectFiles } from "../../runtime/repository/archive-files.ts";
import {
  ARCHIVE_FORMATS,
  writeArchive,
  type ArchiveFormat,
} from "../../runtime/repository/archive-write.ts";
import { openArchive } from "../../runtime/repository/archive.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-archiver-"));
after(() => rmSync(root, { recursive: true, force: true }));

const source = join(root, "source");
const FILES = {
  "handler.ts": "export class EndpointHandler {}",
  "model/config.json": "{}",
  "model/onnx/model.onnx": "weights ".repeat(1000),
  "model/.git/HEAD": "x",
  "model/__pycache__/a.pyc": "x",
  "model/old.mar": "x",
  "model/.DS_Store": "x",
  "model/b.pyc": "x",
  "labels-1.json": "{}",
  "labels-2.json": "{}",
  "other/config.json": '{"other": 1}',
};
for (const [name, content] of Object.entries(FILES)) {
  mkdirSync(join(source, name, ".."), { recursive: true });
  writeFileSync(join(source, name), content);
}

let count = 0;
async function write(format: ArchiveFormat, more: { force?: boolean; exportPath?: string } = {}) {
  const exportPath = more.exportPath ?? join(root, `export-${++count}`);
  mkdirSync(exportPath, { recursive: true });
  return writeArchive({
    manifest: {
      runtime: "node",
      modelName: "bert",
      modelVersion: "1.0",
      handler: "handler.ts",
      configFile: "labels-1.json",
      serializedFile: "model.onnx",
    },
    files: collectFiles(source, ["handler.ts"], "model, labels-*.json"),
    exportPath,
    format,
    force: more.force ?? false,
    archiverVersion: "1.2.3",
    now: new Date(2026, 10, 21, 3, 59, 9),
  });
}

const NAMES = ["config.json", "handler.ts", "labels-1.json", "labels-2.json", "onnx/model.onnx"];

test("collectFiles() takes folders apart one level, expands patterns, and leaves caches out", () => {
  const names = (extra?: string) => collectFiles(source, [], extra).map(({ name }) => name);
  assert.deepEqual(names("handler.ts,model,labels-?.json"), NAMES);
  assert.deepEqual(names("labels-[!2].json"), ["labels-1.json"]);
  assert.deepEqual(names("mod*/config.*"), ["config.json"]);
  assert.deepEqual(names(" "), []);
  assert.deepEqual(names("model/config.json,model"), ["config.json", "onnx/model.onnx"]);
});

const REFUSED: readonly (readonly [files: string[], extra: string, sentence: RegExp])[] = [
  [["none.pt"], "", /^Cannot make the archive: there is no file none\.pt$/],
  [["model"], "", /there is no file model$/],
  [[], "none-*.json", /there is no file none-\*\.json$/],
  [
    [],
    "model,other",
    /both .*model\/config\.json and .*other\/config\.json would be config\.json$/,
  ],
];
for (const [files, extra, message] of REFUSED) {
  test(`collectFiles() refuses ${JSON.stringify([...files, extra])} with a sentence`, () => {
    assert.throws(() => collectFiles(source, files, extra), { code: "INVALID_OPTION", message });
  });
}

for (const format of ARCHIVE_FORMATS) {
  test(`what writeArchive() makes as ${format} is what openArchive() reads`, async () => {
    const path = await write(format);
    const opened = await openArchive(path, {
      cacheDir: join(root, `cache-${format}`),
      signal: new AbortController().signal,
      log: silentLog(),
    });
    for (const name of NAMES) {
      const original = name in FILES ? name : `model/${name}`;
      assert.equal(
        readFileSync(join(opened.path, name), "utf8"),
        FILES[original as keyof typeof FILES],
      );
    }
    assert.equal(opened.manifest?.modelName, "bert");
    assert.equal(opened.manifest?.handler, "handler.ts");
  });

  test(`writeArchive() makes the same ${format} of files of another time`, async () => {
    const first = await write(format);
    utimesSync(join(source, "handler.ts"), 1000 * ++count, 1000);
    const second = await write(format);
    if (format !== "no-archive") assert.equal(hash(first), hash(second));
    assert.deepEqual(readdirSync(join(first, "..")), readdirSync(join(second, "..")));
  });

  test(`writeArchive() overwrites a ${format} only when told to, and leaves no other file`, async () => {
    const path = await write(format);
    const exportPath = join(path, "..");
    await assert.rejects(write(format, { exportPath }), {
      message: `Cannot make the archive: ${path} already exists; --force overwrites it`,
    });
    assert.equal(await write(format, { exportPath, force: true }), path);
    assert.equal(readdirSync(exportPath).length, 1);
  });
}

function hash(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

test("a .mar is deflated, and stored with zip-store", async () => {
  const [small, large] = [await write("default"), await write("zip-store")];
  assert.ok(readFileSync(small).length < 2500);
  assert.ok(readFileSync(large).length > 8000);
});

test("the manifest has the keys of torch-model-archiver in its order", async () => {
  const path = await write("no-archive");
  assert.equal(
    readFileSync(join(path, "MAR-INF/MANIFEST.json"), "utf8"),
    `{
  "createdOn": "21/11/2026 03:59:09",
  "runtime": "node",
  "model": {
    "modelName": "bert",
    "serializedFile": "model.onnx",
    "handler": "handler.ts",
    "modelVersion": "1.0",
    "configFile": "labels-1.json"
  },
  "archiverVersion": "1.2.3"
}`,
  );
});

test("writeArchive() leaves nothing behind when a file goes away meanwhile", async () => {
  for (const format of ARCHIVE_FORMATS) {
    const exportPath = join(root, `broken-${format}`);
    mkdirSync(exportPath);
    const pending = writeArchive({
      manifest: { runtime: "node", modelName: "bert", modelVersion: "1.0" },
      files: [{ name: "gone.txt", path: join(root, "gone.txt") }],
      exportPath,
      format,
      force: false,
      archiverVersion: "1",
      now: new Date(),
    });
    await assert.rejects(pending, { code: "ENOENT" });
    assert.deepEqual(readdirSync(exportPath), []);
    assert.ok(!existsSync(join(exportPath, "bert.mar")));
  }
});
