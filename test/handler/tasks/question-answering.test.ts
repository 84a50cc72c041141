import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const QA = modelPath("qa-bert");
const qa = await loadDefaultHandler({ repository: QA, dtype: "fp32" }, silentLog());
after(() => qa.dispose());

const Answer = z.strictObject({
  score: z.number(),
  start: z.number(),
  end: z.number(),
  answer: z.string(),
});
type Answer = z.infer<typeof Answer>;

const Golden = z.object({
  cases: z.array(
    z.object({
      question: z.string(),
      context: z.string(),
      input_ids: z.array(z.number()),
      token_type_ids: z.array(z.number()),
      start_logits: z.array(z.number()),
      end_logits: z.array(z.number()),
      answer: z.string(),
      score: z.number(),
      start: z.number(),
      end: z.number(),
      answer_q8: z.string(),
    }),
  ),
});
const { cases } = readGolden("qa-bert", Golden);

async function answerOf(question: string, context: string, parameters = {}): Promise<Answer> {
  return Answer.parse(await ask(qa, { inputs: { question, context }, parameters }));
}

async function answersOf(question: string, context: string, parameters = {}): Promise<Answer[]> {
  return z.array(Answer).parse(await ask(qa, { inputs: { question, context }, parameters }));
}

function assertSame(
  actual: readonly Answer[],
  expected: readonly Answer[],
  tolerance: number,
): void {
  const strip = (answers: readonly Answer[]) => answers.map((answer) => ({ ...answer, score: 0 }));
  assert.deepEqual(strip(actual), strip(expected));
  assertNear(
    actual.map(({ score }) => score),
    expected.map(({ score }) => score),
    tolerance,
  );
}

test("qa-bert finds the answers that PyTorch's numbers give, with their scores", async () => {
  for (const { question, context, answer, score, start, end } of cases) {
    // Without the alignment to words, as the golden has the best span alone.
    const found = await answerOf(question, context, { align_to_words: false });
    assertSame([found], [{ score, start, end, answer }], 1e-4);
  }
});

test("qa-bert in int8 finds the same answers, with nearly the same scores", async () => {
  const handler = await loadDefaultHandler({ repository: QA, dtype: "q8" }, silentLog());
  for (const { question, context, answer_q8, score } of cases) {
    const parameters = { align_to_words: false };
    const data = { inputs: { question, context }, parameters };
    const found = Answer.parse(await ask(handler, data));
    assert.equal(found.answer, answer_q8);
    assertNear([found.score], [score], 0.05);
  }
  await handler.dispose();
});

/** Every part of a context that is a word or a mark: what BERT's tokenizer takes for one. */
function wordsOf(context: string): { readonly start: number; readonly end: number }[] {
  return [...context.matchAll(/\w+|[^\s\w]/g)].map(({ index, 0: { length } }) => ({
    start: index,
    end: index + length,
  }));
}

/** Python's postprocessing, written down as it is there: the whole product, sorted; for contexts in ASCII. */
function pythonAnswers(
  { context, input_ids, token_type_ids, start_logits, end_logits }: (typeof cases)[number],
  wordOfToken: readonly number[],
  topK: number,
): Answer[] {
  const words = wordsOf(context);
  const mayCount = input_ids.map((id, t) => t === 0 || (token_type_ids[t] === 1 && id !== 3));
  const softmax = (logits: readonly number[]): number[] => {
    const powers = logits.map((logit, t) => Math.exp(mayCount[t] ? logit : -10_000));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power, t) => (t === 0 ? 0 : power / sum));
  };
  const [starts, ends] = [softmax(start_logits), softmax(end_logits)];
  const spans = starts.flatMap((start, first) =>
    ends.flatMap((end, last) =>
      last < first || last - first >= 15 ? [] : { first, last, score: start * end },
    ),
  );
  spans.sort((a, b) => b.score - a.score);
  const answers: Answer[] = [];
  for (const { first, last, score } of spans.slice(0, topK * 2 + 10)) {
    const start = words[wordOfToken[first] ?? -1]?.start ?? 0;
    const end = words[wordOfToken[last] ?? -1]?.end ?? 0;
    const answer = context.slice(start, end);
    const same = answers.find((other) => other.answer.toLowerCase() === answer.toLowerCase());
    if (same === undefined) answers.push({ score, start, end, answer });
    else same.score += score;
  }
  return answers.sort((a, b) => b.score - a.score).slice(0, topK);
}

