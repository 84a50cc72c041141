/**
 * What clients send ends where it should: not in the prototypes, not in headers, not in lines of the log, not in the
 * network of the server.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { readConfig } from "../../runtime/config.ts";
import {
  isPublic,
  requestGuarded,
  type Address,
  type Permit,
} from "../../runtime/guarded-request.ts";
import { createLog } from "../../runtime/observe/log.ts";
import { readModelConfig } from "../../runtime/repository/model-config.ts";
import { createTestApp, openSocketDoor, post } from "../support/app-matrix.ts";

/** Fails where anything has a key that it was not given. */
function assertClean(what: string): void {
  const found = Object.getOwnPropertyNames(Object.prototype).filter((name) =>
    /polluted/.test(name),
  );
  assert.deepEqual(found, [], what);
  assert.ok(!("polluted" in {}), what);
  assert.equal(Object.hasOwn(Object, "polluted"), false, what);
  assert.equal(Object.hasOwn(Array.prototype, "polluted"), false, what);
}

const POLLUTING = [
  '{"__proto__":{"polluted":1},"inputs":"x"}',
  '{"inputs":"x","parameters":{"__proto__":{"polluted":1}}}',
  '{"inputs":{"__proto__":{"polluted":1}},"constructor":{"prototype":{"polluted":1}}}',
  '{"inputs":"x","parameters":{"constructor":{"prototype":{"polluted":1}}}}',
  '[{"__proto__":{"polluted":1}}]',
  '{"instances":[{"__proto__":{"polluted":1}}],"__proto__":{"polluted":1}}',
  '{"model":"owner/name","messages":[{"role":"user","content":"x","__proto__":{"polluted":1}}],"__proto__":{"polluted":1}}',
  '{"model":"owner/name","input":"x","__proto__":{"polluted":1}}',
  '{"inputs":[{"name":"__proto__","datatype":"BYTES","shape":[1],"data":["x"],"parameters":{"__proto__":{"polluted":1}}}],"parameters":{"__proto__":{"polluted":1}}}',
  '{"text_input":"x","parameters":{"__proto__":{"polluted":1}}}',
];

const PATHS = [
  "/",
  "/predict",
  "/generate",
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/rerank",
  "/v1/models/owner/name:predict",
  "/v2/models/owner%2Fname/infer",
  "/v2/models/owner%2Fname/generate",
  "/v2/repository/index",
  "/predictions/owner%2Fname",
  "/explanations/owner%2Fname",
  "/invocations",
];

test("no JSON body of any protocol changes a prototype, or is the server's fault", async () => {
  for (const handler of ["custom", "default"] as const) {
    const app = createTestApp({ description: { handler } });
    for (const path of PATHS) {
      for (const body of POLLUTING) {
        const headers = { "content-type": "application/json" };
        const response = await app.request(path, { method: "POST", headers, body });
        await response.text();
        assert.ok(response.status < 500 || response.status === 501, `${path}: ${response.status}`);
        assertClean(`${path} ${body}`);
      }
    }
  }
});

test("no query changes a prototype", async () => {
  const app = createTestApp({});
  for (const query of [
    "__proto__=1",
    "__proto__[polluted]=1",
    "__proto__.polluted=1",
    "constructor=1",
    "constructor[prototype][polluted]=1",
    "hasOwnProperty=1&toString=1&valueOf=1",
  ]) {
    for (const path of PATHS) {
      const response = await app.request(`${path}?${query}`, post({ inputs: "x" }));
      await response.text();
      assert.ok(response.status < 500 || response.status === 501, `${path}?${query}`);
      assertClean(query);
    }
  }
});

test("a form's field cannot be a prototype, and a key of every object can be a field", async () => {
  for (const handler of ["custom", "default"] as const) {
    const app = createTestApp({ description: { handler } });
    const send = (name: string, value: string): Promise<Response> => {
      const body = new FormData();
      body.append("inputs", "x");
      body.append(name, value);
      return Promise.resolve(app.request("/", { method: "POST", body }));
    };
    const refused = await send("__proto__", '{"polluted":1}');
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /a field of it is named \\"__proto__\\"/);
    assert.equal((await send("constructor", '{"prototype":{"polluted":1}}')).status, 200);
    await send("parameters", '{"__proto__":{"polluted":1}}');
    assertClean(handler);
  }
});

