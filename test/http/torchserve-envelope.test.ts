/**
 * TorchServe's envelopes on its routes: what goes in, what comes out, to the byte.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import type { InferenceRequest, Media } from "../../runtime/inference.ts";
import {
  MOST_INSTANCES,
  openEnvelope,
  withoutEnvelope,
  type Sender,
} from "../../runtime/http/protocols/torchserve-envelope.ts";
import { createTestApp, post, testDoor, type Answer } from "../support/app-matrix.ts";
import { assertFailure, torchServeModels } from "../support/torchserve.ts";

const SENDER: Sender = {
  kind: "predict",
  isDefault: true,
  requestId: "own-id",
  model: "bert",
  version: "2.0",
};

/** Answers as text classification does; the label is the text's first word. */
const classify: Answer = ({ data, kind }) => {
  const text = String(data["inputs"]);
  if (text === "boom") throw new RuntimeError("INVALID_INPUT", "Cannot classify: boom");
  if (kind === "explain")
    return { kind: "json", value: { words: [text], importances: [0], delta: 0, extra: 1 } };
  return { kind: "json", value: [{ label: text.split(" ")[0] ?? "", score: 0.9 }] };
};

const DEFAULT = { handler: "default", task: "text-classification" } as const;

const modelOf = (envelope: "body" | "json" | "kserve" | "kservev2") =>
  torchServeModels({
    name: "bert",
    version: "2.0",
    answer: classify,
    description: DEFAULT,
    envelope,
  });

testDoor(
  "json: instances in, predictions out on one line, as json.dumps prints it",
  { models: modelOf("json") },
  async ({ request }) => {
    const instances = ["Good day", { data: "Bad day" }, { b64: btoa("Ugly day") }];
    const response = await request("/predictions/bert", post({ instances }));
    assert.equal(await response.text(), '{"predictions": ["Good", "Bad", "Ugly"]}');
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.match(response.headers.get("x-inference-time") ?? "", /^2\.5$/);
  },
);

testDoor(
  "kserve: instances in, predictions or explanations out",
  { models: modelOf("kserve") },
  async ({ request }) => {
    const body = post({ instances: [{ data: "Good day" }, { data: "Bad day", target: 0 }] });
    const predicted = await request("/predictions/bert/2.0", body);
    assert.equal(await predicted.text(), '{\n  "predictions": [\n    "Good",\n    "Bad"\n  ]\n}');
    const explained = await request("/explanations/bert", body);
    const { explanations } = (await explained.json()) as { explanations: unknown[] };
    assert.deepEqual(
      explanations.map((each) => (each as { words: unknown }).words),
      [["Good day"], ["Bad day"]],
    );
  },
);

testDoor(
  "kservev2: one output for each input under its name, keys in the original's order",
  { models: modelOf("kservev2") },
  async ({ request }) => {
    const inputs = [
      { name: "a", shape: [-1], datatype: "BYTES", data: ["Good day"] },
      { name: "b", shape: [1], datatype: "BYTES", data: ["Bad day", "unread"] },
    ];
    const response = await request("/predictions/bert", post({ id: "mine", inputs }));
    assert.equal(
      await response.text(),
      JSON.stringify(
        {
          id: "mine",
          model_name: "bert",
          model_version: "2.0",
          outputs: [
            { name: "a", datatype: "BYTES", data: ["Good"], shape: [1] },
            { name: "b", datatype: "BYTES", data: ["Bad"], shape: [1] },
          ],
        },
        null,
        2,
      ),
    );
    const headers = { "x-request-id": "r-7" };
    const own = await request("/predictions/bert", post({ inputs }, headers));
    assert.equal(((await own.json()) as { id: string }).id, "r-7", "never another client's");
  },
);

testDoor(
  "one instance that fails is the whole answer, in TorchServe's shape",
  { models: modelOf("kserve") },
  async ({ request }) => {
    const bad = post({ instances: [{ data: "Good" }, { data: "boom" }] });
    await assertFailure(
      await request("/predictions/bert", bad),
      400,
      "BadRequestException",
      "Cannot classify: boom",
    );
    for (const body of [{ inputs: "x" }, { instances: [] }, { instances: "x" }, [1], "text"]) {
      await assertFailure(
        await request("/predictions/bert", post(body)),
        400,
        "BadRequestException",
        /^Cannot open the envelope kserve, in which this model's requests come: wanted /,
      );
    }
  },
);

test("in the original's manner a body that is no envelope is a failed prediction, without a type", async () => {
  const app = createTestApp({ models: modelOf("kserve"), compat: "torchserve" });
  const good = await app.request("/predictions/bert", post({ instances: [{ data: "Good" }] }));
  assert.equal(good.headers.get("content-type"), null);
  const explained = await app.request("/explanations/bert", post({ instances: ["Good"] }));
  assert.ok(!(await explained.text()).includes("extra"), "nothing but what the original says");
  const bad = await app.request("/predictions/bert", post({ nothing: 1 }));
  await assertFailure(bad, 503, "InternalServerException", "Prediction failed");
});

