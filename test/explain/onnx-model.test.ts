/**
 * Reading and writing ONNX: nothing is lost, and a hostile file costs a sentence.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { InferenceSession } from "onnxruntime-node";

import {
  parseOnnxModel,
  readOnnxModel,
  toSession,
  writeOnnxModel,
} from "../../runtime/explain/onnx-model.ts";
import { EXTERNAL } from "../../runtime/explain/onnx-external.ts";
import { encodeModel, type ModelProto } from "../../runtime/explain/onnx-schema.ts";
import { isRuntimeError } from "../../runtime/errors.ts";
import { encodeSmall, node, pick, random, smallModel, toTensor } from "../support/gradients.ts";

const folder = mkdtempSync(join(tmpdir(), "onnx-"));
after(() => rmSync(folder, { recursive: true }));

function modelFile(name: string): string {
  return fileURLToPath(new URL(`../fixtures/models/${name}/onnx/model.onnx`, import.meta.url));
}

/** `out = x W`, where the weights are large enough to stay in their file. */
const W = random([30, 20], 2);
const SMALL = {
  inputs: { x: random([2, 30], 1) },
  constants: { w: W },
  nodes: [node("MatMul", "x w", "out")],
  outputs: ["out"],
} as const;

/** Changes a small model before it is written. */
function changed(change: (model: ModelProto) => void): Uint8Array {
  const { file: _, ...model } = smallModel(SMALL);
  change(model);
  return encodeModel(model);
}

async function run({ bytes, options }: ReturnType<typeof toSession>): Promise<number[]> {
  const session = await InferenceSession.create(bytes, options);
  const answer = await session.run(pick(session, { x: toTensor(SMALL.inputs.x, "float32") }));
  await session.release();
  return Array.from(answer["out"]?.data as Float32Array);
}

const WANTED = Array.from({ length: 40 }, (_, at) => {
  const [row, column] = [Math.floor(at / 20), at % 20];
  return W.values
    .filter((__, index) => index % 20 === column)
    .reduce((sum, w, k) => sum + w * (SMALL.inputs.x.values[row * 30 + k] ?? 0), 0);
});

function assertAnswer(found: readonly number[]): void {
  assert.equal(found.length, WANTED.length);
  for (const [at, value] of found.entries())
    assert.ok(Math.abs(value - (WANTED[at] ?? NaN)) < 1e-5, `${value} is ${WANTED[at]}`);
}

async function refusal(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
  } catch (error) {
    assert.ok(isRuntimeError(error), String(error));
    assert.equal(error.code, "MODEL_INVALID");
    assert.doesNotMatch(error.message, /\/tmp|\n/);
    return error.message;
  }
  return assert.fail("nothing was refused");
}

for (const name of ["ner-bert", "tiny-gpt2", "tiny-clap", "tiny-t5/onnx/.."]) {
  test(`a model that is read and written is the same byte for byte: ${name}`, async () => {
    const path =
      name === "tiny-t5/onnx/.."
        ? modelFile("tiny-t5").replace("model.onnx", "decoder_model_merged.onnx")
        : modelFile(name);
    const written = writeOnnxModel(await readOnnxModel(path));
    assert.ok(Buffer.from(written).equals(readFileSync(path)));
  });
}

test("64-bit numbers keep all their digits", () => {
  const bytes = encodeSmall({
    ...SMALL,
    nodes: [...SMALL.nodes, node("Identity", "big", "other")],
    constants: { w: W, big: { dims: [1], values: [0], type: "int64" } },
  });
  const model = parseOnnxModel(bytes);
  const big = model.graph.initializer.find(({ name }) => name === "big");
  assert.ok(big);
  delete big.rawData;
  const most = { low: -1, high: 0x7fffffff, unsigned: false }; // 2⁶³ − 1
  big.int64Data = [most];
  const again = parseOnnxModel(writeOnnxModel(model));
  const value = again.graph.initializer.find(({ name }) => name === "big")?.int64Data?.[0];
  assert.ok(typeof value === "object");
  assert.deepEqual({ low: value.low, high: value.high }, { low: -1, high: 0x7fffffff });
});

test("a graph refers to the weights in the file it was read from", async () => {
  const path = join(folder, "inside.onnx");
  writeFileSync(path, encodeSmall(SMALL));
  const source = toSession(await readOnnxModel(path));
  assert.ok(source.bytes.length < 300, `${source.bytes.length} bytes without the weights`);
  assertAnswer(await run(source));
});

test("a graph made in memory holds its weights", async () => {
  assertAnswer(await run(toSession(smallModel(SMALL))));
});

