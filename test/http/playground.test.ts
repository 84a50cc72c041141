/**
 * The playground's page and routes, as bytes: who gets the page, what it may do, what it tells. How it behaves in a browser
 * stands in `scenarios/playground.test.ts`.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";

import { createModels } from "../../runtime/engine/models.ts";
import { PAGE } from "../../runtime/http/playground/generated-page.ts";
import type { TokenAuthority } from "../../runtime/http/token-auth.ts";
import { buildPlayground, GENERATED } from "../../scripts/playground.ts";
import { createTestApp, readyModels, testDoor } from "../support/app-matrix.ts";

/** What Chromium, Firefox and Safari send when somebody types an address. */
const BROWSERS = [
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
  "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
];
const [BROWSER = ""] = BROWSERS;

const page = { headers: { accept: BROWSER } };

test("the generated page is what its sources make: npm run docs", async () => {
  assert.equal(readFileSync(GENERATED, "utf8"), await buildPlayground());
});

testDoor("a browser gets the page at GET /", { hasPlayground: true }, async ({ request }) => {
  for (const accept of BROWSERS) {
    const response = await request("/", { headers: { accept } });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
    assert.match(response.headers.get("vary") ?? "", /\baccept\b/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    assert.equal(await response.text(), PAGE);
  }
  const head = await request("/", { method: "HEAD", ...page });
  assert.equal(head.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(await head.text(), "");
});

testDoor(
  "every other client gets JSON at GET /, as ever",
  { hasPlayground: true },
  async (door) => {
    const accepts = [
      undefined,
      "*/*",
      "application/json",
      "application/json, text/html",
      "text/plain",
    ];
    for (const accept of accepts) {
      const headers: Record<string, string> = accept === undefined ? {} : { accept };
      const response = await door.request("/", { headers });
      assert.equal(response.headers.get("content-type"), "application/json", accept);
      assert.equal(response.headers.get("vary"), "accept");
      const { status, model } = (await response.json()) as Record<string, unknown>;
      assert.deepEqual({ status, model }, { status: "ready", model: "owner/name" });
    }
  },
);

testDoor(
  "--no-playground: browsers get JSON too",
  { hasPlayground: false },
  async ({ request }) => {
    const response = await request("/", page);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal((await request("/playground/models")).status, 404);
  },
);

testDoor(
  "--compat torchserve: browsers get the page, others TorchServe's refusal",
  { hasPlayground: true, compat: "torchserve" },
  async ({ request }) => {
    assert.equal((await request("/", page)).status, 200);
    assert.equal((await request("/")).status, 405);
  },
);

test("the policy names the page's own script and style, and lets it ask its own server only", async () => {
  const response = await createTestApp({ hasPlayground: true }).request("/", page);
  const directives = new Map(
    (response.headers.get("content-security-policy") ?? "").split("; ").map((directive) => {
      const [name = "", ...values] = directive.split(" ");
      return [name, values.join(" ")];
    }),
  );
  const html = await response.text();
  for (const [directive, tag] of [
    ["script-src", "script"],
    ["style-src", "style"],
  ] as const) {
    const content = new RegExp(`<${tag}>([^]*?)</${tag}>`).exec(html)?.[1] ?? "";
    assert.ok(content.length > 1000);
    const hash = createHash("sha256").update(content).digest("base64");
    assert.equal(directives.get(directive), `'sha256-${hash}'`);
  }
  assert.equal(directives.get("default-src"), "'none'");
  assert.equal(directives.get("connect-src"), "'self'");
  for (const name of ["form-action", "frame-ancestors", "base-uri"])
    assert.equal(directives.get(name), "'none'");
  // No other origin is named, but for the name of a language (SVG).
  const urls = (html.match(/https?:\/\/[\w.]+/g) ?? []).filter(
    (url) => url !== "http://www.w3.org",
  );
  assert.deepEqual(urls, []);
});

test("the page is small, and no markup is made of text", () => {
  assert.ok(Buffer.byteLength(PAGE) < 68_000, `${Buffer.byteLength(PAGE)} bytes`);
  assert.doesNotMatch(PAGE, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/);
});

test("the page is zipped for who can unzip, and not sent twice", async () => {
  const app = createTestApp({ hasPlayground: true });
  const zipped = await app.request("/", {
    headers: { accept: BROWSER, "accept-encoding": "gzip, deflate, br" },
  });
  assert.equal(zipped.headers.get("content-encoding"), "gzip");
  const bytes = new Uint8Array(await zipped.arrayBuffer());
  assert.ok(bytes.length < 26_000, `${bytes.length} bytes`);
  assert.equal(gunzipSync(bytes).toString(), PAGE);
  for (const encoding of ["identity", "gzip;q=0", "gzip; q=0.0, br"]) {
    const plain = await app.request("/", {
      headers: { accept: BROWSER, "accept-encoding": encoding },
    });
    assert.equal(plain.headers.get("content-encoding"), null, encoding);
  }
  const again = await app.request("/", {
    headers: { accept: BROWSER, "if-none-match": zipped.headers.get("etag") ?? "" },
  });
  assert.equal(again.status, 304);
  assert.equal(await again.text(), "");
});

test("the page needs no key and tells nothing of the model; what tells needs one", async () => {
  const tokens: TokenAuthority = {
    accepts: (_, header) => header === "Bearer right",
    renew: () => Promise.reject(new TypeError("nobody renews")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const app = createTestApp({ hasPlayground: true, tokens });
  const response = await app.request("/", page);
  assert.equal(response.status, 200);
  assert.doesNotMatch(await response.text(), /owner\/name/);
  for (const path of ["/playground/models", "/playground/model"]) {
    assert.equal((await app.request(path)).status, 401);
    const allowed = await app.request(path, { headers: { authorization: "Bearer right" } });
    assert.equal(allowed.status, 200);
  }
});

testDoor(
  "GET /playground/models lists what there is, /playground/model tells of one",
  {
    hasPlayground: true,
    models: twoModels(),
  },
  async ({ request }) => {
    const listed = await request("/playground/models");
    assert.equal(listed.headers.get("cache-control"), "no-store");
    const ready = { state: "ready", isReady: true, detail: "Ready" };
    const first = { name: "owner/name", version: "1.0", isDefaultVersion: true, isFirst: true };
    const second = { name: "other", version: "2.0", isDefaultVersion: true, isFirst: false };
    assert.deepEqual(await listed.json(), {
      models: [
        { ...first, ...ready },
        { ...second, ...ready },
      ],
    });
    const shown = await request("/playground/model?name=other&version=2.0");
    assert.deepEqual(await shown.json(), {
      ...second,
      ...ready,
      revision: "0123abc",
      handler: "default",
      task: "text-classification",
      dtype: "q8",
      example: { inputs: "Hi" },
      card: "# A card",
    });
    assert.equal((await request("/playground/model?name=nobody")).status, 404);
    assert.equal((await request("/playground/model?name=other&version=9")).status, 404);
    assert.equal((await request("/playground/models", { method: "POST" })).status, 405);
  },
);

function twoModels(): ReturnType<typeof createModels> {
  const models = readyModels();
  const { engine } = models.find();
  assert.ok(engine);
  models.register("other", { version: "2.0" }).started(
    {
      engine,
      description: {
        handler: "default",
        task: "text-classification",
        dtype: "q8",
        example: { inputs: "Hi" },
        notes: [{ level: "warn", text: "nobody else's business" }],
      },
    },
    { revision: "0123abc", card: "# A card" },
  );
  return models;
}

test("GET /playground/models says that there is none, or that one starts", async () => {
  const models = createModels();
  const app = createTestApp({ hasPlayground: true, models });
  assert.deepEqual(await (await app.request("/playground/models")).json(), { models: [] });
  models.register("late").progress("Downloading");
  const shown = await app.request("/playground/model?name=late");
  assert.deepEqual(await shown.json(), {
    name: "late",
    version: "1.0",
    isDefaultVersion: true,
    isFirst: true,
    state: "starting",
    isReady: false,
    detail: "Downloading",
  });
});
