/**
 * TorchServe's Inference API as recorded from TorchServe 0.12.0, and what is mended.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { createModels } from "../../runtime/engine/models.ts";
import { createTestApp, openSocketDoor, post, testDoor } from "../support/app-matrix.ts";
import { assertFailure, assertUncached, torchServeModels } from "../support/torchserve.ts";

const MANNERS = [{}, { compat: "torchserve" }] as const;

const ECHO = { models: torchServeModels({}, { version: "2.0" }, { name: "owner/name" }) };

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

for (const compat of MANNERS) {
  const manner = "compat" in compat ? "original" : "mended";

  testDoor(
    `/predictions takes every method, a version, and more of a path (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      for (const method of METHODS) {
        const response = await request("/predictions/echo", { method });
        assert.equal(response.status, 200, method);
        assertUncached(response);
        assert.equal(response.headers.get("connection") === "close", false, method);
      }
      for (const [path, rest] of [
        ["/predictions/echo", ""],
        ["/predictions/echo/", ""],
        ["/predictions/echo/2.0", ""],
        ["/predictions/echo/2.0/rest/of/path?ignored=1", "rest/of/path"],
        ["/predictions/owner/name", ""],
        ["/predictions/owner%2Fname/1.0/a%20b", "a b"],
      ] as const) {
        const response = await request(path, { method: "POST", body: "hello" });
        assert.equal(response.status, 200, path);
        const told = (await response.json()) as Record<string, unknown>;
        assert.equal(told["url_path"], rest, path);
        assert.equal(told["kind"], "predict");
        assert.equal(told["explain"], "False");
        assert.deepEqual(told["data"], { body: "hello", inputs: "hello" }, path);
      }
    },
  );

  testDoor(
    `/explanations asks for explanations (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      for (const path of ["/explanations/echo", "/explanations/echo/2.0", "/explanations/echo/"]) {
        const response = await request(path, { method: "POST", body: "hello" });
        const told = (await response.json()) as Record<string, unknown>;
        assert.deepEqual([told["kind"], told["explain"]], ["explain", "True"], path);
      }
    },
  );

  testDoor(
    `the older paths predict, and their query is input (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      for (const path of [
        "/echo/predict?a=1&b=x%20y&a=2",
        "/echo/2.0/predict?a=2&b=x+y",
        "/echo/predict/more?a=2&b=x+y",
        "/owner/name/predict?a=2&b=x+y",
        "/models/echo/invoke?a=2&b=x+y",
        "/invocations?model_name=echo&a=2&b=x+y",
      ]) {
        const response = await request(path, { method: "POST", body: "hello" });
        assert.equal(response.status, 200, path);
        const { data } = (await response.json()) as { data: Record<string, unknown> };
        const { model_name: _, ...rest } = data;
        assert.deepEqual(rest, { a: "2", b: "x y", body: "hello", inputs: "hello" }, path);
        assertUncached(response);
      }
      assert.equal((await request("/echo/predict?data=hello")).status, 200, "GET");
    },
  );

  testDoor(
    `/invocations finds the model by its name, in the query or a form (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      const form = new URLSearchParams({ model_name: "echo", data: "hello" });
      const response = await request("/invocations", { method: "POST", body: form });
      assert.equal(response.status, 200);
      const missing = await request("/invocations", { method: "POST", body: "hello" });
      await assertFailure(missing, 400, "BadRequestException", "Parameter model_name is required.");
    },
  );

  testDoor(
    `/invocations needs no name where there is one model (${manner})`,
    { models: torchServeModels({}, { version: "2.0" }), ...compat },
    async ({ request }) => {
      assert.equal((await request("/invocations", { method: "POST", body: "a" })).status, 200);
      assert.equal((await request("/invocations?model_name=")).status, 200);
    },
  );

  const NOWHERE: readonly (readonly [string, number, string, string])[] = [
    ["/predictions/nosuch", 404, "ModelNotFoundException", "Model not found: nosuch"],
    ["/explanations/nosuch/1.0", 404, "ModelNotFoundException", "Model not found: nosuch"],
    ["/models/nosuch/invoke", 404, "ModelNotFoundException", "Model not found: nosuch"],
    ["/nosuch/predict", 404, "ModelNotFoundException", "Model not found: nosuch"],
    ["/invocations?model_name=nosuch", 404, "ModelNotFoundException", "Model not found: nosuch"],
    [
      "/predictions/echo/9",
      404,
      "ModelVersionNotFoundException",
      "Model version: 9 does not exist for model: echo",
    ],
    ...[
      "/predictions",
      "/predictions/",
      "/explanations",
      "/explanations/",
      "/models",
      "/models/echo",
      "/models/echo/other",
      "/invocations/more",
      "/api-description/more",
    ].map(
      (path) =>
        [
          path,
          404,
          "ResourceNotFoundException",
          "Requested resource is not found, please refer to API document.",
        ] as const,
    ),
  ];

  testDoor(
    `what is not there is said in TorchServe's words (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      for (const [path, status, type, message] of NOWHERE) {
        const response = await request(path, { method: "POST", body: "a" });
        await assertFailure(response, status, type, message);
        const isClosed = response.headers.get("connection") === "close";
        assert.equal(isClosed, manner === "original", path);
      }
    },
  );

  testDoor(
    `OPTIONS and /api-description describe the routes, OPTIONS of a model that model (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      for (const [path, method] of [
        ["/", "OPTIONS"],
        ["/api-description", "GET"],
        ["/api-description", "POST"],
      ] as const) {
        const response = await request(path, { method });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get("content-type"), "application/json");
        assertUncached(response);
        const text = await response.text();
        assert.match(text, /^\{\n {2}"openapi": "3\.0\.1",\n/);
        assert.ok(text.endsWith("}\n"));
        const { paths } = JSON.parse(text) as { paths: Record<string, object> };
        assert.deepEqual(Object.keys(paths), [
          "/",
          "/ping",
          "/predictions/{model_name}",
          "/predictions/{model_name}/{model_version}",
          "/explanations/{model_name}",
          "/explanations/{model_name}/{model_version}",
          "/invocations",
          "/models/{model_name}/invoke",
          "/{model_name}/predict",
          "/{model_name}/{model_version}/predict",
          "/api-description",
          "/metrics",
        ]);
      }
      const own = await request("/predictions/echo/2.0", { method: "OPTIONS" });
      assert.equal(own.status, 200);
      const { paths } = (await own.json()) as { paths: Record<string, object> };
      const key = manner === "original" ? "/prediction/echo" : "/predictions/echo";
      assert.deepEqual(Object.keys(paths), [key]);
      const none = await request("/predictions/nosuch", { method: "OPTIONS" });
      await assertFailure(none, 404, "ModelNotFoundException", "Model not found: nosuch");
    },
  );

  testDoor(
    `every route of the description answers (${manner})`,
    { ...ECHO, ...compat },
    async ({ request }) => {
      const { paths } = (await (await request("/", { method: "OPTIONS" })).json()) as {
        paths: Record<string, Record<string, { operationId: string }>>;
      };
      const ids = Object.values(paths).flatMap((path) =>
        Object.values(path).map(({ operationId }) => operationId),
      );
      assert.equal(new Set(ids).size, ids.length, "an operation's id is its own");
      for (const [path, methods] of Object.entries(paths)) {
        const at = path.replace("{model_name}", "echo").replace("{model_version}", "2.0");
        const query = at === "/invocations" ? "?model_name=echo" : "";
        for (const method of Object.keys(methods)) {
          const response = await request(`${at}${query}`, { method: method.toUpperCase() });
          assert.equal(response.status, 200, `${method} ${at}`);
        }
      }
    },
  );

  testDoor(
    `text goes out bare, anything else as Python's json.dumps (${manner})`,
    {
      models: torchServeModels(
        { answer: () => ({ kind: "json", value: "Accepted" }) },
        {
          version: "2.0",
          answer: () => ({ kind: "json", value: { label: "é", score: 1e-7, list: [] } }),
        },
        {
          version: "3.0",
          answer: () => ({
            kind: "media",
            media: { bytes: new Uint8Array([1, 2, 3]), contentType: "image/png" },
          }),
        },
      ),
      ...compat,
    },
    async ({ request }) => {
      const text = await request("/predictions/echo", { method: "POST", body: "a" });
      assert.equal(await text.text(), "Accepted");
      const json = await request("/predictions/echo/2.0", { method: "POST", body: "a" });
      assert.equal(
        await json.text(),
        `{\n  "label": "\\u00e9",\n  "score": 1e-07,\n  "list": []\n}`,
      );
      const types = [text, json].map(({ headers }) => headers.get("content-type"));
      assert.deepEqual(
        types,
        manner === "original" ? [null, null] : ["text/plain; charset=utf-8", "application/json"],
      );
      const media = await request("/predictions/echo/3.0", { method: "POST", body: "a" });
      assert.equal(media.headers.get("content-type"), "image/png");
      assert.deepEqual(new Uint8Array(await media.arrayBuffer()), new Uint8Array([1, 2, 3]));
    },
  );
}

/** What a failure is called: mended, and in the original. */
const FAILURES: readonly (readonly [
  code: ErrorCode,
  text: string,
  mended: readonly [number, string, string],
  original: readonly [number, string, string],
])[] = [
  [
    "INVALID_INPUT",
    "Cannot classify the text: it is none",
    [400, "BadRequestException", "Cannot classify the text: it is none"],
    [503, "InternalServerException", "Prediction failed"],
  ],
  [
    "HANDLER_FAILED",
    "Handler failed: boom",
    [503, "InternalServerException", "Prediction failed"],
    [503, "InternalServerException", "Prediction failed"],
  ],
  [
    "HANDLER_FAILED",
    "Handler failed: std::bad_alloc",
    [507, "InternalServerException", "Out of resources"],
    [507, "InternalServerException", "Out of resources"],
  ],
  [
    "WORKER_DIED",
    "Cannot answer the request: it was tried on 2 workers, the last with code 1",
    [500, "InternalServerException", "Worker died."],
    [500, "InternalServerException", "Worker died."],
  ],
  [
    "WORKER_DIED",
    "Cannot answer the request: it was tried on 2 workers, the last with signal SIGKILL",
    [507, "InternalServerException", "Worker died."],
    [507, "InternalServerException", "Worker died."],
  ],
  [
    "QUEUE_FULL",
    "Cannot accept the request: all 100 places in the queue are taken; try again later",
    [
      429,
      "ServiceUnavailableException",
      "Cannot accept the request: all 100 places in the queue are taken; try again later",
    ],
    [
      503,
      "ServiceUnavailableException",
      'Model "echo" has no worker to serve inference request. Please use scale workers API to add workers. If this is a sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize',
    ],
  ],
  [
    "DEADLINE_EXCEEDED",
    "Cannot answer the request: its deadline has passed",
    [504, "RequestTimeoutException", "Cannot answer the request: its deadline has passed"],
    [500, "InternalServerException", "Worker died."],
  ],
  [
    "NOT_SUPPORTED",
    "Cannot explain the prediction: no",
    [501, "InternalServerException", "Cannot explain the prediction: no"],
    [503, "InternalServerException", "Prediction failed"],
  ],
];

