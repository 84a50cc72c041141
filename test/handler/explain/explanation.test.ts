import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { AnswerExplanation, askTogether, askWhy, Explanation } from "../../support/explanations.ts";
import { ask, assertNear, EMBEDDED, modelPath, variantOf } from "../../support/goldens.ts";

const open = (repository: string, dtype = "fp32") =>
  loadDefaultHandler({ repository, dtype }, silentLog());

const emotion = await open(EMBEDDED);
const pairs = await open(modelPath("seqcls-bert-2way"));
const ner = await open(modelPath("ner-bert"));
const qa = await open(modelPath("qa-bert"));
const gpt2 = await open(modelPath("tiny-gpt2"));
after(async () => {
  for (const handler of [emotion, pairs, ner, qa, gpt2]) await handler.dispose();
});

const SCARED = "I'm scared of the dark";
const QUESTION = {
  question: "Where does Peter live?",
  context: "Anna lives in Paris. Peter lives in London.",
};

test("a prediction with explain has its explanation beside it, of the predicted class", async () => {
  const answer = await ask(emotion, { inputs: SCARED, parameters: { explain: true, top_k: 2 } });
  assert.ok(typeof answer === "object" && answer !== null);
  assert.ok("prediction" in answer && "explanation" in answer);
  assert.deepEqual(
    answer.prediction,
    await ask(emotion, { inputs: SCARED, parameters: { top_k: 2 } }),
  );
  const alone = await askWhy(emotion, SCARED);
  assert.deepEqual(answer.explanation, alone);
  assert.equal(Explanation.parse(alone).target, "fear");
});

test("spans have their tokens' importance, and places in the text", async () => {
  const text = "so 😀 unbelievably scared";
  const { words, importances, spans } = Explanation.parse(
    await askWhy(emotion, text, { n_steps: 5 }),
  );
  assert.deepEqual(
    spans.map(({ start, end }) => Array.from(text).slice(start, end).join("")),
    ["so", "😀", "unbelievably", "scared"],
  );
  assert.ok(words.length > spans.length + 2, "one word has several tokens");
  const sum = (numbers: readonly number[]) => numbers.reduce((all, each) => all + each, 0);
  // [CLS] and [SEP] are in both the text and the baseline.
  assertNear([sum(spans.map(({ importance }) => importance))], [sum(importances)], 1e-9);
  assert.deepEqual([importances[0], importances.at(-1)], [0, 0]);
});

test("an empty text is its own baseline: zeros, and no NaN", async () => {
  assert.deepEqual(await askWhy(emotion, ""), {
    words: ["[CLS]", "[SEP]"],
    importances: [0, 0],
    delta: 0,
    target: Explanation.parse(await askWhy(emotion, "")).target,
    spans: [],
  });
});

test("a list has an explanation for each, also where the engine has split it", async () => {
  const list = Explanation.array().parse(
    await askWhy(emotion, [SCARED, "I love my little sister"]),
  );
  assert.deepEqual(
    list.map(({ target }) => target),
    ["fear", "love"],
  );
  const data = { inputs: [SCARED] };
  const request = { id: "1", kind: "explain", data, headers: {}, part: { index: 3 } } as const;
  const context = {
    signal: new AbortController().signal,
    requestId: "1",
    headers: {},
    log: silentLog(),
  };
  assert.deepEqual(await emotion.call(request, context), [list[0]]);
});

test("the two texts of a pair are told apart", async () => {
  const inputs = { text: "The bank rejected it.", text_pair: "We accept." };
  const { spans, words } = Explanation.parse(await askWhy(pairs, inputs, { n_steps: 3 }));
  assert.deepEqual(new Set(spans.map(({ of }) => of)), new Set(["text", "text_pair"]));
  assert.equal(words.filter((word) => word === "[SEP]").length, 2);
  const { spans: single } = Explanation.parse(
    await askWhy(pairs, { text: "We accept." }, { n_steps: 3 }),
  );
  assert.ok(single.every(({ of }) => of === undefined));
});

