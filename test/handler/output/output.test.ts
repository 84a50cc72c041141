import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { RawAudio, RawImage, Tensor as TransformersTensor } from "@huggingface/transformers";
import { Tensor } from "onnxruntime-node";
import { isRuntimeError, RuntimeError } from "../../../runtime/errors.ts";
import { toJson, toJsonAwaiting } from "../../../runtime/handler/output/json.ts";
import { toOutput } from "../../../runtime/handler/output/output.ts";

/** The JSON that a result becomes; structured cloning and text must agree about it. */
async function jsonOf(result: unknown): Promise<unknown> {
  const output = await toOutput(result);
  assert.equal(output.kind, "json");
  assert.deepEqual(structuredClone(output.value), JSON.parse(JSON.stringify(output.value)));
  return output.value;
}

async function mediaOf(result: unknown): Promise<{ type: string; bytes: number[] }> {
  const output = await toOutput(result);
  assert.equal(output.kind, "media");
  assert.equal(Object.getPrototypeOf(output.media.bytes), Uint8Array.prototype);
  return { type: output.media.contentType, bytes: [...output.media.bytes] };
}

async function chunksOf(result: unknown): Promise<unknown[]> {
  const output = await toOutput(result);
  assert.equal(output.kind, "stream");
  const chunks: unknown[] = [];
  for await (const chunk of output.chunks) chunks.push(chunk);
  return chunks;
}

function failsWith(message: string) {
  return (error: unknown) =>
    isRuntimeError(error) &&
    error.code === "HANDLER_FAILED" &&
    (assert.equal(error.message, message), true);
}

class Point {
  readonly x = 1;
  #hidden = 2;
  get y(): number {
    return this.#hidden;
  }
  norm(): number {
    return 3;
  }
}

const lazy = { toJSON: (key: string) => ({ key, at: new Date(0) }) };

