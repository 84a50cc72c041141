/**
 * `hubserve types`: clients that are written against what it prints compile where they are right, and only there.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import type { ApiKeys } from "../../runtime/http/api-keys.ts";
import { openSocketDoor, readyModels } from "../support/app-matrix.ts";
import { modelPath } from "../support/goldens.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";
import { checkTypes } from "../support/typecheck.ts";

const CLIENTS: Readonly<Record<string, { folder: string; program: string }>> = {
  "text-classification": {
    folder: `${ROOT}model`,
    program: `
import { predict, type PredictBody } from "./client.js";
const body: PredictBody = { inputs: ["a", { text: "b", text_pair: "c" }], parameters: { top_k: 2, function_to_apply: "softmax" } };
const answer = await predict(body);
const first = answer[0];
const labels = Array.isArray(first) ? first.map(({ label, score }) => label + score.toFixed(2)) : first?.label;
export const all: string | string[] | undefined = labels;
await predict({ inputs: "a", parameters: { top_k: null, explain: true } });
// @ts-expect-error inputs are missing
await predict({});
// @ts-expect-error a number is no text
await predict({ inputs: 1 });
// @ts-expect-error there is no such function
await predict({ inputs: "a", parameters: { function_to_apply: "tanh" } });
// @ts-expect-error there is no such parameter
await predict({ inputs: "a", parameters: { topk: 2 } });
// @ts-expect-error it is no text
export const wrong: string = answer;`,
  },
  "feature-extraction": {
    folder: modelPath("minilm-embed"),
    program: `
import { predict } from "./client.js";
const answer = await predict({ inputs: ["a", "b"], parameters: { pooling: "mean", dimensions: 3 } });
const row = answer[0];
export const value: number | number[] | number[][] | undefined = row?.[0];
// @ts-expect-error there is no such pooling
await predict({ inputs: "a", parameters: { pooling: "median" } });
// @ts-expect-error a list of texts, not of numbers
await predict({ inputs: [1] });
// @ts-expect-error there are no labels
answer[0]?.label;`,
  },
  "a handler with zod's schemas": {
    folder: fileURLToPath(new URL("../fixtures/handlers/schema-zod", import.meta.url)),
    program: `
import { predict, type PredictAnswer, type PredictError } from "./client.js";
const answer: PredictAnswer = await predict({
  inputs: { name: "Anna", born: "2000-01-02", friends: [{ name: "Tom" }] },
  parameters: { greeting: "Hi", times: 2 },
});
await predict({ inputs: { name: "Anna", born: "2000-01-02" } });
export const error: PredictError = { error: "", error_type: "" };
// @ts-expect-error born is missing
await predict({ inputs: { name: "Anna" } });
// @ts-expect-error a friend is no text
await predict({ inputs: { name: "Anna", born: "2000-01-02", friends: ["Tom"] } });
// @ts-expect-error times is a number
await predict({ inputs: { name: "Anna", born: "2000-01-02" }, parameters: { times: "2" } });
// @ts-expect-error what the handler answers only it knows
answer.text;`,
  },
};

for (const [kind, { folder, program }] of Object.entries(CLIENTS)) {
  test(`a client of ${kind} compiles where it is right`, async () => {
    const { code, stdout, stderr } = await runHubserve({ args: ["types", folder] });
    assert.equal(code, 0, stderr);
    const messages = await checkTypes({ "client.d.ts": stdout, "program.ts": program });
    assert.equal(messages, "", stdout);
  });
}

const apiKeys: ApiKeys = {
  accepts: (header) => header("authorization") === "Bearer a-key-of-a-server",
};

test("a running server is asked for its description, with a key where it wants one", async () => {
  await using door = await openSocketDoor({
    apiKeys,
    models: twoModels(),
  });
  const refused = await runHubserve({ args: ["types", door.url] });
  assert.equal(refused.code, 1);
  assert.equal(refused.stdout, "");
  assert.match(
    refused.stderr,
    /Cannot write the types of the server at http.*: it wants an API key; name one in HUBSERVE_API_KEY/,
  );

  const env = { HUBSERVE_API_KEY: "a-key-of-a-server" };
  const first = await runHubserve({ args: ["types", `${door.url}/`], env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /owner\/name: text-classification\./);
  assert.match(first.stdout, /export type PredictInputs = string;/);

  const second = await runHubserve({ args: ["types", door.url, "--model", "second"], env });
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stdout, /export type PredictInputs\d* = \{\n  name\?: string;\n\};/);
  assert.equal(await checkTypes({ "client.d.ts": second.stdout }), "");

  const unknown = await runHubserve({ args: ["types", door.url, "--model=third"], env });
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /it has "owner\/name", "second", not "third"/);
});

test("what is no server of ours, and what is not understood, is told in a sentence", async () => {
  const nobody = await runHubserve({ args: ["types", "http://127.0.0.1:9"] });
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.stderr,
    /Cannot write the types of the server at http:\/\/127\.0\.0\.1:9: .*is it running there/,
  );
  const words = await runHubserve({ args: ["types", "one", "two"] });
  assert.equal(words.code, 2);
  const model = await runHubserve({ args: ["types", "./model", "--model", "x"] });
  assert.equal(model.code, 2);
  assert.match(model.stderr, /"--model" chooses among the models of a server/);
});

function twoModels(): ReturnType<typeof readyModels> {
  const models = readyModels(undefined, {
    handler: "default",
    task: "text-classification",
    schemas: { inputs: { type: "string" } },
  });
  const { engine } = models.find();
  assert.ok(engine !== undefined);
  const inputs = { type: "object", properties: { name: { type: "string" } } };
  const description = { handler: "custom", notes: [], schemas: { inputs } } as const;
  models.register("second").started({ engine, description });
  return models;
}
