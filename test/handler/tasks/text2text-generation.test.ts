import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { Seq2SeqGolden } from "../../support/generation.ts";
import {
  ask,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const T5 = modelPath("tiny-t5");
const t5 = await loadDefaultHandler({ repository: T5, dtype: "fp32" }, silentLog());
after(() => t5.dispose());

const { cases } = readGolden("tiny-t5", Seq2SeqGolden);
const GREEDY = { num_beams: 1, max_new_tokens: 16 };

test("answers as PyTorch does, one by one and as a list", async () => {
  for (const { input, text } of cases) {
    assert.deepEqual(await ask(t5, { inputs: input, parameters: GREEDY }), [
      { generated_text: text },
    ]);
  }
  const inputs = cases.map(({ input }) => input);
  assert.deepEqual(
    await ask(t5, { inputs, parameters: GREEDY }),
    cases.map(({ text }) => ({ generated_text: text })),
  );
});

test("an empty text has an answer, as in Python", async () => {
  assert.equal(((await ask(t5, { inputs: "", parameters: GREEDY })) as unknown[]).length, 1);
});

test("what config.json puts before every text is put there", async () => {
  const changes = { prefix: "answer: ", task_specific_params: null };
  await using repository = await variantOf(T5, { "config.json": configOf(T5, changes) });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  const [first] = cases;
  assert.ok(first);
  assert.deepEqual(
    await ask(handler, { inputs: first.input, parameters: GREEDY }),
    await ask(t5, { inputs: `answer: ${first.input}`, parameters: GREEDY }),
  );
  await handler.dispose();
});

test("clean_up_tokenization_spaces takes out the space before punctuation", async () => {
  const [first] = cases;
  assert.ok(first);
  assert.match(first.text, /^Ruby fl.* He Ruby thom/);
  // The same model with a mark of punctuation for a word.
  const tokenizer = readFileSync(join(T5, "tokenizer.json"), "utf8").replace('"▁Ruby"', '"▁!"');
  await using repository = await variantOf(T5, { "tokenizer.json": tokenizer });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  const plain = first.text.replaceAll("Ruby", "!");
  for (const [clean, text] of [
    [undefined, plain],
    [false, plain],
    [true, plain.replaceAll(" !", "!")],
  ] as const) {
    const parameters = { ...GREEDY, clean_up_tokenization_spaces: clean };
    const answer = await ask(handler, { inputs: first.input, parameters });
    assert.deepEqual(answer, [{ generated_text: text }]);
  }
  assert.notEqual(plain, plain.replaceAll(" !", "!"));
  await handler.dispose();
});

test("T5's text is cut where its tokenizer says, as it has no last position", async () => {
  const lines: string[] = [];
  const inputs = "lake ".repeat(600);
  await ask(t5, { inputs, parameters: { ...GREEDY, max_new_tokens: 1 } }, { log: quietLog(lines) });
  assert.match(lines.join(""), /"inputs" was cut from \d+ to 512 tokens/);
  const parameters = { num_beams: 1, max_new_tokens: 600, min_new_tokens: 600 };
  assert.equal(((await ask(t5, { inputs: "lake", parameters })) as unknown[]).length, 1);
});

test("a stop text ends the answer and stays in it, with beams and without", async () => {
  const [first] = cases;
  assert.ok(first);
  for (const num_beams of [1, 4]) {
    const parameters = { max_new_tokens: 16, num_beams };
    const [full] = (await ask(t5, { inputs: first.input, parameters })) as {
      generated_text: string;
    }[];
    const stop = full?.generated_text.slice(5, 8) ?? "";
    const stopped = await ask(t5, { inputs: first.input, parameters: { ...parameters, stop } });
    const [{ generated_text: text = "" } = {}] = stopped as { generated_text?: string }[];
    assert.ok(text.includes(stop) && text.length < (full?.generated_text.length ?? 0), text);
  }
});
