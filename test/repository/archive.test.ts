import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { createLog, silentLog } from "../../runtime/observe/log.ts";
import { identifyArchive, openArchive } from "../../runtime/repository/archive.ts";
import { rawTar, rawTgz, rawZip, type RawEntry } from "../support/raw-archives.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-archive-"));
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;

/** A file of its own, and a cache of its own. */
function place(content: Buffer, file = "m.mar"): { path: string; cacheDir: string } {
  const folder = join(root, String(++count));
  mkdirSync(join(folder, "store"), { recursive: true });
  const path = join(folder, "store", file);
  writeFileSync(path, content);
  return { path, cacheDir: join(folder, "cache") };
}

const options = { signal: new AbortController().signal, log: silentLog() };

function manifest(more: object = {}, model: object = {}): RawEntry {
  const content = {
    createdOn: "21/11/2026 03:59:09",
    runtime: "node",
    model: { modelName: "bert", handler: "handler.ts", modelVersion: "2.5", ...model },
    archiverVersion: "0.12.0",
    ...more,
  };
  return { name: "MAR-INF/MANIFEST.json", content: JSON.stringify(content), isDeflated: true };
}

const HANDLER: RawEntry = { name: "handler.ts", content: "export class EndpointHandler {}" };

test("openArchive() unpacks a .mar once, into the cache, under its hash", async () => {
  const entries = [HANDLER, { name: "onnx/", mode: 0o040_755 }, { name: "onnx/a.txt" }, manifest()];
  const { path, cacheDir } = place(rawZip(entries));
  const opened = await openArchive(path, { ...options, cacheDir });
  assert.equal(readFileSync(join(opened.path, "handler.ts"), "utf8"), HANDLER.content);
  assert.ok(existsSync(join(opened.path, "onnx/a.txt")));
  assert.match(opened.path, /archives\/[\da-f]{64}$/);
  assert.equal(opened.manifest?.modelName, "bert");
  assert.equal(opened.manifest?.modelVersion, "2.5");

  writeFileSync(join(opened.path, "onnx/a.txt"), "kept");
  const again = await openArchive(path, { ...options, cacheDir });
  assert.equal(again.path, opened.path);
  assert.equal(readFileSync(join(opened.path, "onnx/a.txt"), "utf8"), "kept", "not unpacked again");
});

test("openArchive() strips the top folder of a .tar.gz, and keeps one that has none", async () => {
  const inside = [manifest(), HANDLER, { name: "deep/a.txt", content: "a" }];
  const within = inside.map((entry) => ({ ...entry, name: `bert/${String(entry.name)}` }));
  for (const entries of [within, inside, [{ name: "./", type: "5" }, ...inside]]) {
    const { path, cacheDir } = place(rawTgz(entries), "m.tar.gz");
    const opened = await openArchive(path, { ...options, cacheDir });
    assert.deepEqual(readdirSync(opened.path).sort(), ["MAR-INF", "deep", "handler.ts"]);
    assert.equal(opened.manifest?.modelVersion, "2.5");
    assert.deepEqual(readdirSync(join(cacheDir, "archives")).length, 1);
  }
});

test("openArchive() tells the format from the bytes, not from the name", async () => {
  const { path, cacheDir } = place(rawTgz([HANDLER]), "m.mar");
  const opened = await openArchive(path, { ...options, cacheDir });
  assert.deepEqual(readdirSync(opened.path), ["handler.ts"]);
  assert.equal(opened.manifest, undefined);
});

const IS_ROOT = process.getuid?.() === 0;
const READ_ONLY = "openArchive() reads archives from a place that cannot be written to";

test(
  READ_ONLY,
  { skip: IS_ROOT && "root may write anywhere; the next test is nobody" },
  async () => {
    const { path, cacheDir } = place(rawZip([HANDLER]));
    chmodSync(join(path, ".."), 0o555);
    assert.throws(() => writeFileSync(join(path, "../x"), ""), { code: "EACCES" });
    const opened = await openArchive(path, { ...options, cacheDir });
    assert.deepEqual(readdirSync(join(path, "..")), ["m.mar"]);
    assert.ok(existsSync(join(opened.path, "handler.ts")));
    chmodSync(join(path, ".."), 0o755);
  },
);

