/**
 * What comes over a raw connection: requests that never end, that are two, or that are none. The server is the real gate.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { openGate, type Gate, type GateLimits } from "../../runtime/gate.ts";
import { createTestApp, type DoorOptions } from "../support/app-matrix.ts";

const LIMITS: GateLimits = {
  maxHeaderBytes: 4096,
  headerTimeoutMs: 60_000,
  receiveTimeoutMs: 60_000,
  maxConnections: 100,
};

async function open(
  t: TestContext,
  limits: Partial<GateLimits> = {},
  options: DoorOptions = {},
): Promise<Gate> {
  const app = createTestApp(options);
  const place = { host: "127.0.0.1", port: 0, hostFlag: "--host", portFlag: "--port" };
  const gate = await openGate(place, (request, env) => app.fetch(request, env), {
    ...LIMITS,
    ...limits,
  });
  t.after(() => gate.close());
  return gate;
}

/** Everything that the server says until it hangs up; the texts are sent one after another, and the end stays open. */
function talk(gate: Gate, ...texts: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const socket: Socket = connect(gate.port, "127.0.0.1");
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => (said += text));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(said));
    for (const text of texts) socket.write(text, "latin1");
  });
}

const statusesOf = (said: string): string[] =>
  [...said.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]!);

const BODY = '{"inputs":"x"}';
const HEAD = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
const LAST = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

test("a client that sends its head a letter at a time is told the limit and let go", async (t) => {
  const gate = await open(t, { headerTimeoutMs: 100 });
  const said = await talk(gate, "POST / HTTP/1.1\r\nX-Slow: 1");
  assert.match(said, /^HTTP\/1\.1 408 /);
  assert.match(said, /its head within 0\.1 s \(--header-timeout\)/);
  assert.equal(await talk(gate, LAST).then(statusesOf).then(String), "200", "others are served");
});

test("a client that opens a connection and says nothing is let go too", async (t) => {
  const gate = await open(t, { headerTimeoutMs: 100 });
  await talk(gate);
});

test("a client that sends its body a letter at a time is told the limit and let go", async (t) => {
  const gate = await open(t, { headerTimeoutMs: 100, receiveTimeoutMs: 200 });
  const said = await talk(gate, `${HEAD}Content-Length: 100\r\n\r\n{"in`);
  assert.match(said, /^HTTP\/1\.1 408 /);
  assert.match(said, /all of it within 0\.2 s \(--receive-timeout\)/);
});

test("a connection that is kept alive may rest longer than a head may take", async (t) => {
  const gate = await open(t, { headerTimeoutMs: 50 });
  const socket = connect(gate.port, "127.0.0.1");
  let said = "";
  socket.on("data", (text) => (said += String(text)));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  await delay(400); // the limit, and the looks at it, several times over
  socket.write(LAST);
  await closed;
  assert.deepEqual(statusesOf(said), ["200", "200"]);
});

test("a head beyond its limit is refused with the limit's name: a header, many headers, a URL", async (t) => {
  const gate = await open(t);
  const long = "a".repeat(5000);
  const many = Array.from({ length: 1000 }, (_, i) => `x-${i}: 1\r\n`).join("");
  for (const head of [
    `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${long}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: x\r\n${many}\r\n`,
    `GET /${long} HTTP/1.1\r\nHost: x\r\n\r\n`,
  ]) {
    const said = await talk(gate, head);
    assert.match(said, /^HTTP\/1\.1 431 /);
    assert.match(said, /larger than 4096 bytes \(--max-header-size\)/);
  }
});

