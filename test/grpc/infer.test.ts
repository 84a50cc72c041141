import assert from "node:assert/strict";
import { test } from "node:test";

import type { InferenceRequest, NamedTensor, TensorDatatype } from "../../runtime/inference.ts";
import { readyModels, type Answer } from "../support/app-matrix.ts";
import { connect, openTestGate, refusal, texts } from "../support/grpc.ts";

/** Gives a graph's inputs back as its outputs. */
const mirror: Answer = ({ tensors }) => ({ kind: "tensors", tensors: tensors?.inputs ?? [] });

const DATATYPES: readonly TensorDatatype[] = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "FP32",
  "FP64",
  "BYTES",
];

/** A model whose graph has an input and an output of each datatype, each named for it. */
const mirrorModels = (answer: Answer = mirror): ReturnType<typeof readyModels> => {
  const specs = DATATYPES.map((datatype) => ({ name: datatype, datatype, shape: [-1] }));
  const signature = { inputs: specs, outputs: specs };
  return readyModels(answer, { handler: "default", signature });
};

/** Two elements of each datatype, at the ends of what it holds: typed as the specification's messages have them, and raw. */
const CASES: readonly {
  readonly datatype: TensorDatatype;
  readonly list: string;
  readonly typed: readonly unknown[];
  readonly raw: string;
}[] = [
  { datatype: "BOOL", list: "bool_contents", typed: [true, false], raw: "0100" },
  { datatype: "UINT8", list: "uint_contents", typed: [0, 255], raw: "00ff" },
  { datatype: "UINT16", list: "uint_contents", typed: [1, 65_535], raw: "0100ffff" },
  { datatype: "UINT32", list: "uint_contents", typed: [1, 4_294_967_295], raw: "01000000ffffffff" },
  {
    datatype: "UINT64",
    list: "uint64_contents",
    typed: ["1", "18446744073709551615"],
    raw: "0100000000000000ffffffffffffffff",
  },
  { datatype: "INT8", list: "int_contents", typed: [-128, 127], raw: "807f" },
  { datatype: "INT16", list: "int_contents", typed: [-32_768, 32_767], raw: "0080ff7f" },
  {
    datatype: "INT32",
    list: "int_contents",
    typed: [-2_147_483_648, 2_147_483_647],
    raw: "00000080ffffff7f",
  },
  {
    datatype: "INT64",
    list: "int64_contents",
    typed: ["-9223372036854775808", "9007199254740993"],
    raw: "00000000000000800100000000002000",
  },
  { datatype: "FP32", list: "fp32_contents", typed: [1.5, -Infinity], raw: "0000c03f000080ff" },
  {
    datatype: "FP64",
    list: "fp64_contents",
    typed: [0.1, -2],
    raw: "9a9999999999b93f00000000000000c0",
  },
  {
    datatype: "BYTES",
    list: "bytes_contents",
    typed: [Buffer.from("ab"), Buffer.from([0xff])],
    raw: "02000000616201000000ff",
  },
];

interface OutputMessage {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly string[];
  readonly contents?: Readonly<Record<string, unknown>>;
}

for (const { datatype, list, typed, raw } of CASES) {
  test(`ModelInfer() answers typed ${datatype} with typed, and raw with raw`, async () => {
    let seen: InferenceRequest | undefined;
    const models = mirrorModels((request, waiting) => mirror((seen = request), waiting));
    await using gate = await openTestGate({ models });
    await using client = connect(gate.url);
    const head = { name: datatype, datatype, shape: [2] };

    const { message: one } = await client.call("ModelInfer", {
      model_name: "owner/name",
      inputs: [{ ...head, contents: { [list]: typed } }],
    });
    const [output] = one["outputs"] as readonly OutputMessage[];
    assert.deepEqual(output, { ...head, shape: ["2"], contents: { [list]: typed } });
    assert.equal(one["raw_output_contents"], undefined);
    const typedSeen = seen?.tensors?.inputs;

    const { message: other } = await client.call("ModelInfer", {
      model_name: "owner/name",
      inputs: [head],
      raw_input_contents: [Buffer.from(raw, "hex")],
    });
    const outputs = other["outputs"] as readonly OutputMessage[];
    assert.deepEqual(outputs, [{ ...head, shape: ["2"] }]);
    const [bytes] = other["raw_output_contents"] as readonly Buffer[];
    assert.equal(bytes?.toString("hex"), raw);
    assert.deepEqual(seen?.tensors?.inputs, typedSeen);
  });
}

