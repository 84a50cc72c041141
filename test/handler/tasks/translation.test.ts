import assert from "node:assert/strict";
import { after, test } from "node:test";

import { AutoTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { languagesOf } from "../../../runtime/handler/tasks/languages.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { Seq2SeqGolden } from "../../support/generation.ts";
import { ask, modelPath, quietLog, readGolden, variantOf } from "../../support/goldens.ts";

const M2M100 = modelPath("tiny-m2m100");
const m2m100 = await loadDefaultHandler({ repository: M2M100, dtype: "fp32" }, silentLog());
const marian = await loadDefaultHandler(
  { repository: modelPath("tiny-marian"), dtype: "fp32" },
  silentLog(),
);
const t5 = await loadDefaultHandler(
  { repository: modelPath("tiny-t5"), task: "translation", dtype: "fp32" },
  silentLog(),
);
after(() => Promise.all([m2m100.dispose(), marian.dispose(), t5.dispose()]));

const CAT = "The little cat went to the park.";
const GREEDY = { num_beams: 1, max_new_tokens: 16 };

const Answer = z.tuple([z.object({ translation_text: z.string() })]);
async function translated(
  handler: LoadedHandler,
  inputs: string,
  parameters: Record<string, unknown>,
): Promise<string> {
  const answer = await ask(handler, { inputs, parameters: { ...GREEDY, ...parameters } });
  return Answer.parse(answer)[0].translation_text;
}

for (const [name, handler] of [
  ["tiny-marian", marian],
  ["tiny-m2m100", m2m100],
] as const) {
  test(`${name} translates as PyTorch does, one by one and as a list`, async () => {
    const { cases } = readGolden(name, Seq2SeqGolden);
    for (const { input, text, max_new_tokens, src_lang, tgt_lang } of cases) {
      const parameters = { max_new_tokens, src_lang, tgt_lang };
      assert.equal(await translated(handler, input, parameters), text);
    }
    const [{ max_new_tokens, src_lang, tgt_lang } = { max_new_tokens: 16 }] = cases;
    const parameters = { num_beams: 1, max_new_tokens, src_lang, tgt_lang };
    assert.deepEqual(
      await ask(handler, { inputs: cases.map(({ input }) => input), parameters }),
      cases.map(({ text }) => ({ translation_text: text })),
    );
  });
}

test("the tokenizer's own languages are taken where the client names none", async () => {
  const named = await translated(m2m100, CAT, { src_lang: "en", tgt_lang: "de" });
  assert.equal(await translated(m2m100, CAT, {}), named);
  assert.equal(await translated(m2m100, CAT, { src_lang: null, tgt_lang: null }), named);
  assert.deepEqual(m2m100.description.example, {
    inputs: "My name is Sarah and I live in London",
    parameters: { src_lang: "en", tgt_lang: "de" },
  });
});

test("another language wanted is another answer, and does not stay for the next request", async () => {
  const german = await translated(m2m100, CAT, { tgt_lang: "de" });
  assert.notEqual(await translated(m2m100, CAT, { src_lang: "fr", tgt_lang: "fr" }), german);
  assert.equal(await translated(m2m100, CAT, { tgt_lang: "de" }), german);
});

test("a text's language is its mark, at either end, and never a mark within it", async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(M2M100, { local_files_only: true });
  const languages = languagesOf(tokenizer);
  assert.ok(languages);
  assert.deepEqual(languages.codes, ["en", "de", "fr"]);
  const [en = 0, de = 0] = ["en", "de"].map((code) => languages.idOf(code));
  assert.deepEqual(languages.withSource([en, 5, en, 6, 2], "de"), [de, 5, en, 6, 2]);
  assert.deepEqual(languages.withSource([5, en, 6, 2, en], "de"), [5, en, 6, 2, de]);
  assert.deepEqual(languages.withSource([5, en, 2], "de"), [5, en, 2]);
  assert.equal(languages.idOf("it"), undefined);
});

test("a tokenizer saved by transformers 5 knows the same languages", async () => {
  await using repository = await variantOf(M2M100, {
    "tokenizer_config.json": {
      backend: "tokenizers",
      tokenizer_class: "TokenizersBackend",
      model_max_length: 128,
      bos_token: "<s>",
      eos_token: "</s>",
      unk_token: "<unk>",
      pad_token: "<pad>",
      extra_special_tokens: ["__en__", "__de__", "__fr__"],
    },
  });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  const parameters = { src_lang: "en", tgt_lang: "de" };
  assert.equal(
    await translated(handler, CAT, parameters),
    await translated(m2m100, CAT, parameters),
  );
  await assert.rejects(ask(handler, { inputs: CAT }), {
    code: "INVALID_INPUT",
    message: `Cannot translate the text: "src_lang" is missing, wanted a language of the model, known are en, de, fr`,
  });
  await handler.dispose();
});

test("a model of one pair answers without languages, and says that they have no effect", async () => {
  const lines: string[] = [];
  const parameters = { ...GREEDY, src_lang: "en", tgt_lang: "fr" };
  const answer = await ask(marian, { inputs: CAT, parameters }, { log: quietLog(lines) });
  assert.deepEqual(answer, await ask(marian, { inputs: CAT, parameters: GREEDY }));
  assert.match(
    lines.join(""),
    /"src_lang" has no effect here: the model translates one pair of languages/,
  );
  assert.match(lines.join(""), /"tgt_lang" has no effect here/);
});

test("a model whose configuration names pairs takes the prefix of the pair", async () => {
  const generic = await loadDefaultHandler(
    { repository: modelPath("tiny-t5"), task: "text2text-generation", dtype: "fp32" },
    silentLog(),
  );
  const inputs = `translate English to German: ${CAT}`;
  const [expected] = z
    .array(z.object({ generated_text: z.string() }))
    .parse(await ask(generic, { inputs, parameters: GREEDY }));
  const german = await translated(t5, CAT, { src_lang: "en", tgt_lang: "de" });
  assert.equal(german, expected?.generated_text);
  const lines: string[] = [];
  const data = { inputs: CAT, parameters: GREEDY };
  assert.notDeepEqual(await ask(t5, data, { log: quietLog(lines) }), [
    { translation_text: german },
  ]);
  assert.match(
    lines.join(""),
    /The model was not told what to translate: name "src_lang" and "tgt_lang", en to de/,
  );
  await generic.dispose();
});

const REFUSALS: readonly (readonly [
  handler: LoadedHandler,
  parameters: Record<string, unknown>,
  sentence: string,
])[] = [
  [
    m2m100,
    { tgt_lang: "xx" },
    `"tgt_lang" is "xx", wanted a language of the model, known are en, de, fr`,
  ],
  [
    m2m100,
    { src_lang: "enn" },
    `"src_lang" is "enn", wanted a language of the model, perhaps you mean "en"; known are en, de, fr`,
  ],
  [m2m100, { tgt_lang: 5 }, `"tgt_lang" is 5, wanted the code of a language`],
  [
    t5,
    { src_lang: "en", tgt_lang: "fr" },
    `"src_lang" and "tgt_lang" are not a pair of this model, wanted en to de`,
  ],
];

for (const [handler, parameters, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(handler, { inputs: CAT, parameters }), {
      code: "INVALID_INPUT",
      message: `Cannot translate the text: ${sentence}`,
    });
  });
}