test("no header is dropped without a word, however many there are", async (t) => {
  let count = 0;
  const gate = await open(
    t,
    { maxHeaderBytes: 100_000 },
    {
      answer: ({ headers }) => {
        count = Object.keys(headers).filter((name) => name.startsWith("x-n-")).length;
        return { kind: "json", value: null };
      },
    },
  );
  const many = Array.from({ length: 5000 }, (_, i) => `x-n-${i}: 1\r\n`).join("");
  const head = `${HEAD}${many}Connection: close\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
  assert.deepEqual(statusesOf(await talk(gate, head)), ["200"]);
  assert.equal(count, 5000);
});

test("connections beyond their limit are closed, said once, and come in again when others have left", async (t) => {
  const warnings: string[] = [];
  const gate = await open(t, { maxConnections: 2, warn: (text) => void warnings.push(text) });
  const held = await Promise.all(
    [1, 2].map(
      () =>
        new Promise<Socket>((resolve) => {
          const socket = connect(gate.port, "127.0.0.1");
          socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
          socket.once("data", () => resolve(socket)); // it is in, and stays
        }),
    ),
  );
  assert.equal(await talk(gate, LAST), "");
  assert.equal(await talk(gate, LAST), "");
  assert.deepEqual(warnings, [
    "Refusing connections: there are 2 already, the limit of --max-connections",
  ]);
  const closed = held.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
  for (const socket of held) socket.destroy();
  await Promise.all(closed);
  let said = "";
  while (said === "") said = await talk(gate, LAST); // the server hears of it a little later
  assert.deepEqual(statusesOf(said), ["200"]);
});

/** Each would be one request to one server and two to another; the second one must never be answered. */
const SMUGGLED = "GET /info HTTP/1.1\r\nHost: x\r\nX-Smuggled: 1\r\n\r\n";
const AMBIGUOUS: Readonly<Record<string, string>> = {
  "Content-Length and Transfer-Encoding": `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  "Transfer-Encoding and Content-Length": `${HEAD}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  "two lengths": `${HEAD}Content-Length: 14\r\nContent-Length: 0\r\n\r\n${BODY}${SMUGGLED}`,
  "two lengths in one": `${HEAD}Content-Length: 14, 0\r\n\r\n${BODY}${SMUGGLED}`,
  "the same length twice": `${HEAD}Content-Length: 14\r\nContent-Length: 14\r\n\r\n${BODY}${SMUGGLED}`,
  "a length with a sign": `${HEAD}Content-Length: +14\r\n\r\n${BODY}${SMUGGLED}`,
  "a length below zero": `${HEAD}Content-Length: -1\r\n\r\n${BODY}${SMUGGLED}`,
  "a length in hexadecimal": `${HEAD}Content-Length: 0xe\r\n\r\n${BODY}${SMUGGLED}`,
  "a length beyond any": `${HEAD}Content-Length: 99999999999999999999999\r\n\r\n${BODY}${SMUGGLED}`,
  "an encoding that there is not": `${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  "chunked, but not last": `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  "a space before the colon": `${HEAD}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  "a folded header": `${HEAD}X: 1\r\n Transfer-Encoding: chunked\r\nContent-Length : 0\r\n\r\n${SMUGGLED}`,
  "a bare line feed between headers": `POST / HTTP/1.1\nHost: x\nContent-Length: 0\n\n${SMUGGLED}`,
  "a bare line feed behind a value": `${HEAD}X: 1\nTransfer-Encoding: chunked\r\nContent-Length: 14\r\n\r\n${BODY}${SMUGGLED}`,
  "a bare carriage return": `${HEAD}X: 1\rTransfer-Encoding: chunked\r\nContent-Length: 14\r\n\r\n${BODY}${SMUGGLED}`,
  "a zero byte in a header": `${HEAD}X: a\0b\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`,
  "a chunk whose length has a sign": `${HEAD}Transfer-Encoding: chunked\r\n\r\n-1\r\n${SMUGGLED}`,
  "a chunk whose length is hexadecimal twice": `${HEAD}Transfer-Encoding: chunked\r\n\r\n0x5\r\n${SMUGGLED}`,
  "a chunk that is longer than it says": `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n${SMUGGLED}`,
  "a chunk that ends in a bare line feed": `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n${SMUGGLED}`,
  "no host": `POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`,
};

for (const [name, bytes] of Object.entries(AMBIGUOUS)) {
  test(`a request of two meanings is refused, and nothing behind it is read: ${name}`, async (t) => {
    let asked = 0;
    const answer: DoorOptions["answer"] = () => {
      asked++;
      return { kind: "json", value: null };
    };
    const gate = await open(t, {}, { answer });
    const said = await talk(gate, bytes);
    const statuses = statusesOf(said);
    assert.ok(statuses.length <= 1 && statuses.every((status) => status.startsWith("4")), said);
    assert.doesNotMatch(said, /"model_id"/, "what /info says");
    assert.equal(asked, 0, "no model was asked");
  });
}

test("two requests that are two are answered as two", async (t) => {
  const gate = await open(t);
  const first = `${HEAD}Content-Length: ${BODY.length}\r\n\r\n${BODY}`;
  assert.deepEqual(statusesOf(await talk(gate, first + LAST)), ["200", "200"]);
  const chunked = `${HEAD}Transfer-Encoding: chunked\r\n\r\ne\r\n${BODY}\r\n0\r\n\r\n`;
  assert.deepEqual(statusesOf(await talk(gate, chunked + LAST)), ["200", "200"]);
});

test("what is no HTTP at all gets a sentence", async (t) => {
  const gate = await open(t);
  for (const text of ["\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "SSH-2.0-OpenSSH_9\r\n\r\n"]) {
    const said = await talk(gate, text);
    assert.match(said, /^HTTP\/1\.1 400 /);
    assert.match(said, /Cannot read the request: it is no valid HTTP\/1\.1/);
  }
});