test("an envelope of many is asked a few at a time, in order, and no longer once one has failed", async () => {
  let [running, most, asked] = [0, 0, 0];
  const answer: Answer = async ({ data }, { signal }) => {
    most = Math.max(most, ++running);
    asked++;
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    if (data["inputs"] === "stop") throw new RuntimeError("INVALID_INPUT", "stop");
    signal.throwIfAborted();
    return { kind: "json", value: [{ label: String(data["inputs"]) }] };
  };
  const models = torchServeModels({ answer, description: DEFAULT, envelope: "kserve" });
  const app = createTestApp({ models });
  const instances = Array.from({ length: 200 }, (_, index) => `n${index}`);
  const response = await app.request("/predictions/echo", post({ instances }));
  assert.deepEqual(await response.json(), { predictions: instances });
  assert.equal(most, 32);
  asked = 0;
  const stopped = await app.request(
    "/predictions/echo",
    post({ instances: ["stop", ...instances] }),
  );
  assert.equal(stopped.status, 400);
  assert.ok(asked < 200, `${asked} were asked`);
});

test("a file or a stream does not fit into an envelope", async () => {
  const answer: Answer = () => ({
    kind: "media",
    media: { bytes: new Uint8Array([1]), contentType: "image/png" },
  });
  const models = torchServeModels({ answer, envelope: "json" });
  const response = await createTestApp({ models }).request(
    "/predictions/echo",
    post({ instances: ["a"] }),
  );
  await assertFailure(
    response,
    501,
    "InternalServerException",
    "Cannot put the answer into an envelope: it is a file, wanted JSON",
  );
});

test("body: the handler is given what is in data or in the body, and nothing beside it", async () => {
  const seen: InferenceRequest[] = [];
  const answer: Answer = (request) => (seen.push(request), { kind: "json", value: "ok" });
  const models = torchServeModels({ answer, envelope: "body" });
  const app = createTestApp({ models });
  const form = { method: "POST", body: new URLSearchParams({ data: "x", other: "y" }) };
  assert.equal(await (await app.request("/predictions/echo", form)).text(), "ok");
  await app.request("/predictions/echo", post({ text: "a" }));
  assert.deepEqual(
    seen.map(({ data }) => data["inputs"]),
    ["x", { text: "a" }],
  );
  assert.ok(!("other" in (seen[0]?.data ?? {})));
  assert.deepEqual(withoutEnvelope({ only: 1 }), { only: 1 });
});

test("on other routes there is no envelope", async () => {
  const app = createTestApp({ models: modelOf("kserve") });
  const response = await app.request("/", post({ inputs: "Good day" }));
  assert.deepEqual(await response.json(), [{ label: "Good", score: 0.9 }]);
});

test("openEnvelope() reads bytes that nobody called JSON, and b64 under a name", () => {
  const bytes = new TextEncoder().encode(
    '{"instances": [{"image": {"b64": "iVBORw0KGgo="}, "k": 1}]}',
  );
  const opened = openEnvelope("json", { body: { bytes, contentType: "" } }, SENDER);
  const [row] = opened?.rows ?? [];
  assert.equal(row?.["k"], 1);
  assert.deepEqual((row?.["image"] as Media | undefined)?.contentType, "image/png");
  assert.throws(() => openEnvelope("json", { body: { instances: [{ b64: "§" }] } }, SENDER), {
    message: /"b64" is no base64$/,
  });
});

test("openEnvelope() says what numpy would say of the answers", () => {
  const inputs = [{ name: "a", datatype: "FP32", data: [1, 2] }];
  const opened = openEnvelope("kservev2", { body: { inputs } }, SENDER);
  assert.deepEqual(opened?.rows, [{ data: [1, 2] }]);
  const outputOf = (answer: never): unknown =>
    (JSON.parse(opened?.seal([answer]) ?? "") as { outputs: unknown[] }).outputs[0];
  for (const [answer, datatype, data] of [
    [[1, [2, 3]], "INT64", [1, 2, 3]],
    [[0.5, 1], "FP64", [0.5, 1]],
    [true, "BOOL", [true]],
    [["a", 1], "BYTES", ["a", "1"]],
    [{ a: 1 }, "BYTES", [{ a: 1 }]],
    [[], "FP64", []],
  ] as const) {
    // Proof of the cast: all of them are JSON.
    assert.deepEqual(outputOf(answer as never), {
      name: "a",
      datatype,
      data,
      shape: [data.length],
    });
  }
});

test("openEnvelope() bounds what one request may ask for", () => {
  const instances = Array.from({ length: MOST_INSTANCES + 1 }, () => "x");
  assert.throws(() => openEnvelope("kserve", { body: { instances } }, SENDER), {
    code: "INVALID_INPUT",
    message: /"instances" has 1025 elements, wanted at most 1024$/,
  });
  for (const inputs of [[1], [{ name: "a" }], [{ name: "a", datatype: "BYTES", data: [1] }]]) {
    assert.throws(() => openEnvelope("kservev2", { body: { inputs } }, SENDER), {
      code: "INVALID_INPUT",
      message: /inputs\[0\]/,
    });
  }
});
