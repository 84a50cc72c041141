/**
 * The four modes of TorchServe's transformer handler, asked as its clients ask: by the program itself, with real models.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";

import { z } from "zod";

import { AnswerExplanationsGolden, ExplanationsGolden } from "../support/explanations.ts";
import { ClassificationGolden, modelPath, readGolden, variantOf } from "../support/goldens.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";

const SAMPLE = "Bloomberg has decided to publish a new report on the global economy.";

/** PyTorch's float32 and onnxruntime's differ by rounding only; the explainer's own tests are tighter. */
const TOLERANCE = 1e-4;

async function serve(model: string, ...args: readonly string[]): Promise<Hubserve> {
  const server = await startHubserve({ args: [model, "--dtype", "fp32", ...args] });
  await server.line(/Ready after/);
  return server;
}

/** As `curl -T` and Python's `requests.post(url, data=bytes)` send it: bytes without a Content-Type. */
async function send(server: Hubserve, path: string, body: string): Promise<Response> {
  const bytes = new TextEncoder().encode(body);
  return fetch(`${server.url}${path}`, { method: "POST", body: bytes });
}

async function textOf(server: Hubserve, path: string, body: string): Promise<string> {
  const response = await send(server, path, body);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text;
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, value] of expected.entries())
    assert.ok(
      Math.abs((actual[index] ?? Number.NaN) - value) <= TOLERANCE,
      `${index}: ${actual[index]} for ${value}`,
    );
}

const Explanation = z.object({
  words: z.array(z.string()),
  importances: z.array(z.number()),
  delta: z.number(),
});

