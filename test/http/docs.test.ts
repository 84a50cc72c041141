/**
 * `/docs`: the description as a page that needs nothing else, and on which nothing is taken for HTML that is none.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { markup, prose } from "../../runtime/http/docs/html.ts";
import {
  createTestApp,
  post,
  readyModels,
  testDoor,
  type DoorOptions,
} from "../support/app-matrix.ts";
import { variantOf } from "../support/goldens.ts";
import { fields, operationsOf, readDescription, serveFolder } from "../support/openapi.ts";

const CLASSIFIER: DoorOptions = {
  description: {
    handler: "default",
    task: "text-classification",
    example: { inputs: 'It\'s $HOME & `id` \\ "quoted"' },
    schemas: {
      inputs: { type: "string" },
      parameters: {
        type: "object",
        properties: { top_k: { type: "integer", minimum: 1, description: "How many" } },
      },
    },
  },
};

async function pageOf(app: ReturnType<typeof createTestApp>, path = "/docs"): Promise<string> {
  const response = await app.request(path);
  assert.equal(response.status, 200);
  return response.text();
}

function unescapeHtml(text: string): string {
  const signs: Readonly<Record<string, string>> = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&amp;": "&",
  };
  return text.replaceAll(/&(?:lt|gt|quot|#39|amp);/g, (entity) => signs[entity] ?? entity);
}

testDoor(
  "GET /docs is a page that loads nothing and runs nothing",
  CLASSIFIER,
  async ({ request }) => {
    const response = await request("/docs");
    assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
    const page = await response.text();
    const policy = response.headers.get("content-security-policy") ?? "";
    const [, style = ""] = /<style>([^]*?)<\/style>/.exec(page) ?? [];
    const hash = createHash("sha256").update(style).digest("base64");
    assert.ok(style.length > 1000);
    assert.ok(policy.startsWith(`default-src 'none'; style-src 'sha256-${hash}';`), policy);
    assert.doesNotMatch(policy, /script|unsafe/);
    assert.doesNotMatch(page, /<script|<link|<img|<iframe|\son\w+=|\sstyle=|@import|url\(/i);
    const links = [...page.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, link = ""]) => link);
    assert.deepEqual(
      links.filter((link) => !/^#[\w.-]+$/.test(link)),
      ["openapi.json"],
    );
    const ids = new Set([...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id));
    for (const link of links) if (link.startsWith("#")) assert.ok(ids.has(link.slice(1)), link);
  },
);

test("every route is on the page, with its parameters, bodies and answers", async () => {
  const app = createTestApp(CLASSIFIER);
  const page = await pageOf(app);
  const document = await readDescription(app);
  for (const { path, operation } of operationsOf(document)) {
    assert.ok(page.includes(`id="${String(operation["operationId"])}"`), path);
    assert.ok(page.includes(`<span class="path">${path}</span>`), path);
  }
  for (const name of Object.keys(fields(fields(document["components"])["schemas"])))
    assert.ok(page.includes(`id="schema-${name}"`), `${name} is shown once`);
  assert.match(page, /<code class="key">top_k<\/code>.*?integer.*?at least 1.*?How many/s);
  assert.match(page, /&quot;owner\/name&quot; cannot answer it: it takes a model that generates/);
});

test("its commands are what a shell sends", async () => {
  const app = createTestApp(CLASSIFIER);
  // A host may have signs that mean something to a shell, or to HTML.
  for (const origin of ["http://localhost:8080", "http://[::1]:80", "http://a'b$(id)"]) {
    const page = await pageOf(app, `${origin}/docs`);
    const [, command = ""] = /<pre><code>(curl [^]*?)<\/code><\/pre>/.exec(page) ?? [];
    const script = `curl() { printf '%s\\0' "$@"; }\n${unescapeHtml(command)}`;
    const args = execFileSync("sh", ["-c", script]).toString().split("\0").slice(0, -1);
    assert.deepEqual(args, [
      /[$']/.test(origin) ? "http://localhost/" : `${new URL(origin).origin}/`,
      "-H",
      "Content-Type: application/json",
      "-d",
      JSON.stringify(CLASSIFIER.description?.example),
    ]);
  }
});

test("whatever a model is called, and whatever its schema says, is text", async () => {
  const evil = `<script>alert(1)</script>'"><img src=x onerror=alert(1)>`;
  const models = createModels();
  const { engine } = readyModels().find();
  assert.ok(engine !== undefined);
  models.register(evil).started({
    engine,
    description: {
      handler: "custom",
      handlerFile: evil,
      notes: [],
      example: { inputs: evil },
      schemas: {
        inputs: {
          title: evil,
          description: `${evil} \`${evil}\``,
          type: "object",
          properties: { [evil]: { enum: [evil], default: evil, pattern: evil, description: evil } },
          $defs: { [evil]: { type: "string", description: evil } },
          anyOf: [{ $ref: `#/$defs/${evil}` }, { const: evil }],
        },
      },
    },
  });
  const page = await pageOf(createTestApp({ models }));
  assert.ok(page.includes("&lt;script&gt;alert(1)"));
  assert.doesNotMatch(page, /<script|<img/i);
});

test("a schema that holds itself is shown once, and a very deep one is cut", async () => {
  const tree = {
    type: "object",
    properties: { label: { type: "string" }, children: { type: "array", items: { $ref: "#" } } },
  };
  let deep: Record<string, unknown> = { type: "string" };
  for (let depth = 0; depth < 500; depth++) deep = { type: "object", properties: { deeper: deep } };
  for (const inputs of [tree, deep]) {
    // Proof of the cast: both are JSON.
    const schemas = { inputs: inputs as never };
    const page = await pageOf(createTestApp({ description: { schemas } }));
    assert.ok(page.includes('id="schema-PredictInputs"'));
    assert.ok(page.length < 1_000_000);
  }
});

test("a handler's schemas and example are its documentation", async () => {
  await using repository = await variantOf(undefined, {
    "handler.js": `
      const schema = (json) => ({
        "~standard": {
          version: 1,
          vendor: "test",
          validate: (value) => ({ value }),
          jsonSchema: { input: () => json },
        },
      });
      export class EndpointHandler {
        static example = { inputs: { city: "Paris", days: 3 } };
        static inputs = schema({
          type: "object",
          required: ["city"],
          properties: {
            city: { type: "string", description: "A city of the *atlas*" },
            days: { type: "integer", minimum: 1, maximum: 14, default: 5 },
          },
        });
        static parameters = schema({ type: "object", properties: { unit: { enum: ["celsius", "fahrenheit"] } } });
        call({ inputs }) { return { city: inputs.city, degrees: 20 }; }
      }`,
  });
  await using served = await serveFolder(repository.path);
  const page = await pageOf(served.app);
  assert.match(
    page,
    /<code class="key">city<\/code> <span class="required">required<\/span>.*?A city of the \*atlas\*/s,
  );
  assert.match(
    page,
    /<code class="key">days<\/code>.*?integer.*?at least 1, at most 14, default 5/s,
  );
  assert.match(page, /&quot;celsius&quot; or &quot;fahrenheit&quot;/);
  const [, command = ""] = /<pre><code>(curl [^]*?)<\/code><\/pre>/.exec(page) ?? [];
  assert.match(unescapeHtml(command), /'\{"inputs":\{"city":"Paris","days":3\}\}'/);
});