test("ModelInfer() takes FP16 raw alone, and answers it raw whatever was asked", async () => {
  const half: NamedTensor = {
    name: "FP16",
    datatype: "FP16",
    shape: [1],
    data: Uint16Array.of(0x3c00), // 1
  };
  const answers = [
    mirror,
    (): { kind: "tensors"; tensors: NamedTensor[] } => ({ kind: "tensors", tensors: [half] }),
  ];
  let answer: Answer = answers[0]!;
  await using gate = await openTestGate({
    models: mirrorModels((request, waiting) => answer(request, waiting)),
  });
  await using client = connect(gate.url);
  const head = { name: "FP16", datatype: "FP16", shape: [1] };
  const { message } = await client.call("ModelInfer", {
    inputs: [head],
    raw_input_contents: [Buffer.from("003c", "hex")],
  });
  assert.deepEqual(message["raw_output_contents"], [Buffer.from("003c", "hex")]);

  await assert.rejects(
    client.call("ModelInfer", { inputs: [{ ...head, contents: { fp32_contents: [1] } }] }),
    refusal(
      "INVALID_ARGUMENT",
      /"FP16": FP16 has no typed contents, wanted it in raw_input_contents/,
    ),
  );

  answer = answers[1]!;
  const typed = { name: "INT8", datatype: "INT8", shape: [1], contents: { int_contents: [1] } };
  const { message: raw } = await client.call("ModelInfer", { inputs: [typed] });
  assert.deepEqual(raw["raw_output_contents"], [Buffer.from("003c", "hex")]);
  assert.deepEqual(raw["outputs"], [{ ...head, shape: ["1"] }]);
});

/** What is wrong with a request, and what its client is told. */
const REFUSALS: readonly (readonly [what: string, request: object, details: RegExp])[] = [
  [
    "raw beside typed contents",
    { inputs: [texts("BYTES", "a")], raw_input_contents: [Buffer.from("0100000061", "hex")] },
    /"BYTES": it has typed contents while the request has raw_input_contents/,
  ],
  [
    "fewer raw contents than inputs",
    {
      inputs: [
        { name: "INT8", datatype: "INT8", shape: [1] },
        { name: "UINT8", datatype: "UINT8", shape: [1] },
      ],
      raw_input_contents: [Buffer.of(1)],
    },
    /found 1 raw_input_contents for 2 inputs/,
  ],
  [
    "typed contents that do not fill the shape",
    {
      inputs: [{ name: "FP32", datatype: "FP32", shape: [2, 2], contents: { fp32_contents: [1] } }],
    },
    /"FP32": it has 1 elements, wanted 4 for the shape \[2,2\]/,
  ],
  [
    "no contents where there should be some",
    { inputs: [{ name: "FP32", datatype: "FP32", shape: [2] }] },
    /"FP32": it has 0 elements, wanted 2/,
  ],
  [
    "raw contents that do not fill the shape",
    {
      inputs: [{ name: "FP32", datatype: "FP32", shape: [2] }],
      raw_input_contents: [Buffer.alloc(7)],
    },
    /"FP32": it has 7 bytes of FP32, wanted 8 for 2 elements/,
  ],
  [
    "a BYTES element that goes beyond its end",
    {
      inputs: [{ name: "BYTES", datatype: "BYTES", shape: [1] }],
      raw_input_contents: [Buffer.from("ffffffff61", "hex")],
    },
    /"BYTES": element 0 goes beyond the end/,
  ],
  [
    "the list of another datatype",
    { inputs: [{ name: "INT64", datatype: "INT64", shape: [1], contents: { int_contents: [1] } }] },
    /"INT64": INT64 is sent in int64_contents, found int_contents/,
  ],
  [
    "a number out of range",
    { inputs: [{ name: "INT8", datatype: "INT8", shape: [1], contents: { int_contents: [200] } }] },
    /"INT8": element 0 is 200, wanted INT8 from -128 to 127/,
  ],
  [
    "an unknown datatype",
    { inputs: [{ name: "INT8", datatype: "BF16", shape: [1] }] },
    /"INT8": its datatype is "BF16", wanted one of BOOL/,
  ],
  [
    "a negative length",
    { inputs: [{ name: "INT8", datatype: "INT8", shape: [-2] }] },
    /"INT8": its shape \[-2\] has the length -2/,
  ],
  [
    "a shape whose elements nothing could hold",
    {
      inputs: [{ name: "INT8", datatype: "INT8", shape: ["9007199254740991", "9007199254740991"] }],
    },
    /"INT8": its shape/,
  ],
  [
    "two inputs of one name",
    { inputs: [texts("BYTES", "a"), texts("BYTES", "b")] },
    /there are two of that name/,
  ],
  [
    "an output that is not there",
    { inputs: [texts("BYTES", "a")], outputs: [{ name: "logits" }] },
    /there is no output "logits" here, wanted one of/,
  ],
];