test("answers that begin or end within words become words, and equal ones one, as in Python", async () => {
  const vocabulary = new Map<number, string>();
  const tokenizer = z
    .object({ model: z.object({ vocab: z.record(z.string(), z.number()) }) })
    .parse(JSON.parse(readFileSync(modelPath("qa-bert/tokenizer.json"), "utf8")));
  for (const [token, id] of Object.entries(tokenizer.model.vocab)) vocabulary.set(id, token);
  for (const golden of cases) {
    let word = -1;
    const wordOfToken = golden.input_ids.map((id, t) => {
      if (golden.token_type_ids[t] !== 1 || id === 3) return -1;
      return vocabulary.get(id)?.startsWith("##") ? word : ++word;
    });
    const expected = pythonAnswers(golden, wordOfToken, 3);
    const found = await answersOf(golden.question, golden.context, { top_k: 3 });
    assertSame(found, expected, 1e-4);
    const [best] = expected;
    assert.ok(best);
    assertSame([await answerOf(golden.question, golden.context)], [best], 1e-4);
  }
});

const PETER = "Where does Peter live?";
const CONTEXT = "Anna lives in Paris. Peter lives in London. The car is red.";
const CAR = "What colour is the car?";

test("one question has one answer, several have a list", async () => {
  const both = async (inputs: unknown, parameters = {}) => {
    const answers = z.array(Answer).parse(await ask(qa, { inputs, parameters }));
    return answers.map(({ answer }) => answer);
  };
  const one = { question: PETER, context: CONTEXT };
  assert.deepEqual(await both([one, { question: CAR, context: CONTEXT }]), ["London", "red"]);
  assert.deepEqual(await both({ question: [PETER, CAR], context: CONTEXT }), ["London", "red"]);
  assert.deepEqual(await both({ question: [PETER, CAR], context: [CONTEXT, "The car is blue."] }), [
    "London",
    "blue",
  ]);
  assert.deepEqual(await both({ question: PETER, context: [CONTEXT, "Peter lives in Paris."] }), [
    "London",
    "Paris",
  ]);
  for (const inputs of [one, [one], { question: [PETER], context: CONTEXT }])
    assert.equal(Answer.parse(await ask(qa, { inputs })).answer, "London");
  const lists = await ask(qa, { inputs: [one, one], parameters: { top_k: 2 } });
  assert.equal(z.array(z.array(Answer).length(2)).length(2).parse(lists).length, 2);
  assert.deepEqual(await ask(qa, { inputs: [] }), []);
});

test("top_k gives as many different answers, best first, in a list", async () => {
  const answers = await answersOf(PETER, CONTEXT, { top_k: 5 });
  assert.equal(answers.length, 5);
  assert.equal(answers[0]?.answer, "London");
  const scores = answers.map(({ score }) => score);
  assert.deepEqual(
    scores,
    scores.toSorted((a, b) => b - a),
  );
  assert.equal(new Set(answers.map(({ answer }) => answer)).size, 5);
  assert.deepEqual(await answersOf(PETER, CONTEXT, { topk: 5 }), answers);
  assert.equal((await answersOf(PETER, "London", { top_k: 9 })).length, 1);
});

test("max_answer_len limits the tokens of an answer", async () => {
  const lengths = async (parameters: object) =>
    (await answersOf(PETER, CONTEXT, { top_k: 30, ...parameters })).map(
      ({ answer }) => wordsOf(answer).length,
    );
  assert.equal(Math.max(...(await lengths({ max_answer_len: 2 }))), 2);
  assert.ok(Math.max(...(await lengths({}))) > 2);
});

test("with handle_impossible_answer, no answer may be the answer", async () => {
  const parameters = { top_k: 500, handle_impossible_answer: true };
  const [golden] = cases;
  assert.ok(golden);
  const answers = await answersOf(golden.question, golden.context, parameters);
  const none = answers.filter(({ answer }) => answer === "");
  const among = (logits: readonly number[]): number => {
    const counts = logits.filter(
      (_, t) => t === 0 || (golden.token_type_ids[t] === 1 && golden.input_ids[t] !== 3),
    );
    return Math.exp(logits[0] ?? 0) / counts.reduce((sum, logit) => sum + Math.exp(logit), 0);
  };
  const score = among(golden.start_logits) * among(golden.end_logits);
  assertSame(none, [{ score, start: 0, end: 0, answer: "" }], 1e-6);
  const others = await answersOf(golden.question, golden.context, { top_k: 500 });
  assert.ok(!others.some(({ answer }) => answer === ""));
});

