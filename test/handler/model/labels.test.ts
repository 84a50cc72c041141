import assert from "node:assert/strict";
import { test } from "node:test";

import type { ModelFolder } from "../../../runtime/handler/model/folder.ts";
import { toLabels, withLabels } from "../../../runtime/handler/model/labels.ts";
import { variantOf } from "../../support/goldens.ts";

const FILE = "index_to_name.json";

type Content = Parameters<typeof toLabels>[1];

/** TorchServe's `Token_classification_artifacts/index_to_name.json`. */
const NER = "[O, B-MISC, I-MISC, B-PER, I-PER, B-ORG, I-ORG, B-LOC, I-LOC]";
const NER_LABELS = {
  "0": "O",
  "1": "B-MISC",
  "2": "I-MISC",
  "3": "B-PER",
  "4": "I-PER",
  "5": "B-ORG",
  "6": "I-ORG",
  "7": "B-LOC",
  "8": "I-LOC",
};

const FORMS: readonly [name: string, content: Content, labels: Record<string, string>][] = [
  [
    "labels by index",
    { "0": "Not Accepted", "1": "Accepted" },
    { "0": "Not Accepted", "1": "Accepted" },
  ],
  [
    "lists by index, whose last element counts",
    { "0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"] },
    { "0": "tench", "1": "goldfish" },
  ],
  ["numbers as labels, as star ratings have them", { "0": 1, "1": 2 }, { "0": "1", "1": "2" }],
  ["label_list as one string", { label_list: NER }, NER_LABELS],
  [
    "label_list as its README writes it, without some spaces",
    { label_list: NER.replaceAll(", ", ",") },
    NER_LABELS,
  ],
  ["label_list with quotes", { label_list: `['O', "B-PER"]` }, { "0": "O", "1": "B-PER" }],
  ["label_list as a list", { label_list: Object.values(NER_LABELS) }, NER_LABELS],
  [
    "object_type_names",
    { object_type_names: ["__background__", "person", "N/A"] },
    { "0": "__background__", "1": "person", "2": "N/A" },
  ],
];

for (const [name, content, labels] of FORMS) {
  test(`toLabels() reads ${name}`, () => {
    assert.deepEqual(toLabels(FILE, content), labels);
  });
}

const REFUSED: readonly [content: Content, problem: string][] = [
  [{}, "found no labels, wanted labels by index, such as"],
  [{ person: 0 }, 'found the key "person", wanted labels by index, such as'],
  [{ "00": "a" }, 'found the key "00", wanted labels by index'],
  [{ "0": { name: "a" } }, '"0": found an object, wanted a label or a list that ends with one'],
  [{ "0": [] }, '"0": found an empty list, wanted a label or a list that ends with one'],
  [{ "0": " " }, '"0": found an empty text, wanted a label'],
  [{ "0": null }, '"0": found null, wanted a label'],
  [{ label_list: 9 }, "label_list: found a number, wanted a list of labels"],
  [{ label_list: "[O, , B-PER]" }, "label_list[1]: found an empty text, wanted a label"],
  [{ label_list: "" }, "label_list[0]: found an empty text, wanted a label"],
  [{ label_list: ["O"], "0": "O" }, 'found other keys beside "label_list", wanted it alone'],
  [{ object_type_names: { "0": "a" } }, "object_type_names: found an object, wanted a list of"],
  [{ object_type_names: ["a", ["b"]] }, "object_type_names[1]: found a list, wanted a label"],
];

for (const [content, problem] of REFUSED) {
  test(`toLabels() refuses ${JSON.stringify(content)}`, () => {
    assert.throws(
      () => toLabels(FILE, content),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, "MODEL_INVALID");
        assert.ok(error.message.startsWith(`Cannot read ${FILE}: ${problem}`), error.message);
        return true;
      },
    );
  });
}

const TWO = { "0": "LABEL_0", "1": "LABEL_1" };