/** Writes a model with its weights in `location`, and these entries. */
function writeExternal(
  name: string,
  entries: Readonly<Record<string, string>>,
  into = join(folder, name),
): string {
  mkdirSync(into, { recursive: true });
  const bytes = changed(({ graph }) => {
    const [w] = graph.initializer;
    assert.ok(w?.rawData);
    writeFileSync(join(into, "weights.data"), Buffer.concat([Buffer.alloc(16), w.rawData]));
    delete w.rawData;
    w.dataLocation = EXTERNAL;
    w.externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  });
  writeFileSync(join(into, "model.onnx"), bytes);
  return join(into, "model.onnx");
}

const RANGE = { location: "weights.data", offset: "16", length: "2400" };

test("external data is not read, and the session finds it", async () => {
  const model = await readOnnxModel(writeExternal("external", RANGE));
  assert.equal(model.graph.initializer[0]?.rawData, undefined);
  assertAnswer(await run(toSession(model)));
});

test("the links of the Hub's cache lead to the weights", async () => {
  const blobs = join(folder, "hub", "blobs");
  const snapshot = join(folder, "hub", "snapshots", "main", "onnx");
  writeExternal("hub", RANGE, blobs);
  mkdirSync(snapshot, { recursive: true });
  symlinkSync("../../../blobs/model.onnx", join(snapshot, "model.onnx"));
  symlinkSync("../../../blobs/weights.data", join(snapshot, "weights.data"));
  assertAnswer(await run(toSession(await readOnnxModel(join(snapshot, "model.onnx")))));
});

const BAD_PATHS = {
  "up and out": ["../secret", /is "\.\.\/secret", wanted a path inside the model's folder/],
  "out in the middle": ["a/../../secret", /wanted a path inside/],
  "an absolute path": ["/etc/hostname", /wanted a path inside/],
  "Windows' separators": ["..\\secret", /wanted a path inside/],
  nothing: ["", /wanted a path inside/],
  "a missing file": ["gone.data", /"gone.data" is missing/],
  "a link that leads out": ["link.data", /is a link that leads out of the model's folder/],
} as const;

for (const [what, [location, wanted]] of Object.entries(BAD_PATHS)) {
  test(`external data at ${what} is refused`, async () => {
    const name = `bad ${what}`.replaceAll(/\W/g, "_");
    const path = writeExternal(name, { ...RANGE, location });
    writeFileSync(join(folder, "secret"), "secret");
    if (location === "link.data") symlinkSync("../secret", join(folder, name, location));
    assert.match(await refusal(() => readOnnxModel(path)), wanted);
  });
}

test("ranges that are no numbers or lie beyond the file are refused", async () => {
  const at = (name: string, entries: object): Promise<string> =>
    refusal(() => readOnnxModel(writeExternal(name, { ...RANGE, ...entries })));
  assert.match(await at("range-1", { offset: "-4" }), /the offset of its external data is "-4"/);
  assert.match(
    await at("range-2", { length: "1e99" }),
    /the length of its external data is "1e99"/,
  );
  assert.match(await at("range-3", { offset: "17" }), /bytes 17 to 2417 .* which has 2416/);
});

test("external data within a node is refused", async () => {
  const bytes = changed(({ graph }) => {
    const tensor = { dims: [1], dataType: 1, dataLocation: EXTERNAL };
    const location = [{ key: "location", value: "x" }];
    graph.node.unshift({
      opType: "Constant",
      input: [],
      output: ["c"],
      attribute: [{ name: "value", t: { ...tensor, externalData: location } }],
    });
  });
  assert.match(await refusal(() => parseOnnxModel(bytes)), /a node of it has external data/);
});

const BROKEN: Readonly<
  Record<string, readonly [change: (model: ModelProto) => void, wanted: RegExp]>
> = {
  "nodes that wait for each other": [
    ({ graph }) => {
      graph.node.unshift(
        { opType: "Neg", name: "a", input: ["two"], output: ["one"] },
        { opType: "Neg", name: "b", input: ["one"], output: ["two"] },
      );
    },
    /the node "a" \(Neg\) reads "two", which comes later or from the node itself/,
  ],
  "a value that nothing makes": [
    ({ graph }) => graph.node[0]?.input.push("lost"),
    /reads "lost", which nothing makes/,
  ],
  "a value that is made twice": [
    ({ graph }) => graph.node.push({ opType: "Neg", input: ["x"], output: ["out"] }),
    /the value "out" is made twice/,
  ],
  "two weights of one name": [
    ({ graph }) => graph.initializer.push({ name: "w", dims: [0], dataType: 1 }),
    /two of its weights are named "w"/,
  ],
  "two inputs of one name": [
    ({ graph }) => graph.input.push({ name: "x" }),
    /two of its inputs have the same name/,
  ],
  "an output that nothing makes": [
    ({ graph }) => graph.output.push({ name: "lost" }),
    /nothing makes its output "lost"/,
  ],
  "a node without an operator": [
    ({ graph }) => graph.node.push({ opType: "", input: [], output: ["z"] }),
    /one of its nodes names no operator/,
  ],
  "sparse weights": [
    ({ graph }) => (graph.sparseInitializer = [{}]),
    /it holds sparse weights, wanted dense ones/,
  ],
  "a training graph": [(model) => (model.trainingInfo = [{}]), /it holds a training graph/],
  "no operator set": [(model) => (model.opsetImport = []), /it names no operator set/],
};

for (const [what, [change, wanted]] of Object.entries(BROKEN)) {
  test(`a model with ${what} is refused`, async () => {
    assert.match(await refusal(() => parseOnnxModel(changed(change))), wanted);
  });
}

test("a file that was cut off anywhere is refused or still a whole model", async () => {
  const whole = encodeSmall({ ...SMALL, constants: { w: random([3, 2], 1) } });
  let refused = 0;
  for (let length = 0; length < whole.length; length++) {
    try {
      parseOnnxModel(whole.subarray(0, length));
    } catch (error) {
      assert.ok(isRuntimeError(error) && error.code === "MODEL_INVALID", String(error));
      refused++;
    }
  }
  assert.equal(
    refused,
    whole.length - 1,
    "only without its last field, an operator set, it is whole",
  );
});

test("a file with any one byte changed is refused or read, and nothing else happens", () => {
  const whole = encodeSmall({ ...SMALL, constants: { w: random([2, 2], 1) } });
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [0x80, 0xff, 0x07]) {
      const bytes = Uint8Array.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      try {
        parseOnnxModel(bytes);
      } catch (error) {
        assert.ok(isRuntimeError(error) && error.code === "MODEL_INVALID", String(error));
      }
    }
  }
});