for (const [code, text, mended, original] of FAILURES) {
  const answer = (): never => {
    throw new RuntimeError(code, text, { retryAfterMs: 2100 });
  };
  for (const [compat, [status, type, message]] of [
    [undefined, mended],
    ["torchserve", original],
  ] as const) {
    testDoor(
      `${code} (${text.slice(-20)}) is a ${status} ${compat === undefined ? "" : "in the original's manner"}`,
      { models: torchServeModels({ answer, description: { handler: "default" } }), compat },
      async ({ request }) => {
        const response = await request("/predictions/echo", { method: "POST", body: "a" });
        await assertFailure(response, status, type, message);
        assert.equal(response.headers.get("retry-after"), status === 429 ? "3" : null);
        assert.equal(response.headers.get("connection") === "close", compat !== undefined);
      },
    );
  }
}

test("a full queue names the version that was asked for, with the original's stray quote", async () => {
  const answer = (): never => {
    throw new RuntimeError("QUEUE_FULL", "full");
  };
  const models = torchServeModels({ answer });
  const app = createTestApp({ models, compat: "torchserve" });
  const response = await app.request("/predictions/echo/1.0", { method: "POST", body: "a" });
  await assertFailure(
    response,
    503,
    "ServiceUnavailableException",
    /^Model "echo" Version 1\.0" has no worker to serve/,
  );
});