test("no file of a repository and no option changes a prototype", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-pollution-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const text of [
    "__proto__:\n  polluted: 1\n",
    "handler:\n  __proto__:\n    polluted: 1\n",
    "constructor:\n  prototype:\n    polluted: 1\n",
    "a: &a\n  polluted: 1\n__proto__: *a\n",
    "<<: {__proto__: {polluted: 1}}\n",
  ]) {
    writeFileSync(join(folder, "model-config.yaml"), text);
    try {
      readModelConfig(folder, createLog({ write: () => undefined }));
    } catch {
      // refused is as good as read
    }
    assertClean(text);
  }
  writeFileSync(
    join(folder, "config.properties"),
    '__proto__=1\n__proto__.polluted=1\nmodels={"__proto__":{"polluted":1}}\n',
  );
  const surroundings = { env: {}, cwd: folder, home: folder };
  try {
    readConfig({ args: ["--ts-config", join(folder, "config.properties")], ...surroundings });
  } catch {
    // likewise
  }
  assertClean("config.properties");
  for (const flag of ["--__proto__=1", "--constructor", "--__proto__.polluted=1"])
    assert.throws(() => readConfig({ args: [flag], ...surroundings }), { code: "INVALID_OPTION" });
  assertClean("flags");
});

test("an id, a name and a warning stay what they are in a header: nothing that is sent begins another", async () => {
  const crlf = "x\r\nset-cookie: evil=1\r\n\r\n<script>";
  await using door = await openSocketDoor({
    answer: ({ data }) => {
      if (data["inputs"] === "crash") throw new TypeError(crlf);
      return { kind: "json", value: null };
    },
  });
  const encoded = encodeURIComponent(crlf);
  for (const [path, init] of [
    [`/predictions/${encoded}`, post({ inputs: "x" })],
    [`/v2/models/${encoded}/infer`, post({ inputs: [] })],
    [`/v2/models/${encoded}`, {}],
    [`/v1/models/${encoded}:predict`, post({ instances: [1] })],
    [`/v1/models/${encoded}`, {}],
    ["/v1/chat/completions", post({ model: crlf, messages: [{ role: "user", content: "x" }] })],
    [`/?${encoded}=${encoded}`, post({ inputs: "x", parameters: { [crlf]: crlf } })],
    [`/${encoded}`, {}],
    ["/", post({ inputs: "crash" })],
    [
      "/",
      { method: "POST", headers: { "content-type": `x/${encodeURIComponent(crlf)}` }, body: "x" },
    ],
    ["/", post({ inputs: "x" }, { accept: "text/html\tx", "x-request-id": "a b", origin: "null" })],
    [
      "/",
      post(
        { inputs: "x" },
        { "x-request-id": "é".repeat(10), traceparent: "00-x", tracestate: "a=b" },
      ),
    ],
  ] as [string, RequestInit][]) {
    const response = await door.request(path, init);
    await response.text();
    assert.equal(response.headers.get("set-cookie"), null, path);
    assert.doesNotMatch(response.headers.get("content-type") ?? "", /html/, path);
    const id = response.headers.get("x-request-id") ?? "";
    assert.match(id, /^[\x21-\x7e]{1,128}$/, "an id that fits no header is not echoed");
    for (const [name, value] of response.headers) assert.match(`${name}${value}`, /^[\x20-\x7e]*$/);
  }
});

