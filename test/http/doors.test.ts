/**
 * One model, one text, the same numbers, whichever door a request comes through.
 *
 * To add a door: an entry among a suite's `doors`, which asks for the text and returns the numbers in the order that the
 * suite names. What the server needs for it goes into the suite's `args`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { modelPath } from "../support/goldens.ts";
import { connect, grpcTargetOf, texts } from "../support/grpc.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";

interface Door {
  readonly name: string;
  /** The model's name is the suite's `model`. */
  readonly ask: (server: Hubserve, text: string) => Promise<readonly number[]>;
}

interface Suite {
  /** A folder in `test/fixtures/models`. */
  readonly model: string;
  /** What the numbers of each door are, and in which order. */
  readonly numbers: string;
  readonly args: readonly string[];
  readonly texts: readonly string[];
  readonly tolerance: number;
  /** The others are compared with the first. */
  readonly doors: readonly Door[];
}

/** The same computation is printed, parsed, and here and there rounded to float32. */
const ROUNDING = 1e-6;

const TEXTS = [
  "Bloomberg has decided to publish a new report on the global economy.",
  "Schön, daß es 2 Türen gibt — 你好 👋",
];

const Scored = z.array(z.object({ label: z.string(), score: z.number() }));

const CLASSES: Suite = {
  model: "seqcls-bert-2way",
  numbers: "the probabilities of Not Accepted and Accepted",
  args: ["--dtype", "fp32", "--workers", "1"],
  texts: TEXTS,
  tolerance: ROUNDING,
  doors: [
    {
      name: "POST /",
      async ask(server, inputs) {
        const answer = await postJson(server, "/", { inputs, parameters: { top_k: null } });
        return inOrder(answer);
      },
    },
    {
      name: "POST /predictions/{model}",
      async ask(server, inputs) {
        const body = { inputs, parameters: { top_k: null } };
        return inOrder(await postJson(server, "/predictions/seqcls-bert-2way", body));
      },
    },
    {
      name: "V1",
      async ask(server, text) {
        const body = { instances: [{ data: text }], parameters: { top_k: null } };
        const [first] = await predictV1(server, "seqcls-bert-2way", body);
        return inOrder(first);
      },
    },
    {
      name: "V2, text",
      async ask(server, text) {
        const inputs = [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }];
        const [element] = await inferV2(server, "seqcls-bert-2way", {
          inputs,
          parameters: { top_k: null },
        });
        return inOrder(JSON.parse(String(element)));
      },
    },
    {
      name: "V2, a JSON object as text",
      async ask(server, text) {
        const payload = JSON.stringify({ text, parameters: { top_k: null } });
        const inputs = [{ name: "any", shape: -1, datatype: "BYTES", data: payload }];
        const [element] = await inferV2(server, "seqcls-bert-2way", { inputs });
        return inOrder(JSON.parse(String(element)));
      },
    },
    {
      name: "V2, the graph's tensors",
      async ask(server, text) {
        const logits = await inferV2(server, "seqcls-bert-2way", {
          inputs: await tokensOf("seqcls-bert-2way", text),
          outputs: [{ name: "logits" }],
        });
        return softmax(logits.map(Number));
      },
    },
    {
      name: "gRPC, text",
      async ask(server, text) {
        const answer = await inferRpc(server, {
          inputs: [texts("text", text)],
          parameters: { top_k: {} }, // nothing in it: null
        });
        const [element] = answer.outputs[0].contents?.bytes_contents ?? [];
        return inOrder(JSON.parse(String(element)));
      },
    },
    {
      name: "gRPC, the graph's tensors, raw",
      async ask(server, text) {
        const inputs = await tokensOf("seqcls-bert-2way", text);
        const { raw_output_contents: raw } = await inferRpc(server, {
          inputs: inputs.map(({ name, shape, datatype }) => ({ name, shape, datatype })),
          raw_input_contents: inputs.map(({ data }) =>
            Buffer.from(BigInt64Array.from(data, BigInt).buffer),
          ),
        });
        return softmax(toFloats(raw));
      },
    },
  ],
};

const EMBEDDINGS: Suite = {
  model: "minilm-embed",
  numbers: "the text's vector",
  args: ["--workers", "1"],
  texts: TEXTS,
  tolerance: ROUNDING,
  doors: [
    {
      name: "POST /",
      ask: async (server, text) => vectorOf(await postJson(server, "/", { inputs: [text] })),
    },
    {
      name: "POST /predictions/{model}",
      ask: async (server, text) =>
        vectorOf(await postJson(server, "/predictions/minilm-embed", { inputs: [text] })),
    },
    {
      name: "V1",
      ask: async (server, text) =>
        vectorOf(await predictV1(server, "minilm-embed", { instances: [text] })),
    },
    {
      name: "POST /v1/embeddings",
      ask: async (server, input) => (await embed(server, { input })).map(Number),
    },
    {
      name: "POST /openai/v1/embeddings, base64",
      async ask(server, input) {
        const [base64] = await embed(server, { input, encoding_format: "base64" }, "/openai");
        const bytes = new Uint8Array(Buffer.from(String(base64), "base64"));
        return Array.from(new Float32Array(bytes.buffer));
      },
    },
    {
      name: "V2, text",
      async ask(server, text) {
        const inputs = [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }];
        return (await inferV2(server, "minilm-embed", { inputs })).map(Number);
      },
    },
    {
      name: "gRPC, typed",
      async ask(server, text) {
        const answer = await inferRpc(server, { inputs: [texts("text", text)] });
        return answer.outputs[0].contents?.fp32_contents ?? [];
      },
    },
    {
      name: "gRPC, raw",
      async ask(server, text) {
        const bytes = Buffer.from(text);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(bytes.byteLength);
        const { raw_output_contents: raw } = await inferRpc(server, {
          inputs: [{ name: "text", datatype: "BYTES", shape: [1] }],
          raw_input_contents: [Buffer.concat([length, bytes])],
        });
        return toFloats(raw);
      },
    },
  ],
};

