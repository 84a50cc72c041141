/**
 * Archives as torch-model-archiver 0.12 writes them, with Python's own `zipfile` and `tarfile`, which it uses. (The
 * archiver itself is not asked for: its four formats are these calls.)
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { createLog } from "../../runtime/observe/log.ts";
import { identifyArchive, openArchive } from "../../runtime/repository/archive.ts";

/** A folder → the four formats beside it. */
const ARCHIVER = `
import os, shutil, sys, tarfile, zipfile
src, out = sys.argv[1:3]
for name, mode in (("default.mar", zipfile.ZIP_DEFLATED), ("zip-store.mar", zipfile.ZIP_STORED)):
    with zipfile.ZipFile(os.path.join(out, name), "w", mode) as z:
        for root, _, files in os.walk(src):
            for f in files:
                path = os.path.join(root, f)
                z.write(path, os.path.relpath(path, src))
with tarfile.open(os.path.join(out, "tgz.tar.gz"), "w:gz") as t:
    t.add(src, arcname="old")
shutil.copytree(src, os.path.join(out, "no-archive"))
`;

const MANIFEST = {
  createdOn: "21/11/2026 03:59:09",
  runtime: "python",
  model: {
    modelName: "old",
    serializedFile: "model.bin",
    handler: "my_handler.py",
    modelVersion: "1.0",
  },
  archiverVersion: "0.12.0",
};

const CHECKPOINT = { "my_handler.py": "class H: pass", "model.bin": "\\0", "config.json": "{}" };
const EXPORTED = { "my_handler.py": "class H: pass", "model.onnx": "x", "config.json": "{}" };

const root = mkdtempSync(join(tmpdir(), "hubserve-python-"));
after(() => rmSync(root, { recursive: true, force: true }));

const PYTHON = ["python3", "python"].find((name) => spawnSync(name, ["--version"]).status === 0);

/** The archives of these files by format, or `undefined` without Python. */
function archive(name: string, files: Readonly<Record<string, string>>): string {
  const [source, out] = [join(root, `${name}-files`), join(root, name)];
  mkdirSync(join(source, "MAR-INF"), { recursive: true });
  mkdirSync(out);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(source, file), text);
  writeFileSync(join(source, "MAR-INF/MANIFEST.json"), JSON.stringify(MANIFEST, null, 2));
  const { status, stderr } = spawnSync(PYTHON ?? "", ["-c", ARCHIVER, source, out], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  return out;
}

const FORMATS = ["default.mar", "no-archive", "tgz.tar.gz", "zip-store.mar"];

test(
  "archives of Python's with ONNX weights are opened, and the log says once what is served",
  {
    skip: PYTHON === undefined && "there is no Python here",
  },
  async () => {
    const folder = archive("exported", EXPORTED);
    assert.deepEqual(readdirSync(folder).sort(), FORMATS);
    for (const format of FORMATS) {
      const lines: string[] = [];
      const log = createLog({ write: (line) => void lines.push(line) });
      const options = { cacheDir: join(root, "cache"), signal: new AbortController().signal, log };
      const identity = await identifyArchive(join(folder, format), options);
      assert.deepEqual([identity?.modelName, identity?.modelVersion], ["old", "1.0"], format);
      const { path } = await openArchive(join(folder, format), options);
      assert.deepEqual(
        readdirSync(path).sort(),
        ["MAR-INF", "config.json", "model.onnx", "my_handler.py"],
        format,
      );
      assert.equal(lines.length, 1, lines.join("\n"));
      assert.match(lines[0] ?? "", /for the runtime python, which is not run: the default handler/);
    }
  },
);

test(
  "archives of Python's without ONNX weights are refused with the commands that make one",
  {
    skip: PYTHON === undefined && "there is no Python here",
  },
  async () => {
    const folder = archive("checkpoint", CHECKPOINT);
    const log = createLog({ write: () => undefined });
    for (const format of FORMATS) {
      const options = { cacheDir: join(root, "cache"), signal: new AbortController().signal, log };
      await assert.rejects(openArchive(join(folder, format), options), {
        code: "REPOSITORY_INVALID",
        message:
          /no ONNX weights \(found model\.bin\).*`optimum-cli export onnx .*`hubserve archive --model-name old --version 1\.0 /,
      });
    }
  },
);
