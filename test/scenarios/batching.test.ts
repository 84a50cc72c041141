/**
 * Batches with a real model: the same numbers whoever travels together, and failures that stay with their request.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ROOT, startHubserve, type Hubserve } from "../support/hubserve.ts";

type Labels = readonly { readonly label: string; readonly score: number }[];

const TEXTS = Array.from(
  { length: 32 },
  (_, i) => `I am ${"very ".repeat((i * 7) % 23)}happy and a little sad ${"today ".repeat(i % 5)}`,
);

let server: Hubserve;

before(async () => {
  // fp32: with int8 an answer depends a little on its batch neighbours (notes/facts.md).
  server = await startHubserve({
    args: [join(ROOT, "model"), "--dtype", "fp32", "--workers", "1"],
  });
  await server.line(/Ready after/);
});

after(async () => {
  await server[Symbol.asyncDispose]();
});

async function ask(inputs: unknown, parameters?: unknown): Promise<Response> {
  return fetch(server.url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs, ...(parameters !== undefined && { parameters }) }),
  });
}

function assertSame(actual: Labels, expected: Labels): void {
  assert.deepEqual(
    actual.map(({ label }) => label),
    expected.map(({ label }) => label),
  );
  for (const [i, { score }] of actual.entries())
    assert.ok(Math.abs(score - (expected[i]?.score ?? 0)) < 1e-5);
}

test("32 requests at once, of all lengths, get the answers that each gets alone", async () => {
  const alone: Labels[] = [];
  for (const text of TEXTS) alone.push((await (await ask(text)).json()) as Labels);
  const together = await Promise.all(
    TEXTS.map(async (text) => (await (await ask(text)).json()) as Labels),
  );
  for (const [i, labels] of together.entries()) assertSame(labels, alone[i] ?? []);
});

test("a list gets the answers of its elements in order, with and without top_k", async () => {
  const alone = await Promise.all(
    TEXTS.map(async (text) => (await (await ask(text)).json()) as Labels),
  );
  assertSame((await (await ask(TEXTS)).json()) as Labels, alone.flat());
  const nested = (await (await ask(TEXTS.slice(0, 3), { top_k: 2 })).json()) as Labels[];
  assert.deepEqual(
    nested.map((labels) => labels.length),
    [2, 2, 2],
  );
  assertSame(
    nested.map((labels) => labels[0]!),
    alone.slice(0, 3).flat(),
  );
});

test("one bad request among 32 fails alone, and a bad element fails its list by name", async () => {
  const statuses = await Promise.all(
    TEXTS.map(async (text, i) => (await ask(i === 13 ? { text: 5 } : text)).status),
  );
  assert.deepEqual(
    statuses,
    TEXTS.map((_, i) => (i === 13 ? 400 : 200)),
  );
  const list = await ask(["a", "b", "c", 4]);
  assert.equal(list.status, 400);
  assert.match(((await list.json()) as { error: string }).error, /"inputs\[3\]" is a number/);
});

test("a custom handler with callBatch gets what waits together, and a poison item fails alone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-batch-"));
  writeFileSync(
    join(folder, "handler.ts"),
    `import { setTimeout as sleep } from "node:timers/promises";
     export class EndpointHandler {
       call() { throw new Error("callBatch is there"); }
       async callBatch(items: { inputs: number }[]) {
         await sleep(50);
         if (items.some(({ inputs }) => inputs === 13)) throw new Error("unlucky");
         return items.map(({ inputs }) => (inputs === 7 ? new Error("no sevens") : { inputs, together: items.length }));
       }
     }`,
  );
  await using server = await startHubserve({ args: [folder, "--workers", "1"] });
  await server.line(/Ready after/);
  const answers = await Promise.all(
    Array.from({ length: 32 }, async (_, i) => {
      const response = await server.post(i);
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    }),
  );
  rmSync(folder, { recursive: true });
  for (const [i, { status, body }] of answers.entries()) {
    if (i === 13) assert.deepEqual(body["error"], "Handler failed: unlucky");
    else if (i === 7) assert.deepEqual(body["error"], "Handler failed: no sevens");
    else {
      assert.equal(status, 200);
      assert.equal(body["inputs"], i);
    }
  }
  assert.ok(
    answers.some(({ body }) => Number(body["together"]) > 4),
    "some travelled together",
  );
});

test("static concurrency lets a handler that waits answer several requests at once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-concurrency-"));
  writeFileSync(
    join(folder, "handler.ts"),
    `let running = 0;
     let most = 0;
     export class EndpointHandler {
       static concurrency = 4;
       async call() {
         most = Math.max(most, ++running);
         await new Promise((resolve) => setTimeout(resolve, 100));
         running--;
         return most;
       }
     }`,
  );
  await using server = await startHubserve({ args: [folder, "--workers", "1"] });
  await server.line(/Ready after/);
  const most = await Promise.all(
    Array.from({ length: 12 }, async () => Number(await (await server.post(1)).json())),
  );
  rmSync(folder, { recursive: true });
  assert.equal(Math.max(...most), 4);
});

test("a worker that leaks beyond --worker-max-rss is replaced between requests, and no request is lost", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-leak-"));
  writeFileSync(
    join(folder, "handler.ts"),
    `const hoard: Buffer[] = [];
     export class EndpointHandler {
       call() {
         hoard.push(Buffer.alloc(60e6, 1));
         return process.pid;
       }
     }`,
  );
  await using server = await startHubserve({
    args: [folder, "--workers", "1", "--worker-max-rss", "400MB"],
  });
  await server.line(/Ready after/);
  const pids = new Set<number>();
  let answered = 0;
  for (let tries = 0; tries < 60 && pids.size < 2; tries++) {
    const response = await server.post(tries);
    assert.equal(response.status, 200);
    pids.add(Number(await response.json()));
    answered++;
    // The parent hears of a child's memory once a second.
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
  rmSync(folder, { recursive: true });
  assert.equal(pids.size, 2, `after ${answered} requests`);
  await server.line(/A worker has grown to \d+ MB, more than --worker-max-rss/);
});
