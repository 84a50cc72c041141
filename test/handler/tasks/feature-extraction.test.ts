import assert from "node:assert/strict";
import { after, test } from "node:test";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import {
  ask,
  assertNear,
  EmbeddingGolden,
  modelPath,
  readGolden,
  variantOf,
  Vectors,
} from "../../support/goldens.ts";

const MINILM = modelPath("minilm-embed");
const { cases } = readGolden("minilm-embed", EmbeddingGolden);
const [first] = cases;
const TEXT = first?.input ?? "";

const minilm = await load(MINILM);
after(() => minilm.dispose());

/** The same weights without sentence-transformers' files. */
const PLAIN = {
  "modules.json": null,
  "1_Pooling/config.json": null,
  "sentence_bert_config.json": null,
};

function load(repository: string, dtype = "fp32") {
  return loadDefaultHandler({ repository, dtype }, silentLog());
}

/** The one vector of a pooled answer. */
async function vectorOf(data: Record<string, unknown>, handler = minilm): Promise<number[]> {
  const vectors = Vectors.parse(await ask(handler, data));
  assert.equal(vectors.length, 1);
  return vectors[0] ?? [];
}

const lengthOf = (vector: readonly number[]) => Math.hypot(...vector);

test("minilm-embed in fp32 answers as Python does", async () => {
  for (const { input, embedding, mean_pooled_not_normalised, cls_not_normalised } of cases) {
    assertNear(await vectorOf({ inputs: input }), embedding, 1e-4);
    const mean = { pooling: "mean", normalize: false };
    assertNear(
      await vectorOf({ inputs: input, parameters: mean }),
      mean_pooled_not_normalised,
      1e-4,
    );
    const cls = { pooling: "cls", normalize: false };
    assertNear(await vectorOf({ inputs: input, parameters: cls }), cls_not_normalised, 1e-4);
  }
});

test("minilm-embed in int8 points the same way", async () => {
  const handler = await load(MINILM, "q8");
  for (const { input, embedding } of cases) {
    const vector = await vectorOf({ inputs: input }, handler);
    const cosine = vector.reduce((sum, value, i) => sum + value * (embedding[i] ?? 0), 0);
    assert.ok(cosine > 0.999, `cosine ${cosine}`);
  }
  await handler.dispose();
});

test("a list gives one vector per text, in order", async () => {
  const inputs = cases.map(({ input }) => input);
  const vectors = Vectors.parse(await ask(minilm, { inputs }));
  assert.equal(vectors.length, cases.length);
  for (const [index, { embedding }] of cases.entries()) {
    assertNear(vectors[index] ?? [], embedding, 1e-4);
  }
  assert.deepEqual(await ask(minilm, { inputs: [] }), []);
});

test("a repository without pooling answers with a vector per token, in the toolkit's shape", async () => {
  await using repository = await variantOf(MINILM, PLAIN);
  const handler = await load(repository.path);
  const single = Vectors.array().parse(await ask(handler, { inputs: TEXT })); // [1][T][H]
  assert.equal(single.length, 1);
  const [rows = []] = single;
  assert.equal(rows.length, 10); // [CLS], eight words, [SEP]
  assertNear(rows[0] ?? [], first?.cls_not_normalised ?? [], 1e-4);
  const mean = (rows[0] ?? []).map(
    (_, h) => rows.reduce((sum, row) => sum + (row[h] ?? 0), 0) / 10,
  );
  assertNear(mean, first?.mean_pooled_not_normalised ?? [], 1e-4);

  const list = Vectors.array()
    .array()
    .parse(await ask(handler, { inputs: [TEXT, "the dog"] }));
  assert.deepEqual(
    list.map((text) => text.map((rows) => rows.length)),
    [[10], [4]],
  ); // [B][1][T][H]

  // Any of the options that only make sense for one vector asks for one.
  for (const option of [{ normalize: true }, { normalize: false }, { dimensions: 8 }]) {
    await vectorOf({ inputs: TEXT, parameters: option }, handler);
  }
  assertNear(
    await vectorOf({ inputs: TEXT, normalize: true }, handler),
    first?.embedding ?? [],
    1e-4,
  );
  await handler.dispose();
});

test(`pooling "none" gives the tokens of an embedding model too`, async () => {
  const answer = await ask(minilm, { inputs: TEXT, parameters: { pooling: "none" } });
  const [rows = []] = Vectors.array().parse(answer);
  assert.equal(rows.length, 10);
  assertNear(rows[0] ?? [], first?.cls_not_normalised ?? [], 1e-4);
});

test(`pooling "auto" is the repository's own, and where it says nothing the mean, of length 1`, async () => {
  assertNear(
    await vectorOf({ inputs: TEXT, parameters: { pooling: "auto" } }),
    first?.embedding ?? [],
    1e-4,
  );
  await using repository = await variantOf(MINILM, PLAIN);
  const handler = await load(repository.path);
  const vector = await vectorOf({ inputs: TEXT, parameters: { pooling: "auto" } }, handler);
  assertNear(vector, first?.embedding ?? [], 1e-4);
  const raw = { pooling: "auto", normalize: false };
  assertNear(
    await vectorOf({ inputs: TEXT, parameters: raw }, handler),
    first?.mean_pooled_not_normalised ?? [],
    1e-4,
  );
  await handler.dispose();
});

