/**
 * Tokens of odd texts and their places, as Python's tokenizers (Rust) have them: `scripts/models/token_places.py`.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { mendTokenizer } from "../../../runtime/handler/model/mend-tokenizer.ts";
import { createTracer } from "../../../runtime/handler/model/token-offsets.ts";
import { modelPath } from "../../support/goldens.ts";

const Numbers = z.array(z.number());
const Case = z.object({
  text: z.string(),
  pair: z.string().nullable(),
  ids: Numbers,
  types: Numbers,
  texts: Numbers,
  words: Numbers,
  starts: Numbers,
  ends: Numbers,
});
const Golden = z.object({
  kinds: z.record(z.string(), z.object({ tokenizer: z.looseObject({}), cases: z.array(Case) })),
  models: z.record(z.string(), z.array(Case)),
});

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

const golden = Golden.parse(readJson(modelPath("../token-places.json")));

/** Without a pre-tokenizer Python calls the whole text one word; ours says that there are none. */
const WITHOUT_WORDS = new Set(["llama2"]);

function assertPlaces(
  name: string,
  tokenizer: PreTrainedTokenizer,
  cases: readonly z.infer<typeof Case>[],
): void {
  mendTokenizer(tokenizer);
  const trace = createTracer(tokenizer, true);
  for (const { text, pair, ids, types, texts, words, starts, ends } of cases) {
    const shown = JSON.stringify([text, pair]);
    const found = trace(text, pair ?? undefined);
    assert.deepEqual(found.inputIds, ids, shown);
    if (found.tokenTypeIds) assert.deepEqual(found.tokenTypeIds, types, shown);
    assert.deepEqual([...found.texts], texts, shown);
    // Special tokens lie nowhere.
    const ofTexts = (list: Iterable<number>): number[] =>
      [...list].map((value, t) => (texts[t] === -1 ? 0 : value));
    assert.deepEqual(ofTexts(found.starts), ofTexts(starts), shown);
    assert.deepEqual(ofTexts(found.ends), ofTexts(ends), shown);
    const wanted = WITHOUT_WORDS.has(name) ? words.map(() => -1) : words;
    assert.deepEqual([...found.words], wanted, shown);
  }
}

for (const [name, { tokenizer, cases }] of Object.entries(golden.kinds)) {
  test(`tokens of a ${name} tokenizer are Python's, and lie where Python has them`, () => {
    assertPlaces(name, new PreTrainedTokenizer(tokenizer, {}), cases);
  });
}

for (const [name, cases] of Object.entries(golden.models)) {
  test(`tokens of ${name} are Python's, and lie where Python has them`, () => {
    const read = (file: string): object => z.looseObject({}).parse(readJson(modelPath(file)));
    const parts = [read(`${name}/tokenizer.json`), read(`${name}/tokenizer_config.json`)] as const;
    assertPlaces(name, new PreTrainedTokenizer(...parts), cases);
  });
}
