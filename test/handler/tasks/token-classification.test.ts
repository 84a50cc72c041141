import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const NER = modelPath("ner-bert");
const ner = await loadDefaultHandler({ repository: NER, dtype: "fp32" }, silentLog());
after(() => ner.dispose());

const Place = { word: z.string(), score: z.number(), start: z.number(), end: z.number() };
const Tokens = z.array(z.strictObject({ entity: z.string(), index: z.number(), ...Place }));
const Groups = z.array(z.strictObject({ entity_group: z.string(), ...Place }));

const Golden = z.object({
  cases: z.array(
    z.object({
      input: z.string(),
      raw: Tokens,
      grouped: Groups,
      tokens: z.array(z.string()),
      labels_q8: z.array(z.string()),
    }),
  ),
});
const { cases } = readGolden("ner-bert", Golden);

/** The same without scores, which are compared with a tolerance. */
function withoutScores(entities: readonly { readonly score: number }[]): unknown[] {
  return entities.map((entity) => ({ ...entity, score: 0 }));
}

function assertSame(
  actual: readonly { readonly score: number }[],
  expected: readonly { readonly score: number }[],
  tolerance: number,
): void {
  assert.deepEqual(withoutScores(actual), withoutScores(expected));
  assertNear(
    actual.map(({ score }) => score),
    expected.map(({ score }) => score),
    tolerance,
  );
}

async function groupsOf(inputs: string, parameters: object = {}): Promise<z.infer<typeof Groups>> {
  const all = { aggregation_strategy: "simple", ...parameters };
  return Groups.parse(await ask(ner, { inputs, parameters: all }));
}

/** `PER Sarah`: every entity with its text. */
async function namesOf(inputs: string, parameters: object = {}): Promise<string[]> {
  const groups = await groupsOf(inputs, parameters);
  return groups.map(({ entity_group, start, end }) => {
    return `${entity_group} ${Array.from(inputs).slice(start, end).join("")}`;
  });
}

test("ner-bert answers as Python does, tokens and entities, one by one and as a list", async () => {
  const inputs = cases.map(({ input }) => input);
  const list = Tokens.array().parse(await ask(ner, { inputs }));
  for (const [index, { input, raw, grouped }] of cases.entries()) {
    assertSame(Tokens.parse(await ask(ner, { inputs: input })), raw, 1e-4);
    assertSame(list[index] ?? [], raw, 1e-4);
    assertSame(await groupsOf(input), grouped, 1e-4);
  }
});

test("ner-bert in int8 finds the same labels, with nearly the same scores", async () => {
  const handler = await loadDefaultHandler({ repository: NER, dtype: "q8" }, silentLog());
  for (const { input, raw, tokens, labels_q8 } of cases) {
    const parameters = { ignore_labels: [] };
    const answer = Tokens.parse(await ask(handler, { inputs: input, parameters }));
    assert.deepEqual(
      answer.map(({ entity, word }) => [word, entity]),
      tokens.map((token, t) => [token, labels_q8[t]]).slice(1, -1),
    );
    const scores = new Map(answer.map(({ index, score }) => [index, score]));
    assertNear(
      raw.map(({ index }) => scores.get(index) ?? 0),
      raw.map(({ score }) => score),
      0.05,
    );
  }
  await handler.dispose();
});

const WOLFGANG = "My name is Wolfgang and I work at Contoso Bank in New York.";
/** Names that the vocabulary has in pieces, whose labels disagree. */
const INVENTED = "The Krelso president Wendelina-Bratz visited Grusoton and Brinixville.";

test("word strategies label whole words", async () => {
  const pieces = await namesOf(INVENTED);
  assert.deepEqual(pieces.slice(0, 2), ["ORG Krels", "PER o"]);
  for (const aggregation_strategy of ["first", "average", "max"]) {
    const names = await namesOf(INVENTED, { aggregation_strategy });
    assert.deepEqual(
      names.map((name) => name.slice(4)),
      ["Krelso", "Wendelina", "Bratz", "Grusoton", "Brinixville"],
    );
    assert.equal(names.at(-1)?.slice(0, 3), aggregation_strategy === "first" ? "LOC" : "ORG");
  }
});

