import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { assert as assertProperty, nat, property, uint8Array } from "fast-check";
import { InferenceSession } from "onnxruntime-node";

import { isRuntimeError } from "../../runtime/errors.ts";
import { loadHandler } from "../../runtime/handler/load.ts";
import { scanOnnxFile } from "../../runtime/handler/onnx-scan.ts";
import { openSession } from "../../runtime/handler/tensors/session.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { encodeGraph } from "../support/onnx-graph.ts";

const MODELS = fileURLToPath(new URL("../fixtures/models/", import.meta.url));

/** A folder with a model's folder in it, and a secret beside that. */
function makeFolder(t: TestContext): {
  folder: string;
  model: string;
  readonly write: (bytes: Uint8Array) => string;
} {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-scan-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const model = join(folder, "model");
  mkdirSync(model);
  writeFileSync(join(folder, "secret"), Buffer.alloc(64, 7));
  return {
    folder,
    model,
    write(bytes) {
      const file = join(model, "model.onnx");
      writeFileSync(file, bytes);
      return file;
    },
  };
}

/** `y = x + w`, with `w`'s sixteen numbers in the file at `location`. */
const adding = (location: string): Uint8Array =>
  encodeGraph({
    inputs: [{ name: "x", element: "float", shape: [16] }],
    outputs: [{ name: "y", element: "float", shape: [16] }],
    nodes: [{ op: "Add", inputs: ["x", "w"], outputs: ["y"] }],
    constants: [{ name: "w", element: "float", shape: [16], values: [], file: location }],
  });

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return Buffer.from([...out, rest]);
}
const bytes = (field: number, ...content: readonly Uint8Array[]): Buffer => {
  const whole = Buffer.concat(content);
  return Buffer.concat([varint(field * 8 + 2), varint(whole.length), whole]);
};
const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value));
const integer = (field: number, value: number): Buffer =>
  Buffer.concat([varint(field * 8), varint(value)]);

const entry = (key: string, value: string): Buffer => bytes(13, text(1, key), text(2, value));
const outside = Buffer.concat([text(8, "w"), entry("location", "../secret"), integer(14, 1)]);

const wants = (said: RegExp) => (error: unknown) => {
  assert.ok(isRuntimeError(error) && error.code === "MODEL_INVALID", String(error));
  assert.match(error.message, said);
  return true;
};

test("a location outside the model's folder is refused, however it is spelled", (t) => {
  const { folder, model, write } = makeFolder(t);
  writeFileSync(join(model, "weights"), Buffer.alloc(64));
  mkdirSync(join(model, "inner"));
  for (const location of [
    "../secret",
    "./../secret",
    "inner/../../secret",
    "..\\secret",
    join(folder, "secret"),
    "/etc/passwd",
    "",
    ".",
    "..",
    "inner",
    "weights\0",
    "*/_ORT_MEM_ADDR_/*",
    "file:///etc/passwd",
    "../".repeat(3000) + "etc/passwd",
  ])
    assert.throws(
      () => scanOnnxFile(write(adding(location))),
      wants(/^Cannot load model\.onnx: cannot read the tensor "w": /),
      location,
    );
  scanOnnxFile(write(adding("weights")));
  scanOnnxFile(write(adding("./weights")));
});

