import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { decodeImage } from "../../../runtime/handler/media/image.ts";
import {
  loadVisionGenerator,
  writingItem,
} from "../../../runtime/handler/model/vision-generation.ts";
import { answerOf, promptOf } from "../../../runtime/handler/tasks/document-question-answering.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { ask, modelPath, quietLog, readGolden, variantOf } from "../../support/goldens.ts";
import { fixtureModel, plainSettings } from "../../support/generation.ts";
import { askWithFile, imageFile, imageText } from "../../support/shapes.ts";

const MODEL = modelPath("tiny-donut");
const TASK = "document-question-answering";
const { cases } = readGolden(
  "tiny-donut",
  z.object({
    cases: z.array(
      z.object({
        image: z.string(),
        question: z.string(),
        prompt_ids: z.array(z.number()),
        new_ids: z.array(z.number()),
        decoded: z.string(),
      }),
    ),
  }),
);
const Answers = z.tuple([z.strictObject({ answer: z.string().nullable() })]);

const donut = await loadDefaultHandler({ repository: MODEL, task: TASK }, silentLog());
after(() => donut.dispose());

const image = imageText(cases[0]?.image ?? "");
const question = cases[0]?.question ?? "";
const parameters = { max_new_tokens: 16 };

test("both documents are read together, token for token as in Python", async () => {
  const generator = await loadVisionGenerator(await fixtureModel("tiny-donut"), TASK);
  const { tokenizer } = generator;
  const names = { action: "test", name: "inputs" };
  const items = await Promise.all(
    cases.map(async (golden) => {
      const file = await decodeImage(imageFile(golden.image), names);
      const prompt = promptOf(golden.question, tokenizer);
      assert.deepEqual(prompt, golden.prompt_ids);
      const pixels = await generator.images.read(file, names);
      return writingItem(pixels, prompt, plainSettings({ maxNewTokens: 16, endIds: [2] }));
    }),
  );
  assert.equal(new Set(items.map(({ group }) => group)).size, 1, "one group");
  const results = await generator.generate(items, new AbortController().signal);
  for (const [index, { new_ids, prompt_ids, decoded }] of cases.entries()) {
    const ids = [...(results[index]?.ids ?? [])];
    assert.deepEqual(ids, new_ids);
    assert.equal(tokenizer.decode([...prompt_ids, ...ids]), decoded);
  }
  await generator.dispose();
});

test("an answer that the model does not close is null, as in Python", async () => {
  for (const { image: path, question: asked } of cases) {
    const inputs = { image: imageText(path), question: asked };
    assert.deepEqual(await ask(donut, { inputs, parameters }), [{ answer: null }]);
  }
});

/** The model with another name for a token that both goldens write: "m5" and "bi Ruby5" come before it. */
async function closing() {
  const text = readFileSync(`${MODEL}/tokenizer.json`, "utf8");
  const tokenizer = z
    .looseObject({ added_tokens: z.array(z.looseObject({ id: z.number(), content: z.string() })) })
    .parse(JSON.parse(text));
  const added = tokenizer.added_tokens.filter(({ content }) => content !== "</s_answer>");
  const [close] = tokenizer.added_tokens.filter(({ content }) => content === "</s_answer>");
  return variantOf(MODEL, {
    "tokenizer.json": { ...tokenizer, added_tokens: [...added, { ...close, id: 116 }] },
  });
}

test("the answer is what stands between its tags", async () => {
  await using repository = await closing();
  const handler = await loadDefaultHandler(
    { repository: repository.path, task: TASK },
    silentLog(),
  );
  const inputs = cases.map((golden) => ({
    image: imageText(golden.image),
    question: golden.question,
  }));
  // Of several closing tags the last counts: Python's `.*` takes all it can.
  const [first, second] = z.array(Answers).parse(await ask(handler, { inputs, parameters }));
  const short = { max_new_tokens: 4 };
  assert.deepEqual(await ask(handler, { inputs: inputs[0], parameters: short }), [
    { answer: "m5" },
  ]);
  assert.deepEqual(await ask(handler, { inputs: inputs[1], parameters: short }), [
    { answer: "bi Ruby5" },
  ]);
  assert.match(first?.[0].answer ?? "", /^m5<\/s_answer>angry5/);
  assert.match(second?.[0].answer ?? "", /^bi Ruby5<\/s_answer>erangry S/);
  await handler.dispose();
});

