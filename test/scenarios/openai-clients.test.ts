/**
 * OpenAI's own clients against real servers: embeddings, models, errors. Generation has scenarios of its own.
 *
 * `PYTHON` names the interpreter to try; `python3` is tried by default.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import OpenAI, { BadRequestError, NotFoundError, RateLimitError } from "openai";
import { z } from "zod";

import { RuntimeError } from "../../runtime/errors.ts";
import { openSocketDoor } from "../support/app-matrix.ts";
import { assertNear, configOf, modelPath, readGolden, variantOf } from "../support/goldens.ts";
import { startHubserve } from "../support/hubserve.ts";
import { keepColumn } from "../support/onnx.ts";

const MINILM = modelPath("minilm-embed");
const { cases, similarities } = readGolden(
  "minilm-embed",
  z.object({
    similarities: z.array(z.array(z.number())),
    cases: z.array(
      z.object({
        input: z.string(),
        input_ids: z.array(z.number()),
        embedding: z.array(z.number()),
      }),
    ),
  }),
);
const texts = cases.map(({ input }) => input);
const tokens = cases.reduce((sum, { input_ids }) => sum + input_ids.length, 0);

const PYTHON = process.env["PYTHON"] ?? "python3";
const noPython =
  spawnSync(PYTHON, ["-c", "import openai"]).status === 0
    ? false
    : `${PYTHON} has no openai; name one that has as PYTHON`;

// Most embedding models on the Hub are tagged with the second task.
for (const task of ["feature-extraction", "sentence-similarity"]) {
  test(`OpenAI's clients get embeddings of a model for ${task}`, async (t) => {
    const args = [MINILM, "--task", task, "--dtype", "fp32", "--workers", "1", "--threads", "1"];
    await using server = await startHubserve({ args });
    await server.line(/Ready after/);
    const urls = [`${server.url}/v1`, `${server.url}/openai/v1`];
    const model = "minilm-embed";

    for (const baseURL of urls) {
      const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0 });
      await t.test(`JavaScript's client at ${new URL(baseURL).pathname}`, async () => {
        const answer = await client.embeddings.create({ model, input: texts }); // asks for base64 by itself
        assert.equal(answer.model, model);
        assert.deepEqual(answer.usage, { prompt_tokens: tokens, total_tokens: tokens });
        assert.equal(answer.data.length, cases.length);
        for (const [place, { index, embedding }] of answer.data.entries()) {
          assert.equal(index, place);
          assertNear([...embedding], cases[place]?.embedding ?? [], 1e-4);
        }
        const one = await client.embeddings.create({
          model,
          input: texts[0] ?? "",
          encoding_format: "float",
          dimensions: 4,
        });
        const cut = one.data[0]?.embedding ?? [];
        const first = cases[0]?.embedding.slice(0, 4) ?? [];
        const length = Math.hypot(...first);
        assertNear(
          [...cut],
          first.map((value) => value / length),
          1e-4,
        );
        assert.equal(one.usage.prompt_tokens, cases[0]?.input_ids.length);
      });

      await t.test(`its models and its errors at ${new URL(baseURL).pathname}`, async () => {
        const ids: string[] = [];
        for await (const { id } of client.models.list()) ids.push(id);
        assert.deepEqual(ids, [model]);
        assert.equal((await client.models.retrieve(model)).object, "model");
        await assert.rejects(client.models.retrieve("owner/nothing"), NotFoundError);
        await assert.rejects(
          client.embeddings.create({ model: "nothing", input: "a" }),
          (error: unknown) => {
            assert.ok(error instanceof NotFoundError);
            assert.equal(error.code, "model_not_found");
            assert.equal(error.param, "model");
            assert.match(error.message, /^404 Cannot find the model "nothing"/);
            assert.match(error.requestID ?? "", /./);
            return true;
          },
        );
        await assert.rejects(
          client.embeddings.create({ model, input: "a", dimensions: 1000 }),
          (error: unknown) => {
            assert.ok(error instanceof BadRequestError);
            assert.equal(error.param, "dimensions");
            assert.match(error.message, /"dimensions" is 1000, wanted at most 96$/);
            return true;
          },
        );
        await assert.rejects(
          client.post("/nothing", { body: {} }),
          (error: unknown) => error instanceof NotFoundError && error.code === "unknown_url",
        );
      });
    }

    await t.test("documents are ranked by the cosine that Python found", async () => {
      const answer = await rerank(server.url, texts[0] ?? "", texts);
      const scores = answer.results.toSorted((a, b) => a.index - b.index);
      assertNear(
        scores.map(({ relevance_score }) => relevance_score),
        similarities[0] ?? [],
        1e-4,
      );
      assert.equal(answer.usage.total_tokens, tokens + (cases[0]?.input_ids.length ?? 0));
    });

    await t.test("Python's client", { skip: noPython }, async () => {
      const [list, model_, embeddings, single, unknown, wrong] = await callPython(urls[0] ?? "", [
        { method: "models.list", arguments: {} },
        { method: "models.retrieve", arguments: { model } },
        { method: "embeddings.create", arguments: { model, input: texts } },
        {
          method: "embeddings.create",
          arguments: { model, input: texts[1], encoding_format: "float" },
        },
        { method: "embeddings.create", arguments: { model: "nothing", input: "a" } },
        { method: "embeddings.create", arguments: { model, input: [] } },
      ]);
      assert.equal(Listed.parse(list?.result).data[0]?.id, model);
      assert.equal(z.object({ id: z.string() }).parse(model_?.result).id, model);
      for (const [answer, wanted] of [
        [embeddings, cases],
        [single, cases.slice(1, 2)],
      ] as const) {
        const { data } = Embedded.parse(answer?.result);
        assert.equal(data.length, wanted.length);
        for (const [place, { embedding }] of wanted.entries())
          assertNear(data[place]?.embedding ?? [], embedding, 1e-4);
      }
      const { message: _, ...error } = Failed.parse(unknown?.error);
      assert.deepEqual(error, {
        class: "NotFoundError",
        status: 404,
        code: "model_not_found",
        param: "model",
      });
      assert.deepEqual(Failed.parse(wrong?.error).class, "BadRequestError");
    });
  });
}

const Listed = z.object({ data: z.array(z.object({ id: z.string() })) });
const Embedded = z.object({ data: z.array(z.object({ embedding: z.array(z.number()) })) });
const Failed = z.object({
  class: z.string(),
  status: z.number(),
  message: z.string(),
  code: z.string().nullable(),
  param: z.string().nullable(),
});

const Ranked = z.object({
  results: z.array(
    z.object({
      index: z.number(),
      relevance_score: z.number(),
      document: z.object({ text: z.string() }),
    }),
  ),
  usage: z.object({ total_tokens: z.number() }),
});

async function rerank(url: string, query: string, documents: readonly string[]) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
  return Ranked.parse(await client.post("/rerank", { body: { query, documents } }));
}

test("a cross-encoder ranks documents as POST / does", async () => {
  // No cross-encoder is small: this one is a model of three labels of which the first alone is left.
  const NLI = modelPath("tiny-bert-nli");
  await using repository = await variantOf(NLI, {
    "config.json": configOf(NLI, { id2label: { 0: "LABEL_0" } }),
    "onnx/model.onnx": null,
  });
  const file = keepColumn(readFileSync(join(NLI, "onnx/model.onnx")), "logits", 0, "score");
  await mkdir(join(repository.path, "onnx"), { recursive: true });
  await writeFile(join(repository.path, "onnx/model.onnx"), file);
  const task = ["--task", "text-ranking", "--dtype", "fp32", "--workers", "1"];
  await using server = await startHubserve({ args: [repository.path, ...task] });
  await server.line(/Ready after/);
  const query = "The cat went to the park.";
  const documents = ["The cat was happy.", "Tom was sad.", "The park was very big."];
  const { results, usage } = await rerank(server.url, query, documents);
  const plain = await (await server.post({ query, texts: documents })).json();
  assert.deepEqual(
    results.map(({ index, relevance_score }) => ({ index, score: relevance_score })),
    plain,
  );
  assert.deepEqual(
    results.map(({ document }) => document.text),
    results.map(({ index }) => documents[index]),
  );
  assert.ok(usage.total_tokens > 3 * 6);
});

test("OpenAI's client knows an overload, and tries again when it is told to", async () => {
  let refusals = 0;
  let mostRefusals = Infinity;
  await using door = await openSocketDoor({
    answer() {
      if (refusals < mostRefusals) {
        refusals++;
        throw new RuntimeError("QUEUE_FULL", "Cannot accept the request: full", {
          retryAfterMs: 10,
        });
      }
      return { kind: "json", value: [[1, 2]] };
    },
  });
  const options = { baseURL: `${door.url}/v1`, apiKey: "any" };
  const request = { model: "owner/name", input: "a", encoding_format: "float" } as const;
  const impatient = new OpenAI({ ...options, maxRetries: 0 });
  await assert.rejects(impatient.embeddings.create(request), (error: unknown) => {
    assert.ok(error instanceof RateLimitError);
    assert.equal(error.code, "server_overloaded");
    assert.equal(error.type, "rate_limit_error");
    assert.equal(error.message, "429 Cannot accept the request: full");
    return true;
  });
  assert.equal(refusals, 1);
  mostRefusals = 2;
  const answer = await new OpenAI({ ...options, maxRetries: 1 }).embeddings.create(request);
  assert.deepEqual(answer.data[0]?.embedding, [1, 2]);
  assert.equal(refusals, 2);
});

interface PythonCall {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

async function callPython(
  url: string,
  calls: readonly PythonCall[],
): Promise<readonly { result?: unknown; error?: unknown }[]> {
  const script = fileURLToPath(new URL("../support/python-openai.py", import.meta.url));
  const child = spawn(PYTHON, [script], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify({ url, calls }));
  const lines = (await text(child.stdout)).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as { result?: unknown; error?: unknown });
}
