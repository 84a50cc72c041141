/**
 * The whole house, knocked at from outside: a real program, a real child, a handler that does what it is asked to.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";

const ODD_JOBS = "test/fixtures/repositories/odd-jobs";

let server: Hubserve;

before(async () => {
  server = await startHubserve({
    args: [
      "serve",
      ODD_JOBS,
      "--request-timeout",
      "6s",
      "--job-queue-size",
      "3",
      "--workers",
      "1",
      "--log-level",
      "debug",
      "--handler-env",
      "MY_OWN_KEY",
    ],
    env: { HF_TOKEN: "hf_thisIsTheServersToken", MY_OWN_KEY: "for the handler" },
  });
  await server.line(/Ready after/);
});

after(async () => {
  await server[Symbol.asyncDispose]();
});

async function bodyOf(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

async function echo(headers: Record<string, string> = {}): Promise<Record<string, unknown>> {
  const response = await server.post({ do: "echo" }, { headers });
  assert.equal(response.status, 200);
  return bodyOf(response);
}

test("a custom handler gets the body, the request's id and its headers, in its own folder", async () => {
  const answer = await echo({
    "x-request-id": "mine-7",
    "x-mine": "1",
    authorization: "Bearer hf_client",
  });
  assert.deepEqual(answer["data"], { inputs: { do: "echo" } });
  assert.equal(answer["requestId"], "mine-7");
  const headers = answer["headers"] as Record<string, string>;
  assert.equal(headers["x-mine"], "1");
  assert.equal(headers["authorization"], undefined);
  assert.match(String(answer["cwd"]), /odd-jobs$/);
});

test("the handler runs in a child, which has the variables that were named for it but not the server's token", async () => {
  const { pid, env } = await echo();
  assert.notEqual(pid, server.pid);
  assert.ok((env as string[]).includes("MY_OWN_KEY"));
  assert.ok((env as string[]).includes("ORT_DISABLE_TELEMETRY"));
  assert.ok(!(env as string[]).includes("HF_TOKEN"));
});

test("data is fresh and mutable: a handler may pop from it", async () => {
  const response = await fetch(server.url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { do: "pop" }, date: "2022-07-04" }),
  });
  assert.deepEqual(await response.json(), { date: "2022-07-04" });
});

test("typed arrays, big integers and NaN become JSON", async () => {
  const response = await server.post({ do: "numbers" });
  assert.deepEqual(await response.json(), {
    floats: [1, null],
    big: "1152921504606846976",
    small: 7,
  });
});

test("a Blob is sent as its bytes", async () => {
  const response = await server.post({ do: "bytes" });
  assert.equal(response.headers.get("content-type"), "image/png");
  assert.deepEqual([...new Uint8Array(await response.arrayBuffer())], [1, 2, 3]);
});

test("an async iterable is streamed, as events or as lines", async () => {
  const events = await server.post({ do: "stream" }, { headers: { accept: "text/event-stream" } });
  assert.equal(await events.text(), "data:1\n\ndata:2\n\ndata:3\n\n");
  const lines = await server.post({ do: "stream", count: 500 });
  assert.equal(await lines.text(), Array.from({ length: 500 }, (_, i) => `${i + 1}\n`).join(""));
});

test("a handler that throws is a 500 with its message, free of paths, tokens and stacks", async () => {
  const response = await server.post({ do: "throw" });
  assert.equal(response.status, 500);
  const { error, error_type: type } = await bodyOf(response);
  assert.equal(type, "HANDLER_FAILED");
  assert.equal(error, "Handler failed: exploded in [path] with [redacted]");
  const logged = await server.line(/exploded in .*handler\.ts/);
  assert.ok(!logged.includes("hf_abcdefghijklmnop"));
});

test("the log shows the handler's own file and line", async () => {
  await server.post({ do: "throw" });
  await server.line(/at .*EndpointHandler\.call \(.*odd-jobs\/handler\.ts:27:\d+\)/);
});

test("a handler may refuse an input: that is a 400", async () => {
  const response = await server.post({ do: "refuse" });
  assert.equal(response.status, 400);
  assert.deepEqual(await bodyOf(response), {
    error: 'Cannot do it: "count" must be positive',
    error_type: "INVALID_INPUT",
  });
});

test("what a handler prints becomes lines of the log, without secrets", async () => {
  await server.post({ do: "leak" });
  await server.line(/a line on stdout/);
  await server.line(/WARN a line on stderr/);
  assert.match(await server.line(/a line of the log/), /secret=\[redacted\]/);
});

test("a handler that takes too long is a 504, its signal fires, and the next request is served", async () => {
  const response = await server.post(
    { do: "sleep", ms: 60_000 },
    { headers: { "x-request-id": "too-long" } },
  );
  assert.equal(response.status, 504);
  assert.equal((await bodyOf(response))["error_type"], "DEADLINE_EXCEEDED");
  assert.ok(((await echo())["aborted"] as string[]).includes("too-long"));
});

test("a client that leaves fires the handler's signal, and its worker is free at once", async () => {
  const client = new AbortController();
  const left = assert.rejects(
    server.post(
      { do: "sleep", ms: 1900 },
      { headers: { "x-request-id": "left" }, signal: client.signal },
    ),
  );
  await server.line(/asleep .*requestId=left/);
  client.abort();
  await left;
  assert.ok(((await echo())["aborted"] as string[]).includes("left"));
});

test("a client that leaves in the middle of an endless stream ends the handler's generator", async () => {
  const client = new AbortController();
  const response = await server.post({ do: "endless" }, { signal: client.signal });
  const reader = response.body!.getReader();
  await reader.read();
  client.abort();
  assert.ok(((await echo())["aborted"] as string[]).includes("endless"));
});

test("requests beyond the queue get a 429 with Retry-After, and the others their answers", async () => {
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => server.post({ do: "sleep", ms: 500 })),
  );
  const statuses = answers.map(({ status }) => status);
  const refused = answers.filter(({ status }) => status === 429);
  // One runs and three wait; on a slow machine the first may be done before the last one comes.
  assert.ok(refused.length >= 3 && refused.length <= 6, statuses.join(" "));
  assert.equal(
    statuses.filter((status) => status === 200).length,
    10 - refused.length,
    statuses.join(" "),
  );
  for (const response of refused)
    assert.match(response.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
});

for (const [how, reason] of [
  ["exit", "code 3"],
  ["crash", "signal SIGSEGV"],
] as const) {
  test(`a handler that ends its process (${how}) costs its own request alone`, async () => {
    const killer = server.post({ do: how });
    const behind = server.post({ do: "echo" });
    const response = await killer;
    assert.equal(response.status, 500);
    assert.deepEqual(await bodyOf(response), {
      error: `Cannot answer the request: it was tried on 2 workers and each of them died, the last with ${reason}`,
      error_type: "WORKER_DIED",
    });
    assert.equal((await behind).status, 200);
  });
}

test("a handler in an endless loop has its worker replaced; health answers all the while", async () => {
  await echo(); // the worker that the test before killed is back
  const looping = server.post({ do: "loop" });
  const health = await fetch(`${server.url}/health`);
  assert.equal(health.status, 200);
  assert.equal((await looping).status, 504);
  await server.line(/A handler still runs long after its request's deadline/);
  await server.line(/A worker died; another one starts .*SIGKILL/);
  for (;;) {
    if ((await fetch(`${server.url}/health`)).status === 200) break;
  }
  await echo();
});

test("the process survived all of this", async () => {
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
  process.kill(server.pid, 0);
});

test("on SIGTERM the running request is answered and the program exits with 0", async () => {
  await using server = await startHubserve({ args: [ODD_JOBS, "--workers", "1"] });
  await server.line(/Ready after/);
  const running = server.post({ do: "sleep", ms: 2000 });
  await server.line(/asleep/);
  server.kill("SIGTERM");
  await server.line(/Shutting down: 1 requests run, 0 wait/);
  assert.equal((await running).status, 200);
  assert.equal(await server.exited, 0);
});

test("during the drain delay health says 503 and requests are still answered", async () => {
  await using server = await startHubserve({
    args: [ODD_JOBS, "--workers", "1", "--drain-delay", "1s"],
  });
  await server.line(/Ready after/);
  server.kill("SIGTERM");
  await server.line(/Shutting down/);
  assert.equal((await fetch(`${server.url}/health`)).status, 503);
  assert.equal((await server.post({ do: "echo" })).status, 200);
  assert.equal(await server.exited, 0);
});

test("two workers answer at the same time", async () => {
  await using server = await startHubserve({ args: [ODD_JOBS, "--workers", "2"] });
  await server.line(/Ready after/);
  const pids = new Set<unknown>();
  for (let tries = 0; tries < 50 && pids.size < 2; tries++) {
    const answers = await Promise.all([
      server.post({ do: "sleep", ms: 50 }),
      server.post({ do: "echo" }),
    ]);
    pids.add((await bodyOf(answers[1]))["pid"]);
    pids.add((await bodyOf(await server.post({ do: "echo" })))["pid"]);
  }
  assert.equal(pids.size, 2);
});