test("answerOf() follows Python's regular expressions", () => {
  const tokens = { config: { eos_token: "</s>" }, pad_token: "<pad>" };
  const prompt = "<s_docvqa><s_question> Who?</s_question><s_answer>";
  assert.equal(answerOf(`${prompt} us-001 <pad></s_answer></s>`, tokens), "us-001");
  assert.equal(
    answerOf(`${prompt}a</s_answer><s_answer>b</s_answer>`, tokens),
    "a</s_answer><s_answer>b",
  );
  assert.equal(answerOf(`${prompt}</s_answer></s>`, tokens), "");
  assert.equal(answerOf(`${prompt}never closed`, tokens), null);
  assert.equal(answerOf(`${prompt}two\nlines</s_answer>`, tokens), null);
});

test("a question comes with its image, in each of the clients' forms", async () => {
  await using repository = await closing();
  const handler = await loadDefaultHandler(
    { repository: repository.path, task: TASK },
    silentLog(),
  );
  const expected = [{ answer: "m5" }];
  const short = { max_new_tokens: 4 };
  const forms = [
    { inputs: { image, question }, parameters: short },
    { inputs: { image: `data:image/png;base64,${image}`, question }, parameters: short },
    { inputs: { image: imageFile(cases[0]?.image ?? ""), question }, parameters: short },
    { inputs: image, question, parameters: short },
    { inputs: { image, question }, parameters: { generate_kwargs: short } },
    { inputs: { image, question }, parameters: { ...short, top_k: 3 } },
  ];
  for (const data of forms) assert.deepEqual(await ask(handler, data), expected);
  const file = imageFile(cases[0]?.image ?? "");
  assert.deepEqual(await askWithFile(handler, file, { question, parameters: short }), expected);
  await handler.dispose();
});

test("what concerns OCR is accepted without effect, and said", async () => {
  const lines: string[] = [];
  const inputs = { image, question, word_boxes: [["cat", [0, 0, 10, 10]]] };
  const data = {
    inputs,
    parameters: { ...parameters, doc_stride: 64, lang: "eng", word_boxes: [] },
  };
  await ask(donut, data, { log: quietLog(lines) });
  assert.equal(lines.length, 4);
  assert.match(lines.join("\n"), /word_boxes[^]*doc_stride|doc_stride[^]*word_boxes/);
});

test("a captioner is refused at the start", async () => {
  await assert.rejects(
    loadDefaultHandler(
      { repository: modelPath("tiny-vit-gpt2"), task: TASK, dtype: "fp32" },
      silentLog(),
    ),
    {
      code: "MODEL_INVALID",
      message: `Cannot serve ${TASK}: the encoder is of the type "vit", wanted "donut-swin", as only Donut was trained to answer questions`,
    },
  );
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted {"image", "question"}, or a list of such`],
  [{ inputs: { question } }, `"inputs.image" is missing, wanted an image in base64`],
  [{ inputs: { image } }, `"inputs.question" is missing, wanted a string`],
  [{ inputs: image }, `"question" is missing, wanted a string`],
  [{ inputs: { image, question: 5 } }, `"inputs.question" is not a string, wanted a string`],
  [
    { inputs: [{ image, question }, { image }] },
    `"inputs[1].question" is missing, wanted a string`,
  ],
  [
    { inputs: { image: "%%", question } },
    `"inputs.image" is not base64, wanted an image in base64`,
  ],
  [
    { inputs: { image, question: "cat ".repeat(80) } }, // a token each, one for the last space, four tags
    `"inputs.question" makes a prompt of 85 tokens, wanted fewer than 64`,
  ],
  [
    { inputs: { image, question }, parameters: { top_k: 0 } },
    `"top_k" is 0, wanted a whole number of at least 1`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(donut, data), {
      code: "INVALID_INPUT",
      message: `Cannot answer the question about the document: ${sentence}`,
    });
  });
}
