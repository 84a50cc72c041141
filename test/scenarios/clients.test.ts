/**
 * Hugging Face's own clients against real servers, one for each task on text that they have a method for; images and
 * sounds have files of their own. What each sends and parses was recorded from `huggingface_hub` 1.33 and
 * `@huggingface/inference` 4.13.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { InferenceClient } from "@huggingface/inference";
import { assertList, testClients } from "../support/clients.ts";
import { ROOT, startHubserve } from "../support/hubserve.ts";

const LABEL = { label: "string", score: "number" } as const;

testClients({
  task: "text-classification",
  model: join(ROOT, "model"),
  async run({ javascript, wire }) {
    const classes = await javascript.textClassification({ inputs: "I love you" });
    assert.equal(classes.length, 5);
    assert.equal(classes[0]?.label, "love");
    assert.ok((classes[0]?.score ?? 0) > 0.9);
    const two = await javascript.textClassification({
      inputs: "I love you",
      parameters: { top_k: 2 },
    });
    assert.equal(two.length, 2);
    const recorded = await wire({ inputs: "I love you", parameters: {} });
    assert.deepEqual(await recorded.json(), [classes]);
  },
  python: [
    {
      method: "text_classification",
      arguments: { text: "I love you" },
      check: (classes: { label: string }[]) => {
        assert.equal(classes.length, 5);
        assert.equal(classes[0]?.label, "love");
      },
    },
    {
      method: "text_classification",
      arguments: { text: "I love you", top_k: 2, function_to_apply: "softmax" },
      check: (classes: unknown[]) => assert.equal(classes.length, 2),
    },
    {
      method: "health_check",
      arguments: {},
      check: (isHealthy: unknown) => assert.equal(isHealthy, true),
    },
    {
      method: "get_endpoint_info",
      arguments: {},
      check: (info: { model_pipeline_tag: string }) =>
        assert.equal(info.model_pipeline_tag, "text-classification"),
    },
  ],
});

testClients({
  task: "token-classification",
  model: "ner-bert",
  async run({ javascript, wire }) {
    const inputs = "Anna works in Paris for Google.";
    const entities = await javascript.tokenClassification({ inputs });
    assertList(entities, { entity_group: "string", word: "string", start: "number" });
    const recorded = await wire({ inputs, parameters: {} });
    assert.deepEqual(await recorded.json(), entities);
    const plain = await wire({ inputs, parameters: { aggregation_strategy: "none" } });
    assertList(await plain.json(), { entity: "string", index: "number", word: "string" });
  },
  python: [
    {
      method: "token_classification",
      arguments: { text: "Anna works in Paris for Google." },
      check: (entities: unknown) =>
        assertList(entities, { entity_group: "string", start: "number" }),
    },
    {
      method: "token_classification",
      arguments: {
        text: "Anna works in Paris for Google.",
        aggregation_strategy: "first",
        ignore_labels: ["O", "B-LOC", "I-LOC"],
        stride: 0,
      },
      check: (entities: unknown) => assert.ok(Array.isArray(entities)),
    },
  ],
});

const QUESTION = { question: "Who works in Paris?", context: "Anna works in Paris for Google." };

testClients({
  task: "question-answering",
  model: "qa-bert",
  async run({ javascript, wire }) {
    const answer = await javascript.questionAnswering({ inputs: QUESTION });
    assertList([answer], { answer: "string", score: "number", start: "number", end: "number" });
    const one = await wire({ inputs: QUESTION, parameters: {} });
    assert.deepEqual(await one.json(), answer);
    const two = await wire({ inputs: QUESTION, parameters: { top_k: 2 } });
    assert.equal(((await two.json()) as unknown[]).length, 2);
  },
  python: [
    {
      method: "question_answering",
      arguments: QUESTION,
      check: (answer: unknown) => assertList([answer], { answer: "string", start: "number" }),
    },
    {
      method: "question_answering",
      arguments: { ...QUESTION, top_k: 2, align_to_words: true, handle_impossible_answer: false },
      check: (answers: unknown) => assertList(answers, { answer: "string", end: "number" }),
    },
  ],
});

testClients({
  task: "fill-mask",
  model: "tiny-bert-mlm",
  async run({ javascript, wire }) {
    const inputs = "The little [MASK] went to the park.";
    const candidates = await javascript.fillMask({ inputs });
    assert.equal(candidates.length, 5);
    assertList(candidates, {
      score: "number",
      sequence: "string",
      token: "number",
      token_str: "string",
    });
    const recorded = await wire({ inputs, parameters: { top_k: 3 } });
    assert.deepEqual(await recorded.json(), candidates.slice(0, 3));
  },
  python: [
    {
      method: "fill_mask",
      arguments: { text: "The little [MASK] went to the park.", top_k: 2 },
      check: (candidates: unknown[]) => {
        assert.equal(candidates.length, 2);
        assertList(candidates, { token_str: "string", sequence: "string" });
      },
    },
  ],
});

for (const [task, model, key] of [
  ["summarization", "tiny-bart", "summary_text"],
  ["translation", "tiny-marian", "translation_text"],
] as const) {
  testClients({
    task,
    model,
    async run({ javascript, wire }) {
      const inputs = "The little dog went to the park.";
      const answer =
        task === "summarization"
          ? await javascript.summarization({ inputs })
          : await javascript.translation({ inputs });
      assertList([answer], { [key]: "string" });
      for (const parameters of [
        {},
        { generate_parameters: { max_new_tokens: 5 } },
        { clean_up_tokenization_spaces: true, truncation: "longest_first" },
      ]) {
        const recorded = await wire({ inputs, parameters });
        assertList(await recorded.json(), { [key]: "string" });
      }
    },
    python: [
      {
        method: task,
        arguments: {
          text: "The little dog went to the park.",
          generate_parameters: { max_new_tokens: 5 },
          clean_up_tokenization_spaces: true,
        },
        check: (answer: unknown) => assertList([answer], { [key]: "string" }),
      },
    ],
  });
}

testClients({
  task: "translation",
  model: "tiny-m2m100",
  args: ["--dtype", "fp32"], // with int8 a text depends on those it is computed with
  async run({ javascript, wire }) {
    const inputs = ["The little dog went to the park.", "A dog"];
    const parameters = { src_lang: "en", tgt_lang: "fr" };
    // The type knows one text only; the client sends a list as it is and returns one.
    const answers: unknown = await javascript.translation({ inputs: inputs as never, parameters });
    assert.ok(Array.isArray(answers) && answers.length === 2);
    const recorded = await wire({ inputs: inputs[0], parameters });
    assert.deepEqual(await recorded.json(), answers.slice(0, 1));
  },
  python: [
    {
      method: "translation",
      arguments: { text: "The little dog went to the park.", src_lang: "en", tgt_lang: "fr" },
      check: (answer: unknown) => assertList([answer], { translation_text: "string" }),
    },
  ],
});

testClients({
  task: "feature-extraction",
  model: "minilm-embed",
  async run({ javascript, wire }) {
    const inputs = ["The man buys a car", "A dog"];
    const vectors = (await javascript.featureExtraction({ inputs, normalize: true })) as number[][];
    assert.equal(vectors.length, 2);
    const length = Math.hypot(...(vectors[0] ?? []));
    assert.ok(Math.abs(length - 1) < 1e-5, String(length));
    const one = (await javascript.featureExtraction({ inputs: "The man buys a car" })) as unknown;
    assert.ok(Array.isArray(one));
    const recorded = await wire({ inputs: "The man buys a car", dimensions: 8, truncate: true });
    assert.equal(((await recorded.json()) as number[][])[0]?.length, 8);
  },
  python: [
    {
      method: "feature_extraction",
      arguments: { text: ["The man buys a car", "A dog"], normalize: true, truncate: true },
      check: (vectors: number[][]) =>
        assert.deepEqual([vectors.length, vectors[0]?.length], [2, 96]),
    },
  ],
});

const SENTENCES = {
  source_sentence: "The man buys a car",
  sentences: ["The man buys a car", "A dog barks"],
};

testClients({
  task: "sentence-similarity",
  model: "minilm-embed",
  async run({ javascript, wire }) {
    const similarities = await javascript.sentenceSimilarity({ inputs: SENTENCES });
    assert.equal(similarities.length, 2);
    assert.ok(Math.abs((similarities[0] ?? 0) - 1) < 0.01);
    const recorded = await wire({ inputs: SENTENCES, parameters: {} });
    assert.deepEqual(await recorded.json(), similarities);
  },
  python: [
    {
      method: "sentence_similarity",
      arguments: { sentence: SENTENCES.source_sentence, other_sentences: SENTENCES.sentences },
      check: (similarities: unknown[]) =>
        assert.deepEqual(
          similarities.map((each) => typeof each),
          ["number", "number"],
        ),
    },
  ],
});

const TOPICS = { candidate_labels: ["travel", "cooking", "dancing"] };

testClients({
  task: "zero-shot-classification",
  model: "tiny-bert-nli",
  async run({ javascript, wire }) {
    const inputs = "One day I will see the world";
    const labels = await javascript.zeroShotClassification({ inputs, parameters: TOPICS });
    assert.equal(labels.length, 3);
    assertList(labels, LABEL);
    const list = await javascript.zeroShotClassification({
      inputs: [inputs],
      parameters: TOPICS,
    } as never);
    assert.deepEqual(list, labels);
    const recorded = await wire({ inputs, parameters: { ...TOPICS, multi_label: false } });
    assert.deepEqual(await recorded.json(), labels);
  },
  python: [
    {
      method: "zero_shot_classification",
      arguments: {
        text: "One day I will see the world",
        ...TOPICS,
        multi_label: true,
        hypothesis_template: "This is about {}.",
      },
      check: (labels: unknown) => assertList(labels, LABEL),
    },
  ],
});

testClients({
  task: "text-generation",
  model: "tiny-gpt2",
  async run({ wire }) {
    // The JavaScript client asks /v1/completions, which is another protocol.
    const recorded = await wire({ inputs: "Once upon a time", parameters: { max_new_tokens: 5 } });
    assertList(await recorded.json(), { generated_text: "string" });
  },
  python: [
    {
      method: "text_generation",
      arguments: { prompt: "Once upon a time", max_new_tokens: 5 },
      check: (text: unknown) => assert.equal(typeof text, "string"),
    },
  ],
});

test("the JavaScript client shows the server's own sentence for a bad request", async () => {
  const model = join(ROOT, "test/fixtures/models/tiny-bert-mlm");
  await using server = await startHubserve({ args: [model] });
  await server.line(/Ready after/);
  const client = new InferenceClient("hf_anyToken").endpoint(server.url);
  await assert.rejects(client.fillMask({ inputs: "no mask here" }), /\[MASK\]/);
});