test("baselines differ, and specials have no share in any", async () => {
  const found = new Map<string, readonly number[]>();
  for (const baseline of ["pad", "mask", "zero"]) {
    const { importances } = Explanation.parse(await askWhy(emotion, SCARED, { baseline }));
    assert.deepEqual([importances[0], importances.at(-1)], [0, 0]);
    found.set(baseline, importances);
  }
  assert.notDeepEqual(found.get("pad"), found.get("zero"));
  assert.notDeepEqual(found.get("pad"), found.get("mask"));
  assert.deepEqual(found.get("pad"), Explanation.parse(await askWhy(emotion, SCARED)).importances);
});

test("how many points go together changes nothing but roundings", async () => {
  const parameters = { n_steps: 7, internal_batch_size: 2 };
  const [few, all] = [
    await askWhy(emotion, SCARED, parameters),
    await askWhy(emotion, SCARED, { n_steps: 7 }),
  ];
  assertNear(Explanation.parse(few).importances, Explanation.parse(all).importances, 1e-5);
});

test("a long text is cut as for predictions, with the same warning", async () => {
  const data = { inputs: SCARED, parameters: { max_length: 5, n_steps: 2 } };
  const [outcome] = await askTogether(emotion, [{ data }]);
  assert.ok(outcome !== undefined && "value" in outcome);
  assert.deepEqual(Explanation.parse(outcome.value).words, ["[CLS]", "i", "'", "m", "[SEP]"]);
  assert.deepEqual(outcome.warnings, ['"inputs" was cut from 9 to 5 tokens']);
  const pair = { text: "The bank rejected my application.", text_pair: "The bank rejected it." };
  const { words } = Explanation.parse(await askWhy(pairs, pair, { max_length: 7, n_steps: 2 }));
  assert.deepEqual(words, ["[CLS]", "the", "bank", "[SEP]", "the", "bank", "[SEP]"]);
});

test("without a target a token classifier explains its surest token that is not O", async () => {
  const inputs = "My name is Sarah and I live in London";
  const entities = await ask(ner, { inputs });
  assert.ok(Array.isArray(entities));
  const [first, ...others] = entities as { index: number; entity: string; score: number }[];
  const surest = others.reduce(
    (a, b) => (b.score > a.score ? b : a),
    first ?? { index: 0, entity: "", score: 0 },
  );
  const { target } = Explanation.parse(await askWhy(ner, inputs));
  assert.deepEqual(target, [surest.index, surest.entity]);
  const plain = Explanation.parse(await askWhy(ner, "and I live in"));
  assert.equal((plain.target as unknown[])[1], "O");
});

test("an answer is explained in the window of a long context that it is in", async () => {
  const inputs = { ...QUESTION, context: `${"The car is red. ".repeat(12)}Peter lives in London.` };
  const parameters = { max_seq_len: 40, doc_stride: 8, n_steps: 3 };
  const { words, target, spans } = AnswerExplanation.parse(await askWhy(qa, inputs, parameters));
  assert.ok(words.length <= 40);
  assert.deepEqual(words.slice(target[0], target[1] + 1), ["london"]);
  assert.deepEqual([...new Set(spans.map(({ of }) => of))], ["question", "context"]);
});

test("one place is both the beginning and the end, as for TorchServe", async () => {
  const found = AnswerExplanation.parse(await askWhy(qa, QUESTION, { target: 9, n_steps: 3 }));
  assert.deepEqual(found.target, [9, 9]);
});

test("several questions have an explanation each", async () => {
  const inputs = {
    question: [QUESTION.question, "Where does Anna live?"],
    context: QUESTION.context,
  };
  const list = AnswerExplanation.array().parse(await askWhy(qa, inputs, { n_steps: 3 }));
  assert.deepEqual(
    list.map(({ words, target }) => words[target[0]]),
    ["london", "paris"],
  );
  const answer = await ask(qa, { inputs: QUESTION, parameters: { explain: true, n_steps: 3 } });
  assert.ok(typeof answer === "object" && answer !== null && "explanation" in answer);
  AnswerExplanation.parse(answer.explanation);
});

test("of a prompt the next token is explained, or a continuation; what follows is no part of the answer", async () => {
  const inputs = "Once upon a time";
  const next = Explanation.parse(await askWhy(gpt2, inputs));
  assert.deepEqual([next.target, next.words], [",", ["Once", "upon", "a", "time"]]);
  assert.deepEqual(Explanation.parse(await askWhy(gpt2, inputs, { continuation: "," })), next);
  const three = Explanation.parse(await askWhy(gpt2, inputs, { continuation: ", there was" }));
  assert.deepEqual([three.target, three.words], [", there was", next.words]);
  assert.equal(three.importances.length, next.words.length);
  assert.notDeepEqual(three.importances, next.importances);
});

