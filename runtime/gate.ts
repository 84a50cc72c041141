/**
 * A port that is listened on: opened, shut once what runs is done, or closed at once.
 */
import type { Server } from "node:http";
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

export interface Gate {
  /** `http://localhost:8080`. */
  readonly url: string;
  readonly port: number;
  /** Lets nobody in any more; settles when those who are in have left. */
  shut(): Promise<void>;
  /** Cuts everybody off. */
  close(): Promise<void>;
}

/** Longer than any load balancer's own (Envoy, nginx and the clouds' use 60 s): the side that dials must hang up first. */
const KEEP_ALIVE_MS = 75_000;

/** How often connections are looked at that have become idle. */
const SWEEP_MS = 50;

/** @throws RuntimeError `PORT_UNAVAILABLE`. */
export async function openGate(place: Place, fetch: Fetch): Promise<Gate> {
  // Proof of the cast: without createServer of its own the adaptor makes a node:http server.
  const server = createAdaptorServer({
    fetch,
    // The adaptor's light Response and Request are faster, but as globals they break fetch: downloads share this process.
    overrideGlobalObjects: false,
  }) as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1000; // must outlast keepAliveTimeout
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
