import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import type { InferenceResult, JsonValue } from "../../runtime/inference.ts";
import { createLog, silentLog } from "../../runtime/observe/log.ts";
import { openTracing, traceIdOf, type Tracing } from "../../runtime/observe/trace.ts";
import { readTraceSettings } from "../../runtime/observe/trace-settings.ts";
import { openCollector, treeOf, type Collector } from "../support/otlp-collector.ts";

const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const MODEL = { name: "m", version: "1.0" };

const ANSWER: InferenceResult = {
  output: { kind: "json", value: 1 },
  tokens: 7,
  timings: {
    queueMs: 2,
    inferenceMs: 3,
    stages: { prepareMs: 0.5, waitMs: 0.25, modelMs: 2, batchSize: 4 },
  },
};

async function open(
  collector: Collector,
  env: Readonly<Record<string, string>> = {},
): Promise<Tracing> {
  const tracing = await openTracing(
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...env },
    silentLog(),
  );
  assert.ok(tracing);
  return tracing;
}

function begin(tracing: Tracing, parent?: string): ReturnType<Tracing["begin"]> {
  return tracing.begin({
    name: "POST",
    attributes: { "http.request.method": "POST" },
    parent: parent === undefined ? undefined : { traceparent: parent, tracestate: "a=b" },
    startedAtMs: performance.now(),
  });
}

const OK = { name: "POST /", attributes: { "http.response.status_code": 200 } };

test("an inference is told as a tree, from the queue to what the worker said", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector, {
    OTEL_SERVICE_NAME: "sentiment",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=test,team=a%20b,service.name=other",
  });
  const trace = begin(tracing, PARENT);
  const inference = trace.inference(MODEL);
  inference.begun(123);
  inference.done(ANSWER);
  trace.answered(OK);
  await tracing.close();

  const [server] = collector.spans.filter(({ kind }) => kind === 2);
  assert.ok(server);
  assert.equal(server.name, "POST /");
  assert.equal(server.traceId, "4bf92f3577b34da6a3ce929d0e0e4736");
  assert.equal(server.parentSpanId, "00f067aa0ba902b7");
  assert.equal(server.traceState, "a=b");
  assert.equal(server.attributes["http.response.status_code"], 200);
  assert.equal(server.resource["service.name"], "sentiment");
  assert.equal(server.resource["deployment.environment"], "test");
  assert.equal(server.resource["team"], "a b");
  assert.equal(server.resource["telemetry.sdk.language"], "nodejs");
  assert.deepEqual(treeOf(collector.spans, server), {
    queue: {},
    inference: { handler: { tokenize: {}, batch: {}, model: {} } },
  });
  const [span] = collector.spans.filter(({ name }) => name === "inference");
  assert.ok(span);
  assert.deepEqual(span.attributes, {
    "hubserve.model.name": "m",
    "hubserve.model.version": "1.0",
    "hubserve.worker.pid": 123,
    "hubserve.batch.size": 4,
    "hubserve.tokens": 7,
  });
  assert.equal(inference.context.traceparent, `00-${server.traceId}-${span.spanId}-01`);
  assert.equal(inference.context.tracestate, "a=b");
  const [model] = collector.spans.filter(({ name }) => name === "model");
  assert.ok(model);
  assert.equal(Number(model.endNs - model.startNs), 2e6);
  assert.equal(new Set(collector.spans.map(({ spanId }) => spanId)).size, collector.spans.length);
  for (const { startNs, endNs } of collector.spans) assert.ok(startNs <= endNs);
});

test("a failure in the queue is the queue's, one in the worker is the inference's", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector);
  const trace = begin(tracing);
  trace.inference(MODEL).failed(new RuntimeError("DEADLINE_EXCEEDED", "Cannot wait"));
  const begun = trace.inference(MODEL);
  begun.begun(1);
  begun.failed(new RuntimeError("INVALID_INPUT", "Cannot read what the client said: secret"));
  trace.answered({ ...OK, errorType: "504" });
  await tracing.close();
  const failed = collector.spans.filter(({ status }) => status.code === 2);
  assert.deepEqual(
    failed.map(({ name, attributes, status }) => [name, attributes["error.type"], status.message]),
    [
      ["queue", "DEADLINE_EXCEEDED", "Cannot wait"],
      ["inference", "INVALID_INPUT", undefined],
      ["POST /", "504", undefined],
    ],
  );
});

test("a stream's spans end with its last item, or when its reader leaves", async () => {
  for (const leaves of [false, true]) {
    await using collector = await openCollector();
    const tracing = await open(collector);
    const trace = begin(tracing);
    const inference = trace.inference(MODEL);
    inference.begun(1);
    const { output } = inference.done({ ...ANSWER, output: { kind: "stream", chunks: count() } });
    trace.hold();
    trace.answered(OK);
    assert.ok(output.kind === "stream");
    const seen: JsonValue[] = [];
    for await (const chunk of output.chunks) {
      seen.push(chunk);
      if (leaves) break;
    }
    const atMs = Date.now();
    trace.release();
    trace.release(); // whoever says it twice ends nothing twice
    await tracing.close();
    assert.deepEqual(seen, leaves ? [1] : [1, 2]);
    const ended = collector.spans.filter(({ name }) => ["inference", "POST /"].includes(name));
    assert.equal(ended.length, 2);
    for (const { endNs, startNs } of ended) {
      assert.ok(endNs > startNs);
      assert.ok(Number(endNs / 1_000_000n) <= atMs + 1000);
    }
  }
});

