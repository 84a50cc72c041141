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

const NLI = modelPath("tiny-bert-nli");
const TASK = { task: "zero-shot-classification", dtype: "fp32" };
const nli = await loadDefaultHandler({ repository: NLI, ...TASK }, silentLog());
after(() => nli.dispose());

const Scored = z.object({
  sequence: z.string(),
  labels: z.array(z.string()),
  scores: z.array(z.number()),
});
const Golden = z.object({
  cases: z.array(
    Scored.omit({ sequence: true }).extend({
      input: z.string(),
      candidate_labels: z.array(z.string()),
      multi_label: z.boolean(),
    }),
  ),
});
const { cases } = readGolden("tiny-bert-nli", Golden);

const CAT = "The little cat went to the park.";
const TOM = "Tom was very sad because the ball was lost.";

test("answers as Python does", async () => {
  for (const { input, candidate_labels, multi_label, labels, scores } of cases) {
    const parameters = { candidate_labels, multi_label };
    const answer = Scored.parse(await ask(nli, { inputs: input, parameters }));
    assert.equal(answer.sequence, input);
    assert.deepEqual(answer.labels, labels);
    assertNear(answer.scores, scores, 1e-4);
  }
});

test("a list of texts has a list of answers, each as if it were alone", async () => {
  for (const multi_label of [false, true]) {
    const parameters = { candidate_labels: ["sports", "politics", "a story"], multi_label };
    const list = await ask(nli, { inputs: [CAT, TOM], parameters });
    const alone = [CAT, TOM].map((inputs) => ask(nli, { inputs, parameters }));
    const expected = Scored.array().parse(await Promise.all(alone));
    for (const [index, answer] of Scored.array().parse(list).entries()) {
      assert.deepEqual(answer.labels, expected[index]?.labels);
      assertNear(answer.scores, expected[index]?.scores ?? [], 1e-6); // another batch, another order of sums
    }
    assert.equal(z.array(Scored).parse(await ask(nli, { inputs: [CAT], parameters })).length, 1);
  }
});

test("labels that exclude each other make up 1, one label is judged by itself", async () => {
  const scoresOf = async (candidate_labels: readonly string[]) =>
    Scored.parse(await ask(nli, { inputs: CAT, parameters: { candidate_labels } })).scores;
  assertNear([(await scoresOf(["a", "b", "c"])).reduce((a, b) => a + b)], [1], 1e-12);
  const parameters = { candidate_labels: ["sports", "politics"], multi_label: true };
  const each = Scored.parse(await ask(nli, { inputs: CAT, parameters }));
  assertNear(await scoresOf(["sports"]), [each.scores[each.labels.indexOf("sports")] ?? 0], 1e-6);
});

test("labels and texts are found wherever clients write them", async () => {
  const expected = await ask(nli, {
    inputs: CAT,
    parameters: { candidate_labels: ["sports", "a story"], multi_label: true },
  });
  const bodies: Record<string, unknown>[] = [
    { inputs: CAT, parameters: { candidate_labels: "sports, a story,", multi_label: true } },
    { inputs: CAT, parameters: { candidateLabels: ["sports", "a story"], multi_label: true } },
    { inputs: CAT, candidate_labels: ["sports", "a story"], parameters: { multi_label: true } },
    { inputs: CAT, candidateLabels: "sports,a story", parameters: { multi_label: true } },
    { inputs: { sequences: CAT, candidate_labels: ["sports", "a story"], multi_label: true } },
    {
      inputs: { text: CAT },
      parameters: {
        candidate_labels: ["sports", "a story"],
        multi_label: true,
        hypothesis_template: null,
      },
    },
  ];
  for (const body of bodies) assert.deepEqual(await ask(nli, body), expected);
  const list = await ask(nli, { ...bodies[0], inputs: { sequences: [CAT] } });
  assert.deepEqual(list, [expected]);
});

test("hypothesis_template says what the label means", async () => {
  const scoresWith = async (hypothesis_template: string) => {
    const parameters = { candidate_labels: ["sports", "a story"], hypothesis_template };
    return Scored.parse(await ask(nli, { inputs: CAT, parameters })).scores;
  };
  const plain = await scoresWith("This example is {}.");
  assert.notDeepEqual(await scoresWith("The ball is {}."), plain);
  // A label is text, not a pattern: "$&" stays as it is.
  const parameters = { candidate_labels: ["$&"], hypothesis_template: "{}" };
  const dollars = Scored.parse(await ask(nli, { inputs: CAT, parameters }));
  const same = { candidate_labels: ["x"], hypothesis_template: "$& {}" };
  assert.deepEqual(dollars.labels, ["$&"]);
  assert.notDeepEqual(
    dollars.scores,
    Scored.parse(await ask(nli, { inputs: CAT, parameters: same })).scores,
  );
});

