/** `static inputs` and `static parameters` of an author's class. */
import assert from "node:assert/strict";
import { test } from "node:test";

import * as v from "valibot";
import { z } from "zod";

import type {
  EndpointHandlerClass,
  LoadedHandler,
  MemberOutcome,
} from "../../../runtime/handler/contract.ts";
import { readHandlerSchemas } from "../../../runtime/handler/custom/schema.ts";
import { loadHandler } from "../../../runtime/handler/load.ts";
import type { InferenceKind } from "../../../runtime/inference.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { handlerFixture, makeRepository } from "../../support/handler-repository.ts";
import { memberOf, messageIn } from "../../support/tensors.ts";

const load = (name: string): Promise<LoadedHandler> =>
  loadHandler({ repository: handlerFixture(name) }, silentLog());

function ask(
  handler: LoadedHandler,
  data: Readonly<Record<string, unknown>>,
  kind: InferenceKind = "predict",
): Promise<unknown> {
  const { request, context } = memberOf({ id: "1", kind, headers: {}, data });
  return handler.call(request, context);
}

/** What a refused request is told. */
async function refusalOf(
  handler: LoadedHandler,
  data: Readonly<Record<string, unknown>>,
): Promise<string> {
  let message = "";
  await assert.rejects(ask(handler, data), (error: Error & { code?: string }) => {
    message = error.message;
    return error.code === "INVALID_INPUT";
  });
  return message;
}

const ADA = { name: " Ada ", born: "1815-12-10" };

test("a handler is called with what its schemas made of the request", async () => {
  const handler = await load("schema-zod");
  assert.deepEqual(await ask(handler, { inputs: ADA }), {
    text: "Hello Ada",
    year: 1815,
    friends: 0,
    times: 1,
  });
  const parameters = { greeting: "Bonjour", times: "2" };
  assert.deepEqual(await ask(handler, { inputs: ADA, parameters }), {
    text: "Bonjour Ada",
    year: 1815,
    friends: 0,
    times: 2,
  });
  assert.deepEqual(await ask(handler, { inputs: ADA }, "explain"), { because: "Ada" });
});

test("what does not fit is refused with its place and the schema's own words", async () => {
  const handler = await load("schema-zod");
  assert.equal(
    await refusalOf(handler, { inputs: { ...ADA, name: 1 } }),
    "Cannot read the request: inputs.name: Expected string",
  );
  assert.equal(
    await refusalOf(handler, { inputs: { ...ADA, friends: [{ name: "B" }, { name: 2 }] } }),
    "Cannot read the request: inputs.friends[1].name: Expected string",
  );
  assert.match(await refusalOf(handler, {}), /^Cannot read the request: inputs: Invalid input/);
  assert.equal(
    await refusalOf(handler, { inputs: { ...ADA, name: 1 }, parameters: { times: 9 } }),
    "Cannot read the request: inputs.name: Expected string; parameters.times: Too big: expected number to be <=3",
  );
  const friends = Array.from({ length: 50 }, () => ({}));
  assert.match(
    await refusalOf(handler, { inputs: { ...ADA, friends } }),
    /friends\[2\]\.name: Expected string; and 47 more$/,
  );
});

test("the ready message has both schemas as JSON Schema", async () => {
  const { schemas } = (await load("schema-zod")).description;
  assert.deepEqual(schemas?.parameters, {
    type: "object",
    properties: {
      greeting: { default: "Hello", type: "string" },
      times: {
        default: 1,
        type: "integer",
        minimum: Number.MIN_SAFE_INTEGER,
        maximum: 3,
      },
    },
  });
  const { required } = z.looseObject({ required: z.array(z.string()) }).parse(schemas.inputs);
  assert.deepEqual(required, ["name", "born"]);
});

