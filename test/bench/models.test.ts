/** The graphs that the bench writes, opened by onnxruntime. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { InferenceSession, Tensor } from "onnxruntime-node";

import { writeEncoder, type EncoderShape, type Precision } from "../../bench/encoder-graph.ts";

const folder = mkdtempSync(join(tmpdir(), "hubserve-bench-"));
after(() => rmSync(folder, { recursive: true }));

const BERT: EncoderShape = {
  layers: 2,
  hidden: 32,
  heads: 4,
  intermediate: 64,
  vocabulary: 100,
  positions: 16,
  hasTokenTypes: true,
};
const CLASSIFIER: EncoderShape = { ...BERT, hasTokenTypes: false, labels: 3 };

async function open(shape: EncoderShape, precision: Precision): Promise<InferenceSession> {
  const file = join(folder, `${shape.labels ?? "bert"}-${precision}.onnx`);
  writeEncoder(file, shape, precision, 1);
  return InferenceSession.create(file, { intraOpNumThreads: 1 });
}

/** @param rows Token ids; shorter rows are padded with 0 and masked. */
async function run(
  session: InferenceSession,
  rows: readonly (readonly number[])[],
): Promise<Tensor> {
  const T = Math.max(...rows.map(({ length }) => length));
  const tensor = (pick: (row: readonly number[], t: number) => number): Tensor => {
    const values = rows.flatMap((row) => Array.from({ length: T }, (_, t) => BigInt(pick(row, t))));
    return new Tensor("int64", BigInt64Array.from(values), [rows.length, T]);
  };
  const outputs = await session.run({
    input_ids: tensor((row, t) => row[t] ?? 0),
    attention_mask: tensor((row, t) => Number(t < row.length)),
    ...(session.inputNames.includes("token_type_ids") && { token_type_ids: tensor(() => 0) }),
  });
  const [output] = Object.values(outputs);
  assert.ok(output);
  return output;
}

test("an encoder answers with its last hidden state, for any batch and length", async () => {
  const session = await open(BERT, "fp32");
  assert.deepEqual(session.inputNames, ["input_ids", "attention_mask", "token_type_ids"]);
  assert.deepEqual(session.outputNames, ["last_hidden_state"]);
  for (const [B, T] of [
    [1, 1],
    [3, 7],
    [2, 16],
  ] as const) {
    const output = await run(
      session,
      Array.from({ length: B }, () => Array.from({ length: T }, (_, t) => t + 1)),
    );
    assert.deepEqual(output.dims, [B, T, 32]);
    assert.ok((output.data as Float32Array).every(Number.isFinite));
  }
});

test("a classifier answers with logits", async () => {
  const session = await open(CLASSIFIER, "fp32");
  assert.deepEqual(session.inputNames, ["input_ids", "attention_mask"]);
  const output = await run(session, [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.deepEqual(output.dims, [2, 3]);
  const [first, second] = [output.data.slice(0, 3), output.data.slice(3)];
  assert.notDeepEqual(first, second);
});

test("padding changes nothing in fp32: the mask works", async () => {
  const session = await open(CLASSIFIER, "fp32");
  const alone = (await run(session, [[1, 2, 3]])).data as Float32Array;
  const beside = (
    await run(session, [
      [1, 2, 3],
      [9, 8, 7, 6, 5, 4],
    ])
  ).data as Float32Array;
  for (const [i, value] of alone.entries())
    assert.ok(Math.abs(value - (beside[i] ?? NaN)) < 1e-5, "float32 sums in another order");
});

test("int8 answers nearly as fp32 does", async () => {
  const [real, small] = [await open(BERT, "fp32"), await open(BERT, "int8")];
  const rows = [[1, 2, 3, 4, 5, 6, 7, 8]];
  const [a, b] = [
    (await run(real, rows)).data as Float32Array,
    (await run(small, rows)).data as Float32Array,
  ];
  const dot = (x: Float32Array, y: Float32Array): number =>
    x.reduce((sum, value, i) => sum + value * (y[i] ?? NaN), 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  assert.ok(cosine > 0.99, `the angle's cosine is ${cosine}; 8 bits leave about 0.999`);
});