async function* count(): AsyncGenerator<JsonValue> {
  yield 1;
  yield 2;
}

test("a list without end has spans for its first inferences only", async () => {
  await using collector = await openCollector();
  const tracing = await open(collector);
  const trace = begin(tracing);
  for (let i = 0; i < 100; i++) {
    const inference = trace.inference(MODEL);
    assert.equal(inference.done(ANSWER), ANSWER);
  }
  trace.answered(OK);
  await tracing.close();
  assert.equal(collector.spans.filter(({ name }) => name === "inference").length, 32);
});

describe("what is not sampled is not sent, and handlers are told so", () => {
  for (const [why, parent, env] of [
    ["the client says so", `${PARENT.slice(0, -2)}00`, {}],
    ["always_off", undefined, { OTEL_TRACES_SAMPLER: "always_off" }],
    [
      "a ratio of 0",
      undefined,
      { OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" },
    ],
  ] as const) {
    test(why, async () => {
      await using collector = await openCollector();
      const tracing = await open(collector, env);
      const trace = begin(tracing, parent);
      const inference = trace.inference(MODEL);
      assert.match(inference.context.traceparent, /-00$/);
      assert.equal(inference.done(ANSWER), ANSWER);
      trace.answered(OK);
      await tracing.close();
      assert.deepEqual(collector.spans, []);
    });
  }
});

test("headers go with the spans, and what goes wrong is said once in our own log", async () => {
  await using collector = await openCollector(400);
  const lines: string[] = [];
  const tracing = await openTracing(
    {
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/own/path`,
      OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%3Db,x-other=1",
    },
    createLog({ write: (line) => lines.push(line) }),
  );
  assert.ok(tracing);
  begin(tracing).answered(OK);
  await tracing.close();
  assert.equal(collector.requests[0]?.path, "/own/path");
  assert.equal(collector.requests[0]?.headers["x-key"], "a=b");
  const warnings = lines.filter((line) => line.includes("WARN"));
  assert.equal(warnings.length, 1, lines.join("\n"));
  assert.match(warnings[0] ?? "", /Cannot send traces to http:.*; 1 spans are lost/);
  assert.doesNotMatch(lines.join("\n"), /a=b|\n\s+at /);
});

const SETTINGS: readonly (readonly [
  why: string,
  env: Readonly<Record<string, string>>,
  url: string | undefined,
  warning: RegExp | undefined,
])[] = [
  ["nothing is set", {}, undefined, undefined],
  ["an empty variable", { OTEL_EXPORTER_OTLP_ENDPOINT: " " }, undefined, undefined],
  [
    "a base",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318" },
    "http://c:4318/v1/traces",
    undefined,
  ],
  [
    "a base with a path",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "https://c/otlp/" },
    "https://c/otlp/v1/traces",
    undefined,
  ],
  [
    "an address of its own, as it is",
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c/x", OTEL_EXPORTER_OTLP_ENDPOINT: "http://d" },
    "http://c/x",
    undefined,
  ],
  ["no URL", { OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }, undefined, /no URL such as/],
  [
    "disabled",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_SDK_DISABLED: "TRUE" },
    undefined,
    undefined,
  ],
  [
    "no exporter",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_TRACES_EXPORTER: "none" },
    undefined,
    undefined,
  ],
  [
    "another protocol",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
    "http://c/v1/traces",
    /http\/json/,
  ],
  [
    "a sampler that does not exist",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_TRACES_SAMPLER: "half" },
    "http://c/v1/traces",
    /found "half"/,
  ],
  [
    "a ratio beyond 1",
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://c",
      OTEL_TRACES_SAMPLER: "traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "2",
    },
    "http://c/v1/traces",
    /from 0 to 1/,
  ],
  [
    "attributes that are none",
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c", OTEL_RESOURCE_ATTRIBUTES: "team" },
    "http://c/v1/traces",
    /OTEL_RESOURCE_ATTRIBUTES/,
  ],
];
for (const [why, env, url, warning] of SETTINGS) {
  test(`the settings of traces: ${why}`, () => {
    const { settings, warnings } = readTraceSettings(env);
    assert.equal(settings?.url, url);
    if (warning === undefined) assert.deepEqual(warnings, []);
    else assert.match(warnings.join("\n"), warning);
  });
}

test("credentials in the endpoint are not shown", () => {
  const { settings } = readTraceSettings({
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://me:pass@c:1?key=2",
  });
  assert.equal(settings?.shownUrl, "http://c:1/v1/traces");
});

test("traceIdOf() reads what has been checked", () => {
  assert.equal(traceIdOf({ traceparent: PARENT }), "4bf92f3577b34da6a3ce929d0e0e4736");
  assert.equal(traceIdOf({}), undefined);
});
