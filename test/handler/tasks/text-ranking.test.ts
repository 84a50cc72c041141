import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { z } from "zod";

import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { keepColumn } from "../../support/onnx.ts";
import {
  ask,
  assertNear,
  configOf,
  Labels,
  modelPath,
  quietLog,
  variantOf,
} from "../../support/goldens.ts";

/** No cross-encoder is small: this one is a model of three labels of which the first alone is left. */
const NLI = modelPath("tiny-bert-nli");

async function openRanker(changes: object = {}): Promise<LoadedHandler & AsyncDisposable> {
  const repository = await variantOf(NLI, {
    "config.json": configOf(NLI, { id2label: { 0: "LABEL_0" }, ...changes }),
    "onnx/model.onnx": null,
  });
  const file = keepColumn(readFileSync(join(NLI, "onnx/model.onnx")), "logits", 0, "score");
  await mkdir(join(repository.path, "onnx"), { recursive: true });
  await writeFile(join(repository.path, "onnx/model.onnx"), file);
  const options = { repository: repository.path, task: "text-ranking", dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  return {
    ...handler,
    async [Symbol.asyncDispose]() {
      await handler.dispose();
      await repository[Symbol.asyncDispose]();
    },
  };
}

const ranker = await openRanker();
const pairs = await loadDefaultHandler({ repository: NLI, dtype: "fp32" }, silentLog());
after(() => Promise.all([ranker[Symbol.asyncDispose](), pairs.dispose()]));

const QUERY = "The little cat went to the park.";
const TEXTS = [
  "Tom was very sad because the ball was lost.",
  "The cat was happy.",
  "Once upon a time there was a kind bear who lived near the lake with a funny frog.",
  "The park was very big.",
];

/** The logit of a pair, by the same weights in another task. */
async function logitOf(text: string, text_pair: string): Promise<number> {
  const parameters = { function_to_apply: "none", top_k: null };
  const answer = Labels.parse(await ask(pairs, { inputs: { text, text_pair }, parameters }));
  return answer.find(({ label }) => label === "entailment")?.score ?? Number.NaN;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const logits = await Promise.all(TEXTS.map((text) => logitOf(QUERY, text)));
const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));

const Ranking = z.array(
  z.object({ index: z.number(), score: z.number(), text: z.string().optional() }),
);
const inputs = { query: QUERY, texts: TEXTS };

test("a query's texts are answered best first, with the sigmoid of the model's logit", async () => {
  assert.notDeepEqual(order, [0, 1, 2, 3]);
  const answer = Ranking.parse(await ask(ranker, { inputs }));
  assert.deepEqual(
    answer.map(({ index }) => index),
    order,
  );
  assertNear(
    answer.map(({ score }) => score),
    order.map((index) => sigmoid(logits[index] ?? 0)),
    1e-6, // another batch, another order of sums
  );
  assert.ok(answer.every((row) => !("text" in row)));
});

test("raw_scores are the logits", async () => {
  const answer = Ranking.parse(await ask(ranker, { inputs, parameters: { raw_scores: true } }));
  assertNear(
    answer.map(({ score }) => score),
    order.map((index) => logits[index] ?? 0),
    1e-6,
  );
});

test("texts are repeated when asked for, under either name and in either place", async () => {
  const bodies = [
    { inputs: { ...inputs, return_documents: true } },
    { inputs, parameters: { return_documents: true } },
    { inputs, parameters: { return_text: true } },
  ];
  for (const body of bodies) {
    const answer = Ranking.parse(await ask(ranker, body));
    assert.deepEqual(
      answer.map(({ text }) => text),
      order.map((index) => TEXTS[index]),
    );
  }
});

test("top_k leaves the best", async () => {
  const answer = Ranking.parse(await ask(ranker, { inputs, parameters: { top_k: 2 } }));
  assert.deepEqual(
    answer.map(({ index }) => index),
    order.slice(0, 2),
  );
  assert.equal(Ranking.parse(await ask(ranker, { inputs, parameters: { top_k: 99 } })).length, 4);
});