test("places count code points", async () => {
  const prefix = "👍🏽 日本. ";
  const { start, end, answer } = await answerOf(PETER, prefix + CONTEXT);
  assert.equal(answer, "London");
  assert.equal(start, 36 + Array.from(prefix).length);
  assert.equal(
    Array.from(prefix + CONTEXT)
      .slice(start, end)
      .join(""),
    "London",
  );
});

/** A context of 60 short sentences, the given one at that place. */
function longContext(sentence: string, place: number): string {
  const facts = Array.from({ length: 60 }, (_, i) => {
    return ["Anna lives in Paris.", "The car is red.", "That is well known."][i % 3] ?? "";
  });
  facts.splice(place, 0, sentence);
  return facts.join(" ");
}

/** Windows of 151 tokens that share 80, each asked about as a context of its own; equal answers are added up. */
async function answersByWindow(question: string, context: string, top: object): Promise<Answer[]> {
  const words = wordsOf(context);
  const answers = new Map<string, Answer>();
  for (let from = 0, to = 0; to < words.length; from += 151 - 80) {
    to = Math.min(words.length, from + 151);
    const start = words[from]?.start ?? 0;
    const window = context.slice(start, words[to - 1]?.end);
    for (const found of await answersOf(question, window, top)) {
      const key = found.answer.toLowerCase();
      const placed = { ...found, start: found.start + start, end: found.end + start };
      if (found.score > (answers.get(key)?.score ?? -1)) answers.set(key, placed);
    }
  }
  return [...answers.values()].sort((a, b) => b.score - a.score);
}

test("a context that is too long is read in windows, to its end", async () => {
  const question = "What colour is the house?";
  // Every word here is one token; 12 spans of each window, of equal ones the best.
  const parameters = { top_k: 12, align_to_words: false };
  for (const place of [0, 20, 30, 40, 60]) {
    const context = longContext("The house is blue.", place);
    const found = await answersOf(question, context, parameters);
    const expected = await answersByWindow(question, context, parameters);
    // What has no score to speak of comes in any order.
    const isLikely = ({ score }: Answer): boolean => score > 1e-3;
    assertSame(found.filter(isLikely), expected.slice(0, 12).filter(isLikely), 1e-4);
    assert.ok(found.every(({ score }) => score <= 1));
    for (const { answer, start, end } of found) assert.equal(context.slice(start, end), answer);
  }
  const late = await answersOf(question, longContext("The house is blue.", 40), parameters);
  const blue = late.find(({ answer }) => answer === "blue");
  assert.ok(blue !== undefined && blue.start > longContext("", 40).length / 2);
});

test("windows are as long as max_seq_len and share doc_stride tokens, in few forward passes", async () => {
  const context = longContext("The house is blue.", 30);
  const question = "What colour is the house?";
  const windowsOf = async (parameters: object) => {
    const passes: { items: number; tokens: number; length: number }[] = [];
    const data = { inputs: { question, context }, parameters };
    const request = { id: "test", kind: "predict", data, headers: {} } as const;
    const signal = new AbortController().signal;
    await qa.callBatch?.(
      [{ request, context: { signal, requestId: "", log: silentLog(), headers: {} } }],
      {
        onOutcome: (_, outcome) => assert.ok("value" in outcome),
        onPass: (pass) => void passes.push(pass),
        maxPaddedTokens: 512,
      },
    );
    const count = passes.reduce((sum, { items }) => sum + items, 0);
    return { count, passes: passes.length, longest: Math.max(...passes.map((p) => p.length)) };
  };
  // 6 tokens for the question, 3 special ones, 305 for the context; the model reads 160.
  assert.deepEqual(await windowsOf({}), { count: 4, passes: 2, longest: 160 });
  assert.deepEqual(await windowsOf({ doc_stride: 0 }), { count: 3, passes: 2, longest: 160 });
  assert.deepEqual(await windowsOf({ max_seq_len: 59, doc_stride: 0 }), {
    count: 7,
    passes: 2,
    longest: 59,
  });
  assert.deepEqual(await windowsOf({ max_seq_len: 59, doc_stride: 25 }), {
    count: 12,
    passes: 3,
    longest: 59,
  });
});