test("nothing that is sent begins a line of the log, or steers a terminal", async () => {
  const forged = "\n12:00:00 WARN forged\r\n12:00:00 forged\x1b[2J\x1b]0;title\x07\u2028forged";
  const lines: string[] = [];
  const log = createLog({ level: "debug", write: (line) => void lines.push(line) });
  const app = createTestApp({
    log,
    answer: () => {
      throw new TypeError(forged);
    },
  });
  await app.request(`/x${encodeURIComponent(forged)}`, { method: "POST" });
  await app.request("/", post({ inputs: forged }));
  await app.request("/", post({ inputs: "x" }, { "x-request-id": "a\tb" }));
  log.warn("Told", { value: forged, error: new Error(forged, { cause: new Error(forged) }) });
  const printed = lines.join("\n").split("\n");
  assert.ok(
    printed.some((line) => line.includes("forged")),
    "something was logged",
  );
  for (const line of printed) {
    assert.doesNotMatch(line, /^12:00:00|^forged/);
    assert.doesNotMatch(line, /(?!\t)[\p{Cc}\u2028]/u);
  }
  const machine: string[] = [];
  createLog({ format: "json", write: (line) => void machine.push(line) }).warn(forged, { forged });
  assert.equal(machine.length, 1);
  assert.ok(!machine[0]!.includes("\n"));
});

/** A host inside, which must not be asked, and how often it was. */
async function inside(t: TestContext, listener: RequestListener): Promise<{ port: number }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  return { port: (server.address() as AddressInfo).port };
}

const guarded = (
  url: string,
  permit: (url: URL) => Permit | undefined,
  resolve?: (hostname: string) => Promise<readonly Address[]>,
): Promise<unknown> =>
  requestGuarded(new URL(url), {
    permit,
    permittedBy: "--a-test",
    refuse: (problem) => new Error(problem),
    signal: AbortSignal.timeout(10_000),
    resolve,
  });

test("an address inside is refused however it is written, where a pattern permits every host", async () => {
  for (const host of [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "0",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "127。0。0。1",
    "①②⑦.0.0.1",
  ])
    await assert.rejects(
      guarded(`http://${host}/`, () => "pattern"),
      /private address/,
      host,
    );
  for (const address of ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
    assert.ok(isPublic(address), address);
});

test("a name that resolves inside is refused, also if it does so only the second time", async (t) => {
  let asked = 0;
  const { port } = await inside(t, (_request, response) => {
    asked++;
    response.end("secret");
  });
  const permit = (): Permit => "pattern";
  const insideOnly = (): Promise<readonly Address[]> =>
    Promise.resolve([{ address: "127.0.0.1", family: 4 }]);
  await assert.rejects(
    guarded(`http://evil.example:${port}/`, permit, insideOnly),
    /private address/,
  );

  // Rebinding: the first answer is public and nobody's (RFC 5737's neighbour is refused, so a port that is shut).
  let lookups = 0;
  const rebinding = (): Promise<readonly Address[]> => {
    lookups++;
    return insideOnly();
  };
  await assert.rejects(
    guarded(`http://evil.example:${port}/`, permit, rebinding),
    /private address/,
  );
  assert.equal(
    lookups,
    1,
    "what was looked at is what is connected to: there is no second question",
  );
  assert.equal(asked, 0);
});

test("a redirect is looked at as the first URL is", async (t) => {
  let target = "";
  let asked = 0;
  const { port } = await inside(t, (request, response) => {
    if (request.url === "/begin") {
      response.writeHead(302, { location: target }).end();
      return;
    }
    asked++;
    response.end("secret");
  });
  const begin = `http://localhost:${port}/begin`;
  const permit = (url: URL): Permit | undefined =>
    url.href === begin
      ? "named"
      : url.hostname.endsWith("forbidden.example")
        ? undefined
        : "pattern";
  const localhost = (): Promise<readonly Address[]> =>
    Promise.resolve([{ address: "127.0.0.1", family: 4 }]);
  for (const [location, said] of [
    ["http://169.254.169.254/latest/meta-data/", /private address/],
    [`http://127.0.0.1:${port}/`, /private address/],
    [`//127.0.0.1:${port}/`, /private address/],
    [`http://metadata.google.internal:${port}/`, /private address/],
    ["http://forbidden.example/", /leads to a URL of a host from which/],
    ["file:///etc/passwd", /./],
    ["gopher://127.0.0.1/", /./],
    ["http://user:password@93.184.216.34/", /credentials/],
    ["http://[", /no valid URL/],
  ] as const) {
    target = location;
    await assert.rejects(guarded(begin, permit, localhost), said, location);
  }
  assert.equal(asked, 0);
});
