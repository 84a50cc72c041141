/**
 * The log of the real program where no terminal reads it: one JSON object a line, whatever happens.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { startHubserve, type Hubserve } from "../support/hubserve.ts";

const ODD_JOBS = "test/fixtures/repositories/odd-jobs";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

async function serve(args: readonly string[], env: Record<string, string> = {}): Promise<Hubserve> {
  const server = await startHubserve({ args: [ODD_JOBS, "--workers", "1", ...args], env });
  await server.line(/Ready after/);
  return server;
}

function read({ lines }: Hubserve): readonly Record<string, unknown>[] {
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Those of requests, without what differs from run to run. */
function accesses(server: Hubserve): readonly unknown[] {
  return read(server).flatMap(({ ms, message, ...rest }) => {
    if (typeof ms !== "number") return [];
    delete rest["time"];
    return [{ ...rest, message: String(message).replace(/[\d.]+ ms/, "… ms") }];
  });
}

async function end(server: Hubserve): Promise<void> {
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
}

test("each line is an object, of requests too, with ids and without secrets", async () => {
  await using server = await serve(["--access-log", "all"], { HUBSERVE_LOG_FORMAT: "auto" });
  const headers = {
    "x-request-id": "r1",
    traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
    authorization: "Bearer abcdefgh",
  };
  await (await server.post({ do: "leak" }, { headers })).text();
  await (await server.post({ do: "throw" }, { headers: { "x-request-id": "r2" } })).text();
  await (
    await fetch(`${server.url}/nowhere%0AERROR?token=abc`, { headers: { "x-request-id": "r3" } })
  ).text();
  await end(server);

  for (const line of read(server)) {
    assert.match(String(line["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(["debug", "info", "warn", "error"].includes(String(line["level"])));
    assert.equal(typeof line["message"], "string");
  }
  const model = "odd-jobs";
  assert.deepEqual(accesses(server), [
    {
      level: "info",
      message: "POST / 200 in … ms",
      requestId: "r1",
      traceId: TRACE,
      model,
      route: "/",
      status: 200,
    },
    {
      level: "warn",
      message: "POST / 500 in … ms",
      requestId: "r2",
      model,
      route: "/",
      status: 500,
    },
    {
      level: "info",
      message: "GET /nowhere%0AERROR 404 in … ms",
      requestId: "r3",
      route: "other",
      status: 404,
    },
  ]);
  const own = read(server).find(({ message }) => message === "a line of the log");
  assert.equal(own?.["requestId"], "r1");
  assert.equal(own?.["traceId"], TRACE);
  assert.equal(own?.["secret"], "[redacted]");
  assert.doesNotMatch(server.lines.join("\n"), /hf_[a-p]|abcdefgh|token=abc/);
});

test("--access-log off has no line of requests, errors those at which the server failed", async () => {
  for (const [choice, expected] of [
    ["off", 0],
    ["errors", 1],
  ] as const) {
    await using server = await serve(["--access-log", choice], {
      LOG_FORMAT: "json",
      HUBSERVE_LOG_FORMAT: "",
      LOG_LEVEL: "INFO",
    });
    await (await server.post({ do: "echo" })).text();
    await (await server.post({ do: "throw" })).text();
    await end(server);
    assert.equal(accesses(server).length, expected, choice);
  }
});
