/**
 * Explanations through the whole house: the program as a process, its worker, and a client.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Explanation } from "../support/explanations.ts";
import { ROOT, startHubserve, type Hubserve } from "../support/hubserve.ts";
import { z } from "zod";

const Both = z.strictObject({
  prediction: z.array(z.object({ label: z.string(), score: z.number() })),
  explanation: Explanation,
});
const Pair = z.strictObject({
  prediction: z.object({ label: z.string() }),
  explanation: Explanation,
});

let server: Hubserve;

before(async () => {
  server = await startHubserve({ args: [join(ROOT, "model"), "--workers", "1"] });
  await server.line(/Ready after/);
});

after(async () => {
  await server[Symbol.asyncDispose]();
});

async function ask(inputs: unknown, parameters: object): Promise<Response> {
  return fetch(server.url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs, parameters }),
  });
}

test("predictions and explanations asked for at once each get their own", async () => {
  const texts = [
    "I'm scared of the dark",
    "I love my little sister",
    "that really made me furious",
  ];
  const [explained, predicted] = await Promise.all([
    Promise.all(texts.map(async (text) => (await ask(text, { explain: true })).json())),
    Promise.all(texts.map(async (text) => (await ask(text, {})).json())),
  ]);
  for (const [index, answer] of explained.entries()) {
    const { prediction, explanation } = Both.parse(answer);
    const [alone] = Both.shape.prediction.parse(predicted[index]);
    // The weights are int8, whose answers depend a little on who shares a run.
    assert.equal(prediction[0]?.label, alone?.label);
    assert.equal(explanation.target, alone?.label);
    assert.ok(explanation.words.length > 5);
  }
});

test("a list that the engine splits is answered with its elements' pairs in order", async () => {
  const response = await ask(["I'm scared of the dark", "I love my little sister"], {
    explain: true,
    n_steps: 5,
  });
  const pairs = Pair.array().parse(await response.json());
  assert.deepEqual(
    pairs.map(({ explanation }) => explanation.target),
    ["fear", "love"],
  );
  assert.deepEqual(
    pairs.map(({ prediction }) => prediction.label),
    ["fear", "love"],
  );
});

test("what is explained instead of the int8 weights that answer stands in the warning", async () => {
  const response = await ask("I love my little sister", { explain: true, n_steps: 5 });
  const warnings = [...response.headers].filter(([name]) => name.includes("warning"));
  assert.match(
    JSON.stringify(warnings),
    /model\.onnx, as the q8 weights that answer have no gradient/,
  );
  await response.text();
});

test("a target that is none is a 400 with a sentence", async () => {
  const response = await ask("I love my little sister", { explain: true, target: "mirth" });
  assert.equal(response.status, 400);
  assert.match(JSON.stringify(await response.json()), /\\"target\\" is \\"mirth\\"/);
});
