/**
 * The Open Inference Protocol with real models behind it, asked as curl, KServe's and Triton's clients ask.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ClassificationGolden, modelPath, readGolden } from "../support/goldens.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";
import { startManaged } from "../support/managed.ts";
import { createModelStore } from "../support/model-store.ts";
import {
  assertConforms,
  binaryRequest,
  readAnswer,
  readBinaryAnswer,
  readError,
} from "../support/open-inference.ts";

async function serve(model: string, ...args: readonly string[]): Promise<Hubserve> {
  const server = await startHubserve({ args: [model, "--workers", "1", ...args] });
  await server.line(/Ready after/);
  return server;
}

/** As `curl -d` sends it. */
const curl = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/x-www-form-urlencoded" },
  body: typeof body === "string" ? body : JSON.stringify(body),
});

const texts = (data: readonly string[], name = "text") => ({
  name,
  shape: [data.length],
  datatype: "BYTES",
  data,
});

test("a classifier answers KServe's sample, texts and its graph's tensors", async () => {
  await using server = await serve(modelPath("seqcls-bert-2way"), "--dtype", "fp32");
  const path = `${server.url}/v2/models/seqcls-bert-2way`;
  const { labels, cases } = readGolden("seqcls-bert-2way", ClassificationGolden);

  const metadata: unknown = await (await fetch(path)).json();
  assertConforms(metadata, "metadata_model_response");
  const { properties } = metadata as { properties: Record<string, string> };
  assert.deepEqual(JSON.parse(properties["graph_outputs"] ?? ""), [
    { name: "logits", datatype: "FP32", shape: [-1, 2] },
  ]);

  for (const { input, top } of cases) {
    const payload = JSON.stringify({ text: input, target: 1 });
    const id = "d3b15cad-50a2-4eaf-80ce-8b0a428bd298";
    const inputs = [{ name: "4b7c7d4a", shape: -1, datatype: "BYTES", data: payload }];
    const answer = await readAnswer(await fetch(`${path}/infer`, curl({ id, inputs })));
    assert.deepEqual(answer, {
      id,
      model_name: "seqcls-bert-2way",
      model_version: "1.0",
      outputs: [{ name: "predict", shape: [1], datatype: "BYTES", data: [top[0]?.label] }],
    });
  }

  const answer = await readAnswer(
    await fetch(
      `${path}/versions/1.0/infer`,
      curl({ inputs: [texts(cases.map((each) => each.input))] }),
    ),
  );
  const [output] = answer.outputs;
  assert.deepEqual(output?.shape, [cases.length]);
  for (const [i, { top }] of cases.entries()) {
    const found = JSON.parse(String(output?.data[i])) as { label: string; score: number };
    assert.equal(found.label, top[0]?.label);
    assert.ok(Math.abs(found.score - (top[0]?.score ?? Number.NaN)) < 1e-4);
  }

  // [CLS] and [SEP] alone; the answer in binary, as tritonclient asks for it.
  const tokens = { shape: [1, 2], datatype: "INT64", parameters: { binary_data_size: 16 } };
  const blob = (...values: readonly bigint[]) => new Uint8Array(BigInt64Array.from(values).buffer);
  const response = await fetch(
    `${path}/infer`,
    binaryRequest(
      {
        inputs: ["input_ids", "attention_mask", "token_type_ids"].map((name) => ({
          name,
          ...tokens,
        })),
        outputs: [{ name: "logits", parameters: { binary_data: true } }],
      },
      [blob(2n, 3n), blob(1n, 1n), blob(0n, 0n)],
    ),
  );
  const { answer: tensors, blobs } = await readBinaryAnswer(response);
  assert.deepEqual(tensors.outputs[0]?.shape, [1, labels.length]);
  const logits = [0, 4].map((at) => blobs[0]?.readFloatLE(at) ?? Number.NaN);
  assert.ok(logits.every((logit) => Number.isFinite(logit) && logit !== 0));

  const wrong = { inputs: [{ name: "ids", shape: [1, 1], datatype: "INT64", data: [1] }] };
  assert.match(await readError(await fetch(`${path}/infer`, curl(wrong)), 400), /input_ids/);
  const parameters = { top_q: 1 };
  const unknown = await fetch(`${path}/infer`, curl({ parameters, inputs: [texts(["a"])] }));
  assert.match(
    await readError(unknown, 400),
    /there is no parameter "top_q", perhaps you mean "top_k"/,
  );
});

test("embeddings are one FP32 tensor, in JSON and in bytes", async () => {
  await using server = await serve(modelPath("minilm-embed"), "--dtype", "fp32");
  const path = `${server.url}/v2/models/minilm-embed/infer`;
  const inputs = [texts(["one text", "two texts"])];
  const [output] = (await readAnswer(await fetch(path, curl({ inputs })))).outputs;
  assert.equal(output?.datatype, "FP32");
  const [n = 0, hidden = 0] = output?.shape ?? [];
  assert.equal(n, 2);
  assert.equal(output?.data.length, n * hidden);
  const parameters = { binary_data_output: true };
  const { answer, blobs } = await readBinaryAnswer(await fetch(path, curl({ inputs, parameters })));
  assert.deepEqual(answer.outputs[0]?.shape, [n, hidden]);
  const [blob = Buffer.alloc(0)] = blobs;
  const vectors = Array.from({ length: n * hidden }, (_, i) => blob.readFloatLE(4 * i));
  // Who is batched with whom changes the last digits.
  for (const [i, value] of vectors.entries())
    assert.ok(Math.abs(value - Number(output?.data[i])) < 1e-5, String(i));
  const whole = { inputs, parameters: { pooling: "none" } };
  const [perToken] = (await readAnswer(await fetch(path, curl(whole)))).outputs;
  assert.deepEqual([perToken?.datatype, perToken?.shape], ["BYTES", [2]]);
});