testDoor(
  "what a custom handler says of its input reaches the client in either manner",
  {
    models: torchServeModels({
      answer: () => {
        throw new RuntimeError("INVALID_INPUT", "Mine: wanted an even number");
      },
    }),
    compat: "torchserve",
  },
  async ({ request }) => {
    const response = await request("/predictions/echo", { method: "POST", body: "3" });
    await assertFailure(response, 400, "InternalServerException", "Mine: wanted an even number");
  },
);

testDoor(
  "a model without workers says how to get some; one that starts, what it does",
  (() => {
    const models = torchServeModels({});
    models.register("empty").unloaded("It was scaled to no workers");
    models.register("young").progress("Loading the model");
    return { models };
  })(),
  async ({ request }) => {
    await assertFailure(
      await request("/predictions/empty", { method: "POST", body: "a" }),
      503,
      "ServiceUnavailableException",
      /^Model "empty" has no worker to serve inference request\. Please use scale workers API/,
    );
    const young = await request("/predictions/young", { method: "POST", body: "a" });
    assert.equal(young.headers.get("retry-after"), "1");
    await assertFailure(
      young,
      503,
      "ServiceUnavailableException",
      "Cannot answer yet: the model is starting (Loading the model)",
    );
  },
);

testDoor("a body too large is refused with a sentence", ECHO, async ({ request }) => {
  const init = { method: "POST", body: "a".repeat(20_000) };
  const response = await request("/predictions/echo", init);
  await assertFailure(response, 413, "BadRequestException", /the limit is 10000 bytes/);
});