for (const [name, value, expected] of [
  ["a string", "a", "a"],
  ["a number", 1.5, 1.5],
  ["a boolean", false, false],
  ["null", null, null],
  ["undefined, as null", undefined, null],
  ["NaN and the infinities, as null", [NaN, Infinity, -Infinity], [null, null, null]],
  ["negative zero, as zero", [-0, { a: -0 }], [0, { a: 0 }]],
  [
    "an object with undefined, a function and a symbol, without them",
    { a: undefined, b: () => 1, c: Symbol("c"), d: 1 },
    { d: 1 },
  ],
  [
    "an array with them, with null in their place",
    [undefined, () => 1, Symbol("c"), 1],
    [null, null, null, 1],
  ],
  ["a sparse array", [1, , 3], [1, null, 3]], // eslint-disable-line no-sparse-arrays
  ["symbol keys, without them", { [Symbol("a")]: 1, b: 2 }, { b: 2 }],
  ["a Date", { at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
  ["an invalid Date", new Date(NaN), null],
  ["a URL", new URL("https://x/y"), "https://x/y"],
  [
    "a toJSON, which is told its key",
    { lazy },
    { lazy: { key: "lazy", at: "1970-01-01T00:00:00.000Z" } },
  ],
  [
    "a Map",
    new Map<unknown, unknown>([
      ["a", 1],
      [2, new Map([["b", NaN]])],
    ]),
    { "2": { b: null }, a: 1 },
  ],
  ["a Set", new Set([1, "a"]), [1, "a"]],
  ["a class's own fields", new Point(), { x: 1 }],
  ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ["wrapped primitives", [new Number(1), new String("a"), new Boolean(false)], [1, "a", false]],
  ["a bigint that a number holds", [2n, -(2n ** 53n - 1n)], [2, -(2 ** 53 - 1)]],
  ["a bigint that none holds, as text", 2n ** 53n, "9007199254740992"],
  ["float32 numbers", new Float32Array([1, 0.5, NaN, -0]), [1, 0.5, null, 0]],
  ["int64 numbers", new BigInt64Array([1n, 2n ** 60n]), [1, "1152921504606846976"]],
  [
    "bytes inside",
    { bytes: new Uint8Array([1, 2]), clamped: new Uint8ClampedArray([3]) },
    { bytes: [1, 2], clamped: [3] },
  ],
  [
    "a buffer inside",
    { buffer: Buffer.from([1, 2]), raw: new Uint8Array([3]).buffer },
    { buffer: [1, 2], raw: [3] },
  ],
  ["clamped bytes on their own, which are pixels", new Uint8ClampedArray([1]), [1]],
  ["a DataView inside", [new DataView(new ArrayBuffer(2))], [[0, 0]]],
] satisfies readonly (readonly [string, unknown, unknown])[]) {
  test(`toOutput() turns into JSON: ${name}`, async () => {
    assert.deepEqual(await jsonOf(value), expected);
    assert.deepEqual(toJson(value), expected);
  });
}

test("a key called __proto__ stays a key", async () => {
  const value = await jsonOf(JSON.parse('{"__proto__": {"a": 1}}'));
  assert.equal(JSON.stringify(value), '{"__proto__":{"a":1}}');
});

test("the result is a copy: later changes by the handler do not reach it", async () => {
  const kept = { scores: [1, 2], nested: { a: "b" } };
  const value = await jsonOf(kept);
  kept.scores.push(3);
  kept.nested.a = "c";
  assert.deepEqual(value, { scores: [1, 2], nested: { a: "b" } });
});

for (const [library, make] of [
  ["onnxruntime", (type, data, dims) => new Tensor(type as "float32", data as Float32Array, dims)],
  [
    "transformers.js",
    (type, data, dims) => new TransformersTensor(type as "float32", data as Float32Array, dims),
  ],
] satisfies readonly (readonly [
  string,
  (type: string, data: unknown, dims: number[]) => object,
])[]) {
  for (const [name, type, data, dims, expected] of [
    ["a scalar", "float32", new Float32Array([0.5]), [], 0.5],
    ["a vector", "float32", new Float32Array([1, NaN]), [2], [1, null]],
    [
      "a cube",
      "int32",
      new Int32Array([1, 2, 3, 4, 5, 6]),
      [1, 2, 3],
      [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
      ],
    ],
    ["int64", "int64", new BigInt64Array([1n, 2n]), [2, 1], [[1], [2]]],
    ["bool", "bool", new Uint8Array([0, 1]), [2], [false, true]],
    ["text", "string", ["a", "b"], [2], ["a", "b"]],
    ["no elements", "float32", new Float32Array(0), [2, 0], [[], []]],
    ["no rows", "float32", new Float32Array(0), [0, 2], []],
  ] satisfies readonly (readonly [string, string, unknown, number[], unknown])[]) {
    test(`a tensor of ${library} becomes nested arrays: ${name}`, async () => {
      assert.deepEqual(await jsonOf(make(type, data, dims)), expected);
      assert.deepEqual(await jsonOf({ logits: make(type, data, dims) }), { logits: expected });
    });
  }
}

test("half floats are decoded, whether the language has Float16Array or not", async () => {
  // 1, -2, the smallest subnormal, 65504, infinity, NaN; see IEEE 754-2019, 3.6.
  const bits = new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x7e00]);
  const expected = [1, -2, 2 ** -24, 65504, null, null];
  class HalfTensor {
    readonly dims = [6];
    readonly type = "float16";
    readonly data: unknown;
    constructor(data: unknown) {
      this.data = data;
    }
  }
  assert.deepEqual(await jsonOf(new HalfTensor(bits)), expected);
  if ("Float16Array" in globalThis) {
    const { Float16Array } = globalThis as unknown as {
      Float16Array: new (buffer: ArrayBuffer) => unknown;
    };
    assert.deepEqual(await jsonOf(new HalfTensor(new Float16Array(bits.buffer))), expected);
  }
});

test("an object literal with dims and data is a tensor only if it cannot be JSON as it is", async () => {
  const json = { dims: [2], data: [1, 2], type: "x" };
  assert.deepEqual(await jsonOf(json), json);
  assert.deepEqual(
    await jsonOf({ dims: [2, 1], data: new Float32Array([1, 2]), type: "float32" }),
    [[1], [2]],
  );
  assert.deepEqual(await jsonOf({ dims: [3], data: new Float32Array([1, 2]) }), {
    dims: [3],
    data: [1, 2],
  });
});

for (const [name, value, found] of [
  ["a function", () => 1, "result is a function"],
  ["a symbol", Symbol("a"), "result is a symbol"],
  [
    "a forgotten await",
    { scores: [1, Promise.resolve(1)] },
    "result.scores[1] is a promise: await it before returning",
  ],
  [
    "a nested stream",
    { tokens: Readable.from(["a"]) },
    "result.tokens is a stream: only the whole result can be one",
  ],
  [
    "a nested generator",
    [(function* () {})()],
    "result[0] is a stream: only the whole result can be one",
  ],
  [
    "a Map with objects as keys",
    { m: new Map([[{}, 1]]) },
    "result.m is a Map with objects as keys",
  ],
] satisfies readonly (readonly [string, unknown, string])[]) {
  test(`toOutput() refuses with the place inside the result: ${name}`, async () => {
    await assert.rejects(
      toOutput(value),
      failsWith(`Cannot turn the handler's result into JSON: ${found}`),
    );
  });
}

