/**
 * Traces of the real program, as a collector sees them: across HTTP, gRPC and the wall to the worker, until the last span.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { modelPath } from "../support/goldens.ts";
import { connect, grpcTargetOf, texts } from "../support/grpc.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";
import { openCollector, treeOf, type CollectedSpan } from "../support/otlp-collector.ts";

const ODD_JOBS = "test/fixtures/repositories/odd-jobs";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, tracestate: "vendor=1" };
const WATCH = fileURLToPath(new URL("../fixtures/loaded-packages.mjs", import.meta.url));

async function serve(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Hubserve> {
  const options = { OTEL_BSP_SCHEDULE_DELAY: "50", NODE_OPTIONS: `--import ${WATCH}`, ...env };
  const server = await startHubserve({ args: [...args, "--workers", "1"], env: options });
  await server.line(/Ready after/);
  return server;
}

async function end(server: Hubserve): Promise<readonly string[]> {
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
  return server.lines.filter((line) => line.includes("LOADED by"));
}

function named(spans: readonly CollectedSpan[], name: string): CollectedSpan {
  const [span] = spans.filter((each) => each.name === name);
  assert.ok(span, `${name} among ${spans.map((each) => each.name).join(", ")}`);
  return span;
}

test("a request is traced from its client to the model's run, and its answer says how long that took", async () => {
  await using collector = await openCollector();
  await using server = await serve([modelPath("seqcls-bert-2way"), "--dtype", "fp32"], {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_SERVICE_NAME: "sentiment",
    OTEL_EXPORTER_OTLP_HEADERS: "x-team=blue",
  });
  const response = await server.post("I love you", {
    headers: PARENT,
    path: "/predict?top_k=2",
  });
  assert.equal(response.status, 200);
  assert.match(
    response.headers.get("server-timing") ?? "",
    /^queue;dur=[\d.]+, tokenize;dur=[\d.]+, batch;dur=[\d.]+, model;dur=[\d.]+, inference;dur=[\d.]+, total;dur=[\d.]+$/,
  );
  assert.match(response.headers.get("x-compute-tokens") ?? "", /^[1-9]\d*$/);
  assert.match(
    response.headers.get("traceparent") ?? "",
    new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`),
  );

  const [root] = await collector.waitFor("POST /predict");
  assert.ok(root);
  assert.equal(root.parentSpanId, "00f067aa0ba902b7");
  assert.equal(root.traceState, "vendor=1");
  assert.equal(root.resource["service.name"], "sentiment");
  assert.equal(collector.requests[0]?.headers["x-team"], "blue");
  const { port } = new URL(server.url);
  const { "user_agent.original": _, ...attributes } = root.attributes;
  assert.deepEqual(attributes, {
    "http.request.method": "POST",
    "http.response.status_code": 200,
    "http.route": "/predict",
    "server.address": "localhost",
    "server.port": Number(port),
    "url.path": "/predict",
    "url.scheme": "http",
  });
  assert.deepEqual(treeOf(collector.spans, root), {
    queue: {},
    inference: { handler: { tokenize: {}, batch: {}, model: {} } },
  });
  const inference = named(collector.spans, "inference");
  assert.equal(inference.attributes["hubserve.model.name"], "seqcls-bert-2way");
  assert.equal(inference.attributes["hubserve.batch.size"], 1);
  assert.equal(
    inference.attributes["hubserve.tokens"],
    Number(response.headers.get("x-compute-tokens")),
  );
  assert.notEqual(inference.attributes["hubserve.worker.pid"], server.pid);
  for (const span of collector.spans) {
    assert.equal(span.traceId, TRACE);
    assert.ok(span.startNs >= root.startNs && span.endNs <= root.endNs, `${span.name} lies within`);
  }
  assert.doesNotMatch(JSON.stringify(collector.spans.map((span) => span.attributes)), /top_k/);

  const page = await (await fetch(`${server.url}/metrics`)).text();
  for (const name of ["prepare", "batch_wait", "model", "total"])
    assert.match(page, new RegExp(`hubserve_${name}_seconds_count\\{.*\\} 1\n`), name);
  assert.match(page, /hubserve_weights_bytes\{model="seqcls-bert-2way",version="1.0"\} [1-9]/);
  assert.match(page, /hubserve_worker_start_part_seconds\{.*part="[a-z -]+"\} [\d.]+\n/);
  assert.match(page, /hubserve_worker_cpu_seconds_total\{.*\} [\d.]*[1-9]/);

  const loaded = await end(server);
  assert.match(loaded.find((line) => line.includes(`by ${server.pid}:`)) ?? "", /sdk-trace/);
  const children = loaded.filter((line) => !line.includes(`by ${server.pid}:`));
  assert.ok(children.length > 0);
  for (const line of children) assert.match(line, /: none\b/, "a worker makes no spans");
});

test("a handler's own calls belong to its inference; failures and streams are told as such; the end flushes", async () => {
  await using collector = await openCollector();
  await using server = await serve([ODD_JOBS, "--log-format", "json", "--log-level", "debug"], {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: "60000", // nothing goes before the end
  });
  const echo = (await (await server.post({ do: "echo" }, { headers: PARENT })).json()) as {
    headers: Record<string, string>;
  };
  const failed = await server.post({ do: "throw" });
  assert.equal(failed.status, 500);
  const stream = await server.post({ do: "stream", count: 3 });
  assert.match(await stream.text(), /1[\s\S]*3/);
  await (await server.post({ do: "sleep", ms: 1 }, { headers: PARENT })).text();
  await (await fetch(`${server.url}/health`)).text();
  await (await fetch(`${server.url}/v2/models/odd-jobs/ready`)).text();
  assert.equal(collector.spans.length, 0);
  await end(server);

  const roots = collector.spans.filter(({ kind }) => kind === 2);
  assert.deepEqual(
    roots.map(({ name }) => name),
    ["POST /", "POST /", "POST /", "POST /", "GET /v2/models/:model/ready"],
    "no probe of the server's health",
  );
  const [first, second, third] = roots;
  assert.ok(first && second && third);
  const below = ({ spanId }: CollectedSpan): readonly CollectedSpan[] =>
    collector.spans.filter(({ parentSpanId }) => parentSpanId === spanId);
  const inference = named(below(first), "inference");
  assert.equal(echo.headers["traceparent"], `00-${TRACE}-${inference.spanId}-01`);
  assert.equal(echo.headers["tracestate"], "vendor=1");

  assert.equal(second.parentSpanId, undefined);
  assert.notEqual(second.traceId, TRACE);
  assert.deepEqual(second.status.code, 2);
  assert.equal(second.attributes["error.type"], "500");
  assert.equal(named(below(second), "inference").attributes["error.type"], "HANDLER_FAILED");
  assert.equal(named(below(third), "inference").status.code ?? 0, 0);

  const lines = server.lines.flatMap((line) =>
    line.startsWith("{") ? [JSON.parse(line) as Record<string, unknown>] : [],
  );
  const asleep = lines.find(({ message }) => message === "asleep");
  assert.equal(asleep?.["traceId"], TRACE, "the handler's own lines have it");
  const handlerFailed = lines.find(({ message }) => /The handler failed/.test(String(message)));
  assert.equal(handlerFailed?.["traceId"], second.traceId);
});

test("a gRPC call is traced too", async () => {
  await using collector = await openCollector();
  await using server = await serve([ODD_JOBS, "--grpc-port", "0"], {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });
  await using client = connect(await grpcTargetOf(server));
  const inputs = [texts("any", JSON.stringify({ inputs: { do: "echo" } }))];
  await client.call("ModelInfer", { inputs }, { metadata: PARENT });
  const [root] = await collector.waitFor("inference.GRPCInferenceService/ModelInfer");
  assert.ok(root);
  assert.equal(root.traceId, TRACE);
  assert.deepEqual(root.attributes, {
    "rpc.system": "grpc",
    "rpc.service": "inference.GRPCInferenceService",
    "rpc.method": "ModelInfer",
    "rpc.grpc.status_code": 0,
  });
  assert.deepEqual(treeOf(collector.spans, root), { queue: {}, inference: { handler: {} } });
});

test("without a collector nothing of OpenTelemetry is loaded, and the client's trace goes on to the handler", async () => {
  await using server = await serve([ODD_JOBS], {});
  const response = await server.post({ do: "echo" }, { headers: PARENT });
  const { headers } = (await response.json()) as { headers: Record<string, string> };
  assert.equal(headers["traceparent"], PARENT.traceparent);
  const loaded = await end(server);
  assert.ok(loaded.length >= 2, "the parent and its worker");
  for (const line of loaded) assert.match(line, /: none\b/);
});

test("a collector that is gone costs a warning, and no request", async () => {
  await using server = await serve([ODD_JOBS], {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9", // discard: nobody listens
    OTEL_EXPORTER_OTLP_TIMEOUT: "200",
  });
  assert.equal((await server.post({ do: "echo" })).status, 200);
  await server.line(
    /WARN Cannot send traces to http:\/\/127\.0\.0\.1:9\/v1\/traces: .*spans are lost/,
  );
  assert.equal((await server.post({ do: "echo" })).status, 200);
  await end(server);
});
