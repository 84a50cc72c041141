/**
 * Tensors as bytes and as JSON: every datatype there and back, and what is refused.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { quoteLongIntegers } from "../../runtime/http/protocols/exact-integers.ts";
import {
  bytesPerElement,
  countElements,
  decodeTensor,
  encodeTensor,
  toDatatype,
} from "../../runtime/http/protocols/tensor-codec.ts";
import { halfToNumber } from "../../runtime/http/protocols/tensor-half.ts";
import {
  printJsonElements,
  readJsonElements,
  settleShape,
} from "../../runtime/http/protocols/tensor-json.ts";
import { TENSOR_DATATYPES, type TensorData, type TensorDatatype } from "../../runtime/inference.ts";

const title = "the input";

/** Elements at the ends of their ranges, and their bytes as a little-endian machine of another make would send them. */
const SAMPLES: Readonly<Record<TensorDatatype, readonly [data: TensorData, hex: string]>> = {
  BOOL: [Uint8Array.of(1, 0, 1), "010001"],
  UINT8: [Uint8Array.of(0, 255), "00ff"],
  UINT16: [Uint16Array.of(1, 65_535), "0100ffff"],
  UINT32: [Uint32Array.of(1, 2 ** 32 - 1), "01000000ffffffff"],
  UINT64: [BigUint64Array.of(1n, 2n ** 64n - 1n), "0100000000000000ffffffffffffffff"],
  INT8: [Int8Array.of(-128, 127), "807f"],
  INT16: [Int16Array.of(-2, 32_767), "feffff7f"],
  INT32: [Int32Array.of(-2, 1), "feffffff01000000"],
  INT64: [BigInt64Array.of(-2n, 2n ** 53n + 1n), "feffffffffffffff0100000000002000"],
  FP16: [Uint16Array.of(0x3c00, 0xc000), "003c00c0"],
  FP32: [Float32Array.of(1, -0.5), "0000803f000000bf"],
  FP64: [Float64Array.of(1, -0.5), "000000000000f03f000000000000e0bf"],
  BYTES: [[new TextEncoder().encode("hé"), new Uint8Array()], "0300000068c3a900000000"],
};

for (const datatype of TENSOR_DATATYPES) {
  test(`${datatype} as bytes is what the specification says, there and back`, () => {
    const [data, hex] = SAMPLES[datatype];
    const bytes = Buffer.from(hex, "hex");
    assert.equal(Buffer.from(encodeTensor(datatype, data)).toString("hex"), hex);
    for (const count of [undefined, data.length]) {
      const decoded = decodeTensor(bytes, datatype, { title, count });
      assert.deepEqual(decoded, data);
      assert.equal(decoded.constructor, data.constructor);
    }
  });

  test(`${datatype} as bytes must be as many as are wanted, whole, and is copied`, () => {
    const [data, hex] = SAMPLES[datatype];
    const bytes = Buffer.from(`00${hex}`, "hex").subarray(1); // not aligned either
    for (const count of [data.length + 1, data.length - 1, 0])
      assert.throws(
        () => decodeTensor(bytes, datatype, { title, count }),
        /Cannot read the input: /,
      );
    const decoded = decodeTensor(bytes, datatype, { title });
    bytes.fill(7);
    assert.deepEqual(decoded, data);
    if ((bytesPerElement(datatype) ?? 4) > 1)
      assert.throws(() => decodeTensor(bytes.subarray(1), datatype, { title }), {
        code: "INVALID_INPUT",
      });
  });

  test(`${datatype} in JSON comes back as it was`, () => {
    const [data] = SAMPLES[datatype];
    const { text, isBase64 } = printJsonElements(datatype, data);
    assert.equal(isBase64, false);
    const value: unknown = JSON.parse(quoteLongIntegers(text));
    const read = () => readJsonElements(value, datatype, { title, shape: [-1] });
    if (datatype === "FP16") {
      assert.equal(text, "[1,-2]");
      assert.throws(read, /FP16 has no form in JSON, wanted it binary, or FP32$/);
    } else assert.deepEqual(read(), { data, shape: [data.length] });
  });
}

test("a BYTES element that says it is longer than all there is takes no memory for it", () => {
  const bytes = Buffer.from("ffffffff00", "hex");
  assert.throws(() => decodeTensor(bytes, "BYTES", { title, count: 1 }), {
    message:
      "Cannot read the input: element 0 goes beyond the end of its 5 bytes, wanted a length of 4 bytes and as many bytes as it says",
  });
});

