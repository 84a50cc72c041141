import assert from "node:assert/strict";
import { after, test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  FillMaskGolden,
  Fillings,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const MLM = modelPath("tiny-bert-mlm");
const { cases } = readGolden("tiny-bert-mlm", FillMaskGolden);

const mlm = await loadDefaultHandler({ repository: MLM, dtype: "fp32" }, silentLog());
after(() => mlm.dispose());

/** Scores within the tolerance, everything else exactly. */
function assertFillings(actual: unknown, expected: (typeof cases)[number]["top5"]): void {
  const fillings = Fillings.parse(actual);
  assertNear(
    fillings.map(({ score }) => score),
    expected.map(({ score }) => score),
    1e-4,
  );
  const words = (list: typeof expected) =>
    list.map(({ token, token_str, sequence }) => ({ token, token_str, sequence }));
  assert.deepEqual(words(fillings), words(expected));
}

test("tiny-bert-mlm in fp32 answers as Python does", async () => {
  for (const { input, top5 } of cases) assertFillings(await ask(mlm, { inputs: input }), top5);
});

test("tiny-bert-mlm in int8 gives nearly the same scores", async () => {
  // Random weights: all scores lie within a hair of each other, so the order of words may differ.
  const handler = await loadDefaultHandler({ repository: MLM, dtype: "q8" }, silentLog());
  for (const { input, top5 } of cases) {
    const answer = Fillings.parse(
      await ask(handler, { inputs: input, parameters: { top_k: 551 } }),
    );
    const scores = new Map(answer.map(({ token, score }) => [token, score]));
    assertNear(
      top5.map(({ token }) => scores.get(token) ?? Number.NaN),
      top5.map(({ score }) => score),
      1e-3,
    );
  }
  await handler.dispose();
});

test("a list gives a list per text, a list of one the text's own list, as in Python", async () => {
  const inputs = cases.map(({ input }) => input);
  const answer = Fillings.array().parse(await ask(mlm, { inputs }));
  for (const [index, { top5 }] of cases.entries()) assertFillings(answer[index], top5);
  assertFillings(await ask(mlm, { inputs: inputs.slice(0, 1) }), cases[0]?.top5 ?? []);
  assert.deepEqual(await ask(mlm, { inputs: [] }), []);
});

test("top_k says how many, the whole vocabulary at most", async () => {
  const count = async (top_k: number) =>
    Fillings.parse(await ask(mlm, { inputs: "the [MASK]", parameters: { top_k } })).length;
  assert.equal(await count(1), 1);
  assert.equal(await count(7), 7);
  assert.equal(await count(100_000), 551);
});

test("several masks get a list each, and keep their special tokens", async () => {
  const parameters = { top_k: 2 };
  const answer = await ask(mlm, { inputs: "the [MASK] and the [MASK]", parameters });
  const [first = [], second = [], ...more] = Fillings.array().parse(answer);
  assert.deepEqual(more, []);
  assert.equal(first.length, 2);
  assert.equal(first[0]?.sequence, `[CLS] the ${first[0]?.token_str} and the [MASK] [SEP]`);
  assert.equal(second[0]?.sequence, `[CLS] the [MASK] and the ${second[0]?.token_str} [SEP]`);
});

test("targets limit the words to choose among, with the scores they have anyway", async () => {
  const inputs = "The little [MASK] went to the park.";
  const every = Fillings.parse(await ask(mlm, { inputs, parameters: { top_k: 551 } }));
  const targets = ["duck", "park", "oh"];
  const answer = Fillings.parse(await ask(mlm, { inputs, parameters: { targets } }));
  assert.deepEqual(
    answer,
    every.filter(({ token_str }) => targets.includes(token_str)),
  );
  const one = Fillings.parse(await ask(mlm, { inputs, parameters: { targets: "duck" } }));
  assert.deepEqual(
    one.map(({ token_str }) => token_str),
    ["duck"],
  );
});

test("a target of several tokens stands for its first, with a warning", async () => {
  const lines: string[] = [];
  const parameters = { targets: ["parks", "park", ""] };
  const answer = await ask(mlm, { inputs: "the [MASK]", parameters }, { log: quietLog(lines) });
  assert.deepEqual(
    Fillings.parse(answer).map(({ token_str }) => token_str),
    ["park"],
  );
  assert.equal(lines.length, 2);
  assert.match(
    lines[0] ?? "",
    /Using "park" for the target "parks", which is not one token of this model$/,
  );
  assert.match(lines[1] ?? "", /Ignoring the target "": it has no token$/);
});

test("a text may be cut when the client says so", async () => {
  const inputs = `[MASK] ${"park ".repeat(100)}`;
  for (const parameters of [{ truncation: true }, { tokenizer_kwargs: { truncation: true } }]) {
    const [best] = Fillings.parse(await ask(mlm, { inputs, parameters }));
    assert.equal(best?.sequence.split(" ").length, 62); // 64 tokens less [CLS] and [SEP]
  }
});

test("a tokenizer without a mask stops the start", async () => {
  const tokenizer = { tokenizer_class: "BertTokenizer", pad_token: "[PAD]" };
  await using repository = await variantOf(MLM, { "tokenizer_config.json": tokenizer });
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: "Cannot serve fill-mask: tokenizer_config.json names no mask_token",
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{ inputs: 1 }, `"inputs" is a number, wanted a string or a list of strings`],
  [{ inputs: "no mask" }, `"inputs" has no mask, wanted "[MASK]" in it`],
  [{ inputs: ["a [MASK]", "b"] }, `"inputs[1]" has no mask, wanted "[MASK]" in it`],
  [
    { inputs: "[MASK]", parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1`,
  ],
  [{ inputs: "[MASK]", parameters: { targets: [1] } }, `"targets[0]" is 1, wanted a string`],
  [
    { inputs: "[MASK]", parameters: { targets: [] } },
    `"targets" has no token of this model, wanted at least one`,
  ],
  [
    { inputs: `[MASK] ${"park ".repeat(100)}` },
    `"inputs" is 103 tokens long, wanted at most 64 as truncation is off`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(mlm, data), {
      code: "INVALID_INPUT",
      message: `Cannot fill the mask: ${sentence}`,
    });
  });
}