test("pairs are answered with their scores in order", async () => {
  const Scores = z.object({ scores: z.array(z.number()) });
  const expected = logits.map(sigmoid);
  const asTuples = TEXTS.map((text) => [QUERY, text]);
  const asObjects = TEXTS.map((text_pair) => ({ text: QUERY, text_pair }));
  for (const list of [asTuples, asObjects]) {
    assertNear(Scores.parse(await ask(ranker, { inputs: list })).scores, expected, 1e-6);
  }
  assert.deepEqual(await ask(ranker, { inputs: [] }), { scores: [] });
});

test("the configuration may ask for the logits themselves, in its new and its old words", async () => {
  const identity = "torch.nn.modules.linear.Identity";
  for (const changes of [
    { sentence_transformers: { activation_fn: identity } },
    { sbert_ce_default_activation_function: identity },
  ]) {
    await using raw = await openRanker(changes);
    const [best] = Ranking.parse(await ask(raw, { inputs }));
    assertNear([best?.score ?? 0], [logits[order[0] ?? 0] ?? 0], 1e-6);
    const turned = await ask(raw, { inputs, parameters: { raw_scores: false } });
    assertNear([Ranking.parse(turned)[0]?.score ?? 0], [sigmoid(logits[order[0] ?? 0] ?? 0)], 1e-6);
  }
});

test("a long text is cut with a warning, max_length cuts earlier", async () => {
  const long = `${TEXTS[0]} `.repeat(20);
  const lines: string[] = [];
  const data = { inputs: { query: QUERY, texts: ["The park.", long] } };
  await ask(ranker, data, { log: quietLog(lines) });
  assert.match(lines.join(""), /"inputs.texts\[1\]" was cut from \d+ to 64 tokens/);
  assert.equal(lines.length, 1);
  const shorter = await ask(ranker, { inputs, parameters: { max_length: 12 } });
  assert.notDeepEqual(shorter, await ask(ranker, { inputs }));
});

test("the other names of the task are known", async () => {
  for (const task of ["rerank", "sentence-ranking"]) {
    await assert.rejects(loadDefaultHandler({ repository: NLI, task }, silentLog()), {
      code: "MODEL_INVALID",
    });
  }
});

test("a model of several labels is refused with what it is for", async () => {
  await assert.rejects(loadDefaultHandler({ repository: NLI, task: "text-ranking" }, silentLog()), {
    code: "MODEL_INVALID",
    message:
      "Cannot serve text-ranking with onnx/model.onnx: it scores 3 labels (entailment, neutral, contradiction), wanted one score; " +
      "models of several labels are for text-classification or zero-shot-classification",
  });
});

const wanted = `wanted an object with "query" and "texts", or a list of pairs`;
const LONG = "park ".repeat(80);

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, ${wanted}`],
  [{ inputs: QUERY }, `"inputs" is a string, ${wanted}`],
  [{ inputs: { query: QUERY } }, `"inputs.texts" is missing, wanted a list of strings`],
  [{ inputs: { texts: TEXTS } }, `"inputs.query" is missing, wanted a string`],
  [
    { inputs: { query: QUERY, texts: [] } },
    `"inputs.texts" is an empty list, wanted at least one text`,
  ],
  [{ inputs: { query: QUERY, texts: ["a", 5] } }, `"inputs.texts[1]" is a number, wanted a string`],
  [{ inputs: ["a", "b"] }, `"inputs[0]" is a string, wanted two strings, or {"text", "text_pair"}`],
  [
    { inputs: [["a", "b"], ["a"]] },
    `"inputs[1]" is a list, wanted two strings, or {"text", "text_pair"}`,
  ],
  [{ inputs, parameters: { top_k: 0 } }, `"top_k" is 0, wanted a whole number of at least 1`],
  [{ inputs, parameters: { raw_scores: "yes" } }, `"raw_scores" is "yes", wanted true or false`],
  [
    { inputs: { query: QUERY, texts: [LONG] }, parameters: { truncate: false } },
    `"inputs.texts[0]" is 91 tokens long, wanted at most 64 as truncation is off`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(ranker, data), {
      code: "INVALID_INPUT",
      message: `Cannot rank the texts: ${sentence}`,
    });
  });
}