test("a forgotten promise that fails later does not end the process", async () => {
  await assert.rejects(toOutput([Promise.reject(new Error("late"))]), /is a promise/);
  await new Promise((resolve) => setImmediate(resolve));
});

test("a result that holds itself is refused, one that repeats a part is not", async () => {
  const cycle: Record<string, unknown> = { list: [{}] };
  (cycle["list"] as Record<string, unknown>[])[0]!["back"] = cycle;
  const message =
    "Cannot turn the handler's result into JSON: result.list[0].back refers to an object that holds it";
  await assert.rejects(toOutput(cycle), failsWith(message));
  const map = new Map<string, unknown>();
  map.set("self", map);
  const set = new Set<unknown>();
  set.add(set);
  await assert.rejects(toOutput(set), /result\[0\] refers to an object that holds it/);
  await assert.rejects(toOutput(map), /result\.self refers to an object that holds it/);
  const self = { toJSON: () => self };
  assert.deepEqual(await jsonOf(self), {});
  const part = { a: 1 };
  assert.deepEqual(await jsonOf([part, part]), [{ a: 1 }, { a: 1 }]);
});

test("nesting has a bound, with room for every honest answer", async () => {
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
  await jsonOf(nested(199));
  await assert.rejects(toOutput(nested(500)), /is nested more than 200 levels deep/);
  await assert.rejects(toOutput(nested(5000)), /is nested more than 200 levels deep/);
});

test("an error of a getter or a toJSON is the handler's failure", async () => {
  const broken = {
    get score(): number {
      throw new Error("no score in /srv/models/x");
    },
  };
  await assert.rejects(toOutput(broken), failsWith("Handler failed: no score in [path]"));
  const refused = new RuntimeError("INVALID_INPUT", "Cannot score: x");
  const refusing = {
    toJSON() {
      throw refused;
    },
  };
  await assert.rejects(toOutput([refusing]), (error) => error === refused);
});

test("bytes on their own become a file", async () => {
  const bytes = { type: "application/octet-stream", bytes: [1, 2] };
  assert.deepEqual(await mediaOf(new Uint8Array([1, 2])), bytes);
  assert.deepEqual(await mediaOf(new Uint8Array([0, 1, 2, 3]).subarray(1, 3)), bytes);
  assert.deepEqual(await mediaOf(Buffer.from([1, 2])), bytes);
  assert.deepEqual(await mediaOf(new Uint8Array([1, 2]).buffer), bytes);
});

test("a Blob becomes a file of its type, inside JSON it becomes base64", async () => {
  const blob = new Blob(["hi"], { type: "text/plain" });
  assert.deepEqual(await mediaOf(blob), { type: "text/plain", bytes: [104, 105] });
  assert.deepEqual((await mediaOf(new Blob(["hi"]))).type, "application/octet-stream");
  assert.deepEqual(await jsonOf({ a: [blob] }), { a: ["aGk="] });
  assert.throws(() => toJson([blob]), /result\[0\] is a file, whose bytes must be awaited/);
});

test("a RawImage becomes a PNG, inside JSON its base64", async () => {
  const pixels = new Uint8ClampedArray([255, 0, 0, 0, 255, 0]);
  const image = new RawImage(pixels, 2, 1, 3);
  const { type, bytes } = await mediaOf(image);
  assert.equal(type, "image/png");
  const back = await RawImage.fromBlob(new Blob([new Uint8Array(bytes)]));
  assert.deepEqual(
    [back.width, back.height, back.channels, [...back.data]],
    [2, 1, 3, [...pixels]],
  );
  const value = await jsonOf([{ label: "cat", mask: image }]);
  assert.deepEqual(value, [{ label: "cat", mask: Buffer.from(bytes).toString("base64") }]);
});

test("a RawAudio becomes a WAV, inside JSON its base64", async () => {
  const audio = new RawAudio(new Float32Array([0, 0.5, -0.5]), 16_000);
  const { type, bytes } = await mediaOf(audio);
  assert.equal(type, "audio/wav");
  const header = Buffer.from(bytes);
  assert.equal(header.toString("latin1", 0, 4), "RIFF");
  assert.equal(header.readUInt32LE(24), 16_000); // the sampling rate, RIFF/WAVE "fmt " chunk
  assert.deepEqual(await jsonOf({ audio }), { audio: header.toString("base64") });
});

test("a Response is handed on by its type, unless it reports a failure", async () => {
  assert.deepEqual(await jsonOf(Response.json({ a: 1 })), { a: 1 });
  const text = new Response("hi", { headers: { "content-type": "text/plain" } });
  assert.deepEqual(await mediaOf(text), { type: "text/plain", bytes: [104, 105] });
  const failed = new Response("no", { status: 404 });
  await assert.rejects(
    toOutput(failed),
    failsWith("Handler failed: it returned a Response with status 404"),
  );
});