test("a word's score is its first token's, its surest, or the mean of all", async () => {
  const parameters = { ignore_labels: [] };
  const tokens = Tokens.parse(await ask(ner, { inputs: INVENTED, parameters }));
  const ofWord = tokens.filter(({ start, end }) => start >= 4 && end <= 10).map((t) => t.score);
  assert.ok(ofWord.length > 1);
  const scoreWith = async (aggregation_strategy: string) =>
    (await groupsOf(INVENTED, { aggregation_strategy }))[0]?.score ?? 0;
  assertNear([await scoreWith("first")], ofWord.slice(0, 1), 1e-12);
  assertNear([await scoreWith("max")], [Math.max(...ofWord)], 1e-12);
  // The mean of the label's probabilities, which other labels of the word may lower.
  assert.ok((await scoreWith("average")) < Math.max(...ofWord));
});

test("the words of an answer are decoded tokens, as in Python", async () => {
  const groups = await groupsOf(WOLFGANG);
  assert.deepEqual(
    groups.map(({ word }) => word),
    ["Wolfgang", "Contoso Bank", "New York"],
  );
  const [piece] = (await groupsOf(INVENTED)).slice(1);
  assert.equal(piece?.word, "##o");
});

test("places count code points, whatever comes before", async () => {
  const prefix = "👍🏽 e\u0301 日本: ";
  const plain = await groupsOf(WOLFGANG, { aggregation_strategy: "first" });
  const moved = await groupsOf(prefix + WOLFGANG, { aggregation_strategy: "first" });
  const shift = Array.from(prefix).length;
  assert.ok(shift < prefix.length);
  const wanted = plain.map(({ start, end }) => [start + shift, end + shift]);
  assert.deepEqual(
    moved.slice(-3).map(({ start, end }) => [start, end]),
    wanted,
  );
});

test("an unknown token is shown as the text has it, and is a word", async () => {
  const parameters = { ignore_labels: [] };
  const answer = Tokens.parse(await ask(ner, { inputs: "日 Sarah", parameters }));
  assert.deepEqual(
    answer.map(({ word, start, end }) => [word, start, end]),
    [
      ["日", 0, 1],
      ["Sarah", 2, 7],
    ],
  );
});

test("ignore_labels leaves out labels, with prefix where tokens are answered", async () => {
  const labels = async (parameters: object) =>
    Tokens.parse(await ask(ner, { inputs: WOLFGANG, parameters })).map(({ entity }) => entity);
  assert.deepEqual(await labels({ ignore_labels: ["O", "B-ORG", "PER"] }), [
    "B-PER",
    "I-ORG",
    "B-LOC",
    "I-LOC",
  ]);
  assert.deepEqual(await namesOf(WOLFGANG, { ignore_labels: ["O", "PER", "B-ORG"] }), [
    "ORG Contoso Bank",
    "LOC New York",
  ]);
  const all = await groupsOf(WOLFGANG, { ignore_labels: [] });
  assert.equal(all.filter(({ entity_group }) => entity_group === "O").length, 4);
});

test("the old names of aggregation_strategy mean the same", async () => {
  const ask_ = async (parameters: object) => ask(ner, { inputs: INVENTED, parameters });
  assert.deepEqual(await ask_({ grouped_entities: true }), await groupsOf(INVENTED));
  assert.deepEqual(
    await ask_({ grouped_entities: true, ignore_subwords: true }),
    await groupsOf(INVENTED, { aggregation_strategy: "first" }),
  );
  assert.deepEqual(await ask_({ grouped_entities: false }), await ask_({}));
});