test(`${READ_ONLY}, as nobody`, { skip: !IS_ROOT && "only root can become nobody" }, (t) => {
  const NOBODY = 65_534;
  const { path, cacheDir } = place(rawZip([HANDLER]));
  mkdirSync(cacheDir);
  chownSync(cacheDir, NOBODY, NOBODY);
  for (const folder of [root, join(path, "..", ".."), join(path, "..")]) chmodSync(folder, 0o755);
  const source = fileURLToPath(new URL("../../runtime/repository/archive.ts", import.meta.url));
  const code = `
    const fs = await import("node:fs");
    try { fs.writeFileSync(${JSON.stringify(join(path, "../x"))}, ""); console.log("writable"); } catch (error) { console.log(error.code); }
    const { openArchive } = await import(${JSON.stringify(pathToFileURL(source).href)});
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const options = { cacheDir: ${JSON.stringify(cacheDir)}, signal: new AbortController().signal, log };
    const opened = await openArchive(${JSON.stringify(path)}, options);
    console.log(fs.readdirSync(opened.path).join());
  `;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", code],
    {
      uid: NOBODY,
      gid: NOBODY,
      cwd: "/",
      env: { HOME: cacheDir, TMPDIR: cacheDir },
      encoding: "utf8",
    },
  );
  if (/EACCES/.test(stderr)) {
    t.skip("nobody cannot read this checkout");
    return;
  }
  assert.equal(status, 0, stderr);
  assert.deepEqual(stdout.trim().split("\n"), ["EACCES", "handler.ts"]);
  assert.deepEqual(readdirSync(join(path, "..")), ["m.mar"]);
});

test("two that open one archive at once both get it", async () => {
  const { path, cacheDir } = place(rawZip([HANDLER, manifest()]));
  const opened = await Promise.all(
    [1, 2, 3].map(() => openArchive(path, { ...options, cacheDir })),
  );
  assert.equal(new Set(opened.map((each) => each.path)).size, 1);
  assert.deepEqual(readdirSync(join(cacheDir, "archives")).length, 1);
});

test("identifyArchive() reads the manifest of a zip without unpacking it", async () => {
  const { path, cacheDir } = place(rawZip([HANDLER, manifest({}, { modelVersion: 3 })]));
  const found = await identifyArchive(path, { ...options, cacheDir });
  assert.equal(found?.modelName, "bert");
  assert.equal(found?.modelVersion, "3");
  assert.ok(!existsSync(cacheDir));
  const bare = place(rawZip([HANDLER]));
  assert.equal(await identifyArchive(bare.path, { ...options, ...bare }), undefined);
});

// One refusal after another: each with its sentence, and with nothing left in the cache or beside the archive.