test("a batch goes on without those that do not fit, and is read anew when it is halved", async () => {
  const handler = await load("schema-valibot");
  assert.equal(handler.description.schemas, undefined); // valibot alone does not speak JSON Schema
  const outcomes: MemberOutcome[] = [];
  const inputs = ["a", 5, "poison", "admin", "b"];
  await handler.callBatch?.(
    inputs.map((each) =>
      memberOf({ id: "1", kind: "predict", headers: {}, data: { inputs: each } }),
    ),
    {
      maxPaddedTokens: 512,
      onPass: () => undefined,
      onOutcome: (index, outcome) => void (outcomes[index] = outcome),
    },
  );
  assert.equal(messageIn(outcomes[1]), "Cannot read the request: inputs: Expected string");
  assert.equal(messageIn(outcomes[3]), "Cannot read the request: inputs: This name is taken");
  const sizes = [3, 2, 1, 1, 1]; // halved: a and poison, then each; then b
  for (const [index, name] of [
    [0, "a"],
    [2, "poison"],
    [4, "b"],
  ] as const) {
    const outcome = outcomes[index];
    assert.ok(outcome !== undefined && "value" in outcome, JSON.stringify(outcome));
    assert.deepEqual(outcome.value, { name, sizes });
  }
});

test("a static member that is no Standard Schema is left alone, with a warning", async () => {
  const source =
    "export class EndpointHandler { static inputs = ['text']; static parameters = 3; call(data) { return data.inputs; } }";
  await using repository = await makeRepository({ "handler.js": source });
  const handler = await loadHandler({ repository: repository.path }, silentLog());
  assert.equal(await ask(handler, { inputs: "x" }), "x");
  assert.deepEqual(
    handler.description.notes.filter(({ level }) => level === "warn").map(({ text }) => text),
    ["inputs", "parameters"].map(
      (key) =>
        `Requests are not checked against static ${key} in handler.js: it is no Standard Schema, which zod 4, valibot 1 and ArkType 2 make`,
    ),
  );
});

test("a schema that itself fails is the handler's fault", async () => {
  const source = `export class EndpointHandler {
    static inputs = { "~standard": { version: 1, vendor: "own", validate() { throw new Error("no database"); } } };
    call() { return 1; }
  }`;
  await using repository = await makeRepository({ "handler.js": source });
  const handler = await loadHandler({ repository: repository.path }, silentLog());
  await assert.rejects(ask(handler, { inputs: "x" }), {
    code: "HANDLER_FAILED",
    message: "Handler failed: no database",
  });
});

test("a schema that JSON Schema has no words for still checks", () => {
  const { described, notes } = readHandlerSchemas(
    { inputs: z.bigint(), parameters: z.object({ a: z.string() }) },
    "handler.ts",
  );
  assert.deepEqual(Object.keys(described ?? {}), ["parameters"]);
  assert.deepEqual(notes, []);
});

test("functions may be schemas, as ArkType's are", async () => {
  const schema = Object.assign(() => undefined, {
    "~standard": {
      version: 1,
      vendor: "arktype",
      validate: (value: unknown) =>
        value === 1 ? { value: 2 } : { issues: [{ message: "must be 1", path: [{ key: "x" }] }] },
    },
  });
  const { read } = readHandlerSchemas({ inputs: schema }, "handler.ts");
  const of = (inputs: unknown) =>
    memberOf({ id: "1", kind: "predict", headers: {}, data: { inputs } }).request;
  assert.equal((await read(of(1))).inputs, 2);
  await assert.rejects(async () => await read(of(0)), {
    message: "Cannot read the request: inputs.x: must be 1",
  });
});

test("the libraries' own types fit ours", () => {
  const fromZod: EndpointHandlerClass["inputs"] = z.object({ a: z.string() });
  const fromValibot: EndpointHandlerClass["parameters"] = v.object({ a: v.string() });
  // @ts-expect-error a zod schema's shape is none
  const shape: EndpointHandlerClass["inputs"] = { a: z.string() };
  assert.ok(fromZod && fromValibot && shape);
});
