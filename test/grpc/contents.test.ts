import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import protobuf from "protobufjs";

import { assertModest } from "../../runtime/grpc/bounds.ts";
import { readContents } from "../../runtime/grpc/contents.ts";
import { loadInferenceDefinitions } from "../../runtime/grpc/definitions.ts";
import type { TensorData, TensorDatatype } from "../../runtime/inference.ts";
import { SPECIFICATION } from "../support/grpc.ts";

const root = new protobuf.Root().loadSync(SPECIFICATION, { keepCase: true });
const Contents = root.lookupType("inference.InferTensorContents");
const title = 'the input "x"';

/** What a datatype's elements may be, in which list they go, and how they are encoded by an encoder that is not ours. */
const KINDS: readonly {
  readonly datatype: TensorDatatype;
  readonly list: string;
  readonly element: fc.Arbitrary<number | bigint | boolean>;
  readonly make: (elements: readonly unknown[]) => TensorData;
}[] = [
  {
    datatype: "BOOL",
    list: "bool_contents",
    element: fc.boolean(),
    make: (elements) => Uint8Array.from(elements, Number),
  },
  {
    datatype: "INT8",
    list: "int_contents",
    element: fc.integer({ min: -128, max: 127 }),
    make: (elements) => Int8Array.from(elements, Number),
  },
  {
    datatype: "INT16",
    list: "int_contents",
    element: fc.integer({ min: -32_768, max: 32_767 }),
    make: (elements) => Int16Array.from(elements, Number),
  },
  {
    datatype: "INT32",
    list: "int_contents",
    element: fc.integer(),
    make: (elements) => Int32Array.from(elements, Number),
  },
  {
    datatype: "INT64",
    list: "int64_contents",
    element: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    make: (elements) => BigInt64Array.from(elements, (each) => BigInt(String(each))),
  },
  {
    datatype: "UINT8",
    list: "uint_contents",
    element: fc.nat({ max: 255 }),
    make: (elements) => Uint8Array.from(elements, Number),
  },
  {
    datatype: "UINT16",
    list: "uint_contents",
    element: fc.nat({ max: 65_535 }),
    make: (elements) => Uint16Array.from(elements, Number),
  },
  {
    datatype: "UINT32",
    list: "uint_contents",
    element: fc.nat({ max: 2 ** 32 - 1 }),
    make: (elements) => Uint32Array.from(elements, Number),
  },
  {
    datatype: "UINT64",
    list: "uint64_contents",
    element: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    make: (elements) => BigUint64Array.from(elements, (each) => BigInt(String(each))),
  },
  {
    datatype: "FP32",
    list: "fp32_contents",
    element: fc.float(),
    make: (elements) => Float32Array.from(elements, Number),
  },
  {
    datatype: "FP64",
    list: "fp64_contents",
    element: fc.double(),
    make: (elements) => Float64Array.from(elements, Number),
  },
];

function encode(list: string, elements: readonly unknown[]): Uint8Array {
  const plain = elements.map((each) => (typeof each === "bigint" ? each.toString() : each));
  return Contents.encode(Contents.fromObject({ [list]: plain })).finish();
}

for (const { datatype, list, element, make } of KINDS) {
  test(`readContents() reads ${datatype} as it was encoded, in one run, in several, and one by one`, () => {
    fc.assert(
      fc.property(fc.array(element), fc.nat(), (elements, place) => {
        const wanted = make(elements);
        const cut = elements.length === 0 ? 0 : place % elements.length;
        const [before, behind] = [elements.slice(0, cut), elements.slice(cut)];
        const ways = [
          encode(list, elements),
          Buffer.concat([encode(list, before), encode(list, behind)]),
          Buffer.concat(elements.map((each) => unpacked(encode(list, [each])))),
        ];
        for (const bytes of ways) {
          assert.deepEqual(readContents(bytes, datatype, { title }), wanted);
          const { length } = elements;
          const shape = { lengths: [length + 1], count: length + 1 };
          assert.throws(() => readContents(bytes, datatype, { title, shape }), {
            code: "INVALID_INPUT",
            message: new RegExp(`it has ${length} elements, wanted ${length + 1} for the shape`),
          });
        }
      }),
      { numRuns: 50 },
    );
  });
}

