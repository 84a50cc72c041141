/**
 * What many clients may expect of a server in trouble: each scenario counts what was sent and what was answered.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ROOT, startHubserve, type Hubserve, type StartOptions } from "../support/hubserve.ts";

const ODD_JOBS = join(ROOT, "test/fixtures/repositories/odd-jobs");

async function startReady(options: StartOptions): Promise<Hubserve> {
  const server = await startHubserve(options);
  await server.line(/Ready after/);
  return server;
}

/** Status → how often; a request that got none counts as 0. */
async function countStatuses(requests: readonly Promise<Response>[]): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  await Promise.all(
    requests.map(async (request) => {
      const status = await request.then(
        async (response) => {
          await response.arrayBuffer();
          return response.status;
        },
        () => 0,
      );
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }),
  );
  return counts;
}

/** One number of the server's metrics; 0 where it was never counted. */
async function metric(url: string, series: string): Promise<number> {
  const page = await (await fetch(`${url}/metrics`)).text();
  const line = page.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadlineMs, `in vain: ${what}`);
    await sleep(5);
  }
}

function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

test("a rolling restart under load loses no request", async () => {
  const options = { args: [ODD_JOBS, "--workers", "1", "--drain-delay", "500ms"] };
  let old = await startReady(options);
  const ready = new Set([old.url]);
  const [sent, answered] = [{ count: 0 }, { count: 0 }];
  const failures: unknown[] = [];
  let isOver = false;

  /** A balancer's probe: who is not ready gets no more requests. */
  const probe = (async () => {
    while (!isOver) {
      await sleep(20);
      for (const url of ready) {
        const isReady = await fetch(`${url}/health/ready`).then(
          ({ ok }) => ok,
          () => false,
        );
        if (!isReady) ready.delete(url);
      }
    }
  })();
  const clients = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const [url] = [...ready].slice(-1);
      assert.ok(url);
      sent.count++;
      try {
        const response = await fetch(url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ inputs: { do: "sleep", ms: 5 } }),
        });
        if (response.status === 200 && (await response.json()) === "slept") answered.count++;
        else failures.push(response.status);
      } catch (error) {
        failures.push(error);
      }
    }
  });

  for (let restart = 0; restart < 2; restart++) {
    const next = await startReady(options);
    ready.add(next.url);
    await sleep(200); // both serve
    old.kill("SIGTERM");
    assert.equal(await old.exited, 0);
    old = next;
  }
  isOver = true;
  await Promise.all([...clients, probe]);
  await old[Symbol.asyncDispose]();
  assert.deepEqual(failures, []);
  assert.equal(answered.count, sent.count);
  assert.ok(sent.count > 100, String(sent.count));
});

test("ten times what can be handled: some are answered, the others told when to come back, memory stays flat", async () => {
  await using server = await startReady({
    args: [ODD_JOBS, "--workers", "1", "--job-queue-size", "20"],
  });
  const text = "x".repeat(50_000);
  const flood = (count: number): Promise<Response>[] =>
    Array.from({ length: count }, () => server.post({ do: "sleep", ms: 20, text }));
  await countStatuses(flood(100)); // what is needed once
  const before = residentMegabytes(server.pid);
  const total = { ok: 0, refused: 0 };
  for (let wave = 0; wave < 4; wave++) {
    const counts = await countStatuses(flood(200));
    total.ok += counts.get(200) ?? 0;
    total.refused += counts.get(429) ?? 0;
  }
  assert.equal(total.ok + total.refused, 4 * 200, "sent = answered");
  assert.ok(total.ok >= 4 * 20 && total.refused > 0, JSON.stringify(total));
  // 40 MB of bodies came by; a leak would keep them.
  const grown = residentMegabytes(server.pid) - before;
  assert.ok(grown < 40, `the parent has grown by ${grown.toFixed(0)} MB`);
  const refused = await metric(
    server.url,
    'hubserve_refused_total{model="odd-jobs",version="1.0",why="full"}',
  );
  assert.ok(refused >= total.refused);
});

