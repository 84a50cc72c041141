/** The load generator of the text generation's bench, against servers that answer as it is told here. */
import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { createEventReader, generateStreams } from "../../bench/generation-load.ts";
import { asUnderWay, makeOrders } from "../../bench/generation-orders.ts";
import { medianWriting } from "../../bench/generation-report.ts";

/** Runs one short order against a server that answers every request so. */
async function load(answer: (response: ServerResponse) => void, newTokens: number) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => answer(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const edges: string[] = [];
  try {
    const observation = await generateStreams(
      {
        url: `http://127.0.0.1:${port}/`,
        bodies: [{ body: "{}", newTokens }],
        streams: 2,
        warmupSeconds: 0.02,
        seconds: 0.5,
        requestTimeoutMs: 200,
      },
      (edge) => void edges.push(edge),
    );
    assert.deepEqual(edges, ["opened", "closed"]);
    return observation;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const event = (data: unknown): string =>
  `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;

test("tokens are counted by their events, the first and those between timed apart", async () => {
  const seen = await load((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const token of [7, 8, 9]) response.write(event({ token }));
    response.end(event("[DONE]"));
  }, 3);
  assert.deepEqual(seen.errors, {});
  assert.ok(seen.requests > 0);
  assert.ok(seen.tokens >= 3 * seen.requests, "texts under way at the edges count with their part");
  assert.ok(Number.isFinite(seen.firstTokenMs?.p50) && Number.isFinite(seen.betweenTokensMs?.p99));
});

test("tokens without an event of their own are counted by the usage at the end", async () => {
  const seen = await load((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(event({ choices: [{ text: " two words" }] }));
    response.write(event({ choices: [{ text: "" }] }));
    response.end(event({ choices: [], usage: { completion_tokens: 5 } }) + event("[DONE]"));
  }, 5);
  assert.deepEqual(seen.errors, {});
  assert.ok(seen.tokens >= 5 * seen.requests && seen.tokens <= 5 * (seen.requests + 2));
});

test("refusals, errors in a stream, and texts that are too short are failures", async () => {
  const refused = await load((response) => void response.writeHead(429).end(), 1);
  assert.equal(refused.requests, 0);
  assert.ok((refused.errors["429"] ?? 0) > 0);
  const broken = await load((response) => response.end(event({ error: {} })), 1);
  assert.ok((broken.errors["error event"] ?? 0) > 0);
  const short = await load((response) => response.end(event({ token: 1 })), 2);
  assert.ok((short.errors["1 tokens"] ?? 0) > 0);
});

test("createEventReader() puts events together that come in pieces", () => {
  const seen: string[] = [];
  const read = createEventReader((data) => seen.push(data));
  for (const byte of Buffer.from('data: {"a":"é"}\n\n: a remark\n\ndata:b\n\ndata: unfinished'))
    read(Buffer.of(byte));
  assert.deepEqual(seen, ['{"a":"é"}', "b"]);
});

test("asUnderWay() shortens the clients' first texts alone", () => {
  const orders = makeOrders(50, 1);
  const begun = asUnderWay(orders, 8, 1);
  assert.deepEqual(begun.slice(8), orders.slice(8));
  for (const [index, { newTokens }] of begun.slice(0, 8).entries())
    assert.ok(newTokens >= 1 && newTokens <= (orders[index]?.newTokens ?? 0));
  assert.ok(new Set(begun.slice(0, 8).map(({ newTokens }) => newTokens)).size > 1);
});

test("medianWriting() takes each number's median and adds errors up", () => {
  const round = (tokens: number) => {
    const percentiles = { p50: tokens, p95: tokens, p99: tokens };
    return {
      requests: 1,
      tokens,
      seconds: 2,
      errors: { 503: 1 },
      latencyMs: percentiles,
      firstTokenMs: percentiles,
      betweenTokensMs: percentiles,
      cpuSeconds: 4,
      peakBytes: tokens,
    };
  };
  const median = medianWriting([round(10), round(30), round(200)]);
  assert.equal(median.tokens, 15, "per second");
  assert.equal(median.betweenTokensMs?.p99, 30);
  assert.equal(median.cpuSeconds, 2, "CPUs busy");
  assert.equal(median.peakBytes, 200);
  assert.deepEqual(median.errors, { 503: 3 });
});
