/**
 * Every task's answers are what the description says of them, down to the last key.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { TASKS } from "../../runtime/handler/tasks/registry.ts";
import { answerOf, explanationOf, mediaOf } from "../../runtime/http/openapi/task-answers.ts";
import { post } from "../support/app-matrix.ts";
import { modelPath } from "../support/goldens.ts";
import { createValidator, readDescription, serveFolder } from "../support/openapi.ts";
import { EXAMPLES, FILES, type Ask } from "../support/task-examples.ts";

test("every task of the shelf has an answer, and nothing else has one", async () => {
  for (const task of TASKS) {
    const { name } = task;
    assert.ok(answerOf(name) !== undefined, name);
    const { measure } = await task.load();
    assert.equal(mediaOf(name) !== undefined, measure === "items", name);
  }
  assert.equal(answerOf("toString"), undefined);
  assert.equal(explanationOf("fill-mask"), undefined);
});

/** Other forms of the same question that are answered otherwise. */
const MORE: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>> = {
  "automatic-speech-recognition": [{ parameters: { return_timestamps: true } }],
  "feature-extraction": [{ parameters: { pooling: "none" } }],
  "fill-mask": [{ inputs: "The [MASK] dog went to the [MASK]." }],
  "question-answering": [{ parameters: { top_k: 2 } }, { parameters: { explain: true } }],
  "text-classification": [{ parameters: { top_k: 3 } }, { parameters: { explain: true } }],
  "text-generation": [{ parameters: { details: true, max_new_tokens: 2, top_n_tokens: 2 } }],
  "token-classification": [{ parameters: {} }, { parameters: { output: "entities" } }],
  "image-feature-extraction": [{ parameters: { pool: true } }],
};

/** Those whose list of inputs is no list of questions. */
const WHOLE = new Set(["sentence-similarity", "text-ranking"]);

for (const { name } of TASKS) {
  const { model, ask } = EXAMPLES[name] ?? {};
  if (model === undefined || ask === undefined) continue;
  for (const dialect of ["toolkit", "hf-inference"] as const) {
    test(`${name} answers as its schema says (${dialect})`, async () => {
      const repository = model.startsWith("/") ? model : modelPath(model);
      await using served = await serveFolder(repository, { task: name, dialect });
      const document = await readDescription(served.app);
      const validator = createValidator(document, true);
      const body = bodyOf(ask);
      const lists = WHOLE.has(name) ? [] : [{ ...body, inputs: [body["inputs"], body["inputs"]] }];
      const more = (MORE[name] ?? []).map((each) => ({ ...body, ...each }));
      for (const each of [body, ...lists, ...more]) {
        const response = await served.app.request("/", {
          ...post(each, { accept: "application/json" }),
        });
        const answer: unknown = await response.json();
        assert.equal(
          response.status,
          200,
          `${JSON.stringify(each).slice(0, 200)}: ${JSON.stringify(answer)}`,
        );
        validator.assertFits(
          ["paths", "/", "post", "requestBody", "content", "application/json", "schema"],
          each,
        );
        validator.assertFits(
          ["paths", "/", "post", "responses", "200", "content", "application/json", "schema"],
          answer,
        );
      }
    });
  }
}

/** The example as JSON, whatever it is as a file. */
function bodyOf(ask: Ask): Readonly<Record<string, unknown>> {
  if ("json" in ask) return ask.json;
  const file = readFileSync(FILES[ask.file].path).toString("base64");
  if ("form" in ask) {
    const { question, ...parameters } = ask.form;
    const inputs = question === undefined ? file : { image: file, question };
    return { inputs, parameters: typed(Object.entries(parameters)) };
  }
  return {
    inputs: file,
    parameters: typed([...new URLSearchParams("query" in ask ? ask.query : "")]),
  };
}

function typed(entries: readonly (readonly [string, string])[]): Record<string, unknown> {
  return Object.fromEntries(
    entries.map(([key, text]) => [key, /^[\d.]+$/.test(text) ? Number(text) : text]),
  );
}
