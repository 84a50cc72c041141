/**
 * The cloakroom: a request's body becomes plain data, an answer becomes a body.
 *
 * Bodies are bounded while they are read. Media types are compared by their essence, in any case; where a client
 * names none, or a name that says nothing (`curl -d` claims a form), the bytes themselves decide.
 */
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { JsonValue, Media } from "../inference.ts";
import { sniffMediaType } from "../media-type.ts";

/** What came in. */
export type IncomingBody =
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "media"; readonly media: Media };

/** Types under which clients send JSON, or anything at all, without saying so. */
const UNTOLD_TYPES = new Set([
  "",
  "application/octet-stream",
  "application/x-www-form-urlencoded",
  "binary/octet-stream",
]);

const ACCEPTED_TYPES =
  "application/json, text/plain, image/*, audio/* and application/octet-stream";

/**
 * Reads and decodes a body.
 *
 * @throws RuntimeError `BODY_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, or `INVALID_INPUT` for malformed JSON.
 */
export async function readBody(request: Request, limitBytes: number): Promise<IncomingBody> {
  const contentType = request.headers.get("content-type") ?? "";
  const essence = essenceOf(contentType);
  assertPlainEncoding(request.headers.get("content-encoding"));
  const isTold = !UNTOLD_TYPES.has(essence);
  if (isTold && !isJsonType(essence) && !/^(?:image|audio|text)\/./.test(essence)) {
    throw new RuntimeError(
      "UNSUPPORTED_MEDIA_TYPE",
      `Cannot read the body: its Content-Type is "${printable(essence)}", wanted one of ${ACCEPTED_TYPES}`,
    );
  }
  const bytes = await readBytes(request, limitBytes).catch((error: unknown) => {
    // The only other way to fail is a connection that breaks while the body is on its way.
    throw toRuntimeError(error, "CANCELLED", "Cannot read the body");
  });
  if (isJsonType(essence)) return { kind: "json", value: parseJson(bytes) };
  if (essence.startsWith("text/")) return toText(bytes);
  if (isTold) return { kind: "media", media: { bytes, contentType } };
  const sniffed = sniffMediaType(bytes);
  if (sniffed === "application/json") return { kind: "json", value: parseJson(bytes) };
  if (sniffed !== undefined) return { kind: "media", media: { bytes, contentType: sniffed } };
  if (essence === "application/octet-stream" && bytes.byteLength > 0) {
    return { kind: "media", media: { bytes, contentType: essence } };
  }
  // Neither JSON nor a known kind of file: say what is wrong with it as JSON, which it most likely meant to be.
  return { kind: "json", value: parseJson(bytes) };
}

/**
 * Text is the inputs, except where it is a whole JSON body: `fetch` calls a string `text/plain` unless told otherwise,
 * and answering about the braces would be a wrong answer without an error.
 */
function toText(bytes: Uint8Array): IncomingBody {
  const text = decodeText(bytes);
  if (sniffMediaType(bytes) === "application/json" && text.includes('"inputs"')) {
    try {
      const value = parseJson(bytes);
      if (typeof value === "object" && value !== null && "inputs" in value)
        return { kind: "json", value };
    } catch (error) {
      if (!isRuntimeError(error)) throw error; // text that only looks like JSON is text
    }
  }
  return { kind: "text", text };
}

/** `"Application/JSON; charset=utf-8"` → `"application/json"`. */
export function essenceOf(contentType: string): string {
  return (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
}

function isJsonType(essence: string): boolean {
  return (
    essence === "application/json" ||
    essence === "text/json" ||
    /^application\/[\w.-]+\+json$/.test(essence)
  );
}

function assertPlainEncoding(encoding: string | null): void {
  if (encoding === null || ["", "identity"].includes(encoding.trim().toLowerCase())) return;
  throw new RuntimeError(
    "UNSUPPORTED_MEDIA_TYPE",
    `Cannot read the body: its Content-Encoding is "${printable(encoding)}", wanted an uncompressed body`,
  );
}

async function readBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? Number.NaN);
  if (announced > limitBytes) throw tooLarge(limitBytes, `${announced} bytes`);
  // A length that was announced is kept by the HTTP parser; without one the bytes are counted as they come.
  if (!Number.isNaN(announced)) return new Uint8Array(await request.arrayBuffer());
  if (request.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
    total += part.byteLength;
    if (total > limitBytes) throw tooLarge(limitBytes, "more");
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function tooLarge(limitBytes: number, found: string): RuntimeError {
  return new RuntimeError(
    "BODY_TOO_LARGE",
    `Cannot read the body: it has ${found}, the limit is ${limitBytes} bytes (--max-body-size)`,
  );
}

function parseJson(bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) {
    throw new RuntimeError(
      "INVALID_INPUT",
      'Cannot read the body: it is empty, wanted JSON such as {"inputs": "…"}',
    );
  }
  const text = decodeText(bytes);
  assertShallow(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RuntimeError(
      "INVALID_INPUT",
      `Cannot read the body: it is not valid JSON${whereItBreaks(error)}`,
      { cause: error },
    );
  }
}