const big = Buffer.alloc(20 * 1024 ** 2);
const HOSTILE: readonly (readonly [title: string, content: Buffer, sentence: RegExp])[] = [
  ["a name that leads out", rawZip([{ name: "../out.txt" }]), /"\.\.\/out\.txt" leads out/],
  ["a name that leads out further in", rawZip([{ name: "a/../../b" }]), /leads out of its folder/],
  ["an absolute name", rawZip([{ name: "/etc/passwd" }]), /"\/etc\/passwd" is absolute/],
  ["a drive letter", rawZip([{ name: "C:/x" }]), /"C:\/x" is absolute/],
  ["a backslash", rawZip([{ name: "a\\..\\b" }]), /characters that no file should have/],
  ["a NUL", rawZip([{ name: "a\0.ts" }]), /characters that no file should have/],
  ["bytes that are no UTF-8", rawZip([{ name: Buffer.from([0xff, 0xfe]) }]), /characters that no/],
  [
    "a symbolic link",
    rawZip([{ name: "l", content: "/etc", mode: 0o120_777 }]),
    /"l" is a symboli/,
  ],
  ["a device", rawZip([{ name: "d", mode: 0o020_644 }]), /"d" is a device or a pipe/],
  [
    "an encrypted file",
    rawZip([{ name: "s", content: "x", flags: 1, isDeflated: true }]),
    /"s" is encrypted/,
  ],
  ["an unknown method", rawZip([{ name: "z", content: "x", method: 93 }]), /packed by method 93/],
  ["one name twice", rawZip([HANDLER, HANDLER]), /two entries of the name "handler\.ts"/],
  ["names in other letter case", rawZip([HANDLER, { name: "HANDLER.ts" }]), /two entries/],
  ["names composed otherwise", rawZip([{ name: "é" }, { name: "e\u0301" }]), /two entries/],
  [
    "a file as a folder",
    rawZip([{ name: "a" }, { name: "a/b" }]),
    /two entries of the name "a\/b"/,
  ],
  ["a folder as a file", rawZip([{ name: "a/b" }, { name: "a" }]), /two entries of the name "a"/],
  [
    "a bomb",
    rawZip([{ name: "b", content: big, isDeflated: true }]),
    /unpacks to more than 16777216/,
  ],
  [
    "a lie about sizes",
    rawZip([{ name: "b", content: "abc", isDeflated: true, size: 9 }]),
    /damaged/,
  ],
  ["a wrong checksum", rawZip([{ ...HANDLER, crc: 1 }]), /"handler\.ts" has a wrong checksum/],
  ["deep folders", rawZip([{ name: "a/".repeat(17) + "b" }]), /more than 16 folders deep/],
  ["a long name", rawZip([{ name: "n".repeat(256) }]), /is too long/],
  [
    "many files",
    rawZip(Array.from({ length: 10_001 }, (_, i) => ({ name: `${i}` }))),
    /10000 entries/,
  ],
  ["half a zip", rawZip([HANDLER, manifest()]).subarray(0, 300), /damaged/],
  ["something else", Buffer.from("hello"), /neither a zip file/],
  ["nothing", Buffer.alloc(0), /neither a zip file/],
  ["tar: a name that leads out", rawTgz([{ name: "../../out" }]), /leads out/],
  ["tar: an absolute name", rawTgz([{ name: "/etc/x" }]), /is absolute/],
  ["tar: a symbolic link", rawTgz([{ name: "l", type: "2", linkName: "/etc" }]), /a symbolic link/],
  ["tar: a hard link", rawTgz([{ name: "l", type: "1", linkName: "/etc/passwd" }]), /a hard link/],
  ["tar: a device", rawTgz([{ name: "d", type: "3" }]), /"d" is a device/],
  ["tar: a pipe", rawTgz([{ name: "p", type: "6" }]), /"p" is a pipe/],
  ["tar: one name twice", rawTgz([HANDLER, HANDLER]), /two entries/],
  ["tar: a bomb", rawTgz([{ name: "b", content: big }]), /unpacks to more than/],
  ["tar: a bomb after a good file", rawTgz([HANDLER, { name: "b", content: big }]), /more than/],
  ["tar: half of the gzip", rawTgz([HANDLER, manifest()]).subarray(0, 120), /damaged/],
  [
    "tar: half of the tar",
    gzipSync(rawTar([{ name: "a", content: big }]).subarray(0, 700)),
    /damaged|more than/,
  ],
  ["tar: no tar at all", gzipSync(Buffer.from("hello ".repeat(200))), /damaged|neither/],
  ["nothing to serve", rawZip([{ name: "a.txt" }]), /neither a handler\.ts nor ONNX weights/],
  [
    "a manifest that is no JSON",
    rawZip([{ name: "MAR-INF/MANIFEST.json", content: "{" }]),
    /is no JSON/,
  ],
  ["no model", rawZip([manifest({ model: null })]), /: Missing Model entry in manifest file\.$/],
  ["no name", rawZip([manifest({}, { modelName: null })]), /: Model name is not defined\.$/],
  ["no version", rawZip([manifest({}, { modelVersion: "" })]), /: Model version is not defined\.$/],
  [
    "no runtime",
    rawZip([manifest({ runtime: "python4" })]),
    /: Runtime is not defined or invalid\.$/,
  ],
  [
    "a handler that is missing",
    rawZip([manifest({}, { handler: "my.ts" })]),
    /names the handler "my\.ts"/,
  ],
  [
    "a file that is missing",
    rawZip([HANDLER, manifest({}, { configFile: "c.yaml" })]),
    /names "c\.yaml"/,
  ],
];

