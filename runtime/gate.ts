/**
 * A port that is listened on: opened, shut once what runs is done, or closed at once.
 */
import { STATUS_CODES, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { createAdaptorServer } from "@hono/node-server";

import { RuntimeError, systemCodeOf } from "./errors.ts";

/** Where to listen, and which options say so. */
export interface Place {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly hostFlag: string;
  readonly portFlag: string;
}

/** What answers; `env` is the adaptor's, with the connection. */
export type Fetch = (request: Request, env: object) => Response | Promise<Response>;

/** What a connection may ask of the server before a request is there. */
export interface GateLimits {
  /** Of a request's line and headers together. */
  readonly maxHeaderBytes: number;
  /** The longest that they may take to arrive; 0 for ever. */
  readonly headerTimeoutMs: number;
  /** The longest that a whole request may take to arrive; 0 for ever. */
  readonly receiveTimeoutMs: number;
  /** At the same time; further ones are closed at once. */
  readonly maxConnections: number;
  /** Told, at most once a minute, that connections are refused. */
  readonly warn?: ((text: string) => void) | undefined;
}

export interface Gate {
  /** `http://localhost:8080`. */
  readonly url: string;
  readonly port: number;
  /** From now on every answer, also of what runs, tells its client to connect anew: elsewhere, once it is told where. */
  sayGoodbye(): void;
  /** Lets nobody in any more; settles when those who are in have left. */
  shut(): Promise<void>;
  /** Cuts everybody off. */
  close(): Promise<void>;
}

/** Longer than any load balancer's own (Envoy, nginx and the clouds' use 60 s): the side that dials must hang up first. */
const KEEP_ALIVE_MS = 75_000;

/** How often it is looked for requests that arrive too slowly. */
const LOOK_EVERY_MS = 2000;

/** How often it is said that connections are refused. */
const WARN_EVERY_MS = 60_000;

/** How often connections are looked at that have become idle. */
const SWEEP_MS = 50;

/** @throws RuntimeError `PORT_UNAVAILABLE`. */
export async function openGate(place: Place, fetch: Fetch, limits: GateLimits): Promise<Gate> {
  const { headerTimeoutMs, receiveTimeoutMs } = limits;
  // Proof of the cast: without createServer of its own the adaptor makes a node:http server.
  const server = createAdaptorServer({
    fetch,
    // The adaptor's light Response and Request are faster, but as globals they break fetch: downloads share this process.
    overrideGlobalObjects: false,
    serverOptions: {
      maxHeaderSize: limits.maxHeaderBytes,
      // The one is a part of the other: Node refuses a head that may take longer than the whole.
      headersTimeout:
        receiveTimeoutMs > 0
          ? Math.min(headerTimeoutMs || Infinity, receiveTimeoutMs)
          : headerTimeoutMs,
      requestTimeout: receiveTimeoutMs,
      connectionsCheckingInterval: Math.min(LOOK_EVERY_MS, headerTimeoutMs || LOOK_EVERY_MS),
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
  }) as Server;
  server.maxHeadersCount = 0; // their size bounds them; Node would drop what is beyond a count without a word
  server.maxConnections = limits.maxConnections;
  let warnedAtMs = -Infinity;
  server.on("drop", () => {
    if (performance.now() - warnedAtMs < WARN_EVERY_MS) return;
    warnedAtMs = performance.now();
    limits.warn?.(
      `Refusing connections: there are ${limits.maxConnections} already, the limit of --max-connections`,
    );
  });
  const open = new Set<ServerResponse>();
  let isLeaving = false;
  // Before the adaptor's own listener: what it writes is merged with what is set here.
  server.prependListener("request", (_request, response: ServerResponse) => {
    if (isLeaving) response.setHeader("connection", "close");
    else open.add(response.once("close", () => open.delete(response)));
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
    const isAnswering = [...open].some(
      (response) => response.socket === socket && response.headersSent,
    );
    if (isAnswering || isLeaving || !socket.writable || error.code === "ECONNRESET")
      socket.destroy();
    else socket.end(refusalOf(error.code, limits), () => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(toListenError(error, place)));
    server.listen(place.port, place.host, resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : place.port;
  const host = isAnyAddress(place.host) ? "localhost" : hostOf(place.host);
  return {
    url: `http://${host}:${port}`,
    port,
    sayGoodbye() {
      isLeaving = true;
      for (const response of open)
        if (!response.headersSent) response.setHeader("connection", "close");
      open.clear();
    },
    async shut() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      // A connection kept alive is idle again only when its last response is written.
      const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS).unref();
      await closed;
      clearInterval(sweep);
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The answer to what never became a request, written out, as there is nobody else to write it. */
function refusalOf(code: string | undefined, limits: GateLimits): string {
  const seconds = (ms: number): string => `${ms / 1000} s`;
  const [status, problem] =
    code === "HPE_HEADER_OVERFLOW"
      ? [431, `its head is larger than ${limits.maxHeaderBytes} bytes (--max-header-size)`]
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? [
            408,
            `it did not arrive in time: its head within ${seconds(limits.headerTimeoutMs)} (--header-timeout), all of it within ${seconds(limits.receiveTimeoutMs)} (--receive-timeout)`,
          ]
        : [400, "it is no valid HTTP/1.1"];
  const body = JSON.stringify({
    error: `Cannot read the request: ${problem}`,
    error_type: "INVALID_INPUT",
  });
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}

function toListenError(error: unknown, { host, port, hostFlag, portFlag }: Place): RuntimeError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: `it is taken; name another with ${portFlag}`,
    EACCES: `this user may not take it; ports below 1024 need more rights, name another with ${portFlag}`,
    EADDRNOTAVAIL: `this machine does not have that address; name another with ${hostFlag}`,
  };
  const code = systemCodeOf(error) ?? "";
  return new RuntimeError(
    "PORT_UNAVAILABLE",
    `Cannot listen on ${host}:${port}: ${why[code] ?? code}`,
    { cause: error },
  );
}

function isAnyAddress(host: string): boolean {
  return ["0.0.0.0", "::", "127.0.0.1", "localhost"].includes(host);
}

/** An IPv6 address stands in brackets in a URL. */
function hostOf(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
