/**
 * The real listening server, spoken to in bytes: broken HTTP, pipelined requests, connections half closed, slow, or left.
 */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { openGate } from "../../runtime/gate.ts";
import { createApp } from "../../runtime/http/app.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { lightResponse } from "../../runtime/serve.ts";
import { mutateBytes } from "./bytes.ts";
import { registerFakes } from "./fake-models.ts";
import { listen } from "./http.ts";
import { pick, spread, type Recipe } from "./recipe.ts";
import { asDefect, Defect, plainRecipes, type Session, type Target } from "./target.ts";

const body = '{"inputs": "I love you"}';
const head = "Host: localhost\r\nContent-Type: application/json\r\n";
const POST = `POST / HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`;
const GET = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

const SEEDS: readonly string[] = [
  POST,
  GET,
  POST + POST + GET,
  GET.repeat(20),
  `POST / HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"inp\r\n13\r\nuts": "I love you"}\r\n0\r\n\r\n`,
  `POST / HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  `POST /generate_stream HTTP/1.1\r\n${head}Accept: text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  `POST / HTTP/1.1\r\n${head}Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  `POST / HTTP/1.0\r\n${head}Connection: keep-alive\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  `GET http://elsewhere/health HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `GET //elsewhere/health HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `GET /predictions/%2e%2e/%ff?x=%zz HTTP/1.1\r\nHost: a b\r\n\r\n`,
  "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "GET / HTTP/0.9\r\n\r\n",
  "\u0016\u0003\u0001\u0002\u0000\u0001\u0000",
];

const WORDS = [
  "\r\n",
  "\n",
  "\r",
  "\r\n\r\n",
  " ",
  ":",
  "\0",
  "Transfer-Encoding: chunked\r\n",
  "Content-Length: 0\r\n",
  "Content-Length: -1\r\n",
  "Content-Length: 99999999999999999999\r\n",
  "Content-Length: 5, 5\r\n",
  "0\r\n\r\n",
  "ffffffff\r\n",
  "ffffffffffffffffff\r\n",
  ";ext=1",
  "Trailer: X\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive, Upgrade\r\n",
  "Host: \r\n",
  "Host: a\r\nHost: b\r\n",
  "GET / HTTP/1.1\r\n",
  "HTTP/1.1",
  "HTTP/9.9",
  " folded\r\n",
  "X: ÿ\r\n",
  "/..",
  "%",
  "?",
  "#",
  "Expect: 100-continue\r\n",
  `X: ${"y".repeat(2e3)}\r\n`,
];

/** How a client that waits for nothing more says so at last. */
const PATIENCE_MS = 150;
/** A server that neither answers nor hangs up after that. */
const MOST_MS = 5000;

export const SOCKET_TARGET: Target = { name: "raw socket", open: openSocket };

async function openSocket(): Promise<Session> {
  const { log, heard } = listen();
  const app = createApp({
    models: registerFakes("custom"),
    metrics: createMetrics(),
    dialect: "auto",
    maxBodyBytes: 100_000,
    requestTimeoutMs: 2000,
    version: "0.0.0",
    hasPlayground: true,
    ResponseClass: lightResponse(),
    log,
  });
  const place = { host: "127.0.0.1", port: 0, hostFlag: "--host", portFlag: "--port" };
  const gate = await openGate(place, (request, env) => app.fetch(request, env), {
    maxHeaderBytes: 16_384,
    headerTimeoutMs: 5000,
    receiveTimeoutMs: 10_000,
    maxConnections: 1000,
  });
  const strays: unknown[] = [];
  const onStray = (error: unknown): void => void strays.push(error);
  process.on("uncaughtException", onStray);
  process.on("unhandledRejection", onStray);
  const seeds = SEEDS.map((text) => new Uint8Array(Buffer.from(text, "latin1")));

  const make = ({ seed, steps }: Recipe): Uint8Array =>
    steps.reduce<Uint8Array>(
      (bytes, step) => mutateBytes(bytes, step, { words: WORDS, others: seeds }),
      pick(seeds, seed),
    );

  return {
    first: plainRecipes(seeds.length),
    show: make,
    async run(recipe) {
      heard.length = 0;
      const manner = spread(recipe.seed, recipe.steps.length) % 8;
      const said = (await converse(gate.port, make(recipe), manner)).toString("latin1");
      const mistake = heard[0] ?? strays[0];
      strays.length = 0;
      if (mistake !== undefined) throw asDefect(mistake);
      const statuses = [...said.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status ?? "");
      const bad = statuses.find((status) => status === "500" || status === "502");
      if (bad !== undefined) throw new Defect(`status ${bad} on a socket`, said.slice(0, 800));
      if (/\n\s+at .{1,200}:\d+:\d+|node_modules/.test(said))
        throw new Defect("a leak on a socket", said.slice(0, 800));
      return statuses[0] ?? "hung up";
    },
    async assertHealthy() {
      const said = (await converse(gate.port, Buffer.from(POST), 0)).toString("latin1");
      if (!said.startsWith("HTTP/1.1 200"))
        throw new Error(`a normal request is answered ${said.slice(0, 300)}`);
    },
    async [Symbol.asyncDispose]() {
      process.off("uncaughtException", onStray);
      process.off("unhandledRejection", onStray);
      await gate.close();
    },
  };
}

/** Sends the bytes in one of several manners and takes what comes back, until the server hangs up or has said enough. */
async function converse(port: number, bytes: Uint8Array, manner: number): Promise<Buffer> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const parts: Buffer[] = [];
  const closed = new Promise<"closed">((resolve) => socket.once("close", () => resolve("closed")));
  let heardAt = performance.now();
  socket.on("data", (part) => {
    parts.push(part);
    heardAt = performance.now();
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => undefined); // a server may hang up on what is no HTTP
  const write = (part: Uint8Array): void => void (socket.writable && socket.write(part));
  if (manner === 1) {
    for (const byte of bytes.subarray(0, 400)) {
      write(Uint8Array.of(byte)); // byte by byte
      await new Promise((resolve) => setImmediate(resolve));
    }
    write(bytes.subarray(400));
  } else if (manner === 2) {
    write(bytes);
    socket.end(); // half closed
  } else if (manner === 3) {
    write(bytes.subarray(0, bytes.length >> 1));
    await delay(2);
    socket.destroy(); // left
  } else if (manner === 4) {
    write(bytes);
    await delay(1);
    socket.resetAndDestroy();
  } else write(bytes);
  const startedAt = performance.now();
  while ((await Promise.race([closed, delay(10)])) !== "closed") {
    const now = performance.now();
    // A request without its end may wait for it: then this client leaves, and nothing is wrong.
    if (now - heardAt > PATIENCE_MS || now - startedAt > MOST_MS) break;
  }
  socket.destroy();
  await closed;
  return Buffer.concat(parts);
}
