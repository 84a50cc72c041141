/**
 * Real models are asked every example of their description, on every route: what they answer is what it says, down to the last key.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { post } from "../support/app-matrix.ts";
import { EMBEDDED, modelPath } from "../support/goldens.ts";
import {
  bodyExamplesOf,
  createValidator,
  fields,
  fillIn,
  follow,
  operationsOf,
  readDescription,
  serveFolder,
  type DescribedOperation,
  type Fields,
  type Validator,
} from "../support/openapi.ts";

const HANDLER = fileURLToPath(new URL("../fixtures/handlers/schema-zod", import.meta.url));

interface Served {
  readonly path: string;
  /** How many answers there are at the least. */
  readonly least: number;
  /** Routes that a handler may or may not be able to answer. */
  readonly skips?: RegExp;
}

const SERVED: Readonly<Record<string, Served>> = {
  "a classifier": { path: join(EMBEDDED, "model"), least: 28 },
  "an embedder": { path: modelPath("minilm-embed"), least: 28 },
  "a model that writes": { path: modelPath("tiny-gpt2"), least: 32 },
  "a model of questions": { path: modelPath("qa-bert"), least: 28 },
  "a model of images": { path: modelPath("tiny-vit"), least: 25 },
  "a handler with schemas": { path: HANDLER, least: 15, skips: /embeddings|rerank/ },
};

for (const [kind, { path: repository, least, skips }] of Object.entries(SERVED)) {
  test(`${kind} answers its examples on all routes as its description says`, async () => {
    await using served = await serveFolder(repository);
    const document = await readDescription(served.app);
    const validator = createValidator(document, true);
    let answered = 0;
    for (const operation of operationsOf(document)) {
      const { method } = operation;
      if (operation.operation["x-hubserve-unavailable"] !== undefined) continue;
      const url = fillIn(operation, document);
      const examples = bodyExamplesOf(operation);
      if (method === "post" && (examples.length === 0 || skips?.test(url) === true)) continue;
      for (const example of method === "post" ? examples : [undefined]) {
        const init = method === "post" ? post(example) : { method: method.toUpperCase() };
        const response = await served.app.request(url, init);
        assert.equal(response.status, 200, `${method} ${url}: ${await response.clone().text()}`);
        await assertDescribed(response, operation, document, validator);
        answered += 1;
      }
    }
    assert.ok(answered >= least, `${answered} answers`);
  });
}

/** The answer, its headers and its media type. */
async function assertDescribed(
  response: Response,
  { method, path, operation }: DescribedOperation,
  document: Fields,
  validator: Validator,
): Promise<void> {
  const status = String(response.status);
  const described = follow(document, fields(operation["responses"])[status]);
  for (const name of Object.keys(fields(described["headers"])))
    if (name !== "warnings") assert.ok(response.headers.has(name), `${path}: ${name}`);
  const type = (response.headers.get("content-type") ?? "").split(";")[0] ?? "";
  const content = fields(described["content"]);
  assert.ok(type in content, `${method} ${path} answers with ${type}`);
  const place = ["paths", path, method, "responses", status, "content", type, "schema"];
  const text = await response.text();
  if (type === "application/json") {
    validator.assertFits(place, JSON.parse(text));
  } else if (type === "text/event-stream") {
    const events = [...text.matchAll(/^data: ?(\{.*)$/gm)].map(([, json = ""]) => JSON.parse(json));
    assert.ok(events.length > 0, text);
    for (const event of events) validator.assertFits(place, event);
  }
}

test("an error on each protocol's routes has the shape that is described", async () => {
  await using served = await serveFolder(join(EMBEDDED, "model"));
  const validator = createValidator(await readDescription(served.app), true);
  const routes = {
    HuggingFaceError: "/",
    OpenAIError: "/v1/embeddings",
    OpenInferenceError: "/v2/models/owner%2Fname/infer",
    TorchServeError: "/predictions/owner%2Fname",
  };
  for (const [shape, route] of Object.entries(routes)) {
    const response = await served.app.request(route, post({ inputs: 1 }));
    assert.equal(response.status, 400, route);
    validator.assertFits(["components", "schemas", shape], await response.json());
  }
});

test("a handler's own schemas are the description of its bodies", async () => {
  await using served = await serveFolder(HANDLER);
  const document = await readDescription(served.app);
  const validator = createValidator(document);
  const place = ["components", "schemas", "PredictBody"];
  const right = { inputs: { name: "Anna", born: "2000-01-02" }, parameters: { times: 2 } };
  validator.assertFits(place, right);
  assert.equal((await served.app.request("/", post(right))).status, 200);
  const wrong = { inputs: { name: 1, born: "2000-01-02" } };
  assert.ok(!validator.fits(place, wrong));
  assert.equal((await served.app.request("/", post(wrong))).status, 400);
});