test(`"output": "entities" answers in the shape of TorchServe's article`, async () => {
  const parameters = { output: "entities" };
  // An entity in the last word, and others after an emoji of four UTF-16 units.
  const text = WOLFGANG.slice(0, -1).replace("and", "👍🏽 and");
  assert.deepEqual(await ask(ner, { inputs: text, parameters }), [
    { type: "PER", entity: "Wolfgang 👍🏽", start_offset: 11, end_offset: 22 },
    { type: "ORG", entity: "Contoso Bank", start_offset: 37, end_offset: 49 },
    { type: "LOC", entity: "New York", start_offset: 53, end_offset: 61 },
  ]);
  const Articles = z.array(z.object({ type: z.string(), entity: z.string() }));
  const words = Articles.parse(await ask(ner, { inputs: INVENTED, parameters }));
  assert.deepEqual(words.at(-1), { type: "LOC", entity: "Brinixville" });
  const simple = { ...parameters, aggregation_strategy: "simple" };
  const [pieces] = Articles.array().parse(
    await ask(ner, { inputs: [INVENTED], parameters: simple }),
  );
  assert.equal(pieces?.length, 9);
});

test("labels of the scheme BIOES make entities", async () => {
  const labels = ["O", "B-PER", "B-LOC", "S-PER", "E-PER", "B-ORG", "E-ORG", "S-LOC", "E-LOC"];
  const id2label = Object.fromEntries(labels.entries());
  await using repository = await variantOf(NER, { "config.json": configOf(NER, { id2label }) });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const parameters = { aggregation_strategy: "simple" };
  const groups = Groups.parse(await ask(handler, { inputs: WOLFGANG, parameters }));
  assert.deepEqual(
    groups.map(({ entity_group, word }) => `${entity_group} ${word}`),
    ["PER Wolfgang", "ORG Contoso Bank", "LOC New York"],
  );
  await handler.dispose();
});

const MERKEL = "Angela Merkel met Barack Obama in Berlin. ";
const LONG = MERKEL.repeat(40);
/** Where the tokens of that sentence begin and end; every word is one, and so is the full stop. */
const TOKENS = [...MERKEL.matchAll(/\w+|\./g)].map(({ index, 0: { length } }) => [
  index,
  index + length,
]);

/** Where token `t` of the long text begins and ends. */
function placeInLong(t: number): readonly [start: number, end: number] {
  const [start = 0, end = 0] = TOKENS[t % TOKENS.length] ?? [];
  const shift = Math.floor(t / TOKENS.length) * MERKEL.length;
  return [start + shift, end + shift];
}

/** Windows of 158 tokens, each asked about as a text of its own, and merged as Python merges them. */
async function answersByWindow(stride: number): Promise<z.infer<typeof Groups>> {
  const all: z.infer<typeof Groups> = [];
  const count = TOKENS.length * 40;
  for (let from = 0, to = 0; to < count; from += 158 - stride) {
    to = Math.min(count, from + 158);
    const [start] = placeInLong(from);
    const groups = await groupsOf(LONG.slice(start, placeInLong(to - 1)[1]));
    all.push(...groups.map((g) => ({ ...g, start: g.start + start, end: g.end + start })));
  }
  const merged: typeof all = [];
  for (const entity of all.sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    const isOverlap = last !== undefined && last.start <= entity.start && entity.start < last.end;
    if (!isOverlap) merged.push(entity);
    else {
      const [now, before] = [entity.end - entity.start, last.end - last.start];
      if (now > before || (now === before && entity.score > last.score))
        merged.splice(-1, 1, entity);
    }
  }
  return merged;
}

test("stride reads a long text to its end, in windows whose entities are merged", async () => {
  for (const stride of [0, 10, 100]) {
    const groups = await groupsOf(LONG, { stride });
    assertSame(groups, await answersByWindow(stride), 1e-4);
    assert.ok((groups.at(-1)?.end ?? 0) > LONG.length - 10);
  }
});