for (const { model, numbers, args, texts, tolerance, doors } of [CLASSES, EMBEDDINGS]) {
  test(`every door answers ${numbers} alike: ${model}`, async (t) => {
    await using server = await startHubserve({
      args: [modelPath(model), "--grpc-port", "0", ...args],
    });
    await server.line(/Ready after/);
    const [first, ...others] = doors;
    assert.ok(first !== undefined);
    const wanted = await Promise.all(texts.map((text) => first.ask(server, text)));
    for (const { name, ask } of others) {
      await t.test(`${name}, as ${first.name}`, async () => {
        for (const [index, text] of texts.entries())
          assertClose(await ask(server, text), wanted[index] ?? [], tolerance);
      });
    }
  });
}

function assertClose(actual: readonly number[], wanted: readonly number[], tolerance: number) {
  assert.ok(wanted.length > 1);
  assert.equal(actual.length, wanted.length);
  for (const [index, value] of wanted.entries()) {
    const found = actual[index] ?? Number.NaN;
    assert.ok(Math.abs(found - value) <= tolerance, `${index}: ${found}, wanted ${value}`);
  }
}

async function postJson(server: Hubserve, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${server.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

const Inferred = z.object({
  outputs: z.tuple([z.object({ data: z.array(z.union([z.string(), z.number()])) })]),
});

/** The elements of the one output. */
async function inferV2(
  server: Hubserve,
  model: string,
  body: unknown,
): Promise<readonly (string | number)[]> {
  const answer = await postJson(server, `/v2/models/${model}/infer`, body);
  return Inferred.parse(answer).outputs[0].data;
}

const Contents = z.object({
  bytes_contents: z.array(z.custom<Buffer>()).optional(),
  fp32_contents: z.array(z.number()).optional(),
});

const InferredRpc = z.object({
  outputs: z.tuple([z.object({ contents: Contents.optional() })]),
  raw_output_contents: z.array(z.custom<Buffer>()).optional(),
});

async function inferRpc(server: Hubserve, request: object): Promise<z.infer<typeof InferredRpc>> {
  await using client = connect(await grpcTargetOf(server));
  return InferredRpc.parse((await client.call("ModelInfer", request)).message);
}

function toFloats(raw: readonly Buffer[] = []): readonly number[] {
  return raw.flatMap((bytes) => Array.from(new Float32Array(new Uint8Array(bytes).buffer)));
}

const Predicted = z.object({ predictions: z.array(z.unknown()) });

async function predictV1(server: Hubserve, model: string, body: unknown): Promise<unknown[]> {
  const answer = await postJson(server, `/v1/models/${model}:predict`, body);
  return Predicted.parse(answer).predictions;
}

const Embedded = z.object({
  data: z.tuple([z.object({ embedding: z.union([z.array(z.number()), z.string()]) })]),
});

/** The numbers of the one vector, or its base64. */
async function embed(
  server: Hubserve,
  body: unknown,
  prefix = "",
): Promise<readonly (string | number)[]> {
  const answer = await postJson(server, `${prefix}/v1/embeddings`, body);
  const [{ embedding }] = Embedded.parse(answer).data;
  return typeof embedding === "string" ? [embedding] : embedding;
}

interface IntegerTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  readonly data: readonly number[];
}

/** What the graph reads. */
async function tokensOf(model: string, text: string): Promise<readonly IntegerTensor[]> {
  const tokenizer = await AutoTokenizer.from_pretrained(modelPath(model));
  const encoded = z
    .record(z.string(), z.object({ dims: z.array(z.number()), data: z.custom<BigInt64Array>() }))
    .parse(tokenizer(text));
  return Object.entries(encoded).map(([name, { dims, data }]) => ({
    name,
    shape: dims,
    datatype: "INT64",
    data: Array.from(data, Number),
  }));
}

function inOrder(answer: unknown): readonly number[] {
  const scored = Scored.parse(answer);
  return ["Not Accepted", "Accepted"].map(
    (label) => scored.find((each) => each.label === label)?.score ?? Number.NaN,
  );
}

function vectorOf(answer: unknown): readonly number[] {
  return z.tuple([z.array(z.number())]).parse(answer)[0];
}

function softmax(logits: readonly number[]): readonly number[] {
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const sum = powers.reduce((so, power) => so + power, 0);
  return powers.map((power) => power / sum);
}
