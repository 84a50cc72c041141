/**
 * A generation as server-sent events, whatever `Accept` says: that is how every client of these protocols reads a stream.
 *
 * The next event is asked for when the connection has taken the last one, so a slow reader slows its own generation down and
 * fills nobody's memory. An error after the first event can no longer change the status: it becomes an event.
 */
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import type { AppContext } from "../context.ts";
import { respond } from "../respond.ts";

export interface EventStream {
  readonly events: AsyncIterable<JsonValue>;
  /** Ends what makes the events: the client has left. */
  readonly stop: () => void;
  /** The protocol's own error, as an event. */
  readonly toError: (error: RuntimeError) => JsonValue;
  /** What stands before each event's JSON: `"data:"`, or with a space. */
  readonly prefix: "data:" | "data: ";
  /** What is said when all is said: OpenAI's `[DONE]`. */
  readonly last?: string;
}

export function respondWithEvents(
  c: AppContext,
  { events, stop, toError, prefix, last }: EventStream,
): Response {
  const iterator = events[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const end = c.get("stopWaiting");
  let hasLeft = false;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const send = (text: string): void => {
          if (!hasLeft) controller.enqueue(encoder.encode(`${prefix}${text}\n\n`));
        };
        try {
          const next = await iterator.next();
          if (next.done !== true) {
            send(JSON.stringify(next.value));
            return;
          }
        } catch (error) {
          send(JSON.stringify(toError(toKnown(error, c))));
        }
        if (last !== undefined) send(last);
        if (!hasLeft) controller.close();
        end();
      },
      cancel() {
        hasLeft = true;
        stop();
        end();
      },
    },
    { highWaterMark: 0 },
  );
  return respond(c, {
    body,
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no", // nginx would hold events back otherwise
    },
  });
}

function toKnown(error: unknown, c: AppContext): RuntimeError {
  if (isRuntimeError(error)) return error;
  c.get("log").error("A stream broke", { error });
  return new RuntimeError("INTERNAL", "Cannot finish the stream: the server made a mistake");
}