test("any bytes are a tensor or a refusal, and a tensor's bytes are those that it was read from", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...TENSOR_DATATYPES),
      fc.uint8Array({ maxLength: 40 }),
      fc.option(fc.nat(12), { nil: undefined }),
      (datatype, bytes, count) => {
        let data: TensorData;
        try {
          data = decodeTensor(bytes, datatype, { title, count });
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "INVALID_INPUT");
          return;
        }
        if (count !== undefined) assert.equal(data.length, count);
        const wanted = datatype === "BOOL" ? bytes.map((byte) => Math.min(byte, 1)) : bytes;
        assert.deepEqual(new Uint8Array(encodeTensor(datatype, data)), new Uint8Array(wanted));
      },
    ),
  );
});

test("whole numbers of 64 bits keep all their digits in JSON", () => {
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })), (list) => {
      const data = BigInt64Array.from(list);
      const { text } = printJsonElements("INT64", data);
      assert.equal(text, `[${list.join(",")}]`);
      const read = readJsonElements(JSON.parse(quoteLongIntegers(text)), "INT64", {
        title,
        shape: [list.length],
      });
      assert.deepEqual(read.data, data);
    }),
  );
});

test("quoteLongIntegers() touches nothing but long whole numbers", () => {
  const untouched =
    '{"a":[1,123456789012345,1234567890123456.5,1234567890123456e3,1e+22,-1.5],"b":"9007199254740993 \\" 9007199254740993"}';
  assert.equal(quoteLongIntegers(untouched), untouched);
  assert.equal(
    quoteLongIntegers('[9007199254740993,-9007199254740993, 1234567890123456 ,"\\\\",1]'),
    '["9007199254740993","-9007199254740993", "1234567890123456" ,"\\\\",1]',
  );
  fc.assert(
    fc.property(fc.json(), (json) => {
      const printed = JSON.stringify(JSON.parse(quoteLongIntegers(json)), (_key, value: unknown) =>
        typeof value === "string" && /^-?\d{16,}$/.test(value) ? Number(value) : value,
      );
      assert.equal(printed, JSON.stringify(JSON.parse(json)));
    }),
  );
});

test("JSON that a datatype does not hold is refused by element", () => {
  const refused: readonly (readonly [TensorDatatype, unknown, RegExp])[] = [
    ["UINT8", [0, 256], /element 1 of its data is 256, wanted a whole number from 0 to 255$/],
    ["INT8", [-129], /from -128 to 127$/],
    ["INT32", [1.5], /element 0 of its data is about 1\.5, wanted a whole number/],
    ["INT64", [2 ** 53], /is about 9007199254740992, wanted a whole number of INT64$/],
    ["INT64", ["9223372036854775808"], /is a string, wanted a whole number of INT64$/],
    ["UINT64", ["-1"], /wanted a whole number of UINT64$/],
    ["UINT64", ["1".repeat(1000)], /wanted a whole number of UINT64$/],
    ["FP32", ["1"], /element 0 of its data is a string, wanted a number$/],
    ["FP64", [true], /is a boolean, wanted a number$/],
    ["BOOL", [2], /wanted true or false$/],
    ["BOOL", ["true"], /wanted true or false$/],
    ["BYTES", [1], /is 1, wanted a string$/],
    ["BYTES", [null], /is null, wanted a string$/],
  ];
  for (const [datatype, value, pattern] of refused) {
    assert.throws(
      () => readJsonElements(value, datatype, { title, shape: [-1] }),
      (error) => error instanceof Error && pattern.test(error.message),
      `${datatype} ${JSON.stringify(value)}`,
    );
  }
});

test("NaN and infinities are strings in JSON, and null is read as NaN", () => {
  const data = Float64Array.of(Number.NaN, Infinity, -Infinity, 1e-300);
  const { text } = printJsonElements("FP64", data);
  assert.equal(text, '["NaN","Infinity","-Infinity",1e-300]');
  const options = { title, shape: [-1] };
  assert.deepEqual(readJsonElements(JSON.parse(text), "FP64", options).data, data);
  assert.deepEqual(readJsonElements([null], "FP32", options).data, Float32Array.of(Number.NaN));
});