/** The labels that a model with `id2label` has after these files were read. */
async function label(
  files: Readonly<Record<string, object | string>>,
  {
    id2label = TWO,
    task = "text-classification",
    prefix = "",
    numLabels,
  }: {
    id2label?: Record<string, string> | null;
    task?: string;
    prefix?: "" | "model/";
    numLabels?: number;
  } = {},
) {
  await using repository = await variantOf(undefined, files);
  const folder: ModelFolder = {
    repository: repository.path,
    path: repository.path,
    prefix,
    files: Object.keys(files),
    config: { model_type: "bert", id2label },
    warnings: [],
  };
  const settings = { file: "setup_config.json", numLabels };
  const { folder: labelled, notes } = await withLabels(folder, task, settings);
  assert.equal(labelled.config.model_type, "bert");
  return { labels: labelled.config.id2label, notes };
}

test("withLabels() puts the file's labels over those of config.json, and says so", async () => {
  const { labels, notes } = await label({ [FILE]: { "0": "Not Accepted", "1": "Accepted" } });
  assert.deepEqual(labels, { "0": "Not Accepted", "1": "Accepted" });
  assert.deepEqual(notes, [
    {
      level: "info",
      text: "Using the 2 labels of index_to_name.json in place of those of config.json",
    },
  ]);
});

test("withLabels() says nothing where both say the same", async () => {
  const id2label = { "0": "Not Accepted", "1": "Accepted" };
  assert.deepEqual(await label({ [FILE]: id2label }, { id2label }), {
    labels: id2label,
    notes: [],
  });
});

test("withLabels() names a model whose config.json has no labels", async () => {
  const { labels } = await label({ [FILE]: { label_list: NER } }, { id2label: null });
  assert.deepEqual(labels, NER_LABELS);
});

test("withLabels() takes the file beside the model before the repository's own", async () => {
  const files = { [`model/${FILE}`]: { "0": "a", "1": "b" }, [FILE]: { "0": "c", "1": "d" } };
  const { labels, notes } = await label(files, { prefix: "model/" });
  assert.deepEqual(labels, { "0": "a", "1": "b" });
  assert.match(
    notes[0]?.text ?? "",
    / of model\/index_to_name\.json in place of .* model\/config\.json$/,
  );
  const own = await label({ [FILE]: { "0": "c", "1": "d" } }, { prefix: "model/" });
  assert.deepEqual(own.labels, { "0": "c", "1": "d" });
});

test("withLabels() leaves the file alone where the task has no labels of the model's own", async () => {
  for (const task of ["question-answering", "text-generation", "zero-shot-classification"]) {
    const { labels, notes } = await label({ [FILE]: "no JSON" }, { task });
    assert.deepEqual(labels, TWO);
    assert.deepEqual(notes, []);
  }
});

test("withLabels() refuses a file that belongs to another model", async () => {
  const code = "MODEL_INVALID";
  await assert.rejects(label({ [FILE]: { label_list: NER } }), {
    code,
    message:
      "Cannot read index_to_name.json: found 9 labels, wanted 2, as many as the model has by config.json",
  });
  await assert.rejects(label({ [FILE]: { "1": "a", "2": "b" } }), {
    code,
    message:
      "Cannot read index_to_name.json: found no label 0, wanted one for each of the 2 in config.json",
  });
  await assert.rejects(label({ [FILE]: "no JSON" }), {
    code,
    message: /^Cannot read index_to_name\.json: /,
  });
  await assert.rejects(label({ [FILE]: "[1]" }), {
    code,
    message: /^Cannot read index_to_name\.json: .*wanted labels by index, such as \{"0": /,
  });
});

test("withLabels() warns where num_labels is not the model's, and 0 is no number of labels", async () => {
  const { notes } = await label({}, { numLabels: 9 });
  assert.deepEqual(notes, [
    {
      level: "warn",
      text: "num_labels in setup_config.json is 9, and the model has 2 labels: the model's are served",
    },
  ]);
  assert.deepEqual((await label({}, { numLabels: 2 })).notes, []);
  assert.deepEqual((await label({}, { numLabels: 0 })).notes, []);
  assert.deepEqual((await label({}, { numLabels: 9, id2label: null })).notes, []);
});