test("dimensions keeps the first ones and normalizes again", async () => {
  const full = first?.embedding ?? [];
  const cut = await vectorOf({ inputs: TEXT, dimensions: 4 });
  assertNear([lengthOf(cut)], [1], 1e-12);
  const length = lengthOf(full.slice(0, 4));
  assertNear(
    cut,
    full.slice(0, 4).map((value) => value / length),
    1e-4,
  );
  const raw = await vectorOf({ inputs: TEXT, dimensions: 4, normalize: false });
  assertNear(raw, (first?.mean_pooled_not_normalised ?? []).slice(0, 4), 1e-4);
});

test("options are read from the body's root as the clients send them, `parameters` first", async () => {
  const raw = await vectorOf({ inputs: TEXT, normalize: false });
  assertNear(raw, first?.mean_pooled_not_normalised ?? [], 1e-4);
  const both = await vectorOf({ inputs: TEXT, normalize: false, parameters: { normalize: true } });
  assertNear(both, first?.embedding ?? [], 1e-4);
  assertNear(
    await vectorOf({ inputs: TEXT, options: {}, stream: false }),
    first?.embedding ?? [],
    1e-4,
  );
});

test("the repository's own pooling is followed", async () => {
  const config = { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true };
  await using repository = await variantOf(MINILM, {
    "1_Pooling/config.json": config,
    "modules.json": [
      { idx: 0, name: "0", path: "", type: "sentence_transformers.models.Transformer" },
      { idx: 1, name: "1", path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
    ],
  });
  const handler = await load(repository.path);
  assert.ok(
    handler.description.notes.some(
      ({ text }) => text === "Pooling as the repository says: cls and mean",
    ),
  );
  const expected = [
    ...(first?.cls_not_normalised ?? []),
    ...(first?.mean_pooled_not_normalised ?? []),
  ];
  assertNear(await vectorOf({ inputs: TEXT }, handler), expected, 1e-4);
  await handler.dispose();
});

test("prompts of the repository go before the text, by name or by default", async () => {
  await using repository = await variantOf(MINILM, {
    "config_sentence_transformers.json": {
      prompts: { query: "The man ", passage: "" },
      default_prompt_name: "query",
    },
  });
  const handler = await load(repository.path);
  const rest = "buys a car in the city";
  for (const data of [{ inputs: rest, prompt_name: "query" }, { inputs: rest }]) {
    assertNear(await vectorOf(data, handler), first?.embedding ?? [], 1e-4);
  }
  const passage = await vectorOf({ inputs: TEXT, prompt_name: "passage" }, handler);
  assertNear(passage, first?.embedding ?? [], 1e-4);
  for (const name of ["answer", "constructor"]) {
    await assert.rejects(ask(handler, { inputs: rest, prompt_name: name }), {
      code: "INVALID_INPUT",
      message: `Cannot extract features: "prompt_name" is "${name}", wanted one of query, passage`,
    });
  }
  await handler.dispose();
});

test("max_seq_length of the repository cuts, from the side that the client names", async () => {
  const limit = { "sentence_bert_config.json": { max_seq_length: 5, do_lower_case: true } };
  await using repository = await variantOf(MINILM, limit);
  const handler = await load(repository.path);
  const inputs = "The man buys a car in the city";
  assertNear(await vectorOf({ inputs }, handler), await vectorOf({ inputs: "the man buys" }), 1e-6);
  assertNear(
    await vectorOf({ inputs, truncation_direction: "Left" }, handler),
    await vectorOf({ inputs: "in the city" }),
    1e-6,
  );
  await handler.dispose();
});

test("modules that cannot be run stop the start", async () => {
  const types = ["Transformer", "Pooling", "Dense"];
  const modules = types.map((type, idx) => ({
    idx,
    path: idx === 1 ? "1_Pooling" : "",
    type: `a.${type}`,
  }));
  await using repository = await variantOf(MINILM, { "modules.json": modules });
  await assert.rejects(load(repository.path), {
    code: "MODEL_INVALID",
    message:
      /^Cannot serve feature-extraction: modules\.json asks for Dense, which hubserve cannot run, and the graph has no output "sentence_embedding" of its own$/,
  });
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{ inputs: { text: "a" } }, `"inputs" is an object, wanted a string or a list of strings`],
  [{ inputs: ["a", 1] }, `"inputs[1]" is a number, wanted a string`],
  [{ inputs: "a", normalize: "yes" }, `"normalize" is "yes", wanted true or false`],
  [{ inputs: "a", dimensions: 0 }, `"dimensions" is 0, wanted a whole number of at least 1`],
  [{ inputs: "a", dimensions: 97 }, `"dimensions" is 97, wanted at most 96`],
  [
    { inputs: "a", truncation_direction: "up" },
    `"truncation_direction" is "up", wanted "left" or "right"`,
  ],
  [{ inputs: "a", encoding_format: "base64" }, `"encoding_format" is "base64", wanted "float"`],
  [
    { inputs: "a", prompt_name: "x" },
    `"prompt_name" is "x", wanted none, as this model has no prompts`,
  ],
  [
    { inputs: "a", parameters: { pooling: "sum" } },
    `"pooling" is "sum", wanted "mean", "cls", "max", "last_token", "none" or "auto"`,
  ],
  [
    { inputs: "a ".repeat(200), truncate: false },
    `"inputs" is 202 tokens long, wanted at most 128 as truncation is off`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(minilm, data), {
      code: "INVALID_INPUT",
      message: `Cannot extract features: ${sentence}`,
    });
  });
}
