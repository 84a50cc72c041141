/**
 * The Open Inference Protocol's `/v2` routes around inference: server and model health, metadata, errors.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { RuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import type { ModelDescription } from "../../runtime/inference.ts";
import { createTestApp, openSocketDoor, post, testDoor } from "../support/app-matrix.ts";
import { assertConforms, readError } from "../support/open-inference.ts";
import { torchServeModels } from "../support/torchserve.ts";

const CLASSIFIER: Partial<ModelDescription> = {
  handler: "default",
  task: "text-classification",
  dtype: "q8",
  modelType: "bert",
  signature: {
    inputs: [{ name: "input_ids", datatype: "INT64", shape: [-1, -1] }],
    outputs: [{ name: "logits", datatype: "FP32", shape: [-1, 2] }],
  },
};

const SEVERAL = {
  models: torchServeModels(
    { name: "m", description: CLASSIFIER },
    { name: "m", version: "2.0", description: CLASSIFIER },
    { name: "owner/name" },
  ),
};

const BODY = { inputs: [{ name: "text", shape: [1], datatype: "BYTES", data: ["a"] }] };

testDoor("/v2 says who answers and what it can", SEVERAL, async ({ request }) => {
  for (const path of ["/v2", "/v2/"]) {
    const response = await request(path);
    assert.equal(response.status, 200);
    const body: unknown = await response.json();
    assertConforms(body, "metadata_server_response");
    assert.deepEqual(body, {
      name: "hubserve",
      version: "0.0.0",
      extensions: ["binary_tensor_data", "model_repository"],
    });
  }
});

testDoor("health says whether the server lives and any model answers", SEVERAL, async (door) => {
  for (const [path, body] of [
    ["/v2/health/live", { live: true }],
    ["/v2/health/ready", { ready: true, live: true }],
    ["/v2/models/m/ready", { name: "m", ready: true }],
    ["/v2/models/m/versions/2.0/ready", { name: "m", ready: true }],
    ["/v2/models/owner/name/ready", { name: "owner/name", ready: true }],
  ] as const) {
    const response = await door.request(path);
    assert.equal(response.status, 200, path);
    assert.deepEqual(await response.json(), body);
    const head = await door.request(path, { method: "HEAD" });
    assert.equal(head.status, 200, path);
    assert.equal(await head.text(), "");
  }
});

const loading = createModels();
loading.register("m").progress("Downloading owner/name");

testDoor(
  "while a model loads health is 503, in words",
  { models: loading },
  async ({ request }) => {
    assert.equal((await request("/v2/health/live")).status, 200);
    for (const method of ["GET", "HEAD"]) {
      const server = await request("/v2/health/ready", { method });
      assert.equal(server.status, 503);
      if (method === "GET") assert.deepEqual(await server.json(), { ready: false, live: true });
    }
    const model = await request("/v2/models/m/ready");
    assert.equal(model.status, 503);
    assert.deepEqual(await model.json(), {
      name: "m",
      ready: false,
      error: "Cannot answer yet: the model is starting (Downloading owner/name)",
    });
    const metadata = await request("/v2/models/m");
    assert.equal(metadata.headers.get("retry-after"), "1");
    assert.match(await readError(metadata, 503), /^Cannot describe the model yet: it is starting/);
    const infer = await request("/v2/models/m/infer", post(BODY));
    assert.equal(infer.headers.get("retry-after"), "1");
    assert.match(await readError(infer, 503), /^Cannot answer yet/);
  },
);

testDoor("/v2/models names each model once", SEVERAL, async ({ request }) => {
  const response = await request("/v2/models");
  assert.deepEqual(await response.json(), { models: ["m", "owner/name"] });
});

testDoor(
  "a task's model is described by its texts, with its graph beside",
  SEVERAL,
  async (door) => {
    for (const path of ["/v2/models/m", "/v2/models/m/versions/2.0", "/v2/models/m/"]) {
      const response = await door.request(path);
      assert.equal(response.status, 200);
      const body: unknown = await response.json();
      assertConforms(body, "metadata_model_response");
      assert.deepEqual(body, {
        name: "m",
        versions: ["1.0", "2.0"],
        platform: "onnxruntime",
        inputs: [{ name: "text", datatype: "BYTES", shape: [-1] }],
        outputs: [{ name: "predict", datatype: "BYTES", shape: [-1] }],
        properties: {
          task: "text-classification",
          dtype: "q8",
          model_type: "bert",
          graph_inputs: '[{"name":"input_ids","datatype":"INT64","shape":[-1,-1]}]',
          graph_outputs: '[{"name":"logits","datatype":"FP32","shape":[-1,2]}]',
        },
      });
    }
  },
);

test("metadata has no keys for what nobody knows, and a graph's own where there is no task", async () => {
  const { task: _task, ...graph } = CLASSIFIER;
  for (const [description, wanted] of [
    [{}, { platform: "nodejs", properties: {} }],
    [
      graph,
      {
        platform: "onnxruntime",
        ...CLASSIFIER.signature,
        properties: { dtype: "q8", model_type: "bert" },
      },
    ],
    [
      { handler: "default", task: "question-answering" },
      {
        platform: "onnxruntime",
        inputs: [
          { name: "question", datatype: "BYTES", shape: [-1] },
          { name: "context", datatype: "BYTES", shape: [-1] },
        ],
        outputs: [{ name: "predict", datatype: "BYTES", shape: [-1] }],
        properties: { task: "question-answering" },
      },
    ],
    [
      { handler: "default", task: "feature-extraction" },
      {
        platform: "onnxruntime",
        inputs: [{ name: "text", datatype: "BYTES", shape: [-1] }],
        outputs: [{ name: "predict", datatype: "FP32", shape: [-1, -1] }],
        properties: { task: "feature-extraction" },
      },
    ],
    [
      { handler: "default", task: "automatic-speech-recognition" },
      {
        platform: "onnxruntime",
        inputs: [{ name: "audio", datatype: "BYTES", shape: [-1] }],
        outputs: [{ name: "predict", datatype: "BYTES", shape: [-1] }],
        properties: { task: "automatic-speech-recognition" },
      },
    ],
  ] as const) {
    const models = torchServeModels({ name: "m", description });
    const response = await createTestApp({ models }).request("/v2/models/m");
    const body: unknown = await response.json();
    assertConforms(body, "metadata_model_response");
    assert.deepEqual(body, { name: "m", versions: ["1.0"], ...wanted });
  }
});

testDoor("what is not there is a 404 with a sentence", SEVERAL, async ({ request }) => {
  for (const [path, pattern] of [
    ["/v2/models/x", /^Cannot find the model "x": this server has "m", "owner\/name"$/],
    ["/v2/models/x/ready", /^Cannot find the model "x"/],
    ["/v2/models/m/versions/9", /^Cannot find version 9 of the model "m": it has 1\.0, 2\.0$/],
    ["/v2/models/m/versions/9/ready", /^Cannot find version 9/],
    ["/v2/models/m/stats", /^Cannot find the model "m\/stats"/],
    [
      "/v2/nothing",
      /^Cannot answer: there is no GET \/v2\/nothing here; the Open Inference Protocol has/,
    ],
    ["/v2/m/predict", /^Cannot answer: there is no GET/], // not TorchServe's
    ["/v2/repository/models/m/delete", /^Cannot answer: there is no GET/],
  ] as const)
    assert.match(await readError(await request(path), 404), pattern, path);
  const infer = await request("/v2/models/x/versions/1/infer", post(BODY));
  assert.match(await readError(infer, 404), /^Cannot find the model "x"/);
});

testDoor("another method is a 405 that names the right one", SEVERAL, async ({ request }) => {
  for (const [method, path, allow] of [
    ["GET", "/v2/models/m/infer", "POST"],
    ["PUT", "/v2/models/owner%2Fname/infer", "POST"],
    ["POST", "/v2/models/m", "GET, HEAD"],
    ["DELETE", "/v2/models/m/ready", "GET, HEAD"],
    ["POST", "/v2/health/ready", "GET, HEAD"],
    ["POST", "/v2", "GET, HEAD"],
    ["GET", "/v2/repository/index", "POST"],
    ["GET", "/v2/repository/models/m/load", "POST"],
  ] as const) {
    const response = await request(path, { method });
    assert.equal(response.headers.get("allow"), allow, path);
    assert.match(await readError(response, 405), new RegExp(`takes ${allow}, not ${method}$`));
  }
});

const FAILURES: readonly (readonly [ErrorCode, number])[] = [
  ["INVALID_INPUT", 400],
  ["QUEUE_FULL", 429],
  ["CANCELLED", 499],
  ["HANDLER_FAILED", 500],
  ["WORKER_DIED", 500],
  ["NOT_SUPPORTED", 501],
  ["NOT_READY", 503],
  ["DEADLINE_EXCEEDED", 504],
];

for (const [code, status] of FAILURES) {
  const fail = (): never => {
    throw new RuntimeError(code, "Cannot do it: a reason", { retryAfterMs: 2500 });
  };
  testDoor(`a model's ${code} is a ${status}`, { answer: fail }, async ({ request }) => {
    const response = await request("/v2/models/owner/name/infer", post(BODY));
    const wanted = status === 429 || status === 503 ? "3" : null;
    assert.equal(response.headers.get("retry-after"), wanted);
    assert.equal(await readError(response, status), "Cannot do it: a reason");
  });
}

testDoor(
  "a mistake of the server's own says nothing of it",
  {
    answer: () => {
      throw new TypeError("secret");
    },
  },
  async ({ request }) => {
    const response = await request("/v2/models/owner/name/infer", post(BODY));
    const error = await readError(response, 500);
    assert.equal(error, "Cannot answer the request: the server made a mistake");
  },
);

testDoor("a body beyond the limit is a 413", { maxBodyBytes: 50 }, async ({ request }) => {
  const response = await request("/v2/models/owner/name/infer", post(BODY));
  assert.match(await readError(response, 413), /the limit is 50 bytes \(--max-body-size\)$/);
});

testDoor("a compressed body is a 415", {}, async ({ request }) => {
  const response = await request(
    "/v2/models/owner/name/infer",
    post(BODY, { "content-encoding": "gzip" }),
  );
  assert.match(await readError(response, 415), /Content-Encoding is "gzip"/);
});

test("requests are shared out by weight, stickily, and say which version answered", async () => {
  const models = torchServeModels({ name: "m" }, { name: "m", version: "2.0" });
  models.setTraffic("m", { "1.0": 50, "2.0": 50 });
  const app = createTestApp({ models });
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const init = post(BODY, { "x-hubserve-sticky": `user ${i % 10}` });
    const response = await app.request("/v2/models/m/infer", init);
    const { model_version } = (await response.json()) as { model_version: string };
    seen.add(`${i % 10} ${model_version}`);
  }
  assert.equal(seen.size, 10); // each user one version
  assert.equal(new Set([...seen].map((each) => each.split(" ")[1])).size, 2);
  const chosen = await app.request("/v2/models/m/versions/2.0/infer", post(BODY));
  assert.equal(((await chosen.json()) as { model_version: string }).model_version, "2.0");
});

test("a client that leaves takes its request with it", async () => {
  let left: unknown;
  const entered = withResolvers();
  const ended = withResolvers();
  await using door = await openSocketDoor({
    answer: (_request, { signal }) =>
      new Promise((_resolve, reject) => {
        entered.resolve();
        signal.addEventListener("abort", () => {
          left = signal.reason;
          ended.resolve();
          reject(new RuntimeError("CANCELLED", "Cannot answer: the client has left"));
        });
      }),
  });
  const client = new AbortController();
  const { signal } = client;
  const asked = door.request("/v2/models/owner/name/infer", { ...post(BODY), signal });
  asked.catch(() => undefined);
  await entered.promise;
  client.abort();
  await ended.promise;
  assert.ok(left instanceof DOMException);
});

/** `Promise.withResolvers` is not in Node 20. */
function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((yes) => (resolve = yes));
  return { promise, resolve };
}
