import assert from "node:assert/strict";

import { RuntimeError } from "../../runtime/errors.ts";
import type { InferenceRequest, JsonValue } from "../../runtime/inference.ts";
import { post, readyModels, testDoor, type Door, type DoorOptions } from "../support/app-matrix.ts";

interface Embeddings {
  readonly object: string;
  readonly data: readonly { object: string; index: number; embedding: unknown }[];
  readonly model: string;
  readonly usage: unknown;
}

/** A model whose vectors tell the length of the text; and what it was asked. */
function embedder(
  more: DoorOptions["description"] = { handler: "default", task: "feature-extraction" },
) {
  const requests: InferenceRequest[] = [];
  const models = readyModels((request) => {
    requests.push(request);
    const texts = request.data["inputs"] as string[];
    return { kind: "json", value: texts.map((text) => [text.length, 0.1, -1]) };
  }, more);
  const { engine } = models.ready();
  const submit = engine.submit.bind(engine);
  engine.submit = async (request, waiting) => ({ ...(await submit(request, waiting)), tokens: 12 });
  return { models, requests };
}

async function embed({ request }: Door, body: object): Promise<Embeddings> {
  const response = await request("/v1/embeddings", post(body));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as Embeddings;
}

const plain = embedder();

testDoor("texts become vectors in order, with the tokens that were read", plain, async (door) => {
  const answer = await embed(door, { model: "owner/name", input: ["a", "bb"], user: "u" });
  assert.deepEqual(answer, {
    object: "list",
    data: [
      { object: "embedding", index: 0, embedding: [1, 0.1, -1] },
      { object: "embedding", index: 1, embedding: [2, 0.1, -1] },
    ],
    model: "owner/name",
    usage: { prompt_tokens: 12, total_tokens: 12 },
  });
  const { data } = await embed(door, { input: "ccc", encoding_format: null });
  assert.deepEqual(data, [{ object: "embedding", index: 0, embedding: [3, 0.1, -1] }]);
  assert.deepEqual(plain.requests.at(-1)?.data, {
    inputs: ["ccc"],
    parameters: { pooling: "auto" },
  });
});

testDoor("base64 is little-endian float32", plain, async (door) => {
  const { data } = await embed(door, { input: "ab", encoding_format: "base64" });
  const text = data[0]?.embedding;
  assert.ok(typeof text === "string");
  const bytes = new DataView(new Uint8Array(Buffer.from(text, "base64")).buffer);
  assert.equal(bytes.byteLength, 12);
  assert.deepEqual(
    [0, 4, 8].map((at) => bytes.getFloat32(at, true)),
    [2, Math.fround(0.1), -1],
  );
});

testDoor("options reach the task", plain, async (door) => {
  const options = { dimensions: 2, normalize: false, truncate: true, prompt_name: "query" };
  await embed(door, { input: "a", ...options });
  assert.deepEqual(plain.requests.at(-1)?.data["parameters"], { pooling: "auto", ...options });
});

const custom = embedder({ handler: "custom" });

testDoor(
  "a custom handler gets the texts, and parameters where there are some",
  custom,
  async (door) => {
    await embed(door, { input: ["a"] });
    assert.deepEqual(custom.requests.at(-1)?.data, { inputs: ["a"] });
    await embed(door, { input: ["a"], dimensions: 2 });
    assert.deepEqual(custom.requests.at(-1)?.data, {
      inputs: ["a"],
      parameters: { dimensions: 2 },
    });
  },
);

testDoor(
  "a custom handler may name its vectors",
  { answer: () => ({ kind: "json", value: { embeddings: [[1, 2]] } }) },
  async (door) => {
    const { data, usage } = await embed(door, { input: "a" });
    assert.deepEqual(data[0]?.embedding, [1, 2]);
    assert.deepEqual(usage, { prompt_tokens: 0, total_tokens: 0 }); // nobody counts there
  },
);

