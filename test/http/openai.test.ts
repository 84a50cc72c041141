/**
 * What OpenAI's routes have in common: paths, models, errors. What each route answers has a file of its own.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { ERROR_CODES, RuntimeError } from "../../runtime/errors.ts";
import type { TokenAuthority } from "../../runtime/http/token-auth.ts";
import { toOpenAIError } from "../../runtime/http/protocols/openai-errors.ts";
import { createTestApp, post, readyModels, testDoor } from "../support/app-matrix.ts";
import { torchServeModels } from "../support/torchserve.ts";

const PREFIXES = ["/v1", "/openai/v1"] as const;

interface Failure {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

async function failure(response: Response, status: number): Promise<Failure> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get("content-type"), "application/json");
  const { error, ...more } = JSON.parse(text) as { error: Failure };
  assert.deepEqual(more, {});
  assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
  return error;
}

const several = torchServeModels({ name: "owner/a" }, { name: "b" }, { name: "b", version: "2.0" });

testDoor("the models are listed for both readers", { models: several }, async ({ request }) => {
  for (const prefix of PREFIXES) {
    const response = await request(`${prefix}/models`);
    assert.equal(response.status, 200);
    const { data, ...rest } = (await response.json()) as { data: { created: number }[] };
    assert.deepEqual(rest, { models: ["owner/a", "b"], object: "list" });
    const cards = data.map(({ created, ...card }) => {
      assert.ok(Number.isInteger(created) && created > 1_500_000_000);
      return card;
    });
    assert.deepEqual(cards, [
      { id: "owner/a", object: "model", owned_by: "owner" },
      { id: "b", object: "model", owned_by: "hubserve" },
    ]);
  }
});

testDoor(
  "one model is told, with its slash as it is or encoded",
  { models: several },
  async ({ request }) => {
    for (const prefix of PREFIXES) {
      for (const name of ["owner/a", "owner%2Fa", "b"]) {
        const response = await request(`${prefix}/models/${name}`);
        assert.equal(response.status, 200);
        const { id, object } = (await response.json()) as { id: string; object: string };
        assert.deepEqual({ id, object }, { id: decodeURIComponent(name), object: "model" });
      }
    }
    const unknown = await failure(await request("/openai/v1/models/owner/x"), 404);
    assert.equal(unknown.code, "model_not_found");
    assert.equal(unknown.param, "model");
    assert.match(unknown.message, /^Cannot find the model "owner\/x": .*perhaps "owner\/a"$/);
  },
);

testDoor("paths that do not exist are told in OpenAI's words", {}, async ({ request }) => {
  for (const prefix of PREFIXES) {
    for (const path of ["", "/nothing", "/embeddings/x"]) {
      const error = await failure(await request(`${prefix}${path}`, post({})), 404);
      assert.equal(error.type, "invalid_request_error");
      assert.equal(error.code, "unknown_url");
      assert.ok(
        error.message.includes(`POST ${prefix}${path} here; try POST ${prefix}/`),
        error.message,
      );
    }
  }
  const elsewhere = (await (await request("/v1x")).json()) as { error: unknown };
  assert.equal(typeof elsewhere.error, "string"); // another protocol's
});

testDoor("a route's own method is asked for by name", {}, async ({ request }) => {
  for (const [path, method, allow] of [
    ["/v1/embeddings", "GET", "POST"],
    ["/openai/v1/rerank", "PUT", "POST"],
    ["/v1/models", "DELETE", "GET, HEAD"],
    ["/openai/v1/models/owner/name", "POST", "GET, HEAD"],
  ] as const) {
    const response = await request(path, { method });
    assert.equal(response.headers.get("allow"), allow);
    assert.equal((await failure(response, 405)).code, "method_not_supported");
  }
});

const served = createModels();
const { engine, description } = readyModels(() => ({ kind: "json", value: [[1, 0]] })).ready();
served.register("mine", { origin: "hf://owner/name@main" }).started({ engine, description });
served.register("other").progress("Downloading");

testDoor(
  "a model answers to its name and to the Hub's; without a name the first does",
  { models: served },
  async ({ request }) => {
    for (const model of ["mine", "owner/name", undefined, null, ""]) {
      const response = await request("/v1/embeddings", post({ input: "a", model }));
      assert.equal(response.status, 200);
      assert.equal(((await response.json()) as { model: string }).model, "mine");
    }
    const unknown = await failure(
      await request("/v1/embeddings", post({ input: "a", model: "x" })),
      404,
    );
    assert.match(
      unknown.message,
      /^Cannot find the model "x": it does not exist here; this server has "mine", "other"$/,
    );
    const long = await failure(
      await request("/v1/embeddings", post({ input: "a", model: "x".repeat(9000) })),
      404,
    );
    assert.ok(long.message.length < 250);
    const number = await failure(
      await request("/v1/embeddings", post({ input: "a", model: 5 })),
      400,
    );
    assert.equal(number.param, "model");
    const response = await request("/v1/embeddings", post({ input: "a", model: "other" }));
    assert.equal(response.headers.get("retry-after"), "1");
    const loading = await failure(response, 503);
    assert.deepEqual(
      [loading.type, loading.code],
      ["service_unavailable_error", "model_not_ready"],
    );
  },
);

testDoor("a body that is no JSON object is a 400", {}, async ({ request }) => {
  for (const body of ["", "{", "[]", "null", '"a"', "5"]) {
    const error = await failure(await request("/v1/embeddings", { method: "POST", body }), 400);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /^Cannot read the body: /);
  }
  const large = await request("/v1/embeddings", post({ input: "a".repeat(20_000) }));
  assert.equal((await failure(large, 413)).code, "body_too_large");
  const deep = await request("/v1/rerank", { method: "POST", body: "[".repeat(300) });
  assert.match((await failure(deep, 400)).message, /nested deeper/);
});

/** What OpenAI's clients make of each failure depends on its status. */
const STATUS = {
  INVALID_INPUT: [400, "invalid_request_error", null],
  NOT_SUPPORTED: [400, "invalid_request_error", "not_supported"],
  UNSUPPORTED_MEDIA_TYPE: [415, "invalid_request_error", "unsupported_media_type"],
  QUEUE_FULL: [429, "rate_limit_error", "server_overloaded"],
  HANDLER_FAILED: [500, "server_error", null],
  WORKER_DIED: [500, "server_error", null],
  INTERNAL: [500, "server_error", null],
  NOT_READY: [503, "service_unavailable_error", "model_not_ready"],
  DEADLINE_EXCEEDED: [504, "timeout_error", "deadline_exceeded"],
} as const;