for (const [what, request, details] of REFUSALS) {
  test(`ModelInfer() refuses ${what} as INVALID_ARGUMENT`, async () => {
    let wasAsked = false;
    const models = mirrorModels((asked, waiting) => ((wasAsked = true), mirror(asked, waiting)));
    await using gate = await openTestGate({ models });
    await using client = connect(gate.url);
    await assert.rejects(client.call("ModelInfer", request), refusal("INVALID_ARGUMENT", details));
    assert.equal(wasAsked, false);
  });
}

test("ModelInfer() takes the length of [-1] from the contents", async () => {
  await using gate = await openTestGate({ models: mirrorModels() });
  await using client = connect(gate.url);
  const { message } = await client.call("ModelInfer", {
    inputs: [{ ...texts("BYTES", "a", "b", "c"), shape: [-1] }],
  });
  assert.deepEqual((message["outputs"] as OutputMessage[])[0]?.shape, ["3"]);
});

test("ModelInfer() passes parameters of every kind on, the integers as numbers", async () => {
  let seen: InferenceRequest | undefined;
  const models = readyModels((request) => ((seen = request), { kind: "json", value: "ok" }));
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  await client.call("ModelInfer", {
    inputs: [texts("text", "hello")],
    parameters: {
      yes: { bool_param: true },
      no: { bool_param: false },
      top_k: { int64_param: "-2" },
      word: { string_param: "mean" },
      threshold: { double_param: 0.25 },
      seed: { uint64_param: "7" },
      huge: { uint64_param: "18446744073709551615" },
    },
  });
  assert.deepEqual(seen?.data["parameters"], {
    yes: true,
    no: false,
    top_k: -2,
    word: "mean",
    threshold: 0.25,
    seed: 7,
    huge: "18446744073709551615",
  });
});

test("ModelInfer() says the request's id again, its model and version, and how long it took", async () => {
  const models = readyModels(() => ({ kind: "json", value: { label: "good" } }));
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  const request = { model_name: "owner/name", id: "mine", inputs: [texts("text", "hello")] };
  const { message, metadata } = await client.call("ModelInfer", request);
  assert.equal(message["id"], "mine");
  assert.equal(message["model_name"], "owner/name");
  assert.equal(message["model_version"], "1.0");
  assert.deepEqual(message["outputs"], [
    {
      name: "predict",
      datatype: "BYTES",
      shape: ["1"],
      parameters: {
        content_type: { string_param: "hg_jsonlist", parameter_choice: "string_param" },
      },
      contents: { bytes_contents: [Buffer.from('{"label":"good"}')] },
    },
  ]);
  assert.equal(metadata.get("x-inference-time")[0], "2.5");
  assert.equal(metadata.get("x-queue-time")[0], "1.5");

  const { message: unnamed } = await client.call(
    "ModelInfer",
    { ...request, id: "" },
    { metadata: { "x-request-id": "trace-7" } },
  );
  assert.equal(unnamed["id"], "trace-7");
});
