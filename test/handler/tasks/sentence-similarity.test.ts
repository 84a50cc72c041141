import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  EmbeddingGolden,
  modelPath,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const MINILM = modelPath("minilm-embed");
const { cases, similarities } = readGolden("minilm-embed", EmbeddingGolden);
const sentences = cases.map(({ input }) => input);

const Answer = z.strictObject({ similarities: z.array(z.number()) });

const minilm = await load("fp32");
after(() => minilm.dispose());

function load(dtype: string, repository = MINILM) {
  return loadDefaultHandler({ repository, dtype, task: "sentence-similarity" }, silentLog());
}

/** int8 measured: 0.006 at most. */
for (const { dtype, tolerance } of [
  { dtype: "fp32", tolerance: 1e-4 },
  { dtype: "q8", tolerance: 0.02 },
]) {
  test(`minilm-embed in ${dtype} compares as Python does, in the order of the sentences`, async () => {
    const handler = await load(dtype);
    for (const [index, expected] of similarities.entries()) {
      const inputs = { source_sentence: sentences[index], sentences };
      const answer = Answer.parse(await ask(handler, { inputs, parameters: {} }));
      assertNear(answer.similarities, expected, tolerance);
    }
    await handler.dispose();
  });
}

test("a repository that does not say how is pooled by the mean", async () => {
  const changes = { "modules.json": null, "1_Pooling/config.json": null };
  await using repository = await variantOf(MINILM, changes);
  const handler = await load("fp32", repository.path);
  const inputs = { source_sentence: sentences[0], sentences };
  const answer = Answer.parse(await ask(handler, { inputs }));
  assertNear(answer.similarities, similarities[0] ?? [], 1e-4);
  await handler.dispose();
});

test("the model card's pipeline_tag is enough to serve it", async () => {
  await using repository = await variantOf(MINILM, {
    "README.md": "---\npipeline_tag: sentence-similarity\n---\n",
  });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  assert.equal(handler.description.task, "sentence-similarity");
  assert.equal(
    handler.description.notes[0]?.text,
    "Serving sentence-similarity, as the model card says",
  );
  await handler.dispose();
});

test("no sentences have no similarities", async () => {
  const inputs = { source_sentence: "a", sentences: [] };
  assert.deepEqual(await ask(minilm, { inputs }), { similarities: [] });
});

test("texts that name a pooling are answered with vectors, whose cosines are the similarities", async () => {
  const answer = await ask(minilm, { inputs: sentences, parameters: { pooling: "auto" } });
  const vectors = z.array(z.array(z.number())).parse(answer);
  assert.equal(vectors.length, sentences.length);
  const [first = []] = vectors;
  const products = vectors.map((vector) =>
    vector.reduce((sum, x, i) => sum + x * (first[i] ?? 0), 0),
  );
  assertNear(products, similarities[0] ?? [], 1e-4); // normalized, as modules.json says
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [
    { inputs: "a" },
    `"inputs" is a string, wanted an object with "source_sentence" and "sentences"`,
  ],
  [{ inputs: { source_sentence: "a" } }, `"inputs.sentences" is missing, wanted a list of strings`],
  [
    { inputs: { source_sentence: "a", sentences: ["b", 1] } },
    `"inputs.sentences[1]" is a number, wanted a string`,
  ],
  [
    { inputs: { source_sentence: "a", sentences: [] }, parameters: { top_k: 1 } },
    `there is no parameter "top_k"; known are truncation, max_length`,
  ],
  [
    {
      inputs: { source_sentence: "a", sentences: ["b", "c ".repeat(200)] },
      parameters: { truncation: false },
    },
    `"inputs.sentences[1]" is 202 tokens long, wanted at most 128 as truncation is off`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(minilm, data), {
      code: "INVALID_INPUT",
      message: `Cannot compare the sentences: ${sentence}`,
    });
  });
}