test("stride changes nothing where the text fits", async () => {
  assert.deepEqual(await groupsOf(WOLFGANG, { stride: 20 }), await groupsOf(WOLFGANG));
});

test("without stride a long text is cut to the model's limit, with a warning", async () => {
  const lines: string[] = [];
  const parameters = { aggregation_strategy: "simple" };
  const answer = await ask(ner, { inputs: LONG, parameters }, { log: quietLog(lines) });
  const [, end] = placeInLong(157);
  assertSame(Groups.parse(answer), await groupsOf(LONG.slice(0, end)), 1e-4);
  assert.match(lines.join("\n"), /"inputs" was cut from 322 to 160 tokens/);
});

test("max_length makes windows shorter, and cuts earlier", async () => {
  assert.deepEqual(await namesOf(WOLFGANG, { max_length: 7 }), ["PER Wolfgang"]);
  const windows = await namesOf(WOLFGANG, { max_length: 12, stride: 5 });
  assert.deepEqual(windows.at(-1), "LOC New York");
});

test("a text that is cut on the left keeps its end", async () => {
  const config = { truncation_side: "left", model_max_length: 160, unk_token: "[UNK]" };
  await using repository = await variantOf(NER, { "tokenizer_config.json": config });
  const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
  const parameters = { aggregation_strategy: "simple" };
  const groups = Groups.parse(await ask(handler, { inputs: LONG, parameters }));
  assert.equal(groups.at(-1)?.end, LONG.length - 2);
  assert.ok((groups[0]?.start ?? 0) > LONG.length / 2);
  await handler.dispose();
});

test("no text has no entities", async () => {
  assert.deepEqual(await ask(ner, { inputs: "" }), []);
  assert.deepEqual(await ask(ner, { inputs: [] }), []);
  assert.deepEqual(await ask(ner, { inputs: ["", WOLFGANG.slice(0, 7)] }), [[], []]);
});

const KNOWN =
  "known are aggregation_strategy, ignore_labels, stride, output, all_tokens, truncation, max_length, grouped_entities, ignore_subwords";
const OTHERS = `wanted "simple", "first", "average" or "max"`;

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted a string or a list of strings`],
  [{ inputs: ["a", 5] }, `"inputs[1]" is a number, wanted a string`],
  [
    { inputs: "a", parameters: { aggregation_strategy: "mean" } },
    `"aggregation_strategy" is "mean", wanted "none", "simple", "first", "average" or "max"`,
  ],
  [
    { inputs: "a", parameters: { ignore_labels: "O" } },
    `"ignore_labels" is "O", wanted a list of strings`,
  ],
  [
    { inputs: "a", parameters: { stride: -1 } },
    `"stride" is -1, wanted a whole number of at least 0`,
  ],
  [{ inputs: "a", parameters: { output: "spans" } }, `"output" is "spans", wanted "entities"`],
  [
    { inputs: "a", parameters: { agregation_strategy: "max" } },
    `there is no parameter "agregation_strategy", perhaps you mean "aggregation_strategy"; ${KNOWN}`,
  ],
  [
    { inputs: "a", parameters: { stride: 3 } },
    `"aggregation_strategy" is "none", ${OTHERS} beside "stride"`,
  ],
  [
    { inputs: "a", parameters: { aggregation_strategy: "none", output: "entities" } },
    `"aggregation_strategy" is "none", ${OTHERS} as "output" is "entities"`,
  ],
  [
    { inputs: LONG, parameters: { aggregation_strategy: "max", stride: 158 } },
    `"stride" is 158, wanted less than the 158 tokens that a window has for the text`,
  ],
  [
    { inputs: ["a", LONG], parameters: { truncation: false } },
    `"inputs[1]" is 322 tokens long, wanted at most 160 as truncation is off`,
  ],
  [
    { inputs: "a b c", parameters: { max_length: 2 } },
    `"inputs" is 5 tokens long and cannot be cut to 2`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(ner, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the tokens: ${sentence}`,
    });
  });
}
