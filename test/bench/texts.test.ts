import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { AutoTokenizer, env } from "@huggingface/transformers";

import { paddingWaste, sortIntoBatches } from "../../bench/length-batches.ts";
import { makeTexts, MIXES, readWords, type MixName } from "../../bench/texts.ts";

const MODEL = fileURLToPath(new URL("../../model", import.meta.url));
const WORDS = readWords(MODEL);

test("makeTexts() makes texts of exactly the tokens it says", async () => {
  env.allowRemoteModels = false;
  const tokenizer = await AutoTokenizer.from_pretrained(MODEL);
  for (const mix of Object.keys(MIXES) as MixName[]) {
    for (const { text, tokens } of makeTexts(mix, 50, WORDS)) {
      const { input_ids: ids } = tokenizer(text, { return_tensor: false }) as {
        input_ids: number[];
      };
      assert.equal(ids.length, tokens, text);
    }
  }
});

test("the mixed lengths have a median of 24 and a mean of 35 tokens, and end at 128", () => {
  const lengths = makeTexts("mixed", 20_000, WORDS).map(({ tokens }) => tokens);
  lengths.sort((a, b) => a - b);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  assert.ok(Math.abs((lengths[10_000] ?? 0) - 24) <= 1);
  assert.ok(Math.abs(mean - 35) < 1, `mean ${mean}`);
  assert.equal(lengths.at(-1), 128);
  assert.ok((lengths[0] ?? 0) >= 3);
});

test("uniform mixes have one length, and a seed decides the texts", () => {
  for (const [mix, length] of [
    ["short", 8],
    ["medium", 32],
    ["long", 128],
  ] as const)
    assert.deepEqual(
      new Set(makeTexts(mix, 20, WORDS).map(({ tokens }) => tokens)),
      new Set([length]),
    );
  assert.deepEqual(makeTexts("mixed", 20, WORDS), makeTexts("mixed", 20, WORDS));
  assert.notDeepEqual(makeTexts("mixed", 20, WORDS), makeTexts("mixed", 20, WORDS, { seed: 2 }));
});

test("sortIntoBatches() takes every text once, within the budget", () => {
  const lengths = makeTexts("mixed", 500, WORDS).map(({ tokens }) => tokens);
  const batches = sortIntoBatches(lengths, 512);
  assert.deepEqual(
    batches.flat().sort((a, b) => a - b),
    [...lengths.keys()],
  );
  for (const batch of batches) {
    const longest = Math.max(...batch.map((index) => lengths[index] ?? 0));
    assert.ok(longest * batch.length <= 512);
  }
  assert.ok(paddingWaste(lengths, batches) < 0.05);
  assert.deepEqual(sortIntoBatches([1000], 512), [[0]]);
  assert.equal(paddingWaste([10, 20], [[0, 1]]), 0.25);
});