for (const [code, [status, type, reason]] of Object.entries(STATUS)) {
  const known = ERROR_CODES.find((each) => each === code) ?? assert.fail(code);
  testDoor(
    `${code} is a ${status} of type ${type}`,
    {
      answer() {
        throw new RuntimeError(known, "Cannot answer: so", { retryAfterMs: 4200 });
      },
    },
    async ({ request }) => {
      const response = await request("/openai/v1/embeddings", post({ input: "a" }));
      assert.deepEqual(await failure(response, status), {
        message: "Cannot answer: so",
        type,
        param: null,
        code: reason,
      });
      const isLater = status === 429 || status === 503;
      assert.equal(response.headers.get("retry-after"), isLater ? "5" : null);
    },
  );
}

testDoor(
  "a failure of the server's own tells nothing of itself",
  {
    answer() {
      throw new TypeError("secret /home/somebody");
    },
  },
  async ({ request }) => {
    const error = await failure(await request("/v1/embeddings", post({ input: "a" })), 500);
    assert.equal(error.message, "Cannot answer the request: the server made a mistake");
  },
);

const locked: TokenAuthority = {
  accepts: () => false,
  renew: () => Promise.reject(new TypeError("nobody asks")),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

testDoor(
  "a key that is missing is told in each protocol's words",
  { tokens: locked },
  async ({ request }) => {
    const error = await failure(await request("/openai/v1/models"), 401);
    assert.deepEqual([error.type, error.code], ["invalid_request_error", "invalid_api_key"]);
    const v1 = await request("/v1/models/owner/name:predict", post({ instances: [] }));
    assert.equal(v1.status, 401);
    assert.equal(typeof ((await v1.json()) as { error: unknown }).error, "string");
  },
);

test("every code has words, and none of bad input is a 5xx", async () => {
  for (const code of ERROR_CODES) {
    const { error } = toOpenAIError(new RuntimeError(code, "Cannot x: y"));
    assert.match(JSON.stringify(error), /"type":"\w+_error"/);
  }
  const app = createTestApp({ compat: "torchserve" });
  const response = await app.request("/v1/nothing", post({})); // TorchServe's manner elsewhere changes nothing here
  assert.equal((await failure(response, 404)).code, "unknown_url");
});
