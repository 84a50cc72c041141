/**
 * `hubserve bench`: against a server that runs, and one that it starts.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { applyLoad, percentileOf } from "../../runtime/commands/bench-load.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { ROOT, runHubserve, startHubserve } from "../support/hubserve.ts";

interface Report {
  readonly answers: number;
  readonly answersPerSecond: number;
  readonly concurrency: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly serverInferenceMs: { readonly p50: number } | null;
  readonly errors: Readonly<Record<string, number>>;
}

test("a running server is asked its own example, as often as wanted", async () => {
  await using server = await startHubserve({ args: [join(ROOT, "model"), "--workers", "1"] });
  await server.line(/Ready after/);
  const args = ["bench", server.url, "-n", "20", "-c", "4", "--warm-up", "2"];
  const { code, stdout, stderr } = await runHubserve({ args: [...args, "--json"] });
  assert.equal(code, 0, stderr);
  const report = JSON.parse(stdout) as Report;
  assert.equal(report.answers, 20);
  assert.equal(report.concurrency, 4);
  assert.deepEqual(report.errors, {});
  assert.ok(report.latencyMs.p50 > 0 && report.latencyMs.p99 >= report.latencyMs.p50);
  assert.ok(report.serverInferenceMs !== null && report.serverInferenceMs.p50 > 0);

  const text = await runHubserve({ args });
  assert.match(text.stdout, /^[\d.]+ answers a second: 20 in [\d.]+ s from /);
  assert.match(text.stdout, /^latency( +[\d.]+){5}$/m);
  assert.match(text.stdout, /^server: inference( +[\d.]+){5}$/m);
  assert.ok(!text.stdout.includes("\u001b"));
});

test("a server is started for a folder and is gone afterwards; a payload may be named", async () => {
  await using repository = await makeRepository({
    "handler.ts":
      "let calls = 0;\nexport class EndpointHandler {\n" +
      '  call({ inputs }) { if (++calls % 5 === 0) throw new Error("every fifth"); return [inputs, process.ppid]; }\n}\n',
  });
  const unknown = await runHubserve({ args: ["bench", repository.path] });
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /shows no example of its model; name a body with --payload/);

  const { code, stdout, stderr } = await runHubserve({
    args: ["bench", repository.path, "-p", '{"inputs":1}', "-n", "10", "--warm-up", "0", "--json"],
  });
  assert.equal(code, 1, "some answers were errors");
  const report = JSON.parse(stdout) as Report;
  assert.equal(report.answers, 8, stderr);
  assert.deepEqual(report.errors, { "500": 2 });
});

test("what cannot be measured is told in a sentence", async () => {
  const nobody = await runHubserve({ args: ["bench", "http://127.0.0.1:49151"] });
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.stderr,
    /Cannot ask the server at http:\/\/127\.0\.0\.1:49151 .*ECONNREFUSED/,
  );
  const wrong = await runHubserve({ args: ["bench", "--concurrency", "0"] });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--concurrency: found "0", wanted a whole number from 1/);
  const body = await runHubserve({ args: ["bench", "http://127.0.0.1:49151", "-p", "{"] });
  assert.equal(body.code, 2);
});

test("applyLoad() keeps connections alive, and counts what breaks beside what answers", async () => {
  let requests = 0;
  const sockets = new Set<unknown>();
  await using server = await listen((request, response) => {
    sockets.add(request.socket);
    request.resume();
    requests++;
    if (requests === 3) request.socket.destroy();
    else if (requests === 4) response.writeHead(429).end('{"error":"full"}');
    else response.writeHead(200, { "x-queue-time": "1.5", "x-inference-time": "2.5" }).end("{}");
  });
  const result = await applyLoad({
    url: new URL(server.url),
    body: new Uint8Array([123, 125]),
    contentType: "application/json",
    concurrency: 1,
    durationMs: Infinity,
    requests: 10,
  });
  assert.equal(result.latenciesMs.length, 8);
  assert.deepEqual(result.errors, { "429": 1, ECONNRESET: 1 });
  assert.deepEqual([...new Set(result.queueMs)], [1.5]);
  assert.deepEqual([...new Set(result.inferenceMs)], [2.5]);
  assert.equal(sockets.size, 2);
});

test("percentileOf() is the nearest rank", () => {
  const sorted = Array.from({ length: 200 }, (_, index) => index + 1);
  assert.equal(percentileOf(sorted, 50), 100);
  assert.equal(percentileOf(sorted, 99), 198);
  assert.equal(percentileOf(sorted, 100), 200);
  assert.equal(percentileOf([7], 50), 7);
  assert.equal(percentileOf([], 50), undefined);
});

async function listen(
  answer: Parameters<typeof createServer>[1],
): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
