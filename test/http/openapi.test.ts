/**
 * `/openapi.json` describes the routes that there are: all of them and no others.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { createComponents } from "../../runtime/http/openapi/components.ts";
import { describeModels, describeOperations } from "../../runtime/http/openapi/document.ts";
import type { Operation } from "../../runtime/http/openapi/operation.ts";
import type { ApiKeys } from "../../runtime/http/api-keys.ts";
import type { TokenAuthority } from "../../runtime/http/token-auth.ts";
import {
  createTestApp,
  post,
  readyModels,
  testDoor,
  type DoorOptions,
} from "../support/app-matrix.ts";
import {
  bodyExamplesOf,
  createValidator,
  fields,
  fillIn,
  follow,
  isFields,
  operationsOf,
  readDescription,
  referencesOf,
} from "../support/openapi.ts";

const CLASSIFIER: DoorOptions = {
  description: {
    handler: "default",
    task: "text-classification",
    example: { inputs: "I love you" },
    schemas: {
      inputs: { anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] },
      parameters: { type: "object", properties: { top_k: { type: "integer" } } },
    },
  },
  answer: () => ({ kind: "json", value: [{ label: "love", score: 0.9 }] }),
};

const KINDS: Readonly<Record<string, DoorOptions>> = {
  "as usual": CLASSIFIER,
  "with a playground": { ...CLASSIFIER, hasPlayground: true },
  "like TorchServe": { ...CLASSIFIER, compat: "torchserve" },
};

/** Operations as they are written, with the patterns that the router knows them by. */
function describedOf({ compat, hasPlayground = false }: DoorOptions): readonly Operation[] {
  const components = createComponents();
  const server = {
    version: "0.0.0",
    dialect: "auto",
    isTorchServe: compat === "torchserve",
    hasPlayground,
    mayChangeModels: false,
  } as const;
  const models = describeModels(readyModels(), server, components);
  return describeOperations({ server, components, models });
}

for (const [kind, options] of Object.entries(KINDS)) {
  test(`every route of the application is described, and no other (${kind})`, () => {
    const routes = createTestApp(options).routes.filter(
      ({ method, path }) => !(method === "ALL" && path === "/*"), // what every request passes
    );
    assert.ok(routes.length > 50);
    const described = describedOf(options);
    const missing = routes.filter(
      ({ method, path }) =>
        !described.some(
          (operation) =>
            operation.route === path &&
            (method === "ALL" || operation.method.toUpperCase() === method),
        ),
    );
    assert.deepEqual(
      missing.map(({ method, path }) => `${method} ${path}`),
      [],
    );
    const strange = described.filter(
      ({ route, method }) =>
        route !== undefined &&
        !routes.some(
          (known) =>
            known.path === route &&
            (known.method === "ALL" || known.method === method.toUpperCase()),
        ),
    );
    assert.deepEqual(
      strange.map(({ method, path }) => `${method} ${path}`),
      [],
    );
  });

  test(`every described route answers when it is asked (${kind})`, async () => {
    const app = createTestApp(options);
    const document = await readDescription(app);
    for (const operation of operationsOf(document)) {
      const { method, path } = operation;
      const [body = { inputs: "I love you" }] = bodyExamplesOf(operation);
      const response = await app.request(
        fillIn(operation, document),
        method === "post" ? post(body) : { method: method.toUpperCase() },
      );
      const text = await response.text();
      const place = `${method} ${path}: ${response.status} ${text.slice(0, 200)}`;
      const statuses = Object.keys(fields(operation.operation["responses"]));
      assert.ok(statuses.includes(String(response.status)), place);
      assert.doesNotMatch(
        text,
        /there is no (?:GET|POST|OPTIONS)|ROUTE_NOT_FOUND|unknown_url/,
        place,
      );
      const reason = operation.operation["x-hubserve-unavailable"];
      if (reason === undefined) assert.ok(response.status < 500, place);
      else
        assert.ok(
          response.status >= 400,
          `${place}, described as unavailable: ${JSON.stringify(reason)}`,
        );
    }
  });
}

test("the document holds together: references lead somewhere, names are unique, schemas compile, examples fit", async () => {
  const document = await readDescription(createTestApp({ ...CLASSIFIER, hasPlayground: true }));
  assert.equal(document["openapi"], "3.1.0");
  for (const reference of referencesOf(document)) follow(document, { $ref: reference });

  const operations = operationsOf(document);
  const ids = operations.map(({ operation }) => operation["operationId"]);
  assert.equal(new Set(ids).size, ids.length);
  for (const operation of operations) fillIn(operation, document); // has all its variables

  const validator = createValidator(document);
  const components = fields(document["components"]);
  for (const [group, all] of Object.entries(components))
    for (const name of Object.keys(fields(all))) assert.match(name, /^[\w.-]+$/, group);
  for (const name of Object.keys(fields(components["schemas"])))
    validator.fits(["components", "schemas", name], {}); // throws where it does not compile

  let examples = 0;
  for (const operation of operations) {
    for (const example of bodyExamplesOf(operation)) {
      const { method, path } = operation;
      const place = ["paths", path, method, "requestBody", "content", "application/json", "schema"];
      validator.assertFits(place, example);
      examples += 1;
    }
  }
  assert.ok(examples >= 15, `${examples} examples`);
});