for (const [name, make] of [
  [
    "an async generator",
    async function* () {
      yield* ["a", { n: NaN }];
    },
  ],
  [
    "a generator",
    function* () {
      yield* ["a", { n: NaN }];
    },
  ],
  [
    "a generator of promises",
    function* () {
      yield Promise.resolve("a");
      yield Promise.resolve({ n: NaN });
    },
  ],
  [
    "a ReadableStream",
    () =>
      new ReadableStream({
        start(c) {
          c.enqueue("a");
          c.enqueue({ n: NaN });
          c.close();
        },
      }),
  ],
  ["a Node stream", () => Readable.from(["a", { n: NaN }])],
  [
    "an async iterable",
    () => ({
      [Symbol.asyncIterator]: async function* () {
        yield* ["a", { n: NaN }];
      },
    }),
  ],
  [
    "an iterator of a Map",
    () =>
      new Map([
        [1, "a"],
        [2, { n: NaN }],
      ] as [number, unknown][]).values(),
  ],
] satisfies readonly (readonly [string, () => unknown])[]) {
  test(`toOutput() streams ${name}, each chunk normalized`, async () => {
    assert.deepEqual(await chunksOf(make()), ["a", { n: null }]);
  });
}

test("chunks follow the rules of parts: tensors, images and bytes too", async () => {
  function* chunks() {
    yield undefined;
    yield new Tensor("float32", new Float32Array([1, 2]), [2]);
    yield new Blob(["hi"]);
    yield new Uint8Array([1]);
  }
  assert.deepEqual(await chunksOf(chunks()), [null, [1, 2], "aGk=", [1]]);
});

test("an error in a stream arrives after the chunks before it, as the handler's failure", async () => {
  async function* failing() {
    yield 1;
    throw new Error("lost /srv/models/x");
  }
  const output = await toOutput(failing());
  assert.ok(output.kind === "stream");
  const reader = output.chunks[Symbol.asyncIterator]();
  assert.deepEqual(await reader.next(), { done: false, value: 1 });
  await assert.rejects(reader.next(), failsWith("Handler failed: lost [path]"));
});

test("a reader who leaves ends the handler's generator", async () => {
  const seen: string[] = [];
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      seen.push("ended");
    }
  }
  const output = await toOutput(endless());
  assert.ok(output.kind === "stream");
  for await (const chunk of output.chunks) if (chunk === 2) break;
  assert.deepEqual(seen, ["ended"]);
});

test("an unread stream does not start", async () => {
  let started = false;
  async function* lazily() {
    started = true;
    yield 1;
  }
  await toOutput(lazily());
  assert.equal(started, false);
});

test("an image that cannot be encoded fails the request, and nothing else", async () => {
  class Broken {
    readonly width = 1;
    readonly height = 1;
    readonly channels = 3;
    readonly data = new Uint8Array(3);
    toSharp() {
      return { png: () => ({ toBuffer: () => Promise.reject(new Error("no codec")) }) };
    }
  }
  await assert.rejects(toOutput(new Broken()), failsWith("Handler failed: no codec"));
  await assert.rejects(
    toOutput([new Broken(), new Broken()]),
    failsWith("Handler failed: no codec"),
  );
  // The cycle is found first; the image's failure must not become an unhandled rejection then.
  const cycle: unknown[] = [new Broken()];
  cycle.push(cycle);
  await assert.rejects(toJsonAwaiting(cycle), /refers to an object that holds it/);
  await new Promise((resolve) => setImmediate(resolve));
});

test("the common answers are cheap", async (t) => {
  const small = [
    { label: "POSITIVE", score: 0.99 },
    { label: "NEGATIVE", score: 0.01 },
  ];
  const large = Array.from({ length: 1000 }, () => Array.from({ length: 1000 }, Math.random));
  const tensor = new Tensor("float32", new Float32Array(1_000_000), [1000, 1000]);
  const millis = async (runs: number, value: unknown): Promise<number> => {
    const startedAtMs = performance.now();
    for (let i = 0; i < runs; i++) await toOutput(value);
    return (performance.now() - startedAtMs) / runs;
  };
  await millis(2000, small);
  const smallMs = await millis(2000, small);
  const largeMs = await millis(5, large);
  const tensorMs = await millis(5, tensor);
  t.diagnostic(
    `two labels ${(smallMs * 1000).toFixed(1)} µs, a million numbers ${largeMs.toFixed(0)} ms, as a tensor ${tensorMs.toFixed(0)} ms`,
  );
  assert.ok(smallMs < 0.2);
  assert.ok(largeMs < 1000 && tensorMs < 1000);
});