test("a question and its context come by name, in one tensor or as TorchServe's dictionary", async () => {
  await using server = await serve(modelPath("qa-bert"));
  const path = `${server.url}/v2/models/qa-bert/infer`;
  const context = "Anna lives in Paris. Peter lives in London.";
  const questions = ["Where does Peter live?", "Where does Anna live?"];
  const answersOf = async (inputs: readonly object[]): Promise<readonly string[]> => {
    const [output] = (await readAnswer(await fetch(path, curl({ inputs })))).outputs;
    return (output?.data ?? []).map(String);
  };
  const answerIn = (json: string) => (JSON.parse(json) as { answer: string }).answer;
  const named = await answersOf([texts(questions, "question"), texts([context], "context")]);
  assert.deepEqual(named.map(answerIn), ["London", "Paris"]);
  const alone = await answersOf([
    texts(questions.slice(0, 1), "question"),
    texts([context], "context"),
  ]);
  assert.deepEqual(alone.map(answerIn), ["London"]);
  const dictionary = JSON.stringify({ question: questions[0], context });
  assert.deepEqual(await answersOf([texts([dictionary])]), ["London"]);
  const response = await fetch(path, curl({ inputs: [texts(["Where?"], "question")] }));
  assert.match(await readError(response, 400), /context/);
});

test("an image goes in as bytes", async () => {
  await using server = await serve(modelPath("tiny-vit"));
  const path = `${server.url}/v2/models/tiny-vit/infer`;
  const png = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0iAAAABlBMVEXmeBQoWqDTfyv4AAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAIklEQVQI12P4/58Bgv7IM/zgZ/jAzvCAGQUBRYDiQFmwMgAEOxSYu87BvAAAAABJRU5ErkJggg==",
    "base64",
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(png.length);
  const size = 4 + png.length;
  const parameters = { binary_data_size: size };
  const inputs = [{ name: "image", shape: [1], datatype: "BYTES", parameters }];
  const asBytes = await readAnswer(await fetch(path, binaryRequest({ inputs }, [length, png])));
  const asText = await readAnswer(
    await fetch(path, curl({ inputs: [texts([png.toString("base64")], "image")] })),
  );
  assert.deepEqual(asBytes.outputs, asText.outputs);
  const [best] = JSON.parse(String(asBytes.outputs[0]?.data[0])) as { label: string }[];
  assert.equal(typeof best?.label, "string");
});

test("a custom handler is asked in tensors, unloaded, and loaded again", async () => {
  using store = createModelStore(["1.0", "2.0"]);
  await using managed = await startManaged(store);
  const { url } = managed.server;
  const change = (path: string) => fetch(`${url}/v2/repository/models/${path}`, { method: "POST" });
  const infer = async (model: string) => {
    const [output] = (
      await readAnswer(
        await fetch(`${url}/v2/models/${model}/infer`, curl({ inputs: [texts(["a"])] })),
      )
    ).outputs;
    return (JSON.parse(String(output?.data[0])) as { version: string }).version;
  };
  assert.equal(await infer("echo"), "1.0");
  assert.deepEqual(await (await change("echo/unload")).json(), {});
  const gone = await fetch(`${url}/v2/models/echo/infer`, curl({ inputs: [texts(["a"])] }));
  assert.match(await readError(gone, 503), /the model is unloaded/);
  assert.equal((await fetch(`${url}/v2/health/ready`)).status, 503);
  assert.equal((await change("echo/load")).status, 200);
  assert.equal(await infer("echo"), "1.0");
  assert.equal((await change("echo-2.0/load")).status, 200); // a folder of the store, under its own name
  assert.equal(await infer("echo-2.0/versions/2.0"), "2.0");
  assert.match(await readError(await change("nothing/load"), 404), /^Cannot find "nothing"/);
  const index = await fetch(`${url}/v2/repository/index`, { method: "POST" });
  assert.deepEqual(await index.json(), [
    { name: "echo", version: "1.0", state: "READY", reason: "" },
    { name: "echo-2.0", version: "2.0", state: "READY", reason: "" },
  ]);
});

test("where there are keys, models are loaded with the management key alone", async () => {
  using store = createModelStore(["1.0"]);
  await using managed = await startManaged(store, []);
  const { url } = managed.server;
  const unload = (authorization: Record<string, string>) =>
    fetch(`${url}/v2/repository/models/echo/unload`, { method: "POST", headers: authorization });
  assert.match(await readError(await unload({}), 401), /has no management key that is good/);

  const keys = JSON.parse(readFileSync(`${store.path}/key_file.json`, "utf8")) as {
    management: { key: string };
  };
  const response = await unload({ authorization: `Bearer ${keys.management.key}` });
  assert.equal(response.status, 200, await response.text());
});

test("without keys a port that others reach lets nobody load, as the management port would not", async () => {
  using store = createModelStore(["1.0"]);
  await using managed = await startManaged(store, ["--disable-token-auth", "--host", "0.0.0.0"]);
  const path = `${managed.server.url}/v2/repository/models/echo/unload`;
  assert.match(await readError(await fetch(path, { method: "POST" }), 403), /--enable-model-api/);
});