test("lengths beyond the file, text, and nothing at all are refused", async () => {
  const attempts = [
    new Uint8Array(),
    Buffer.from("not a model"),
    Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f), // a graph of 34 GB
    Uint8Array.of(0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80), // a length without an end
    Uint8Array.of(0x0b, 0x0b, 0x0b), // groups that nobody closes
  ];
  for (const bytes of attempts)
    assert.match(await refusal(() => parseOnnxModel(bytes)), /^Cannot read the model: ./);
});

test("graphs that lie in one another too deep are refused", async () => {
  let inner: Uint8Array = Buffer.alloc(0);
  const wrap = (field: number, content: Uint8Array): Uint8Array => {
    const length: number[] = [];
    for (let left = content.length; ; left >>= 7) {
      length.push(left > 127 ? (left & 127) | 128 : left);
      if (left <= 127) break;
    }
    return Buffer.concat([Uint8Array.of((field << 3) | 2), Uint8Array.from(length), content]);
  };
  // graph.node (1) → attribute (5) → g (6)
  for (let depth = 0; depth < 2000; depth++) inner = wrap(1, wrap(5, wrap(6, inner)));
  assert.match(
    await refusal(() => parseOnnxModel(wrap(7, inner))),
    /graphs lie in one another more than 16 deep/,
  );
});

test("a small file that would become many objects is refused", async () => {
  const nodes = Buffer.alloc(4000, Uint8Array.of(0x0a, 0x00)); // 2000 empty nodes
  const graph = Buffer.concat([Uint8Array.of(0x3a, 0xa0, 0x1f), nodes]);
  const limits = { structureBytes: 1000 };
  assert.match(
    await refusal(() => parseOnnxModel(graph, { limits })),
    /4003 bytes are not raw weights, wanted at most 1000/,
  );
});

test("a file that is too large, missing or a folder is refused", async () => {
  const path = join(folder, "large.onnx");
  writeFileSync(path, encodeSmall(SMALL));
  assert.match(
    await refusal(() => readOnnxModel(path, { fileBytes: 100 })),
    /^Cannot read large.onnx: it has \d+ bytes, wanted at most 100$/,
  );
  assert.match(
    await refusal(() => readOnnxModel(join(folder, "none.onnx"))),
    /Cannot read none.onnx: /,
  );
  assert.match(await refusal(() => readOnnxModel(folder)), /: it is no file$/);
});