test("a link out of the model's folder is refused; the Hub's cache, whose links stay in it, is not", (t) => {
  const { folder, model, write } = makeFolder(t);
  symlinkSync(join(folder, "secret"), join(model, "weights"));
  assert.throws(
    () => scanOnnxFile(write(adding("weights"))),
    wants(/"weights" is a link that leads out of the model's folder$/),
  );

  const cache = join(folder, "models--owner--name");
  const snapshot = join(cache, "snapshots", "abc", "onnx");
  mkdirSync(join(cache, "blobs"), { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  writeFileSync(join(cache, "blobs", "1111"), adding("model.onnx_data"));
  writeFileSync(join(cache, "blobs", "2222"), Buffer.alloc(64));
  symlinkSync("../../../blobs/1111", join(snapshot, "model.onnx"));
  symlinkSync("../../../blobs/2222", join(snapshot, "model.onnx_data"));
  scanOnnxFile(join(snapshot, "model.onnx"));
  rmSync(join(snapshot, "model.onnx_data"));
  symlinkSync("../../../../secret", join(snapshot, "model.onnx_data"));
  assert.throws(() => scanOnnxFile(join(snapshot, "model.onnx")), wants(/leads out/));
});

test("external data is found wherever a tensor can stand", (t) => {
  const { write } = makeFolder(t);
  const attribute = (...content: readonly Uint8Array[]): Buffer =>
    bytes(5, text(1, "a"), ...content);
  const nodeWith = (...content: readonly Uint8Array[]): Buffer =>
    bytes(1, text(4, "If"), ...content);
  const places: Readonly<Record<string, Buffer>> = {
    weight: bytes(7, bytes(5, outside)),
    "sparse weight": bytes(7, bytes(15, bytes(1, outside))),
    "indices of a sparse weight": bytes(7, bytes(15, bytes(2, outside))),
    attribute: bytes(7, nodeWith(attribute(bytes(5, outside)))),
    "list of tensors": bytes(7, nodeWith(attribute(bytes(10, outside)))),
    "sparse attribute": bytes(7, nodeWith(attribute(bytes(22, bytes(1, outside))))),
    "list of sparse tensors": bytes(7, nodeWith(attribute(bytes(23, bytes(2, outside))))),
    "inner graph": bytes(7, nodeWith(attribute(bytes(6, bytes(5, outside))))),
    "list of inner graphs": bytes(7, nodeWith(attribute(bytes(11, bytes(5, outside))))),
    "inner graph of an inner graph": bytes(
      7,
      nodeWith(attribute(bytes(6, nodeWith(attribute(bytes(6, bytes(5, outside))))))),
    ),
    function: bytes(25, bytes(7, attribute(bytes(5, outside)))),
    "default of a function's attribute": bytes(25, bytes(11, bytes(5, outside))),
    "training graph": bytes(20, bytes(2, bytes(5, outside))),
    "second graph, which protobuf joins with the first": Buffer.concat([
      bytes(7, text(2, "g")),
      bytes(7, bytes(5, outside)),
    ]),
    "tensor that does not say it": bytes(7, bytes(5, entry("location", "../secret"))),
    "tensor behind many weights": bytes(
      7,
      ...Array.from({ length: 50 }, () => bytes(5, bytes(9, Buffer.alloc(40_000)))),
      bytes(5, outside),
    ),
  };
  for (const [place, file] of Object.entries(places))
    assert.throws(
      () => scanOnnxFile(write(file)),
      wants(/"\.\.\/secret", wanted a path inside/),
      place,
    );
});

test("what names other files, or cannot be looked through, is refused", (t) => {
  const { model, write } = makeFolder(t);
  const deep = (levels: number): Buffer =>
    levels === 0 ? bytes(5, text(8, "w")) : bytes(1, bytes(5, bytes(6, deep(levels - 1))));
  for (const [file, said] of [
    [bytes(7, bytes(1, text(4, "EPContext"))), /compiled for another device/],
    [Buffer.from("\x18\0\0\0ORTM and more of it"), /ORT's own format/],
    [bytes(7, deep(20)), /more than 16 deep/],
    [Buffer.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]), /reaches beyond its message/],
    [Buffer.alloc(100, 0xff), /longer than any/],
    [Buffer.from([0x0b]), /has a kind that there is not/],
    [bytes(7, bytes(5, entry("location", "a"), entry("location", "../secret"))), /more than once/],
    [
      bytes(7, bytes(5, ...Array.from({ length: 65 }, (_, i) => entry(`${i}`, "a")))),
      /more than 64/,
    ],
    [bytes(7, bytes(5, entry("location", "no\nsuch"), integer(14, 1))), /"no\?such" is missing/],
  ] as const)
    assert.throws(() => scanOnnxFile(write(file)), wants(said), String(said));
  scanOnnxFile(write(bytes(7, deep(15))));
  assert.throws(() => scanOnnxFile(join(model, "none.onnx")), wants(/none\.onnx: ENOENT$/));
  assert.throws(() => scanOnnxFile(model), wants(/EISDIR|no file/));
});

test(
  "a pipe in the model's folder is not waited for",
  { skip: process.platform === "win32" },
  (t) => {
    const { model, write } = makeFolder(t);
    execFileSync("mkfifo", [join(model, "pipe")]);
    assert.throws(() => scanOnnxFile(write(adding("pipe"))), wants(/"pipe" is no file/));
  },
);

test("weights are jumped over: two gigabytes of them, and data of two beside them, cost nothing", (t) => {
  const { model, write } = makeFolder(t);
  const size = 2 ** 31 - 1000;
  const [tensor, graph] = [size - 6, size];
  // graph { initializer { raw_data: … } }, of which the file has the heads and then a hole.
  const head = Buffer.concat([
    varint(7 * 8 + 2),
    varint(graph),
    varint(5 * 8 + 2),
    varint(tensor),
    varint(9 * 8 + 2),
    varint(tensor - 6),
  ]);
  const file = write(head);
  truncateSync(file, 6 + size);
  const before = process.memoryUsage();
  scanOnnxFile(file);
  const after = process.memoryUsage();
  assert.ok(after.rss - before.rss < 256 * 2 ** 20, "it was read into memory");
  writeFileSync(join(model, "big"), "");
  truncateSync(join(model, "big"), 2 ** 31);
  scanOnnxFile(write(adding("big")));
});

test("random bytes are refused or passed, and never anything else happens", (t) => {
  const { write } = makeFolder(t);
  const good = adding("weights");
  assertProperty(
    property(uint8Array({ maxLength: 40 }), nat(good.length), (noise, at) => {
      for (const file of [noise, Buffer.concat([good.subarray(0, at), noise, good.subarray(at)])]) {
        try {
          scanOnnxFile(write(file));
        } catch (error) {
          assert.ok(isRuntimeError(error) && error.code === "MODEL_INVALID", String(error));
          assert.doesNotMatch(error.message, /undefined|NaN|\n/);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("every model of the tests passes", () => {
  const files = readdirSync(MODELS, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith(".onnx"));
  assert.ok(files.length > 20);
  for (const file of files) scanOnnxFile(join(MODELS, file));
});

test("a bare graph that names a file of the machine never becomes a session", async (t) => {
  const { model, write } = makeFolder(t);
  const create = t.mock.method(InferenceSession, "create");
  const file = write(adding("../secret"));
  await assert.rejects(openSession(model, file, {}), wants(/"\.\.\/secret", wanted a path inside/));
  await assert.rejects(
    loadHandler({ repository: model }, silentLog()),
    wants(/"\.\.\/secret", wanted a path inside/),
  );
  assert.equal(create.mock.callCount(), 0);
});

test("a model of a task that names a file of the machine never becomes a session", async (t) => {
  const { folder } = makeFolder(t);
  const [first] = readdirSync(MODELS).filter((name) => name.includes("bert"));
  assert.ok(first !== undefined);
  const repository = join(folder, "repository");
  cpSync(join(MODELS, first), repository, { recursive: true });
  const onnx = readdirSync(repository, { recursive: true })
    .map(String)
    .filter((file) => file.endsWith(".onnx"));
  assert.ok(onnx.length > 0);
  for (const file of onnx) writeFileSync(join(repository, file), adding("../../secret"));
  await assert.rejects(
    loadHandler({ repository, task: "feature-extraction" }, silentLog()),
    wants(/"\.\.\/\.\.\/secret", wanted a path inside/),
  );
});
