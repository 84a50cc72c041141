/** The load generator against a server whose every answer is known. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { openConnection, toRequest } from "../../bench/http-connection.ts";
import { generateLoad, type LoadOrder } from "../../bench/load.ts";

interface TestServer extends AsyncDisposable {
  readonly url: URL;
}

async function serve(listener: RequestListener): Promise<TestServer> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const order = (url: URL, more: Partial<LoadOrder>): LoadOrder => ({
  url: url.href,
  bodies: [{ body: '{"inputs":"a"}', tokens: 3 }],
  arrivals: { kind: "closed", concurrency: 4 },
  warmupSeconds: 0,
  seconds: 10,
  mostRequests: 20,
  requestTimeoutMs: 5000,
  ...more,
});

test("exchange() reads lengths and chunks, however they are cut, on one connection", async () => {
  const bodies = ["", "short", "x".repeat(100_000)];
  let count = 0;
  await using server = await serve((_, response) => {
    const body = bodies[count++ % bodies.length] ?? "";
    if (count > bodies.length) {
      for (let at = 0; at < body.length; at += 30_001) response.write(body.slice(at, at + 30_001));
      response.end();
    } else response.setHeader("content-length", body.length).end(body);
  });
  const connection = openConnection(server.url);
  for (const body of [...bodies, ...bodies]) {
    let seen = "";
    const request = toRequest(server.url, "{}");
    const found = await connection.exchange(request, 5000, (part) => (seen += part.toString()));
    assert.deepEqual(found, { status: 200, bytes: body.length });
    assert.equal(seen, body);
  }
  connection.close();
});

test("exchange() rejects when the server hangs up or says nothing in time", async () => {
  await using server = await serve((request, response) => {
    if (request.headers["x-hang-up"] !== undefined) response.destroy();
  });
  const gone = openConnection(server.url);
  await assert.rejects(
    gone.exchange(toRequest(server.url, "{}", { "x-hang-up": "1" }), 5000),
    /cut off|ECONNRESET/,
  );
  const silent = openConnection(server.url);
  await assert.rejects(silent.exchange(toRequest(server.url, "{}"), 20), { name: "TimeoutError" });
  assert.equal(silent.isOpen, false);
});

test("generateLoad() keeps so many clients busy, counts answers by status and stops at its bound", async () => {
  let [underWay, most, count] = [0, 0, 0];
  const firstFour: (() => void)[] = [];
  await using server = await serve((request, response) => {
    most = Math.max(most, ++underWay);
    const isFifth = ++count % 5 === 0;
    const answer = (): void => {
      underWay--;
      response.statusCode = isFifth ? 429 : 200;
      response.end("{}");
    };
    request.resume().on("end", () => {
      if (count > 4) return answer();
      firstFour.push(answer); // until all clients are here
      if (firstFour.length === 4) for (const answer of firstFour) answer();
    });
  });
  const edges: string[] = [];
  const seen = await generateLoad(order(server.url, {}), (edge) => edges.push(edge));
  assert.deepEqual(edges, ["opened", "closed"]);
  assert.equal(most, 4);
  // Each of four clients may send one more before it sees the bound.
  assert.ok(count >= 20 && count <= 23, `${count} requests`);
  assert.equal(seen.requests + (seen.errors["429"] ?? 0), count);
  assert.equal(seen.tokens, seen.requests * 3);
});

test("generateLoad() answers for every request of an open loop", async () => {
  await using server = await serve((request, response) => {
    request.resume().on("end", () => response.end("{}"));
  });
  const arrivals = { kind: "open", ratePerSecond: 2000, seed: 1 } as const;
  const seen = await generateLoad(
    order(server.url, { arrivals, mostRequests: 50 }),
    () => undefined,
  );
  assert.equal(seen.requests, 50);
  assert.ok(seen.latencyMs.p50 >= 0);
});

test("generateLoad() counts events, and the first one's delay from the time it carries", async () => {
  await using server = await serve((request, response) => {
    request.resume().on("end", () => {
      response.write(`data:{"at":${performance.timeOrigin + performance.now()}}\n\n`);
      response.write("data:1\n");
      response.end("\ndata:2\n\n");
    });
  });
  const seen = await generateLoad(
    order(server.url, { areEvents: true, arrivals: { kind: "closed", concurrency: 1 } }),
    () => undefined,
  );
  assert.equal(seen.requests, 20);
  assert.equal(seen.events, 60);
  assert.ok((seen.firstEventMs?.p50 ?? NaN) >= 0);
});