test("a prompt is cut at its beginning where the client allows it", async () => {
  const { words, spans } = Explanation.parse(
    await askWhy(gpt2, "Once upon a time", { truncate: 2, n_steps: 3 }),
  );
  assert.deepEqual(words, ["a", "time"]);
  assert.deepEqual(
    spans.map(({ start }) => start),
    [10, 12],
  );
});

test("int8 has no gradient: the fp32 file beside it is explained, and the client is told", async () => {
  const handler = await open(EMBEDDED, "q8");
  const [outcome] = await askTogether(handler, [{ data: { inputs: SCARED } }]);
  assert.ok(outcome !== undefined && "value" in outcome);
  assert.deepEqual(outcome.value, await askWhy(emotion, SCARED));
  assert.deepEqual(outcome.warnings, [
    "The explanation is of model/onnx/model.onnx, as the q8 weights that answer have no gradient",
  ]);
  await handler.dispose();
});

test("where no fp32 file is, an explanation is not supported, and a prediction is", async () => {
  await using only = await variantOf(join(EMBEDDED, "model"), { "onnx/model.onnx": null });
  const handler = await open(only.path, "q8");
  await assert.rejects(askWhy(handler, SCARED), {
    code: "NOT_SUPPORTED",
    message:
      "Cannot explain the prediction: q8 weights have no gradient, and onnx/model.onnx in fp32 is not here; --dtype fp32 has it downloaded and served",
  });
  assert.ok(Array.isArray(await ask(handler, { inputs: SCARED })));
  await handler.dispose();
});

test("who wanted explanations from TorchServe is told at the start which file explains, or that none does", async () => {
  const handlerSettings = {
    file: "model-config.yaml",
    keys: { captum_explanation: true, embedding_name: "distilbert" },
  };
  const notesOf = async (repository: string) => {
    const handler = await loadDefaultHandler(
      { repository, dtype: "q8", handlerSettings },
      silentLog(),
    );
    const texts = handler.description.notes.map(({ text }) => text);
    return { handler, texts };
  };
  const both = await notesOf(EMBEDDED);
  assert.ok(
    both.texts.includes("Explaining with model/onnx/model.onnx: q8 weights have no gradient"),
  );
  assert.deepEqual(await askWhy(both.handler, SCARED), await askWhy(emotion, SCARED));
  await both.handler.dispose();
  await using only = await variantOf(join(EMBEDDED, "model"), { "onnx/model.onnx": null });
  const none = await notesOf(only.path);
  assert.ok(
    none.texts.some((text) => text.startsWith("Cannot explain the prediction: q8 weights")),
  );
  await none.handler.dispose();
});

test("several explanations asked for together come to the same as alone, and a bad one among them fails alone", async () => {
  const texts = [SCARED, "I love you", "that really made me furious"];
  const data = (inputs: unknown, parameters = {}) => ({
    data: { inputs, parameters: { n_steps: 5, ...parameters } },
  });
  const outcomes = await askTogether(emotion, [
    ...texts.map((text) => data(text)),
    data("x", { target: 17 }),
  ]);
  for (const [index, text] of texts.entries()) {
    const outcome = outcomes[index];
    assert.ok(outcome !== undefined && "value" in outcome);
    const together = Explanation.parse(outcome.value);
    const alone = Explanation.parse(await askWhy(emotion, text, { n_steps: 5 }));
    assertNear(together.importances, alone.importances, 1e-5);
    assert.deepEqual(together.target, alone.target);
  }
  assert.ok(outcomes[3] !== undefined && "error" in outcomes[3]);
});

test("an explanation that nobody waits for ends, and another one goes on", async () => {
  const gone = new AbortController();
  const slow = { data: { inputs: SCARED.repeat(8), parameters: { n_steps: 500 } } };
  const asked = askTogether(emotion, [{ ...slow, signal: gone.signal }]);
  setImmediate(() => gone.abort(new DOMException("The client has left", "AbortError")));
  const [outcome] = await asked;
  assert.ok(outcome !== undefined && "error" in outcome);
  assert.match(String(outcome.error), /nobody waits for it any more|client has left/i);
  Explanation.parse(await askWhy(emotion, SCARED, { n_steps: 2 }));
});