testDoor(
  "a body too large is refused in the original's manner without a body",
  { ...ECHO, compat: "torchserve" },
  async ({ request }) => {
    const init = { method: "POST", body: "a".repeat(20_000) };
    const response = await request("/predictions/echo", init);
    assert.equal(response.status, 413);
    assert.equal(await response.text(), "");
    assert.equal(response.headers.get("content-type"), null);
    assert.equal(response.headers.get("content-length"), "0");
    assert.equal(response.headers.get("connection"), "close");
  },
);

testDoor("the client's own request id comes back", ECHO, async ({ request }) => {
  const headers = { "x-request-id": "mine-1" };
  const response = await request("/predictions/echo", { headers });
  assert.equal(response.headers.get("x-request-id"), "mine-1");
});

testDoor(
  "with --compat torchserve GET / is not allowed, and unknown paths answer in its shape; POST / stays Hugging Face's",
  { ...ECHO, compat: "torchserve" },
  async ({ request }) => {
    await assertFailure(
      await request("/"),
      405,
      "MethodNotAllowedException",
      "Requested method is not allowed, please refer to API document.",
    );
    await assertFailure(
      await request("/nowhere"),
      404,
      "ResourceNotFoundException",
      "Requested resource is not found, please refer to API document.",
    );
    assert.equal((await request("/", post({ inputs: "a" }))).status, 200);
    const wrong = (await (await request("/", post({}))).json()) as Record<string, unknown>;
    assert.deepEqual(Object.keys(wrong), ["error", "error_type"]);
  },
);

test("a failure before the route answers in the path's own shape", async () => {
  const app = createTestApp(ECHO);
  const headers = { "x-request-timeout-ms": "soon" };
  const own = await app.request("/predictions/echo", { headers });
  await assertFailure(own, 400, "BadRequestException", /^Cannot read the header x-request-timeout/);
  const other = (await (await app.request("/", { headers })).json()) as Record<string, unknown>;
  assert.deepEqual(Object.keys(other), ["error", "error_type"]);
});

testDoor(
  "requests of one key go to one version, others are shared out",
  (() => {
    const models = torchServeModels(
      ...["1.0", "2.0"].map((version) => ({
        version,
        answer: () => ({ kind: "json", value: version }) as const,
      })),
    );
    models.setTraffic("echo", { "1.0": 50, "2.0": 50 });
    return { models };
  })(),
  async ({ request }) => {
    const versionFor = async (path: string, headers: Record<string, string>): Promise<string> =>
      (await request(path, { method: "POST", body: "a", headers })).text();
    const seen = new Set<string>();
    for (let user = 0; user < 20; user++) {
      const headers = { "x-hubserve-sticky": `user-${user}` };
      const version = await versionFor("/predictions/echo", headers);
      assert.equal(await versionFor("/predictions/echo", headers), version);
      assert.equal(await versionFor("/echo/predict", headers), version);
      assert.equal(await versionFor("/predictions/echo/2.0", headers), "2.0");
      seen.add(version);
    }
    assert.deepEqual([...seen].toSorted(), ["1.0", "2.0"]);
  },
);

const PING = { headers: { "content-type": "application/json" } };

async function assertPing(app: ReturnType<typeof createTestApp>, status: number): Promise<void> {
  for (const method of ["GET", "POST", "PUT"]) {
    const response = await app.request("/ping", { ...PING, method });
    assert.equal(response.status, status, method);
    assert.equal(
      await response.text(),
      `{\n  "status": "${status === 200 ? "Healthy" : "Unhealthy"}"\n}\n`,
    );
    assertUncached(response);
  }
  assert.equal((await app.request("/ping", { method: "HEAD" })).status, status);
}