test("clients that leave free their places in the queue and their worker, and are counted", async () => {
  await using server = await startReady({ args: [ODD_JOBS, "--workers", "1"] });
  const leaving = new AbortController();
  const { signal } = leaving;
  const gone = Array.from({ length: 5 }, async () =>
    server.post({ do: "sleep", ms: 60_000 }, { signal }).then(
      () => "answered",
      () => "left",
    ),
  );
  const count = (where: string): Promise<number> =>
    metric(
      server.url,
      `hubserve_left_total{model="odd-jobs",version="1.0",why="client",where="${where}"}`,
    );
  await until(async () => (await metric(server.url, "inf_queue_size")) === 4, "four wait");
  leaving.abort();
  assert.deepEqual(
    await Promise.all(gone),
    Array.from({ length: 5 }, () => "left"),
  );
  await until(async () => (await count("queue")) + (await count("worker")) === 5, "all counted");
  assert.equal(await count("worker"), 1);
  assert.equal(await metric(server.url, "inf_queue_size"), 0);
  // The one at work was told: nobody else has to wait for its minute to pass.
  assert.equal((await server.post({ do: "echo" })).status, 200);
});

test("among crashes and endless loops every other request is answered, and none hangs", async () => {
  await using server = await startReady({
    args: [ODD_JOBS, "--workers", "2", "--request-timeout", "20s"],
  });
  const requests: Promise<Response>[] = [];
  const expected = { good: 0, bad: 0 };
  for (let i = 0; i < 60; i++) {
    const isBad = i === 10 || i === 30;
    requests.push(server.post(isBad ? { do: "crash" } : { do: "sleep", ms: 2 }));
    expected[isBad ? "bad" : "good"]++;
  }
  requests.push(server.post({ do: "loop" }, { headers: { "x-request-timeout-ms": "1500" } }));
  const counts = await countStatuses(requests);
  assert.deepEqual(Object.fromEntries(counts), { 200: expected.good, 500: expected.bad, 504: 1 });
  await until(async () => (await fetch(`${server.url}/health/ready`)).ok, "it is ready again");
  const deaths = (reason: string): Promise<number> =>
    metric(
      server.url,
      `hubserve_worker_deaths_total{model="odd-jobs",version="1.0",reason="${reason}"}`,
    );
  assert.ok((await deaths("signal SIGSEGV")) >= 4, "each crash was tried twice");
});

test("between --min-workers and --max-workers a real load brings the second worker", async () => {
  await using server = await startReady({
    args: [ODD_JOBS, "--min-workers", "1", "--max-workers", "2"],
  });
  let isOver = false;
  const statuses: number[] = [];
  const clients = Array.from({ length: 12 }, async () => {
    while (!isOver) {
      const response = await server.post({ do: "sleep", ms: 50 });
      await response.arrayBuffer();
      statuses.push(response.status);
    }
  });
  await server.line(/Going from 1 to 2 workers/);
  const workers = (state: string): Promise<number> =>
    metric(server.url, `hubserve_workers{model="odd-jobs",version="1.0",state="${state}"}`);
  await until(async () => (await workers("ready")) === 2, "two are ready");
  isOver = true;
  await Promise.all(clients);
  assert.ok(statuses.length > 20 && statuses.every((status) => status === 200));
});

test("a worker in an endless loop does not outlive its parent, however that ends", async () => {
  await using server = await startReady({ args: [ODD_JOBS, "--workers", "1"] });
  const { pid } = ((await (await server.post({ do: "echo" })).json()) ?? {}) as { pid: number };
  server.post({ do: "loop" }).catch(() => undefined); // nobody will answer
  await until(async () => (await metric(server.url, "inf_batch_current_size")) === 1, "it loops");
  server.kill("SIGKILL");
  await server.exited;
  const isThere = async (): Promise<boolean> => {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  };
  await until(async () => !(await isThere()), "the worker is gone");
});