/** Every refusal: one sentence, and a 400. */
const REFUSALS: readonly (readonly [
  handler: "emotion" | "ner" | "qa" | "gpt2",
  parameters: Readonly<Record<string, unknown>>,
  problem: string,
])[] = [
  [
    "emotion",
    { target: 6 },
    `"target" is 6, wanted an index below 6, or one of "sadness", "joy", "love", "anger", "fear", "surprise"`,
  ],
  [
    "emotion",
    { target: "mirth" },
    `"target" is "mirth", wanted an index below 6, or one of "sadness", "joy", "love", "anger", "fear", "surprise"`,
  ],
  ["emotion", { target: [1, 2] }, `"target" is a list, wanted an index or a label`],
  ["emotion", { target: -1 }, `"target" is -1, wanted an index or a label`],
  ["emotion", { n_steps: 0 }, `"n_steps" is 0, wanted a whole number from 1 to 500`],
  ["emotion", { n_steps: 501 }, `"n_steps" is 501, wanted a whole number from 1 to 500`],
  [
    "emotion",
    { n_steps: 1, method: "riemann_trapezoid" },
    `"n_steps" is 1, wanted at least 2 for "riemann_trapezoid"`,
  ],
  [
    "emotion",
    { method: "simpson" },
    `"method" is "simpson", wanted one of "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"`,
  ],
  ["emotion", { baseline: "noise" }, `"baseline" is "noise", wanted one of "pad", "mask", "zero"`],
  [
    "emotion",
    { internal_batch_size: 0 },
    `"internal_batch_size" is 0, wanted a whole number of at least 1`,
  ],
  [
    "emotion",
    { steps: 5 },
    `there is no parameter "steps"; known are target, n_steps, method, baseline, internal_batch_size, truncation, max_length`,
  ],
  [
    "ner",
    { target: 3 },
    `"target" is 3, wanted [token, label], the token's place counted from 0 with the first special token`,
  ],
  ["ner", { target: [30, 1] }, `"target[0]" is 30, wanted one of the 11 tokens, counted from 0`],
  [
    "ner",
    { target: [1, "B-XYZ"] },
    `"target[1]" is "B-XYZ", wanted an index below 9, or one of "O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"`,
  ],
  [
    "qa",
    { target: [0, 99] },
    `"target" is [0,99], wanted places among the 18 tokens, counted from 0`,
  ],
  [
    "qa",
    { target: "London" },
    `"target" is "London", wanted [start, end], places of tokens, or one place for both`,
  ],
  ["gpt2", { target: 778 }, `"target" is 778, wanted the id of one of 778 tokens`],
  [
    "gpt2",
    { target: 1, continuation: "x" },
    `"target" and "continuation" are both given, wanted one of them`,
  ],
  ["gpt2", { continuation: "" }, `"continuation" is "", wanted a text`],
  [
    "gpt2",
    { baseline: "mask" },
    `"baseline" is "mask", wanted "pad" or "zero", as the tokenizer has no mask token`,
  ],
];

const ASKED = {
  emotion: [emotion, SCARED],
  ner: [ner, "My name is Sarah and I live in London"],
  qa: [qa, QUESTION],
  gpt2: [gpt2, "Once upon a time"],
} as const;

for (const [name, parameters, problem] of REFUSALS) {
  test(`${name} refuses ${JSON.stringify(parameters)}`, async () => {
    const [handler, inputs] = ASKED[name];
    await assert.rejects(askWhy(handler, inputs, parameters), {
      code: "INVALID_INPUT",
      message: `Cannot explain the prediction: ${problem}`,
    });
  });
}

test("a parameter that only predictions have has no effect on an explanation, which the client is told", async () => {
  const data = { inputs: SCARED, parameters: { top_k: 2, n_steps: 2 } };
  const [outcome] = await askTogether(emotion, [{ data }]);
  assert.ok(outcome !== undefined && "value" in outcome);
  assert.deepEqual(outcome.warnings, ['The parameter "top_k" has no effect here']);
});
