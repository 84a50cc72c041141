import assert from "node:assert/strict";
import { test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  AnswerExplanation,
  AnswerExplanationsGolden,
  askTogether,
  askWhy,
  Explanation,
  ExplanationsGolden,
  GOLDEN_METHODS,
} from "../../support/explanations.ts";
import { assertNear, EMBEDDED, modelPath, readGolden } from "../../support/goldens.ts";

/** Gradients of a few layers in float32, summed over fifty places: 3e-7 was the largest difference found. */
const TOLERANCE = 1e-5;

const CLASSIFIERS = [
  { name: "emotion-distilbert", repository: EMBEDDED },
  { name: "seqcls-bert-2way", repository: modelPath("seqcls-bert-2way") },
  { name: "ner-bert", repository: modelPath("ner-bert") },
] as const;

for (const { name, repository } of CLASSIFIERS) {
  test(`${name} explains as PyTorch does, by index and by label, alone and together`, async () => {
    const handler = await loadDefaultHandler({ repository, dtype: "fp32" }, silentLog());
    const { labels, explanations } = readGolden(name, ExplanationsGolden);
    for (const method of GOLDEN_METHODS) {
      const together = await askTogether(
        handler,
        explanations.map(({ text, target }) => ({
          data: { inputs: text, parameters: { target, method } },
        })),
      );
      for (const [index, golden] of explanations.entries()) {
        const { text, target, layers } = golden;
        const isToken = Array.isArray(target);
        const label = labels[isToken ? target[1] : target] ?? "";
        const byLabel = isToken ? [target[0], label] : label;
        const outcome = together[index] ?? { error: new Error("no outcome") };
        assert.ok("value" in outcome);
        const alone = await askWhy(handler, text, { target: byLabel, method });
        for (const answer of [outcome.value, alone]) {
          const { words, importances, delta, target: told } = Explanation.parse(answer);
          assert.deepEqual(words, golden.words);
          assertNear(importances, layers.embeddings[method].importances, TOLERANCE);
          assertNear([delta], [layers.embeddings[method].delta], 2 * TOLERANCE);
          assert.deepEqual(told, byLabel);
        }
      }
    }
    await handler.dispose();
  });
}

test("qa-bert explains where answers begin and end as PyTorch does, with the predicted answer as its target", async () => {
  const repository = modelPath("qa-bert");
  const handler = await loadDefaultHandler({ repository, dtype: "fp32" }, silentLog());
  const pairs = readGolden("qa-bert", AnswerExplanationsGolden).explanations.filter(
    ({ encoding }) => encoding === "pair",
  );
  assert.equal(pairs.length, 3);
  for (const method of GOLDEN_METHODS) {
    for (const { question, context, words, target_start, target_end, start, end } of pairs) {
      const target = [target_start, target_end];
      for (const parameters of [{ method }, { method, target }]) {
        const found = AnswerExplanation.parse(
          await askWhy(handler, { question, context }, parameters),
        );
        assert.deepEqual(found.words, words);
        assert.deepEqual(found.target, target);
        const [ours, ends] = [found.importances_answer_start, found.importances_answer_end];
        assertNear(ours, start.embeddings[method].importances, TOLERANCE);
        assertNear(ends, end.embeddings[method].importances, TOLERANCE);
        const deltas = [start.embeddings[method].delta, end.embeddings[method].delta];
        assertNear([found.delta_start, found.delta_end], deltas, 4 * TOLERANCE);
      }
    }
  }
  await handler.dispose();
});