test("sequence classification answers one bare label, and Hugging Face's shape on POST /", async () => {
  await using server = await serve(modelPath("seqcls-bert-2way"));
  const { cases } = readGolden("seqcls-bert-2way", ClassificationGolden);
  for (const { input, top } of cases) {
    const label = top[0]?.label;
    for (const body of [
      `{"text":${JSON.stringify(input)}, "target":1} `,
      `{'text': ${JSON.stringify(input)}, 'target': (1, 2)}`,
      input,
    ])
      assert.equal(await textOf(server, "/predictions/seqcls-bert-2way", body), label, body);
    const [best] = (await (await server.post(input)).json()) as { label: string }[];
    assert.equal(best?.label, label);
  }
  const whole = { inputs: SAMPLE, parameters: { top_k: 2 } };
  const both = await textOf(server, "/predictions/seqcls-bert-2way/1.0", JSON.stringify(whole));
  const labels = JSON.parse(both) as { label: string }[];
  assert.deepEqual(
    labels.map(({ label }) => label),
    ["Accepted", "Not Accepted"],
  );
  const list = await textOf(
    server,
    "/predictions/seqcls-bert-2way",
    JSON.stringify([SAMPLE, "The bank rejected my application."]),
  );
  assert.equal(list, '[\n  "Accepted",\n  "Not Accepted"\n]');

  for (const { text, target, words, layers } of readGolden("seqcls-bert-2way", ExplanationsGolden)
    .explanations) {
    const body = JSON.stringify({ text, target });
    const answer = await textOf(server, "/explanations/seqcls-bert-2way", body);
    assert.match(answer, /^\{\n {2}"words": \[\n {4}"\[CLS\]",/);
    assert.match(answer, /"importances": \[\n {4}-?0\.0,/); // as Python prints a float
    const explained = Explanation.parse(JSON.parse(answer));
    assert.deepEqual(explained.words, words);
    assertClose(explained.importances, layers.embeddings.gausslegendre.importances);
  }

  const refused = await send(server, "/predictions/seqcls-bert-2way", '{"text": ["a", 1]}');
  assert.equal(refused.status, 400);
  assert.match(await refused.text(), /"type": "BadRequestException",\n {2}"message": "Cannot /);
  const empty = await fetch(`${server.url}/predictions/seqcls-bert-2way`);
  assert.equal(empty.status, 400, "no body is no text");
  assert.match(await empty.text(), /\\"inputs\\" is missing, wanted a string/);
  assert.equal(await (await fetch(`${server.url}/ping`)).text(), '{\n  "status": "Healthy"\n}\n');
});

const TokensGolden = z.object({
  cases: z.array(
    z.object({ input: z.string(), tokens: z.array(z.string()), labels: z.array(z.string()) }),
  ),
});

test("token classification answers a pair for every token, without special ones", async () => {
  await using server = await serve(modelPath("ner-bert"));
  for (const { input, tokens, labels } of readGolden("ner-bert", TokensGolden).cases) {
    const body = `{"text":${JSON.stringify(input)}, "target":(1,2)}`;
    const pairs = JSON.parse(await textOf(server, "/predictions/ner-bert", body)) as unknown;
    const expected = tokens.map((token, index) => [token, labels[index]]);
    assert.deepEqual(pairs, expected.slice(1, -1), input);
  }
  const [golden] = readGolden("ner-bert", ExplanationsGolden).explanations;
  assert.ok(golden !== undefined);
  const target = `(${String(golden.target)})`;
  const answer = await textOf(
    server,
    "/explanations/ner-bert/1.0",
    `{"text":${JSON.stringify(golden.text)}, "target":${target}}`,
  );
  const explained = Explanation.parse(JSON.parse(answer));
  assert.deepEqual(explained.words, golden.words);
  assertClose(explained.importances, golden.layers.embeddings.gausslegendre.importances);
});

/** What onnxruntime and tokenizers in Python say of the same graph with ids padded to 12 and the padding masked. */
const PADDED = {
  "Angela lives in New York.":
    "[CLS] B-MISC, Angela B-PER, lives O, in O, New B-LOC, York I-LOC, . O, [SEP] I-LOC, [PAD] I-LOC, [PAD] I-LOC, [PAD] I-LOC, [PAD] I-LOC",
};

test("with --compat torchserve token classification answers special tokens too, and padding to max_length", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-padded-"));
  try {
    cpSync(modelPath("ner-bert"), folder, { recursive: true });
    const settings = "handler:\n  mode: token_classification\n  max_length: 12\n";
    writeFileSync(join(folder, "model-config.yaml"), settings);
    await using server = await serve(folder, "--compat", "torchserve");
    const path = `/predictions/${basename(folder)}`;
    for (const [text, expected] of Object.entries(PADDED)) {
      // Beside others, which are longer or shorter, each is as by itself.
      const asked = ["Hi", text, `${text} ${text}`].map((each) => textOf(server, path, each));
      const answers = (await Promise.all(asked)).map((answer) => JSON.parse(answer) as string[][]);
      assert.equal(answers[1]?.map((pair) => pair.join(" ")).join(", "), expected);
      assert.deepEqual(
        answers.map((answer) => answer.length),
        [12, 12, 12],
      );
    }
    await using unpadded = await serve(modelPath("ner-bert"), "--compat", "torchserve");
    const [golden] = readGolden("ner-bert", TokensGolden).cases;
    assert.ok(golden !== undefined);
    const pairs = JSON.parse(
      await textOf(unpadded, "/predictions/ner-bert", golden.input),
    ) as unknown;
    assert.deepEqual(
      pairs,
      golden.tokens.map((token, index) => [token, golden.labels[index]]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const AnswersGolden = z.object({
  cases: z.array(z.object({ question: z.string(), context: z.string(), answer: z.string() })),
});

test("question answering answers the bare words of the context", async () => {
  await using server = await serve(modelPath("qa-bert"));
  for (const { question, context, answer } of readGolden("qa-bert", AnswersGolden).cases) {
    const body = JSON.stringify({ question, context, target: 0 });
    assert.equal(await textOf(server, "/predictions/qa-bert", body), answer, question);
  }
  const golden = readGolden("qa-bert", AnswerExplanationsGolden).explanations.find(
    ({ encoding, target_start: start, target_end: end }) => encoding === "pair" && start !== end,
  );
  assert.ok(golden !== undefined);
  const { question, context, target_start: start, target_end: end } = golden;
  const body = JSON.stringify({ question, context, target: [start, end] });
  const explained = z
    .object({
      words: z.array(z.string()),
      importances_answer_start: z.array(z.number()),
      importances_answer_end: z.array(z.number()),
      delta_start: z.number(),
      delta_end: z.number(),
    })
    .parse(JSON.parse(await textOf(server, "/explanations/qa-bert", body)));
  assert.deepEqual(explained.words, golden.words);
  assertClose(
    explained.importances_answer_start,
    golden.start.embeddings.gausslegendre.importances,
  );
  assertClose(explained.importances_answer_end, golden.end.embeddings.gausslegendre.importances);
});

const TextsGolden = z.object({
  cases: z.array(z.object({ prompt: z.string(), new_text: z.string() })),
});

test("text generation answers the bare text, prompt and continuation", async () => {
  await using repository = await variantOf(modelPath("tiny-gpt2"), {
    "model-config.yaml": "handler:\n  mode: text_generation\n  max_length: 40\n",
  });
  await using server = await serve(repository.path);
  const path = `/predictions/${repository.path.split("/").at(-1)}`;
  const { cases } = readGolden("tiny-gpt2", TextsGolden);
  const [{ prompt, new_text: newText }] = cases as [(typeof cases)[number]];
  // The mode draws tokens by chance; the golden does not.
  const greedy = { inputs: prompt, parameters: { do_sample: false } };
  const whole = JSON.parse(await textOf(server, path, JSON.stringify(greedy))) as unknown;
  assert.deepEqual(whole, [{ generated_text: `${prompt}${newText}` }]);
  const drawn = await textOf(server, path, `{'text': '${prompt}'}`);
  assert.ok(drawn.startsWith(prompt) && drawn.length > prompt.length, drawn);
});

const HANDLER = `
export class EndpointHandler {
  async call(data: Record<string, unknown>, { headers }: { headers: Record<string, string> }) {
    const told: Record<string, unknown> = { explain: headers.explain, url_path: headers.url_path };
    for (const [key, value] of Object.entries(data))
      told[key] = value instanceof Blob ? [value.type, await value.text()] : value;
    if (data.inputs === "stream") return stream();
    return told;
  }
}
async function* stream() {
  yield "a ";
  yield "stream";
}
`;

test("a custom handler gets rows as TorchServe's do, streams bare text, and explains only if it can", async () => {
  await using repository = await variantOf(undefined, { "handler.ts": HANDLER });
  await using server = await startHubserve({ args: [repository.path] });
  await server.line(/Ready after/);
  const name = repository.path.split("/").at(-1) ?? "";
  const path = `/predictions/${name}/1.0/more`;
  assert.deepEqual(JSON.parse(await textOf(server, path, "abc")), {
    explain: "False",
    url_path: "more",
    body: ["application/octet-stream", "abc"],
    inputs: ["application/octet-stream", "abc"],
  });
  const form = new FormData();
  form.append("data", new Blob(["abc"], { type: "audio/x-mine" }));
  form.append("n", "1");
  const told = await fetch(`${server.url}${path}`, { method: "POST", body: form });
  assert.deepEqual(await told.json(), {
    explain: "False",
    url_path: "more",
    data: ["audio/x-mine", "abc"],
    inputs: ["audio/x-mine", "abc"],
    n: "1",
  });
  const streamed = await fetch(`${server.url}/${name}/predict?data=stream`);
  assert.equal(streamed.headers.get("transfer-encoding"), "chunked");
  assert.equal(await streamed.text(), "a stream");
  const explained = await send(server, `/explanations/${name}`, "abc");
  assert.equal(explained.status, 501);
  assert.match(await explained.text(), /"message": "Cannot explain the prediction: /);
});

/** The answer's bytes as they come, as fetch adds and hides some. */
async function raw(server: Hubserve, request: string): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(request.replaceAll("\n", "\r\n"));
  let text = "";
  socket.setEncoding("utf8").on("data", (data: string) => (text += data));
  await once(socket, "close");
  return text;
}

test("with --compat torchserve the bytes are the original's", async () => {
  await using server = await serve(modelPath("seqcls-bert-2way"), "--compat", "torchserve");
  const body = `{"text":"${SAMPLE}", "target":1}`;
  const ask = (path: string, content: string): string =>
    `POST ${path} HTTP/1.1\nHost: here\nConnection: close\nContent-Length: ${content.length}\n\n${content}`;
  const good = await raw(server, ask("/predictions/seqcls-bert-2way", body));
  const [head = "", answer] = good.split("\r\n\r\n");
  assert.equal(answer, "Accepted");
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, /\r\npragma: no-cache\r\n/i);
  assert.match(head, /\r\ncache-control: no-cache; no-store, must-revalidate, private\r\n/i);
  assert.match(head, /\r\nexpires: Thu, 01 Jan 1970 00:00:00 UTC\r\n/i);
  assert.match(head, /\r\ncontent-length: 8/i);
  assert.doesNotMatch(head, /content-type/i);

  // This client would keep the connection: the server closes it.
  const kept = ask("/predictions/nosuch", body).replace("Connection: close\n", "");
  const bad = await raw(server, kept);
  assert.match(bad, /^HTTP\/1\.1 404 /);
  assert.match(bad, /\r\nconnection: close\r\n/i);
  assert.match(
    bad,
    /\r\n\r\n\{\n {2}"code": 404,\n {2}"type": "ModelNotFoundException",\n {2}"message": "Model not found: nosuch"\n\}\n$/,
  );

  const failed = await send(server, "/predictions/seqcls-bert-2way", '{"text": ["a", 1]}');
  assert.equal(failed.status, 503);
  assert.match(
    await failed.text(),
    /"InternalServerException",\n {2}"message": "Prediction failed"/,
  );
  const explained = await textOf(server, "/explanations/seqcls-bert-2way", body);
  assert.deepEqual(Object.keys(JSON.parse(explained) as object), ["words", "importances", "delta"]);
});