test("BYTES that are not UTF-8 are base64 in JSON, there and back", () => {
  const data = [Uint8Array.of(0xff, 0), new TextEncoder().encode("a")];
  const printed = printJsonElements("BYTES", data);
  assert.deepEqual(printed, { text: '["/wA=","YQ=="]', isBase64: true });
  const options = { title, shape: [-1], isBase64: true };
  assert.deepEqual(readJsonElements(JSON.parse(printed.text), "BYTES", options).data, data);
  assert.throws(() => readJsonElements(["*"], "BYTES", options), /wanted a string in base64$/);
});

test("lists are flat or nested, and never of several lengths or depths", () => {
  const read = (value: unknown, shape: readonly number[]) =>
    readJsonElements(value, "INT32", { title, shape });
  const data = Int32Array.of(1, 2, 3, 4);
  assert.deepEqual(read([1, 2, 3, 4], [2, 2]), { data, shape: [2, 2] });
  assert.deepEqual(
    read(
      [
        [1, 2],
        [3, 4],
      ],
      [2, 2],
    ),
    { data, shape: [2, 2] },
  );
  assert.deepEqual(
    read(
      [
        [[1], [2]],
        [[3], [4]],
      ],
      [4],
    ),
    { data, shape: [4] },
  );
  assert.deepEqual(read([[], []], [2, 0]), { data: new Int32Array(), shape: [2, 0] });
  for (const value of [
    [[1, 2], [3]],
    [[1, 2], 3],
    [1, [2]],
    [[[1]], [[2, 3]]],
    [[1], [[2]]],
  ])
    assert.throws(() => read(value, [-1]), /wanted a regular one$/, JSON.stringify(value));
});

test("settleShape() takes what documented samples send", () => {
  const settle = (given: readonly number[], ...nesting: readonly number[]) =>
    settleShape(given, nesting, title);
  assert.deepEqual(settle([-1], 3), [3]);
  assert.deepEqual(settle([-1]), [1]); // a scalar
  assert.deepEqual(settle([], 3), [3]);
  assert.deepEqual(settle([], 2, 2), [2, 2]);
  assert.deepEqual(settle([]), []);
  assert.deepEqual(settle([], 1), []); // a graph's scalar
  assert.deepEqual(settle([-1], 2, 2), [2, 2]);
  assert.deepEqual(settle([-1, 2], 6), [3, 2]);
  assert.deepEqual(settle([2, 3], 6), [2, 3]);
  const wrong: readonly (readonly number[])[] = [
    [2, 2],
    [-1, 4],
    [-1, -1],
    [-2],
    [0, -1],
    [1.5, 4],
    [-6, -1],
  ];
  for (const given of wrong)
    assert.throws(() => settle(given, 6), { code: "INVALID_INPUT" }, JSON.stringify(given));
});

test("a shape whose product no number holds is refused before there is memory for it", () => {
  const refused: readonly (readonly [readonly number[], RegExp])[] = [
    [[2 ** 40, 2 ** 40], /has more elements than can be counted$/],
    [[2 ** 53], /has the length 9007199254740992/],
    [[-3, -3], /has the length -3, wanted whole numbers of at least 0$/],
    [[Number.NaN], /has the length NaN/],
    [Array.from({ length: 65 }, () => 1), /has 65 axes, wanted at most 64$/],
    [Array.from({ length: 64 }, () => 2 ** 20), /has more elements than can be counted$/],
  ];
  for (const [shape, pattern] of refused) assert.throws(() => countElements(shape, title), pattern);
  assert.equal(countElements([], title), 1);
  assert.equal(countElements([5, 0, 3], title), 0);
});

test("toDatatype() knows every name in any case, and says them where it does not", () => {
  for (const datatype of TENSOR_DATATYPES)
    assert.equal(toDatatype(datatype.toLowerCase(), title), datatype);
  assert.throws(
    () => toDatatype("STRING", title),
    /its datatype is "STRING", wanted one of BOOL, /,
  );
  assert.throws(() => toDatatype(undefined, title), /its datatype is missing/);
  assert.throws(() => toDatatype(7, title), /its datatype is a number/);
});

test("halfToNumber() follows IEEE 754", () => {
  const halves: readonly (readonly [bits: number, value: number])[] = [
    [0x0000, 0],
    [0x8000, -0],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3555, 0.333251953125],
    [0x7bff, 65_504],
    [0x7c00, Infinity],
    [0xfc00, -Infinity],
    [0x7e00, Number.NaN],
  ];
  for (const [bits, value] of halves)
    assert.ok(Object.is(halfToNumber(bits), value), String(value));
});
