/** Every datatype of the Open Inference Protocol, into a graph that changes nothing, and out again. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { loadDefaultHandler } from "../../runtime/handler/default.ts";
import type { LoadedHandler } from "../../runtime/handler/contract.ts";
import {
  TENSOR_DATATYPES,
  type NamedTensor,
  type TensorDatatype,
} from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { variantOf } from "../support/goldens.ts";
import { encodeGraph, type Port } from "../support/onnx-graph.ts";
import {
  answerOf,
  fp32,
  memberOf,
  runBatch,
  runTensors,
  tensorRequest,
} from "../support/tensors.ts";

const ELEMENTS: Readonly<Record<TensorDatatype, Port["element"]>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  FP32: "float",
  FP64: "double",
  BYTES: "string",
};

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Three values of each, at the ends of what they can hold. */
const VALUES: Readonly<Record<TensorDatatype, NamedTensor["data"]>> = {
  BOOL: Uint8Array.of(0, 1, 1),
  UINT8: Uint8Array.of(0, 1, 255),
  UINT16: Uint16Array.of(0, 1, 65_535),
  UINT32: Uint32Array.of(0, 1, 2 ** 32 - 1),
  UINT64: BigUint64Array.of(0n, 2n ** 53n + 1n, 2n ** 64n - 1n),
  INT8: Int8Array.of(-128, 0, 127),
  INT16: Int16Array.of(-32_768, 0, 32_767),
  INT32: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1),
  INT64: BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n, 2n ** 63n - 1n),
  FP16: Uint16Array.of(0x3c01, 0x8000, 0x7bff), // 1.0009765625, -0, 65504
  FP32: Float32Array.of(-0, 1 / 3, Infinity),
  FP64: Float64Array.of(-0, 1 / 3, 5e-324),
  BYTES: [utf8(""), utf8("žluťoučký 😀\nkůň"), utf8("\uFEFFa")],
};

/** One identity for each datatype; `axes` of every port. */
function identities(axes: Port["shape"], datatypes: readonly TensorDatatype[] = TENSOR_DATATYPES) {
  const port = (name: string, datatype: TensorDatatype): Port => ({
    name: `${name}_${datatype}`,
    element: ELEMENTS[datatype],
    shape: axes,
  });
  return encodeGraph({
    inputs: datatypes.map((datatype) => port("in", datatype)),
    outputs: datatypes.map((datatype) => port("out", datatype)),
    nodes: datatypes.map((datatype) => ({
      op: "Identity",
      inputs: [`in_${datatype}`],
      outputs: [`out_${datatype}`],
    })),
    constants: [],
  });
}

async function load(graph: Uint8Array): Promise<LoadedHandler & AsyncDisposable> {
  const repository = await variantOf(undefined, { "model.onnx": graph });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  return {
    ...handler,
    async [Symbol.asyncDispose]() {
      await handler.dispose();
      await repository[Symbol.asyncDispose]();
    },
  };
}

const inputOf = (datatype: TensorDatatype, shape: readonly number[]): NamedTensor => ({
  name: `in_${datatype}`,
  datatype,
  shape,
  data: VALUES[datatype],
});

const bits = (data: NamedTensor["data"] | undefined): unknown =>
  ArrayBuffer.isView(data)
    ? [data.constructor.name, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]
    : data?.map((element) => [...element]);

test("every datatype survives to the bit, alone and in company", async () => {
  await using handler = await load(identities(["batch", "n"]));
  assert.deepEqual(
    handler.description.signature?.inputs,
    TENSOR_DATATYPES.map((datatype) => ({ name: `in_${datatype}`, datatype, shape: [-1, -1] })),
  );
  const inputs = TENSOR_DATATYPES.map((datatype) => inputOf(datatype, [1, 3]));
  const member = memberOf(tensorRequest(inputs));
  for (const members of [[member], [member, member, member]]) {
    const { outcomes } = await runBatch(handler, members);
    for (const outcome of outcomes)
      for (const [place, output] of answerOf(outcome).entries()) {
        const input = inputs[place] ?? assert.fail();
        assert.deepEqual([output.name, output.shape], [`out_${input.datatype}`, [1, 3]]);
        assert.equal(output.datatype, input.datatype);
        assert.deepEqual(bits(output.data), bits(input.data), output.name);
        assert.notEqual(output.data, input.data);
      }
  }
});

test("the shapes [], [3,1] and [0,3] go where the graph leaves its shape open", async () => {
  await using handler = await load(identities([], ["FP32", "BYTES"]));
  for (const [shape, values] of [
    [[], [2.5]],
    [
      [3, 1],
      [1, 2, 3],
    ],
    [[0, 3], []],
  ] as const) {
    const texts = values.map((value) => utf8(String(value)));
    const outputs = await runTensors(handler, [
      fp32("in_FP32", shape, values),
      { name: "in_BYTES", datatype: "BYTES", shape, data: texts },
    ]);
    assert.deepEqual(
      outputs.map((output) => output.shape),
      [shape, shape],
    );
    assert.deepEqual(outputs[0]?.data, Float32Array.from(values));
    assert.deepEqual(outputs[1]?.data, texts);
  }
});

test("any byte but 0 is true", async () => {
  await using handler = await load(identities(["n"], ["BOOL"]));
  const data = Uint8Array.of(0, 2, 255, 1);
  const [out] = await runTensors(handler, [
    { name: "in_BOOL", datatype: "BOOL", shape: [4], data },
  ]);
  assert.deepEqual(out?.data, Uint8Array.of(0, 1, 1, 1));
  assert.deepEqual(data, Uint8Array.of(0, 2, 255, 1)); // the client's own are left alone
});

for (const [what, bytes, message] of [
  ["a zero byte", Uint8Array.of(97, 0, 98), /element 1 of the input "in_BYTES" has a zero byte/],
  [
    "bytes that are no text",
    Uint8Array.of(0xff, 0xfe),
    /element 1 of the input "in_BYTES" is not UTF-8/,
  ],
] as const) {
  test(`${what} in BYTES cannot be a string of the graph, and is refused for its own request`, async () => {
    await using handler = await load(identities(["batch"], ["BYTES"]));
    const ask = (...data: Uint8Array[]) =>
      memberOf(
        tensorRequest([{ name: "in_BYTES", datatype: "BYTES", shape: [data.length], data }]),
      );
    const { outcomes } = await runBatch(handler, [ask(utf8("a")), ask(utf8("b"), bytes)]);
    assert.deepEqual(answerOf(outcomes[0])[0]?.data, [utf8("a")]);
    assert.throws(() => answerOf(outcomes[1]), { code: "INVALID_INPUT", message });
  });
}

test("data that are stored as another datatype are refused", async () => {
  await using handler = await load(identities(["n"], ["INT64"]));
  const data = Float64Array.of(1, 2, 3);
  const input: NamedTensor = { name: "in_INT64", datatype: "INT64", shape: [3], data };
  await assert.rejects(runTensors(handler, [input]), { code: "INVALID_INPUT" });
});
