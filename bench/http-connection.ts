/**
 * One keep-alive connection that costs the generator little: a request is bytes made beforehand, a response is counted
 * and dropped.
 *
 * `node:http`'s client spends as much time on a request as a good server does, and the bench's machine is small. This
 * reads what HTTP/1.1 servers answer to a POST: a length or chunks (RFC 9112, sections 6 and 7.1), one response at a time.
 */
import { connect, type Socket } from "node:net";

export interface Exchange {
  readonly status: number;
  /** Bytes of the body. */
  readonly bytes: number;
}

export interface Connection {
  readonly isOpen: boolean;
  /**
   * Sends a request and reads its response. One at a time.
   *
   * @param onBody Sees the body as it arrives.
   * @throws What broke the connection, or a `TimeoutError`; the connection is closed then.
   */
  exchange(request: Buffer, timeoutMs: number, onBody?: (part: Buffer) => void): Promise<Exchange>;
  close(): void;
}

export function openConnection(url: URL): Connection {
  const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
  let current: Reading | undefined;

  socket.on("data", (data: Buffer) => {
    try {
      current?.read(data);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  socket.on("error", (error) => current?.fail(error));
  socket.on("close", () => current?.fail(new Error("Cannot read the response: it was cut off")));

  return {
    get isOpen() {
      return !socket.destroyed;
    },
    exchange(request, timeoutMs, onBody) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          current?.fail(new DOMException("No response in time", "TimeoutError"));
          socket.destroy();
        }, timeoutMs);
        const settle = (): void => {
          clearTimeout(timer);
          current = undefined;
        };
        current = createReading(
          (exchange) => (settle(), resolve(exchange)),
          (error) => (settle(), reject(error)),
          onBody,
        );
        send(socket, request, current);
      });
    },
    close: () => void socket.destroy(),
  };
}

function send(socket: Socket, request: Buffer, reading: Reading): void {
  if (socket.destroyed)
    reading.fail(new Error("Cannot send the request: the connection is closed"));
  else socket.write(request);
}

/** A POST with a JSON body as bytes. */
export function toRequest(
  url: URL,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const lines = Object.entries({
    host: url.host,
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from(`POST ${url.pathname} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}

/** A response that is being read. */
interface Reading {
  read(data: Buffer): void;
  fail(error: Error): void;
}

function createReading(
  resolve: (exchange: Exchange) => void,
  reject: (error: Error) => void,
  onBody: (part: Buffer) => void = () => undefined,
): Reading {
  let head = "";
  let phase: "head" | "length" | "size" | "chunk" | "trailer" = "head";
  let status = 0;
  let bytes = 0;
  /** Of the body or the chunk, still to come; a chunk's include its closing line break. */
  let left = 0;
  let line = "";

  function take(data: Buffer, start: number): number {
    const end = Math.min(data.length, start + left);
    left -= end - start;
    const part = data.subarray(
      start,
      phase === "chunk" ? Math.max(start, end - Math.max(0, 2 - left)) : end,
    );
    bytes += part.length;
    if (part.length > 0) onBody(part);
    return end;
  }

  return {
    fail: reject,
    read(data) {
      let at = 0;
      if (phase === "head") {
        const before = head.length;
        head += data.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end === -1) return;
        at = end + 4 - before;
        head = head.slice(0, end).toLowerCase();
        status = Number(head.slice(9, 12));
        const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
        if (length !== undefined) [phase, left] = ["length", Number(length)];
        else if (/\r\ntransfer-encoding: *chunked/.test(head)) phase = "size";
        else throw new Error("Cannot read the response: it has neither a length nor chunks");
      }
      if (phase === "length") {
        take(data, at);
        if (left === 0) resolve({ status, bytes });
        return;
      }
      while (at < data.length) {
        if (phase === "chunk") {
          at = take(data, at);
          if (left === 0) phase = "size";
          continue;
        }
        const end = data.indexOf(10, at);
        line += data.toString("latin1", at, end === -1 ? data.length : end);
        if (end === -1) return;
        at = end + 1;
        const text = line.trim();
        line = "";
        if (phase === "trailer") {
          if (text === "") return resolve({ status, bytes });
        } else {
          const size = Number.parseInt(text, 16);
          if (Number.isNaN(size))
            throw new Error(`Cannot read the response: "${text}" is no chunk size`);
          if (size === 0) phase = "trailer";
          else [phase, left] = ["chunk", size + 2];
        }
      }
    },
  };
}