async function refusal({ request }: Door, body: object) {
  const response = await request("/v1/embeddings", post(body));
  const text = await response.text();
  assert.equal(response.status, 400, text);
  return (JSON.parse(text) as { error: { message: string; param: string; code: string | null } })
    .error;
}

const odd: readonly JsonValue[] = [
  "text",
  [[1], ["a"]],
  [[1]],
  [[], []],
  [[[1]], [[2]]],
  { embeddings: 1 },
];

for (const value of odd) {
  testDoor(
    `a handler that answers ${JSON.stringify(value)} to two texts has no vectors`,
    { answer: () => ({ kind: "json", value }) },
    async (door) => {
      const { message, code } = await refusal(door, { input: ["a", "b"] });
      assert.match(message, /answered by handler\.ts, wanted a model for feature-extraction/);
      assert.equal(code, "model_not_supported");
    },
  );
}

testDoor(
  "a model for something else is named with its task",
  { description: { handler: "default", task: "fill-mask" } },
  async (door) => {
    assert.deepEqual(await refusal(door, { input: "a" }), {
      message:
        'Cannot create embeddings: the model "owner/name" serves fill-mask, wanted a model for feature-extraction or sentence-similarity',
      type: "invalid_request_error",
      param: "model",
      code: "model_not_supported",
    });
  },
);

testDoor("input that is no text is a 400 that names its place", plain, async (door) => {
  for (const [input, problem] of [
    [undefined, '"input" is missing, wanted a string or a list of strings'],
    [5, '"input" is 5, wanted a string or a list of strings'],
    [{ text: "a" }, '"input" is an object, wanted a string or a list of strings'],
    ["", '"input" is an empty string, wanted a text'],
    [[], '"input" is an empty list, wanted 1 to 2048 texts'],
    [["a", ""], '"input[1]" is an empty string, wanted a text'],
    [["a", null], '"input[1]" is null, wanted a string'],
    [["a", { text: "b" }], '"input[1]" is an object, wanted a string'],
    [Array.from({ length: 2049 }, () => "a"), '"input" is a list of 2049, wanted 1 to 2048 texts'],
  ] as const) {
    const { message, param } = await refusal(door, { input });
    assert.equal(message, `Cannot create embeddings: ${problem}`);
    assert.equal(param, "input");
  }
});

testDoor("token ids are refused with what to do", plain, async (door) => {
  for (const input of [
    [1, 2],
    [[1], [2]],
  ]) {
    const { message } = await refusal(door, { input });
    assert.match(message, /a list of token ids, wanted texts: .*check_embedding_ctx_length=False/);
  }
});

testDoor("options that are wrong are named", plain, async (door) => {
  for (const [options, problem] of [
    [{ encoding_format: "int8" }, '"encoding_format" is "int8", wanted "float" or "base64"'],
    [{ dimensions: 0 }, '"dimensions" is 0, wanted a whole number of at least 1'],
    [{ dimensions: "3" }, '"dimensions" is "3", wanted a whole number of at least 1'],
    [{ normalize: 1 }, '"normalize" is 1, wanted true or false'],
  ] as const) {
    const { message, param } = await refusal(door, { input: "a", ...options });
    assert.equal(message, `Cannot create embeddings: ${problem}`);
    assert.equal(param, Object.keys(options)[0]);
  }
});

for (const [said, told, param] of [
  ['"inputs[1]" is 300 tokens long', '"input[1]" is 300 tokens long', "input"],
  [
    '"dimensions" is 500, wanted at most 96',
    '"dimensions" is 500, wanted at most 96',
    "dimensions",
  ],
  ["so", "so", null],
] as const) {
  testDoor(
    `the task's refusal is told with the client's names: ${told}`,
    {
      description: { handler: "default", task: "sentence-similarity" },
      answer() {
        throw new RuntimeError("INVALID_INPUT", `Cannot extract features: ${said}`);
      },
    },
    async (door) => {
      const error = await refusal(door, { input: "a" });
      assert.equal(error.message, `Cannot extract features: ${told}`);
      assert.equal(error.param, param);
    },
  );
}
