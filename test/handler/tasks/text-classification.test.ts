import assert from "node:assert/strict";
import { after, test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  ClassificationGolden,
  configOf,
  EMBEDDED,
  Labels,
  modelPath,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const TWO_WAY = modelPath("seqcls-bert-2way");
const emotion = await loadDefaultHandler({ repository: EMBEDDED, dtype: "fp32" }, silentLog());
after(() => emotion.dispose());

/** Both classifiers, in both dtypes; int8 may move a score, not the label. */
const GOLDENS = [
  { name: "emotion-distilbert", repository: EMBEDDED, dtype: "fp32", tolerance: 1e-4 },
  { name: "emotion-distilbert", repository: EMBEDDED, dtype: "q8", tolerance: 0.05 },
  { name: "seqcls-bert-2way", repository: TWO_WAY, dtype: "fp32", tolerance: 1e-4 },
  { name: "seqcls-bert-2way", repository: TWO_WAY, dtype: "q8", tolerance: 0.05 },
] as const;

for (const { name, repository, dtype, tolerance } of GOLDENS) {
  test(`${name} in ${dtype} answers as Python does, one by one and as a list`, async () => {
    const handler = await loadDefaultHandler({ repository, dtype }, silentLog());
    const { cases } = readGolden(name, ClassificationGolden);
    const parameters = { top_k: null };
    const inputs = cases.map(({ input }) => input);
    const list = Labels.array().parse(await ask(handler, { inputs, parameters }));
    for (const [index, { input, top, label_q8 }] of cases.entries()) {
      const single = Labels.parse(await ask(handler, { inputs: input, parameters }));
      for (const answer of [single, list[index] ?? []]) {
        const expected = new Map(top.map(({ label, score }) => [label, score]));
        assert.equal(answer[0]?.label, dtype === "q8" ? label_q8 : top[0]?.label, input);
        assertNear(
          answer.map(({ score }) => score),
          answer.map(({ label }) => expected.get(label) ?? Number.NaN),
          tolerance,
        );
      }
    }
    await handler.dispose();
  });
}

const EXCITED = "I am quite excited how this will turn out";
const SCARED = "I'm scared of the dark";

/** The labels of an answer, in its own shape. */
async function labelsOf(inputs: unknown, parameters?: unknown): Promise<unknown> {
  const answer = await ask(emotion, { inputs, ...(parameters !== undefined && { parameters }) });
  const strip = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(strip);
    const { label } = Labels.element.parse(value);
    return label;
  };
  return strip(answer);
}

test("answers have the toolkit's shapes", async () => {
  assert.deepEqual(await labelsOf(EXCITED), ["joy"]);
  assert.deepEqual(await labelsOf(EXCITED, { top_k: 1 }), ["joy"]);
  assert.deepEqual(await labelsOf(SCARED, { top_k: 2 }), ["fear", "sadness"]);
  assert.deepEqual(await labelsOf([EXCITED, SCARED]), ["joy", "fear"]);
  assert.deepEqual(await labelsOf([EXCITED, SCARED], { top_k: 1 }), [["joy"], ["fear"]]);
  assert.deepEqual(await labelsOf([SCARED], { top_k: 2 }), [["fear", "sadness"]]);
  assert.deepEqual(await labelsOf([]), []);
});

test("top_k null, or more than there are, gives every label", async () => {
  for (const parameters of [{ top_k: null }, { top_k: 99 }, { return_all_scores: true }]) {
    const answer = Labels.parse(await ask(emotion, { inputs: SCARED, parameters }));
    assert.equal(answer.length, 6);
    assertNear([answer.reduce((sum, { score }) => sum + score, 0)], [1], 1e-12);
  }
});

test("a list keeps its order though short texts run first", async () => {
  const long = `${EXCITED}, `.repeat(8);
  assert.deepEqual(await labelsOf([long, SCARED, long, EXCITED]), ["joy", "fear", "joy", "joy"]);
});

test("function_to_apply makes the scores, whatever the model would do", async () => {
  const { cases } = readGolden("emotion-distilbert", ClassificationGolden);
  const { input = "", logits = [] } = cases[0] ?? {};
  const scoresWith = async (name: string) => {
    const parameters = { function_to_apply: name, top_k: null };
    const answer = Labels.parse(await ask(emotion, { inputs: input, parameters }));
    return answer.map(({ score }) => score);
  };
  const descending = logits.toSorted((a, b) => b - a);
  assertNear(await scoresWith("none"), descending, 1e-4);
  assertNear(
    await scoresWith("sigmoid"),
    descending.map((x) => 1 / (1 + Math.exp(-x))),
    1e-4,
  );
  assert.deepEqual(await scoresWith("softmax"), await scoresWith("default"));
});

test("the model's configuration decides what scores are, as in Python", async () => {
  const { cases } = readGolden("seqcls-bert-2way", ClassificationGolden);
  const { input = "", logits = [] } = cases[0] ?? {};
  const descending = logits.toSorted((a, b) => b - a);
  const sigmoids = descending.map((x) => 1 / (1 + Math.exp(-x)));
  const configurations = [
    { changes: { problem_type: "multi_label_classification" }, expected: sigmoids },
    { changes: { problem_type: "regression" }, expected: descending },
    { changes: { id2label: { 0: "only" } }, expected: sigmoids },
  ];
  for (const { changes, expected } of configurations) {
    await using repository = await variantOf(TWO_WAY, {
      "config.json": configOf(TWO_WAY, changes),
      "index_to_name.json": null, // it names two labels, whatever config.json says
    });
    const handler = await loadDefaultHandler(
      { repository: repository.path, dtype: "fp32" },
      silentLog(),
    );
    const answer = await ask(handler, { inputs: input, parameters: { top_k: null } });
    assertNear(
      Labels.parse(answer).map(({ score }) => score),
      expected,
      1e-4,
    );
    await handler.dispose();
  }
});

