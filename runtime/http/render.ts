/**
 * An answer becomes a body, in the form that `Accept` asks for.
 */
import { RuntimeError } from "../errors.ts";
import type { JsonValue, Media } from "../inference.ts";
import { chooseOffer, wantsEvents } from "./accept.ts";
import { printable } from "./content-type.ts";

/** An answer's body, for Hono's `c.body`: headers that are set on a finished response cost a copy of it. */
export interface Rendered {
  readonly body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly headers: Record<string, string>;
}

const JSON_TYPE = "application/json";
const EVENTS_TYPE = "text/event-stream";

/**
 * JSON, which to a client that takes nothing but events is one event.
 *
 * @throws RuntimeError `NOT_ACCEPTABLE` when the client takes neither.
 */
export function renderJson(value: JsonValue, accept: string | undefined): Rendered {
  const chosen = chooseOffer(accept, [JSON_TYPE, EVENTS_TYPE]);
  if (chosen === undefined) throw notAcceptable(JSON_TYPE, accept);
  const body = JSON.stringify(value);
  if (chosen === JSON_TYPE) return { body, headers: { "content-type": JSON_TYPE } };
  return { body: `data:${body}\n\n`, headers: eventHeaders() };
}

/**
 * A file: its bytes, or `asJson` for a client that would rather have JSON.
 *
 * @throws RuntimeError `NOT_ACCEPTABLE` when the client takes neither.
 */
export function renderMedia(
  { bytes, contentType }: Media,
  accept: string | undefined,
  asJson: () => JsonValue,
): Rendered {
  const chosen = chooseOffer(accept, [contentType, JSON_TYPE]);
  if (chosen === undefined) throw notAcceptable(contentType, accept);
  if (chosen === contentType)
    return { body: new Uint8Array(bytes), headers: { "content-type": contentType } };
  return { body: JSON.stringify(asJson()), headers: { "content-type": JSON_TYPE } };
}

function notAcceptable(offered: string, accept: string | undefined): RuntimeError {
  return new RuntimeError(
    "NOT_ACCEPTABLE",
    `Cannot send the answer: it is ${offered}, the request's Accept wants ${printable(accept ?? "")}`,
  );
}

/**
 * Turns a stream into a response: server-sent events for a client that names them, else one JSON value a line.
 *
 * An error after the first chunk can no longer change the status: it becomes the last event or line.
 */
export function renderStream(
  chunks: AsyncIterable<JsonValue>,
  accept: string | undefined,
  { onError, onEnd }: StreamHooks,
): Rendered {
  const isEvents = wantsEvents(accept);
  const frame = (value: JsonValue): string =>
    isEvents ? `data:${JSON.stringify(value)}\n\n` : `${JSON.stringify(value)}\n`;
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
  const headers = isEvents ? eventHeaders() : { "content-type": "application/x-ndjson" };
  return { body, headers: { ...headers, ...UNBUFFERED } };
}

function eventHeaders(): Record<string, string> {
  return { "content-type": `${EVENTS_TYPE}; charset=utf-8` };
}

const UNBUFFERED = {
  "cache-control": "no-cache",
  "x-accel-buffering": "no", // nginx would hold events back otherwise
};

export interface StreamHooks {
  /** The protocol's own error body, as the last chunk. */
  readonly onError: (error: unknown) => JsonValue;
  /** Called once, when the last byte is written or the client has left. */
  readonly onEnd: () => void;
}