/** One element in a run → the element by itself, which old encoders write. */
function unpacked(run: Uint8Array): Uint8Array {
  const [tag = 0, length = 0] = run;
  const wireType = length === 8 ? 1 : length === 4 ? 5 : 0;
  const isFixed = (tag >>> 3 === 6 && length === 4) || (tag >>> 3 === 7 && length === 8);
  return Buffer.concat([Buffer.of((tag & ~7) | (isFixed ? wireType : 0)), run.subarray(2)]);
}

test("readContents() refuses whatever bytes there are, or reads them, and never fails otherwise", () => {
  const datatypes = [...KINDS.map(({ datatype }) => datatype), "BYTES", "FP16"] as const;
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom(...datatypes), (bytes, datatype) => {
      try {
        readContents(bytes, datatype, { title });
      } catch (error) {
        assert.ok(error instanceof Error && "code" in error && error.code === "INVALID_INPUT");
      }
    }),
    { numRuns: 2000 },
  );
});

test("readContents() refuses more byte strings than are any use", () => {
  const bytes = Buffer.alloc(2_000_002);
  for (let at = 0; at < bytes.length; at += 2) bytes[at] = 0x42; // bytes_contents, of no length
  assert.throws(() => readContents(bytes, "BYTES", { title }), {
    code: "INVALID_INPUT",
    message: /it has 1000001 elements, wanted at most 1000000/,
  });
});

test("assertModest() refuses what would become far larger than it is, and passes everything that is of use", () => {
  const Request = root.lookupType("inference.ModelInferRequest");
  const encodeRequest = (request: object): Uint8Array =>
    Request.encode(Request.fromObject(request)).finish();
  const input = { name: "x", datatype: "INT64", shape: [1, 128], parameters: { a: {} } };
  const data = { int64_contents: Array.from({ length: 50_000 }, (_, index) => index) };
  assertModest(
    encodeRequest({
      model_name: "m",
      inputs: Array.from({ length: 100 }, () => ({ ...input, contents: data })),
      outputs: [{ name: "y", parameters: { a: {} } }],
      raw_input_contents: Array.from({ length: 100 }, () => Buffer.alloc(1000)),
    }),
  );
  const many = (count: number): readonly object[] => Array.from({ length: count }, () => ({}));
  const parameters = Object.fromEntries(many(10_001).map((each, index) => [index, each]));
  for (const request of [
    { inputs: many(10_001) },
    { outputs: many(10_001) },
    { raw_input_contents: many(10_001).map(() => Buffer.alloc(0)) },
    { parameters },
    { inputs: [{ parameters }] },
    { outputs: [{ parameters }] },
  ])
    assert.throws(() => assertModest(encodeRequest(request)), {
      code: "INVALID_INPUT",
      message: /more than 10000 inputs, outputs, parameters and raw contents/,
    });
  assert.throws(
    () =>
      assertModest(encodeRequest({ inputs: [{ shape: Array.from({ length: 641 }, () => 1) }] })),
    { code: "INVALID_INPUT", message: /a shape has too many axes/ },
  );
});

test("decoding never throws: a message, or why there is none", () => {
  const { service } = loadInferenceDefinitions();
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom(...Object.keys(service)), (bytes, name) => {
      const read = service[name]!.requestDeserialize(Buffer.from(bytes)) as object;
      assert.ok("message" in read || "refusal" in read);
    }),
    { numRuns: 2000 },
  );
  const large = service["ModelReady"]!.requestDeserialize(Buffer.alloc(65_537)) as {
    readonly refusal: { readonly code: string };
  };
  assert.equal(large.refusal.code, "BODY_TOO_LARGE");
});