test("a model without labels numbers them", async () => {
  const changes = {
    "config.json": configOf(TWO_WAY, { id2label: null }),
    "index_to_name.json": null,
  };
  await using repository = await variantOf(TWO_WAY, changes);
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const answer = await ask(handler, { inputs: "The bank rejected my application." });
  assert.equal(Labels.parse(answer)[0]?.label, "LABEL_0");
  await handler.dispose();
});

/** A saved tokenizer of transformers 5, whose class says nothing about the model. */
const TRANSFORMERS_5 = {
  "tokenizer_config.json": {
    backend: "tokenizers",
    tokenizer_class: "TokenizersBackend",
    model_max_length: 128,
    pad_token: "[PAD]",
    unk_token: "[UNK]",
    cls_token: "[CLS]",
    sep_token: "[SEP]",
  },
  "special_tokens_map.json": null,
  "vocab.txt": null,
};

test("a tokenizer saved by transformers 5 gives the same answers, pairs included", async () => {
  await using repository = await variantOf(TWO_WAY, TRANSFORMERS_5);
  const old = await loadDefaultHandler({ repository: TWO_WAY, dtype: "fp32" }, silentLog());
  const saved = await loadDefaultHandler(
    { repository: repository.path, dtype: "fp32" },
    silentLog(),
  );
  const pair = { text: "The bank rejected my application.", text_pair: "Thank you." };
  for (const inputs of ["Bloomberg has decided to publish a new report.", pair]) {
    const data = { inputs, parameters: { top_k: null } };
    assert.deepEqual(await ask(saved, data), await ask(old, data));
  }
  await old.dispose();
  await saved.dispose();
});

test("a pair is read with both its texts", async () => {
  const text = "The bank rejected my application.";
  const alone = await ask(emotion, { inputs: { text } });
  assert.deepEqual(alone, await ask(emotion, { inputs: text }));
  assert.notDeepEqual(alone, await ask(emotion, { inputs: { text, text_pair: SCARED } }));
  const pairs = [{ text, text_pair: SCARED }, text];
  assert.equal(Labels.parse(await ask(emotion, { inputs: pairs })).length, 2);
});

test("an empty text has an answer, as in Python", async () => {
  assert.equal(Labels.parse(await ask(emotion, { inputs: "" })).length, 1);
});

test("a long text is cut, its closing token kept", async () => {
  // Every word is one token: [CLS], 126 words, [SEP].
  const words = (count: number) => Array.from({ length: count }, () => "love").join(" ");
  const parameters = { top_k: null };
  const fitting = await ask(emotion, { inputs: words(126), parameters });
  assert.deepEqual(await ask(emotion, { inputs: words(500), parameters }), fitting);
});

test("max_length cuts earlier, and no later than the model's limit", async () => {
  const cut = (max_length: number) =>
    ask(emotion, { inputs: "i am scared of the dark", parameters: { max_length, top_k: null } });
  const parameters = { top_k: null };
  assert.deepEqual(await cut(5), await ask(emotion, { inputs: "i am scared", parameters }));
  assert.deepEqual(
    await cut(4096),
    await ask(emotion, { inputs: "i am scared of the dark", parameters }),
  );
});

const LONG = "love ".repeat(300);
const KNOWN = "known are top_k, function_to_apply, truncation, max_length, return_all_scores";

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted a string, a list of strings, or {"text", "text_pair"}`],
  [
    { inputs: 5 },
    `"inputs" is a number, wanted a string, a list of strings, or {"text", "text_pair"}`,
  ],
  [{ inputs: ["a", null] }, `"inputs[1]" is null, wanted a string or {"text", "text_pair"}`],
  [{ inputs: { text_pair: "a" } }, `"inputs.text" is missing, wanted a string`],
  [
    { inputs: "a", parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1, or null for all labels`,
  ],
  [
    { inputs: "a", parameters: { top_k: "all" } },
    `"top_k" is "all", wanted a whole number of at least 1, or null for all labels`,
  ],
  [
    { inputs: "a", parameters: { function_to_apply: "relu" } },
    `"function_to_apply" is "relu", wanted "sigmoid", "softmax", "none" or "default"`,
  ],
  [
    { inputs: "a", parameters: { topk: 1 } },
    `there is no parameter "topk", perhaps you mean "top_k"; ${KNOWN}`,
  ],
  [
    { inputs: LONG, parameters: { truncation: false } },
    `"inputs" is 302 tokens long, wanted at most 128 as truncation is off`,
  ],
  [
    { inputs: ["a", LONG], parameters: { truncation: "do_not_truncate" } },
    `"inputs[1]" is 302 tokens long, wanted at most 128 as truncation is off`,
  ],
  [
    { inputs: "a b c", parameters: { max_length: 1 } },
    `"inputs" is 5 tokens long and cannot be cut to 1 with the truncation "longest_first"`,
  ],
  [
    { inputs: { text: LONG, text_pair: "a" }, parameters: { truncation: "only_second" } },
    `"inputs" is 304 tokens long and cannot be cut to 128 with the truncation "only_second"`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(emotion, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the text: ${sentence}`,
    });
  });
}

test("keys of the body that mean nothing here are passed over, as in the toolkit", async () => {
  const answer = await ask(emotion, { inputs: EXCITED, top_k: 3, options: {}, stream: true });
  assert.deepEqual(answer, await ask(emotion, { inputs: EXCITED }));
});
