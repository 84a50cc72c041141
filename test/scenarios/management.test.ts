/**
 * Models managed while requests come in: the real program, real workers, and no request may fail.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createModelStore } from "../support/model-store.ts";
import { predictions, startManaged, type Managed } from "../support/managed.ts";

interface Load {
  /** Which versions answered, in the order of the answers. */
  readonly versions: readonly string[];
  readonly failures: readonly string[];
  /** Settles when so many more have been answered. */
  readonly more: (count: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Clients that each ask again as soon as they have their answer. */
function startLoad(url: string, clients: number, ms: number): Load {
  const versions: string[] = [];
  const failures: string[] = [];
  const waiting = new Set<() => void>();
  let isOn = true;
  const runs = Array.from({ length: clients }, async () => {
    while (isOn) {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ms }),
      });
      const text = await response.text();
      if (response.status === 200) versions.push((JSON.parse(text) as { version: string }).version);
      else failures.push(`${response.status} ${text}`);
      for (const wake of waiting) wake();
    }
  });
  return {
    versions,
    failures,
    async more(count) {
      const target = versions.length + failures.length + count;
      while (versions.length + failures.length < target) {
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            waiting.delete(wake);
            resolve();
          };
          waiting.add(wake);
        });
      }
    },
    async stop() {
      isOn = false;
      await Promise.all(runs);
    },
  };
}

test("two versions run side by side and the default switches under load with no failed request", async () => {
  using store = createModelStore(["1.0", "2.0"]);
  await using managed = await startManaged(store);
  const { manage } = managed;
  const started = (await manage("GET", "/models")).body.models;
  assert.deepEqual(started, [{ modelName: "echo", modelUrl: "echo-1.0" }]);

  const load = startLoad(predictions(managed), 6, 2);
  await load.more(20);
  const registered = await manage("POST", "/models?url=echo-2.0&initial_workers=1");
  assert.deepEqual(registered.body, {
    status: 'Model "echo" Version: 2.0 registered with 1 initial workers',
  });
  assert.deepEqual(new Set(load.versions), new Set(["1.0"]), "the first one stays the default");
  const own = await fetch(predictions(managed, "echo/2.0"), { method: "POST", body: "{}" });
  assert.equal(((await own.json()) as { version: string }).version, "2.0");

  assert.equal((await manage("PUT", "/models/echo/2.0/set-default")).status, 200);
  const before = load.versions.length;
  await load.more(30);
  await load.stop();
  assert.deepEqual(load.failures, []);
  const late = load.versions.slice(before).filter((version) => version !== "2.0");
  assert.ok(late.length <= 6, "only those that were on their way when the switch was made");

  assert.equal((await manage("DELETE", "/models/echo/1.0")).status, 200);
  const left = await managed.describe("echo/all");
  assert.deepEqual(
    left.map(({ modelVersion }) => modelVersion),
    ["2.0"],
  );
});

test("workers are scaled up and down, and to none and back, under load with no failed request", async () => {
  using store = createModelStore(["1.0"]);
  await using managed = await startManaged(store);
  const { manage } = managed;
  const pids = async (): Promise<number[]> =>
    ((await managed.describe("echo"))[0]?.workers ?? []).map(({ pid }) => pid);
  const [first] = await pids();

  const load = startLoad(predictions(managed), 8, 20);
  await load.more(8);
  const up = await manage("PUT", "/models/echo?min_worker=3&synchronous=true");
  assert.deepEqual(up.body, { status: "Workers scaled to 3 for model: echo" });
  assert.equal((await pids()).length, 3);
  for (const count of [1, 2, 1]) {
    await load.more(8);
    await manage("PUT", `/models/echo?min_worker=${count}&synchronous=true`);
  }
  await load.more(30);
  await load.stop();
  assert.deepEqual(load.failures, []);
  assert.equal((await pids()).length, 1);

  // What runs is finished, whoever comes after is told what to do.
  const running = fetch(predictions(managed), { method: "POST", body: '{"ms": 400}' });
  const deadline = Date.now() + 5000;
  while ((await requestsRunning(managed)) === 0) assert.ok(Date.now() < deadline);
  const down = await manage("PUT", "/models/echo?min_worker=0&synchronous=true");
  assert.deepEqual(down.body, { status: "Workers scaled to 0 for model: echo" });
  assert.equal((await running).status, 200);
  const refused = await fetch(predictions(managed), { method: "POST", body: "{}" });
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /has no worker to serve inference request/);
  const [described] = await managed.describe("echo");
  assert.deepEqual([described?.minWorkers, described?.workers], [0, []]);

  await manage("PUT", "/models/echo?min_worker=1&synchronous=true");
  const again = await fetch(predictions(managed), { method: "POST", body: "{}" });
  assert.equal(again.status, 200);
  assert.notEqual((await pids())[0], first);
});

async function requestsRunning({ server }: Managed): Promise<number> {
  const page = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^hubserve_running_requests\{[^}]*\} (\d+)$/m.exec(page)?.[1]);
}

test("traffic is shared out by weight, counted by version, and sticky where a client says so", async () => {
  using store = createModelStore(["1.0", "2.0"]);
  await using managed = await startManaged(store);
  const { manage, server } = managed;
  await manage("POST", "/models?url=echo-2.0&initial_workers=1");
  await manage("PUT", "/models/echo/traffic", { "1.0": 75, "2.0": 25 });
  const load = startLoad(predictions(managed), 8, 0);
  await load.more(600);
  await load.stop();
  assert.deepEqual(load.failures, []);
  const share = load.versions.filter((version) => version === "2.0").length / load.versions.length;
  // 600 draws of probability 0.25: five standard deviations of the share are 0.088.
  assert.ok(Math.abs(share - 0.25) < 0.09, `${share} went to 2.0`);
  const page = await (
    await fetch(`${server.url}/metrics?name[]=ts_inference_requests_total`)
  ).text();
  const counts = ["1.0", "2.0"].map((version) =>
    Number(new RegExp(`model_version="${version}",[^}]*\\} (\\d+)\\.0`).exec(page)?.[1]),
  );
  const answered = (wanted: string): number =>
    load.versions.filter((version) => version === wanted).length;
  assert.deepEqual(counts, [answered("1.0"), answered("2.0")]);

  const sticky = new Set<string>();
  for (let i = 0; i < 12; i++) {
    const headers = { "x-hubserve-sticky": "somebody" };
    const response = await fetch(predictions(managed), { method: "POST", headers, body: "{}" });
    sticky.add(((await response.json()) as { version: string }).version);
  }
  assert.equal(sticky.size, 1);
});
