import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { silentLog } from "../../runtime/observe/log.ts";
import {
  backoffMs,
  createHubFetch,
  readRetryAfter,
  USER_AGENT,
} from "../../runtime/repository/hub-fetch.ts";
import { startHubServer } from "../support/hub-server.ts";

const repositories = { "owner/name": { files: { "config.json": "{}" } } };
const PATH = "/owner/name/resolve/main/config.json";

function fetchOf(endpoint: string, options: Partial<Parameters<typeof createHubFetch>[0]> = {}) {
  const waits: number[] = [];
  const fetch = createHubFetch({
    subject: {
      name: "owner/name",
      revision: "main",
      endpoint,
      cacheDir: "/cache",
      hasToken: false,
    },
    signal: new AbortController().signal,
    log: silentLog(),
    sleep: async (ms) => void waits.push(ms),
    ...options,
  });
  return { fetch, waits };
}

describe("createHubFetch()", () => {
  for (const status of [429, 500, 502, 503, 504, 408]) {
    test(`asks again after ${status}`, async () => {
      await using hub = await startHubServer({ repositories });
      hub.misbehave(/config\.json/, { status }, 2);
      const { fetch, waits } = fetchOf(hub.url);
      assert.equal(await (await fetch(hub.url + PATH)).text(), "{}");
      assert.equal(hub.requests.length, 3);
      assert.equal(waits.length, 2);
    });
  }

  test("asks again after the connection broke", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { hangUp: true });
    const { fetch } = fetchOf(hub.url);
    assert.equal((await fetch(hub.url + PATH)).status, 200);
  });

  test("asks again when no answer comes in time", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { silent: true });
    const { fetch } = fetchOf(hub.url, { responseTimeoutMs: 50 });
    assert.equal((await fetch(hub.url + PATH)).status, 200);
  });

  test("gives up after four attempts, with longer and longer waits", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { status: 503 }, Infinity);
    const { fetch, waits } = fetchOf(hub.url);
    await assert.rejects(fetch(hub.url + PATH), { code: "HUB_UNREACHABLE" });
    assert.equal(hub.requests.length, 4);
    const [first = 0, second = 0, third = 0] = waits;
    assert.ok(first >= 250 && first <= 500, `${first}`);
    assert.ok(second >= 500 && second <= 1000, `${second}`);
    assert.ok(third >= 1000 && third <= 2000, `${third}`);
  });

  test("does not ask again after a refusal", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { status: 418 });
    const { fetch } = fetchOf(hub.url);
    await assert.rejects(fetch(hub.url + PATH), { code: "DOWNLOAD_FAILED" });
    assert.equal(hub.requests.length, 1);
  });

  test("waits as long as Retry-After says, but no longer than a minute", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { status: 429, headers: { "retry-after": "7" } });
    hub.misbehave(/config\.json/, { status: 429, headers: { "retry-after": "86400" } });
    const { fetch, waits } = fetchOf(hub.url);
    await fetch(hub.url + PATH);
    assert.deepEqual(waits, [7000, 60_000]);
  });

  test("asks again where a signed link of the CDN is refused, as the next one is new", async () => {
    await using hub = await startHubServer({
      repositories: { "owner/name": { files: { "config.json": { lfs: "large" } } } },
    });
    hub.misbehave(/^CDN/, { status: 403 });
    const { fetch } = fetchOf(hub.url);
    assert.equal(await (await fetch(hub.url + PATH)).text(), "large");
    const file = "GET /owner/name/resolve/main/config.json";
    assert.deepEqual(
      hub.asked.filter((line) => !line.startsWith("CDN")),
      [file, file],
    );
  });

  test("stops at once when the signal fires while it waits for an answer", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { silent: true });
    const leaving = new AbortController();
    const { fetch } = fetchOf(hub.url, {
      signal: leaving.signal,
      fetch: (input, init) => {
        queueMicrotask(() => leaving.abort(new Error("enough")));
        return globalThis.fetch(input, init);
      },
    });
    await assert.rejects(fetch(hub.url + PATH), /enough/);
  });

  test("stops at once when the request's own signal fires between attempts", async () => {
    await using hub = await startHubServer({ repositories });
    hub.misbehave(/config\.json/, { status: 503 }, Infinity);
    const leaving = new AbortController();
    const { fetch } = fetchOf(hub.url, {
      sleep: async (_ms, signal) => {
        leaving.abort(new Error("enough"));
        signal.throwIfAborted();
      },
    });
    await assert.rejects(fetch(hub.url + PATH, { signal: leaving.signal }), /enough/);
    assert.equal(hub.requests.length, 1);
  });

  test("gives the token to the Hub and to nobody else, redirects included", async () => {
    await using hub = await startHubServer({
      repositories: { "owner/name": { files: { "config.json": { lfs: "large" } } } },
      tokens: { secret: [] },
    });
    const { fetch } = fetchOf(hub.url, { token: "secret" });
    await fetch(hub.url + PATH);
    await fetch(`${hub.cdnUrl}/store/x`).catch(() => undefined);
    for (const { server, hasAuthorization } of hub.requests) {
      assert.equal(hasAuthorization, server === "hub");
    }
    assert.ok(hub.requests.some(({ server }) => server === "cdn"));
  });

  test("says who asks, with the version of package.json", async () => {
    await using hub = await startHubServer({ repositories });
    await fetchOf(hub.url).fetch(hub.url + PATH);
    assert.equal(hub.requests[0]?.headers["user-agent"], USER_AGENT);
    const manifest: unknown = JSON.parse(
      await readFile(new URL("../../package.json", import.meta.url), "utf8"),
    );
    assert.ok(typeof manifest === "object" && manifest !== null && "version" in manifest);
    assert.equal(USER_AGENT, `hubserve/${String(manifest.version)}`);
  });
});

test("backoffMs() doubles up to 8 s, less up to half of it", () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 20].map((failures) => backoffMs(failures, () => 0)),
    [500, 1000, 2000, 4000, 8000, 8000, 8000],
  );
  assert.equal(
    backoffMs(1, () => 1),
    250,
  );
});

test("readRetryAfter() reads seconds, dates and the Hub's own RateLimit", () => {
  const nowMs = Date.parse("2026-01-01T00:00:00Z");
  const read = (headers: Record<string, string>): number | undefined =>
    readRetryAfter(new Headers(headers), nowMs);
  assert.equal(read({ "retry-after": "3" }), 3000);
  assert.equal(read({ "retry-after": "Thu, 01 Jan 2026 00:00:10 GMT" }), 10_000);
  assert.equal(read({ "retry-after": "Thu, 01 Jan 2020 00:00:00 GMT" }), 0);
  assert.equal(read({ "retry-after": "soon" }), undefined);
  assert.equal(read({ ratelimit: '"api";r=0;t=55' }), 55_000);
  assert.equal(read({ ratelimit: '"api";r=12;t=55' }), undefined);
  assert.equal(read({}), undefined);
});
