import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";

import {
  cutTo,
  openLenientTracer,
  traceText,
} from "../../../runtime/handler/explain/traced-text.ts";
import { groupWords } from "../../../runtime/handler/explain/words.ts";
import { createTextEncoder } from "../../../runtime/handler/model/encoder.ts";
import { modelPath } from "../../support/goldens.ts";

const path = modelPath("seqcls-bert-2way");
const tokenizer = await AutoTokenizer.from_pretrained(join(path), { local_files_only: true });
const silent = () => undefined;

test("a tokenizer that cannot be followed is known when a text comes, and costs the words, not the explanation", () => {
  const warnings: string[] = [];
  const trace = openLenientTracer(tokenizer, true, () => {
    throw new Error("traced 3 tokens, the tokenizer made 4");
  });
  const encoder = createTextEncoder({}, tokenizer, { maxTokens: 512, wantsTypes: true });
  const texts = ["The bank rejected it.", "We accept."] as const;
  const options = {
    pair: texts[1],
    truncation: "longest_first",
    maxTokens: 9,
    name: "inputs",
    warn: (text: string) => void warnings.push(text),
  } as const;
  const found = traceText({ ...encoder, tokenizer }, trace, texts[0], options);
  const real = traceText(
    { ...encoder, tokenizer },
    openLenientTracer(tokenizer, true),
    texts[0],
    options,
  );
  assert.equal(found.inputIds.length, 9);
  assert.deepEqual([found.inputIds, found.tokenTypeIds], [real.inputIds, real.tokenTypeIds]);
  // Special tokens stay in a baseline, all others do not.
  const stay = (marks: Int8Array) => Array.from(marks, (text) => text === -1);
  assert.deepEqual(stay(found.texts), stay(real.texts));
  assert.deepEqual(groupWords(found, texts), []);
  assert.deepEqual(
    warnings.filter((text) => !text.includes("was cut")),
    [
      "The explanation has no spans, as its tokens were not found in the text: traced 3 tokens, the tokenizer made 4",
    ],
  );
});

test("a trace is cut to the tokens that the model reads, of one text or of two, at either end", () => {
  const trace = openLenientTracer(tokenizer, true);
  const one = trace("The bank rejected my application.", undefined, silent);
  assert.ok(one !== undefined);
  const [first = 0, ...rest] = one.inputIds;
  const last = rest.at(-1) ?? 0;
  assert.deepEqual(
    [...cutTo([first, ...rest.slice(0, 2), last], one, "longest_first", "right").starts],
    [0, 0, 4, 0],
  );
  const left = cutTo([first, ...rest.slice(-3)], one, "longest_first", "left");
  assert.deepEqual([...left.starts], [0, 21, 32, 0]);
  assert.equal(cutTo(one.inputIds, one, "none", "right"), one);
  assert.throws(
    () => cutTo([first, 9, 9, last], one, "longest_first", "right"),
    /cut to other tokens/,
  );
});