test("the description is written anew when a model has come or gone", async () => {
  const models = createModels();
  const app = createTestApp({ models });
  assert.match(await pageOf(app), /No model is registered/);
  const entry = models.register("first");
  assert.match(await pageOf(app), /<code>first<\/code> is not ready yet/);
  const { engine, description } = readyModels(CLASSIFIER.answer, CLASSIFIER.description).find();
  assert.ok(engine !== undefined && description !== undefined);
  entry.started({ engine, description });
  assert.match(await pageOf(app), /<code>first<\/code> serves text-classification/);
  models.remove("first");
  assert.match(await pageOf(app), /No model is registered/);
});

test("GET alone asks for it", async () => {
  const refused = await createTestApp(CLASSIFIER).request("/docs", post({}));
  assert.equal(refused.status, 405);
  const head = await createTestApp(CLASSIFIER).request("/docs", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), "");
});

test("markup`` escapes every part, in lists too", () => {
  assert.equal(
    markup`<p a="${`"'`}">${"<&>"}${[markup`<b>${1}</b>`, undefined]}</p>`.text,
    `<p a="&quot;&#39;">&lt;&amp;&gt;<b>1</b></p>`,
  );
  assert.equal(prose("a `<b>` c\n\nd").text, "<p>a <code>&lt;b&gt;</code> c</p><p>d</p>");
});