/** V8's own sentences quote the body; its position is what helps. */
function whereItBreaks(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  if (message.includes("end of JSON input")) return "; it ends too early";
  const position = /position (\d+)/.exec(message)?.[1];
  return position === undefined ? "" : `; it breaks off at character ${position}`;
}

/** Nesting beyond any real payload overflows the stack of whoever walks it. */
const MAX_JSON_DEPTH = 200;

function assertShallow(bytes: Uint8Array): void {
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (isInString) {
      if (byte === 0x5c) i++; // a backslash takes the next byte with it
      else if (byte === 0x22) isInString = false;
    } else if (byte === 0x22) isInString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_JSON_DEPTH) {
        throw new RuntimeError(
          "INVALID_INPUT",
          `Cannot read the body: its JSON is nested deeper than ${MAX_JSON_DEPTH} levels`,
        );
      }
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch (error) {
    throw new RuntimeError("INVALID_INPUT", "Cannot read the body: it is not valid UTF-8", {
      cause: error,
    });
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A header's value fit to be quoted in a sentence. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 100);
}

/** An answer's body, for Hono's `c.body`: headers that are set on a finished response cost a copy of it. */
export interface Rendered {
  readonly body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly headers: Record<string, string>;
}

/**
 * Turns bytes into a response as `Accept` asks: raw, unless the client wants JSON alone; then as a base64 string, as
 * the Python toolkit does with images.
 */
export function renderMedia({ bytes, contentType }: Media, accept: string | undefined): Rendered {
  if (wantsOnlyJson(accept)) {
    const body = JSON.stringify(Buffer.from(bytes).toString("base64"));
    return { body, headers: { "content-type": "application/json" } };
  }
  return { body: new Uint8Array(bytes), headers: { "content-type": contentType } };
}

function wantsOnlyJson(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === "") return false;
  return accept.split(",").every((range) => isJsonType(essenceOf(range)));
}

/** Whether `Accept` asks for server-sent events. */
export function wantsEvents(accept: string | undefined): boolean {
  return (accept ?? "").split(",").some((range) => essenceOf(range) === "text/event-stream");
}

/**
 * Turns a stream into a response: server-sent events, or one JSON value a line.
 *
 * An error after the first chunk can no longer change the status: it becomes the last event or line.
 *
 * @param events Whether to write server-sent events.
 */
export function renderStream(
  chunks: AsyncIterable<JsonValue>,
  events: boolean,
  { onError, onEnd }: StreamHooks,
): Rendered {
  const frame = (value: JsonValue): string =>
    events ? `data:${JSON.stringify(value)}\n\n` : `${JSON.stringify(value)}\n`;
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await iterator.next();
        if (next.done !== true) {
          controller.enqueue(encoder.encode(frame(next.value)));
          return;
        }
      } catch (error) {
        controller.enqueue(encoder.encode(frame(onError(error))));
      }
      controller.close();
      onEnd();
    },
    async cancel() {
      await iterator.return?.();
      onEnd();
    },
  });
  return {
    body,
    headers: {
      "content-type": events ? "text/event-stream; charset=utf-8" : "application/x-ndjson",
      "cache-control": "no-cache",
      "x-accel-buffering": "no", // nginx would hold events back otherwise
    },
  };
}

export interface StreamHooks {
  /** The protocol's own error body, as the last chunk. */
  readonly onError: (error: unknown) => JsonValue;
  /** Called once, when the last byte is written or the client has left. */
  readonly onEnd: () => void;
}
