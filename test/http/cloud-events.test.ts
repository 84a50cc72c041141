/**
 * Events made and read by the `cloudevents` package, which knows nothing of hubserve.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CloudEvent, HTTP, type Message } from "cloudevents";

import { post, testDoor, type DoorOptions } from "../support/app-matrix.ts";

const PREDICT = "/v1/models/owner/name:predict";
const BODY = { instances: ["a", "b"] };

const EVENT = new CloudEvent({
  id: "question-1",
  source: "/somewhere",
  type: "com.example.question",
  data: BODY,
});

/** What the package puts on the wire, as `fetch` takes it. */
function toRequest({ headers, body }: Message): RequestInit {
  const pairs = Object.entries(headers).map(([name, value]) => [name, String(value)]);
  return { method: "POST", headers: Object.fromEntries(pairs), body: String(body) };
}

/** The package reads an answer, and checks it. */
async function read(response: Response): Promise<CloudEvent<unknown>> {
  const body = await response.text();
  assert.equal(response.status, 200, body);
  const event = HTTP.toEvent({ headers: Object.fromEntries(response.headers), body });
  assert.ok(event instanceof CloudEvent);
  assert.ok(event.validate());
  return event;
}

const answersInOrder: DoorOptions = {
  answer: () => ({ kind: "json", value: [{ label: "x" }, { label: "y" }] }),
};
const PREDICTIONS = { predictions: [{ label: "x" }, { label: "y" }] };

for (const mode of ["binary", "structured"] as const) {
  testDoor(`an event in ${mode} mode is answered in kind`, answersInOrder, async ({ request }) => {
    const response = await request(PREDICT, toRequest(HTTP[mode](EVENT)));
    const type = response.headers.get("content-type") ?? "";
    assert.equal(/cloudevents\+json/.test(type), mode === "structured", type);
    assert.equal(response.headers.has("ce-id"), mode === "binary");
    const event = await read(response);
    assert.deepEqual(event.data, PREDICTIONS);
    assert.equal(event.specversion, "1.0");
    assert.equal(event.type, "io.kserve.inference.response");
    assert.equal(event.source, "io.kserve.inference.owner/name");
    assert.match(event.id, /^[0-9a-f-]{36}$/);
    assert.ok(Math.abs(Date.parse(event.time ?? "") - Date.now()) < 3_600_000);
    const other = await read(await request(PREDICT, toRequest(HTTP[mode](EVENT))));
    assert.notEqual(other.id, event.id);
  });
}

testDoor(
  "data in base64 is read, and JSON that came as text",
  answersInOrder,
  async ({ request }) => {
    const json = JSON.stringify(BODY);
    const { data: _data, ...attributes } = EVENT.toJSON();
    const structured = { "content-type": "application/cloudevents+json; charset=utf-8" };
    for (const content of [
      { data_base64: Buffer.from(json).toString("base64") },
      { data: json, datacontenttype: "text/plain" },
      { data: BODY },
    ]) {
      const event = await read(
        await request(PREDICT, post({ ...attributes, ...content }, structured)),
      );
      assert.deepEqual(event.data, PREDICTIONS);
    }
  },
);

testDoor("what is no event is answered with none", answersInOrder, async ({ request }) => {
  const response = await request(PREDICT, post(BODY));
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.deepEqual(
    [...response.headers.keys()].filter((name) => name.startsWith("ce-")),
    [],
  );
  assert.deepEqual(await response.json(), PREDICTIONS);
});

const ATTRIBUTES = { specversion: "1.0", id: "1", source: "s", type: "t" };

const BROKEN: readonly (readonly [body: unknown, sentence: RegExp])[] = [
  [{ ...ATTRIBUTES, id: "", data: BODY }, /"id" is missing or wrong/],
  [{ ...ATTRIBUTES, source: 5, data: BODY }, /"source" is missing or wrong/],
  [{ ...ATTRIBUTES, specversion: "0.3", data: BODY }, /"specversion" .* wanted "1\.0"/],
  [ATTRIBUTES, /neither "data" nor "data_base64"/],
  [{ ...ATTRIBUTES, data: BODY, data_base64: "e30=" }, /both "data" and "data_base64"/],
  [{ ...ATTRIBUTES, data_base64: "???" }, /"data_base64" is not base64/],
  [{ ...ATTRIBUTES, data_base64: 1 }, /"data_base64" is no string/],
  [{ ...ATTRIBUTES, data: "not json" }, /not valid JSON/],
  [[EVENT], /no JSON object/],
];

testDoor("a broken event is a 400 that says what is wrong", answersInOrder, async ({ request }) => {
  const structured = { "content-type": "application/cloudevents+json" };
  for (const [body, sentence] of BROKEN) {
    const response = await request(PREDICT, post(body, structured));
    const { error } = (await response.json()) as { error: string };
    assert.equal(response.status, 400, error);
    assert.match(error, sentence);
  }
  const { headers, body } = toRequest(HTTP.binary(EVENT)) as {
    headers: Record<string, string>;
    body: string;
  };
  for (const name of ["ce-id", "ce-source", "ce-type", "ce-specversion"]) {
    const { [name]: _gone, ...rest } = headers;
    const response = await request(PREDICT, { method: "POST", headers: rest, body });
    assert.equal(response.status, 400);
    assert.match(await response.text(), new RegExp(name));
  }
});

testDoor("batches and other formats are a 415", answersInOrder, async ({ request }) => {
  for (const type of ["application/cloudevents-batch+json", "application/cloudevents+xml"]) {
    const response = await request(PREDICT, post([EVENT], { "content-type": type }));
    assert.equal(response.status, 415);
    assert.match(await response.text(), /wanted one event/);
  }
});

test("the attributes of an answer fit into headers whatever the model is called", async () => {
  const { renderEvent } = await import("../../runtime/http/protocols/cloud-events.ts");
  const attributes = { id: "1", model: "größe 100%\n", time: new Date(0) };
  const { headers, body } = renderEvent("binary", {}, attributes);
  for (const value of Object.values(headers)) assert.match(value, /^[\x21-\x7e]+$/);
  assert.ok(typeof body === "string");
  const event = HTTP.toEvent({ headers: { ...headers }, body });
  assert.ok(event instanceof CloudEvent);
  assert.equal(
    decodeURIComponent(decodeURIComponent(event.source)),
    "io.kserve.inference.größe 100%\n",
  );
});
