/**
 * KServe's V1 against real models: each instance's prediction is what the model says to it alone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { z } from "zod";

import { golden } from "../support/clients.ts";
import { modelPath } from "../support/goldens.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";

async function start(model: string): Promise<Hubserve> {
  const server = await startHubserve({ args: [modelPath(model), "--workers", "1"] });
  await server.line(/Ready after/);
  return server;
}

async function ask(
  { url }: Hubserve,
  path: string,
  body: unknown,
  status = 200,
): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  assert.equal(response.status, status, text);
  return JSON.parse(text) as Record<string, unknown>;
}

const Explained = z.object({
  explanations: z.array(
    z.object({ words: z.array(z.string()), importances: z.array(z.number()), target: z.string() }),
  ),
});

test("KServe's sample for TorchServe's BERT is predicted and explained", async () => {
  await using server = await start("seqcls-bert-2way");
  const path = "/v1/models/seqcls-bert-2way";
  const text = "Bloomberg has decided to publish a new report on the global economy.";
  const instances = [
    { data: text, target: 0 },
    { data: { text: "A short one" }, target: 1 },
  ];
  const { predictions } = await ask(server, `${path}:predict`, { instances });
  const alone = await Promise.all(
    [text, "A short one"].map(async (inputs) => (await server.post(inputs)).json()),
  );
  assert.deepEqual(predictions, alone.flat());

  const { explanations } = Explained.parse(await ask(server, `${path}:explain`, { instances }));
  assert.deepEqual(
    explanations.map(({ target, words }) => [target, words.length > 3]),
    [
      ["Not Accepted", true],
      ["Accepted", true],
    ],
  );
  for (const { words, importances } of explanations) assert.equal(importances.length, words.length);
  const [only] = Explained.parse(
    await ask(server, `${path}:explain`, { instances: instances.slice(1) }),
  ).explanations;
  assert.deepEqual(only?.words, explanations[1]?.words);

  const refused = await ask(
    server,
    `${path}:predict`,
    { instances: ["a", { text: ["b", 5] }] },
    400,
  );
  assert.match(String(refused["error"]), /^Cannot classify the text: "instances\[1\]/);
});

test("questions are answered one by one as together", async () => {
  await using server = await start("qa-bert");
  const context = "Anna lives in Paris and works in Rome.";
  const instances = ["Where does Anna live?", "Where does Anna work?"].map((question) => ({
    question,
    context,
  }));
  const path = "/v1/models/qa-bert:predict";
  const { predictions } = await ask(server, path, { instances });
  const alone: unknown[] = [];
  for (const instance of instances) {
    const answer = await ask(server, path, { instances: [instance] });
    alone.push(
      ...z
        .array(z.object({ answer: z.string() }).loose())
        .length(1)
        .parse(answer["predictions"]),
    );
  }
  const answersOf = (list: unknown): string[] =>
    z
      .array(z.object({ answer: z.string() }))
      .parse(list)
      .map(({ answer }) => answer);
  assert.deepEqual(answersOf(predictions), answersOf(alone));
});

test("an image is read from base64, and one that is broken is named", async () => {
  await using server = await start("tiny-vit");
  const path = "/v1/models/tiny-vit:predict";
  const b64 = Buffer.from(golden("images/shapes-64x64-0.png").bytes).toString("base64");
  const instances = [{ b64 }, { image_bytes: { b64 } }, { data: b64 }];
  const { predictions } = await ask(server, path, { instances });
  const wanted: unknown = await (await server.post(b64)).json();
  assert.deepEqual(predictions, [wanted, wanted, wanted]);
  const refused = await ask(server, path, { instances: [{ b64 }, { b64: "aGVsbG8=" }] }, 400);
  assert.match(String(refused["error"]), /"instances\[1\]/);
});
