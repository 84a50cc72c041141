import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";

import { applyLowerCase } from "../../../runtime/handler/model/lower-case.ts";
import { modelPath } from "../../support/goldens.ts";

const FILE = "model-config.yaml";

function load(name: string) {
  return AutoTokenizer.from_pretrained(modelPath(name), { local_files_only: true });
}

const TEXT = "Café CLOSED";

test("applyLowerCase() keeps capitals and accents where texts were made lower case", async () => {
  const tokenizer = await load("seqcls-bert-2way");
  assert.equal(tokenizer._tokenizer.normalizer?.normalize(TEXT), "cafe closed");
  const note = applyLowerCase(tokenizer, { file: FILE, lowerCase: false });
  assert.equal(tokenizer._tokenizer.normalizer?.normalize(TEXT), TEXT);
  assert.equal(note?.level, "warn");
  applyLowerCase(tokenizer, { file: FILE, lowerCase: true });
  assert.equal(tokenizer._tokenizer.normalizer?.normalize(TEXT), "cafe closed");
});

test("applyLowerCase() says nothing where tokenizer.json says the same, or the settings say nothing", async () => {
  const tokenizer = await load("seqcls-bert-2way");
  assert.equal(applyLowerCase(tokenizer, { file: FILE, lowerCase: true }), undefined);
  assert.equal(applyLowerCase(tokenizer, { file: FILE }), undefined);
  assert.equal(applyLowerCase(tokenizer, undefined), undefined);
  assert.equal(tokenizer._tokenizer.normalizer?.normalize(TEXT), "cafe closed");
});

test("applyLowerCase() leaves tokenizers of other families alone, as Python does, and says so", async () => {
  const gpt2 = await load("tiny-gpt2");
  const tokens = gpt2.tokenize(TEXT);
  assert.deepEqual(applyLowerCase(gpt2, { file: FILE, lowerCase: true }), {
    level: "info",
    text: "do_lower_case in model-config.yaml changes nothing here: it sets a BertNormalizer, and this tokenizer has none",
  });
  assert.deepEqual(gpt2.tokenize(TEXT), tokens);
  const t5 = await load("tiny-t5");
  assert.match(
    applyLowerCase(t5, { file: FILE, lowerCase: true })?.text ?? "",
    /it sets a BertNormalizer, and this one is Sequence$/,
  );
});