for (const [title, content, sentence] of HOSTILE) {
  test(`openArchive() refuses ${title} with a sentence, and leaves nothing behind`, async () => {
    const { path, cacheDir } = place(content);
    await assert.rejects(openArchive(path, { ...options, cacheDir }), (error: Error) => {
      assert.equal((error as { code?: string }).code, "REPOSITORY_INVALID", String(error));
      assert.match(error.message, /^Cannot open the archive "m\.mar": /);
      assert.match(error.message, sentence);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
    assert.deepEqual(readdirSync(join(path, "..", "..")).sort(), ["cache", "store"]);
    assert.deepEqual(readdirSync(join(path, "..")), ["m.mar"]);
    assert.deepEqual(readdirSync(join(cacheDir, "archives")), []);
  });
}

test("openArchive() says which archive cannot be read", async () => {
  const pending = openArchive(join(root, "none.mar"), { ...options, cacheDir: root });
  await assert.rejects(pending, {
    code: "REPOSITORY_NOT_FOUND",
    message: 'Cannot open the archive "none.mar": it cannot be read (ENOENT)',
  });
});

test("openArchive() stops when it is told to, and removes what it had unpacked", async () => {
  for (const content of [rawZip([HANDLER]), rawTgz([HANDLER])]) {
    const { path, cacheDir } = place(content);
    const signal = AbortSignal.abort();
    await assert.rejects(openArchive(path, { ...options, signal, cacheDir }), {
      name: "AbortError",
    });
    assert.ok(
      !existsSync(join(cacheDir, "archives")) ||
        readdirSync(join(cacheDir, "archives")).length === 0,
    );
  }
});

test("openArchive() removes what a killed process left half unpacked, once it is old", async () => {
  const { path, cacheDir } = place(rawZip([HANDLER]));
  const [old, young] = ["old", "young"].map((name) =>
    join(cacheDir, "archives", `.unpacking-${name}`),
  );
  for (const folder of [old, young]) mkdirSync(folder ?? "", { recursive: true });
  utimesSync(old ?? "", 0, 0);
  await openArchive(path, { ...options, cacheDir });
  assert.ok(!existsSync(old ?? ""));
  assert.ok(existsSync(young ?? ""), "somebody may be at it");
});

test("a manifest's own names for handler, configuration, packages and weights are found", async () => {
  const entries = [
    { name: "my.ts", content: "export class EndpointHandler {}" },
    { name: "seq.yaml", content: "batchSize: 3" },
    { name: "deps.json", content: "{}" },
    { name: "onnx/bert_quantized.onnx", content: "x" },
    manifest({}, { handler: "my:handle", configFile: "a/seq.yaml", requirementsFile: "deps.json" }),
  ];
  const { path, cacheDir } = place(rawZip(entries));
  const opened = await openArchive(path, { ...options, cacheDir });
  const link = (name: string): string => readlinkSync(join(opened.path, name));
  assert.equal(link("handler.ts"), "my.ts");
  assert.equal(link("model-config.yaml"), "seq.yaml");
  assert.equal(link("requirements.json"), "deps.json");
  assert.equal(link("onnx/model_quantized.onnx"), "bert_quantized.onnx");
});

test("a folder with a MAR-INF is served where it lies, or through links where names differ", async () => {
  const folder = join(root, "bert.model");
  mkdirSync(join(folder, "MAR-INF"), { recursive: true });
  writeFileSync(join(folder, "MAR-INF/MANIFEST.json"), String(manifest().content));
  writeFileSync(join(folder, "handler.ts"), "1");
  const cacheDir = join(root, "folder-cache");
  const opened = await openArchive(folder, { ...options, cacheDir });
  assert.equal(opened.path, folder);
  assert.equal(opened.manifest?.modelName, "bert");

  rmSync(join(folder, "handler.ts"));
  writeFileSync(join(folder, "mine.mjs"), "2");
  const other = manifest({}, { handler: "mine.mjs" });
  writeFileSync(join(folder, "MAR-INF/MANIFEST.json"), String(other.content));
  const linked = await openArchive(folder, { ...options, cacheDir });
  assert.notEqual(linked.path, folder);
  assert.equal(readFileSync(join(linked.path, "handler.mjs"), "utf8"), "2");
  assert.deepEqual(
    readdirSync(folder).sort(),
    ["MAR-INF", "mine.mjs"],
    "the folder stays as it is",
  );
});

test("an archive for Python is served by the default handler where it has ONNX weights, and says so", async () => {
  const lines: string[] = [];
  const entries = [
    { name: "model.onnx", content: "x" },
    { name: "config.json", content: "{}" },
    { name: "vocab.txt", content: "a" },
    { name: "tokenizer.json", content: "{}" },
    { name: "Transformer_handler_generalized.py", content: "import torch" },
    manifest({ runtime: "python" }, { handler: "Transformer_handler_generalized.py" }),
  ];
  const { path, cacheDir } = place(rawZip(entries));
  const log = createLog({ write: (line) => void lines.push(line) });
  await openArchive(path, { ...options, log, cacheDir });
  await openArchive(path, { ...options, log, cacheDir });
  assert.equal(lines.length, 2, "each start says it");
  assert.match(
    lines[0] ?? "",
    /m\.mar is for the runtime python, which is not run: the default handl/,
  );
});

const PYTHON: readonly (readonly [missing: RegExp, task: string, files: readonly RawEntry[]])[] = [
  [
    /it has no ONNX weights \(found pytorch_model\.bin\)/,
    "text-classification",
    [
      { name: "pytorch_model.bin" },
      { name: "setup_config.json", content: '{"mode":"sequence_classification"}' },
    ],
  ],
  [
    /it has no ONNX weights \(found model\.safetensors\)/,
    "token-classification",
    [
      { name: "model.safetensors" },
      { name: "model-config.yaml", content: "handler:\n  mode: token_classification\n" },
    ],
  ],
  [/it has no ONNX weights \(found no weights at all\)/, "<task>", []],
  [/it has no config\.json beside its ONNX weights/, "<task>", [{ name: "model.onnx" }]],
  [
    /it has no tokenizer\.json \(found vocab\.txt, from which Python makes one\)/,
    "<task>",
    [{ name: "model.onnx" }, { name: "config.json" }, { name: "vocab.txt" }],
  ],
];

for (const [missing, task, files] of PYTHON) {
  test(`an archive for Python where ${missing.source} is refused with the commands that mend it`, async () => {
    const python = manifest({ runtime: "python" }, { handler: "h.py" });
    const { path, cacheDir } = place(rawZip([...files, python]));
    await assert.rejects(openArchive(path, { ...options, cacheDir }), (error: Error) => {
      assert.match(error.message, missing);
      assert.match(error.message, /its runtime is python, which is not run here/);
      assert.ok(error.message.includes(`--task ${task} exported`), error.message);
      assert.match(
        error.message,
        /hubserve archive --model-name bert --version 2\.5 --serialized-f/,
      );
      return true;
    });
    assert.deepEqual(readdirSync(join(cacheDir, "archives")), []);
  });
}