test("max_question_len cuts the question, with a warning", async () => {
  const lines: string[] = [];
  const data = {
    inputs: { question: `${CAR} ${PETER} ${PETER}`, context: CONTEXT },
    parameters: { max_question_len: 6 },
  };
  const found = Answer.parse(await ask(qa, data, { log: quietLog(lines) }));
  assert.deepEqual(found, await answerOf(CAR, CONTEXT));
  assert.match(lines.join("\n"), /"inputs\.question" was cut from 16 to 6 tokens/);
});

test("a question that leaves no room for the context is cut as well", async () => {
  const lines: string[] = [];
  const question = `${CAR} ${"who ".repeat(200)}`;
  const data = { inputs: { question, context: CONTEXT } };
  Answer.parse(await ask(qa, data, { log: quietLog(lines) }));
  assert.match(lines.join("\n"), /"inputs\.question" was cut from 206 to 64 tokens/);
});

test("a context without tokens has no answer", async () => {
  const none = { score: 0, start: 0, end: 0, answer: "" };
  assert.deepEqual(await answerOf(PETER, " \n "), none);
  assert.deepEqual(await answersOf(PETER, " \n ", { top_k: 2 }), []);
});

test("a model that is padded on the left reads the context first, and answers from it alone", async () => {
  const config = {
    padding_side: "left",
    model_max_length: 160,
    cls_token: { __type: "AddedToken", content: "[CLS]" },
  };
  await using repository = await variantOf(QA, { "tokenizer_config.json": config });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const inputs = { question: "Is Peter in London or in Rome?", context: "Anna is in Oslo." };
  const answers = z.array(Answer).parse(await ask(handler, { inputs, parameters: { top_k: 99 } }));
  assert.ok(answers.length > 5);
  for (const { answer, start, end } of answers) {
    assert.equal(answer, inputs.context.slice(start, end));
    assert.notEqual(answer, "");
  }
  await handler.dispose();
});

const KNOWN =
  "known are top_k, topk, max_answer_len, max_seq_len, max_question_len, doc_stride, handle_impossible_answer, align_to_words";
const WANTED = `{"question", "context"} or a list of such`;
const asked = { question: CAR, context: CONTEXT };
const LONG = "red ".repeat(300);

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted ${WANTED}`],
  [{ inputs: "What?" }, `"inputs" is a string, wanted ${WANTED}`],
  [
    { inputs: { question: "What?" } },
    `"inputs.context" is missing, wanted a string or a list of strings`,
  ],
  [
    { inputs: { question: 5, context: "a" } },
    `"inputs.question" is a number, wanted a string or a list of strings`,
  ],
  [
    { inputs: { question: ["a", null], context: "a" } },
    `"inputs.question[1]" is null, wanted a string`,
  ],
  [{ inputs: [asked, { question: "a" }] }, `"inputs[1].context" is missing, wanted a string`],
  [{ inputs: { question: "", context: "a" } }, `"inputs.question" is empty, wanted text`],
  [{ inputs: { question: "a", context: "" } }, `"inputs.context" is empty, wanted text`],
  [
    { inputs: [asked, { question: "a", context: "" }] },
    `"inputs[1].context" is empty, wanted text`,
  ],
  [{ inputs: { question: ["a", ""], context: "a" } }, `"inputs.question[1]" is empty, wanted text`],
  [
    { inputs: { question: ["a", "b"], context: ["a"] } },
    `"inputs" has 2 questions and 1 contexts, wanted as many of both, or one of either`,
  ],
  [
    { inputs: asked, parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1`,
  ],
  [
    { inputs: asked, parameters: { max_answer_len: 0 } },
    `"max_answer_len" is 0, wanted a whole number of at least 1`,
  ],
  [
    { inputs: asked, parameters: { align_to_words: "yes" } },
    `"align_to_words" is "yes", wanted true or false`,
  ],
  [
    { inputs: asked, parameters: { max_answer_length: 5 } },
    `there is no parameter "max_answer_length", perhaps you mean "max_answer_len"; ${KNOWN}`,
  ],
  [
    { inputs: asked, parameters: { doc_stride: 161 } },
    `"doc_stride" is 161, wanted at most 160, the tokens of a window`,
  ],
  [
    { inputs: { question: CAR, context: LONG }, parameters: { doc_stride: 155 } },
    `"doc_stride" is 155, wanted less than the 151 tokens that a window has for the context`,
  ],
  [
    { inputs: asked, parameters: { max_seq_len: 9 } },
    `"inputs.question" is 6 tokens long, which leaves the context no room among 9`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(qa, data), {
      code: "INVALID_INPUT",
      message: `Cannot answer the question: ${sentence}`,
    });
  });
}