test("a long text is cut with one warning, the hypothesis never", async () => {
  const lines: string[] = [];
  const parameters = { candidate_labels: ["sports", "a story"] };
  const long = `${CAT} `.repeat(20);
  const answer = Scored.parse(
    await ask(nli, { inputs: long, parameters }, { log: quietLog(lines) }),
  );
  assert.equal(answer.sequence, long);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /"inputs" was cut from 17\d to 64 tokens/);
  // Cut elsewhere, the text is the same where the model still reads it.
  const again = await ask(nli, { inputs: `${CAT} `.repeat(30), parameters });
  assert.deepEqual(Scored.parse(again).scores, answer.scores);
});

test("which label says that it follows is found as in Python", async () => {
  const askVariant = async (id2label: object, multi_label: boolean) => {
    await using repository = await variantOf(NLI, { "config.json": configOf(NLI, { id2label }) });
    const handler = await loadDefaultHandler({ repository: repository.path, ...TASK }, silentLog());
    const parameters = { candidate_labels: ["sports", "politics", "a story"], multi_label };
    const answer = Scored.parse(await ask(handler, { inputs: CAT, parameters }));
    const notes = handler.description.notes.map(({ text }) => text).join();
    await handler.dispose();
    return { ...answer, notes };
  };
  // With the last label as the one that follows, 2 stands against 0 instead of 0 against 2.
  const usual = await askVariant({ 0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION" }, true);
  const turned = await askVariant({ 0: "no", 1: "maybe", 2: "entails" }, true);
  const unknown = await askVariant({ 0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2" }, true);
  assert.deepEqual(turned.labels, usual.labels.toReversed());
  assertNear(
    turned.scores,
    usual.scores.toReversed().map((score) => 1 - score),
    1e-6,
  );
  assert.deepEqual(unknown.scores, turned.scores);
  assert.match(unknown.notes, /No label of the model begins with "entail": the last one is taken/);
  assert.doesNotMatch(turned.notes, /entail/);
});

const wantedLabels = "wanted a list of 1 to 1000 labels, or one string with commas between them";
const labels = { candidate_labels: ["sports"] };

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{ inputs: CAT }, `"candidate_labels" is missing, ${wantedLabels}`],
  [
    { inputs: CAT, parameters: { candidate_labels: [] } },
    `"candidate_labels" is an empty list, ${wantedLabels}`,
  ],
  [
    { inputs: CAT, parameters: { candidate_labels: " ," } },
    `"candidate_labels" is " ,", ${wantedLabels}`,
  ],
  [
    { inputs: CAT, parameters: { candidate_labels: ["a", 4] } },
    `"candidate_labels[1]" is 4, wanted a string`,
  ],
  [{ inputs: "", parameters: labels }, `"inputs" is a string, wanted a text that is not empty`],
  [{ inputs: [], parameters: labels }, `"inputs" is an empty list, wanted at least one text`],
  [
    { inputs: [CAT, ""], parameters: labels },
    `"inputs[1]" is a string, wanted a text that is not empty`,
  ],
  [
    { inputs: 5, parameters: labels },
    `"inputs" is a number, wanted a text, a list of texts, or {"sequences"}`,
  ],
  [
    { inputs: {}, parameters: labels },
    `"inputs.sequences" is missing, wanted a text or a list of texts`,
  ],
  [
    { inputs: CAT, parameters: { ...labels, hypothesis_template: "It is so" } },
    `"hypothesis_template" is "It is so", wanted a text with "{}" where the label goes`,
  ],
  [
    { inputs: CAT, parameters: { ...labels, multi_label: "yes" } },
    `"multi_label" is "yes", wanted true or false`,
  ],
  [
    { inputs: `${CAT} `.repeat(20), parameters: { ...labels, truncation: false } },
    `"inputs" is 171 tokens long, wanted at most 64 as truncation is off`,
  ],
  [
    { inputs: CAT, parameters: { ...labels, multi_labels: true } },
    `there is no parameter "multi_labels", perhaps you mean "multi_label"; known are candidate_labels, hypothesis_template, multi_label, truncation`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(nli, data), {
      code: "INVALID_INPUT",
      message: `Cannot classify the text: ${sentence}`,
    });
  });
}