test("what a model cannot answer stays in the description, with the reason", async () => {
  const document = await readDescription(createTestApp(CLASSIFIER));
  const reasons = Object.fromEntries(
    operationsOf(document).map(({ path, operation }) => [
      path,
      operation["x-hubserve-unavailable"],
    ]),
  );
  assert.match(String(reasons["/v1/chat/completions"]), /"owner\/name" cannot answer it/);
  assert.match(String(reasons["/v1/embeddings"]), /feature-extraction/);
  assert.match(String(reasons["/v2/repository/models/{model_name}/load"]), /may not change/);
  for (const path of [
    "/",
    "/v1/models",
    "/explanations/{model_name}",
    "/v2/models/{model_name}/infer",
  ])
    assert.equal(reasons[path], undefined, path);
});

test("of several models each has schemas of its own, and paths name them all", async () => {
  const models = readyModels(CLASSIFIER.answer, CLASSIFIER.description);
  const other = readyModels(undefined, {
    handler: "custom",
    schemas: {
      inputs: {
        type: "object",
        properties: { name: { $ref: "#/$defs/name" } },
        $defs: { name: { type: "string" } },
      },
    },
  }).find();
  const { engine, description } = other;
  assert.ok(engine !== undefined && description !== undefined);
  models.register("second").started({ engine, description });
  models.register("third"); // not ready yet
  const document = await readDescription(createTestApp({ models }));
  const index = document["x-hubserve-models"];
  assert.ok(Array.isArray(index));
  assert.deepEqual(
    index.map((each) => [fields(each)["name"], fields(fields(each)["body"])["$ref"]]),
    [
      ["owner/name", "#/components/schemas/PredictBody"],
      ["second", "#/components/schemas/PredictBody_2"],
      ["third", "#/components/schemas/PredictBody_3"],
    ],
  );
  const infer = operationsOf(document).find(({ path }) => path === "/v2/models/{model_name}/infer");
  assert.match(JSON.stringify(infer), /"owner\/name".*"second".*"third"/);
  const validator = createValidator(document);
  const place = ["components", "schemas", "PredictBody_2"];
  assert.ok(validator.fits(place, { inputs: { name: "Anna" } }));
  assert.ok(!validator.fits(place, { inputs: { name: 1 } }), "a reference within the schema holds");
  // One that is not ready may be able to answer anything.
  const chat = operationsOf(document).find(({ path }) => path === "/v1/chat/completions");
  assert.equal(chat?.operation["x-hubserve-unavailable"], undefined);
});

test("a server without models describes itself all the same", async () => {
  const document = await readDescription(createTestApp({ models: createModels() }));
  for (const reference of referencesOf(document)) follow(document, { $ref: reference });
});

const apiKeys: ApiKeys = { accepts: (header) => header("x-api-key") === "key" };
const tokens: TokenAuthority = {
  accepts: (_kind, header) => header === "Bearer token",
  renew: () => Promise.reject(new TypeError("nobody renews here")),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

for (const [kind, keys] of Object.entries({
  apiKeys: { apiKeys },
  tokens: { tokens },
  both: { apiKeys, tokens },
})) {
  test(`what needs a key is described so, and nothing else (${kind})`, async () => {
    const app = createTestApp({ ...CLASSIFIER, ...keys });
    const headers = { "x-api-key": "key", authorization: "Bearer token" };
    assert.equal((await app.request("/openapi.json")).status, 401);
    assert.equal((await app.request("/docs")).status, 401);
    const response = await app.request("/openapi.json", { headers });
    const document = fields(await response.json());
    const schemes = Object.keys(fields(fields(document["components"])["securitySchemes"]));
    for (const operation of operationsOf(document)) {
      const { method, path } = operation;
      const { security } = operation.operation;
      const init = method === "post" ? post({}) : { method: method.toUpperCase() };
      const { status } = await app.request(fillIn(operation, document), init);
      assert.equal(status === 401, security !== undefined, `${method} ${path}: ${status}`);
      if (security === undefined) continue;
      assert.ok(Array.isArray(security));
      for (const each of security)
        for (const name of Object.keys(fields(each))) assert.ok(schemes.includes(name), name);
      assert.ok("401" in fields(operation.operation["responses"]), path);
    }
  });
}

testDoor(
  "GET /openapi.json is JSON that no cache keeps; other methods are refused",
  CLASSIFIER,
  async ({ request }) => {
    const response = await request("/openapi.json");
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("cache-control"), "no-cache");
    assert.ok(isFields(await response.json()));
    const refused = await request("/openapi.json", post({}));
    assert.equal(refused.status, 405);
    assert.equal(refused.headers.get("allow"), "GET, HEAD");
  },
);