test("/ping is healthy while requests are answered, whatever happens beside", async () => {
  const models = torchServeModels({}, { version: "2.0" });
  const app = createTestApp({ models });
  await assertPing(app, 200);
  const second = models.register("second");
  second.progress("Downloading");
  await assertPing(app, 200);
  models.register("third").unloaded("It has no workers yet");
  await assertPing(app, 200);
  second.failed("It cannot be loaded");
  await assertPing(app, 500);
});

test("/ping is not healthy before the first model is ready, nor while the server shuts down", async () => {
  const starting = createModels();
  const entry = starting.register("echo");
  await assertPing(createTestApp({ models: starting }), 500);
  await assertPing(createTestApp({ models: starting, compat: "torchserve" }), 200);
  await assertPing(createTestApp({ models: createModels() }), 200);
  entry.failed("It cannot be loaded");
  await assertPing(createTestApp({ models: starting }), 500);
  const draining = torchServeModels({});
  (draining.list[0] as ReturnType<typeof draining.register>).draining();
  await assertPing(createTestApp({ models: draining }), 500);
});

async function* pieces(): AsyncGenerator<string | { n: number }> {
  yield "one ";
  yield "two\n";
  yield { n: 3 };
}

for (const compat of MANNERS) {
  testDoor(
    `a stream's pieces follow each other without a frame ${"compat" in compat ? "(original)" : ""}`,
    {
      models: torchServeModels({ answer: () => ({ kind: "stream", chunks: pieces() }) }),
      ...compat,
    },
    async ({ request }) => {
      const headers = { accept: "text/event-stream" };
      const response = await request("/predictions/echo", { method: "POST", body: "a", headers });
      assert.equal(response.headers.get("ts_stream_next"), "true");
      assert.equal(
        response.headers.get("content-type"),
        "compat" in compat ? null : "text/plain; charset=utf-8",
      );
      assert.equal(response.headers.get("content-length"), null);
      assert.equal(await response.text(), 'one two\n{\n  "n": 3\n}');
    },
  );
}

test("a stream's piece is sent before the next one is there", async () => {
  let goOn: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  async function* slow(): AsyncGenerator<string> {
    yield "one";
    await gate;
    yield "two";
  }
  const models = torchServeModels({ answer: () => ({ kind: "stream", chunks: slow() }) });
  await using door = await openSocketDoor({ models });
  const response = await door.request("/predictions/echo", { method: "POST", body: "a" });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  assert.deepEqual(await reader?.read(), { done: false, value: "one" });
  goOn();
  assert.deepEqual(await reader?.read(), { done: false, value: "two" });
  assert.equal((await reader?.read())?.done, true);
});

async function* breaksLater(): AsyncGenerator<string> {
  yield "one";
  throw new RuntimeError("HANDLER_FAILED", "Handler failed: boom");
}

testDoor(
  "a stream that breaks breaks off: the client sees that it is not complete",
  { models: torchServeModels({ answer: () => ({ kind: "stream", chunks: breaksLater() }) }) },
  async ({ request }) => {
    const response = await request("/predictions/echo", { method: "POST", body: "a" });
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
  },
);

const breaksAtOnce: AsyncIterable<string> = {
  [Symbol.asyncIterator]: () => ({
    next: () => Promise.reject(new RuntimeError("INVALID_INPUT", "Cannot stream: no")),
  }),
};

testDoor(
  "a stream that breaks before its first piece has a status to say so",
  { models: torchServeModels({ answer: () => ({ kind: "stream", chunks: breaksAtOnce }) }) },
  async ({ request }) => {
    const response = await request("/predictions/echo", { method: "POST", body: "a" });
    await assertFailure(response, 400, "BadRequestException", "Cannot stream: no");
  },
);

testDoor(
  "credentials do not reach the handler; its two headers are not the client's to say",
  {
    models: torchServeModels({
      answer: ({ headers }) => ({ kind: "json", value: headers }),
    }),
  },
  async ({ request }) => {
    const headers = {
      authorization: "Bearer secret",
      "x-mine": "1",
      explain: "True",
      url_path: "forged",
    };
    const response = await request("/predictions/echo", { headers });
    const told = (await response.json()) as Record<string, string>;
    assert.equal(told["x-mine"], "1");
    assert.ok(!("authorization" in told));
    assert.deepEqual([told["explain"], told["url_path"]], ["False", ""]);
  },
);
