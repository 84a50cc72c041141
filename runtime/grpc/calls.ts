/**
 * One call of one method: what a service's function is given of it, and how its answer or its failure goes back.
 */
import { Metadata, type handleUnaryCall, type ServerUnaryCall } from "@grpc/grpc-js";

import type { Waiting } from "../engine/engine.ts";
import { isRuntimeError } from "../errors.ts";
import { withoutCredentials } from "../http/exchange.ts";
import type { Log } from "../observe/log.ts";
import { traceIdOf, type RequestTrace } from "../observe/trace.ts";
import type { Incoming } from "./definitions.ts";
import { REQUEST_ID_KEY } from "./hall.ts";
import { toStatus } from "./status.ts";
import { waitFor } from "./waiting.ts";

export interface Call {
  readonly id: string;
  /** The metadata as a handler may see it: text only, without credentials. */
  readonly headers: Readonly<Record<string, string>>;
  readonly startedAtMs: number;
  /** There where traces are collected. */
  readonly trace: RequestTrace | undefined;
  readonly log: Log;
  /** @param timeoutMs The longest it may take, counted from its arrival; the client's own deadline may be sooner. */
  waitFor(timeoutMs: number): Waiting;
  /** Adds to the answer's metadata. */
  setHeader(name: string, value: string): void;
}

export interface CallOptions {
  /** Milliseconds on the engine's clock. */
  readonly now: () => number;
  readonly traceOf?: ((metadata: Metadata) => RequestTrace | undefined) | undefined;
  readonly log: Log;
}

/** Makes a method of a function; whatever the function throws becomes a status. */
export function unary<Message, Response>(
  answer: (message: Message, call: Call) => Response | Promise<Response>,
  { now, traceOf, log }: CallOptions,
): handleUnaryCall<Incoming<Message>, Response> {
  return (call, respond) => {
    const startedAtMs = now();
    const headers = toHeaders(call);
    const id = headers[REQUEST_ID_KEY] ?? "";
    const trace = traceOf?.(call.metadata);
    const traceId = trace?.traceId ?? traceIdOf(headers);
    const own = log.child({ requestId: id, ...(traceId !== undefined && { traceId }) });
    const metadata = new Metadata();
    const watches: { stop(): void }[] = [];
    const run = async (): Promise<Response> => {
      const { request } = call;
      if ("refusal" in request) throw request.refusal;
      return answer(request.message, {
        id,
        headers,
        startedAtMs,
        trace,
        log: own,
        waitFor(timeoutMs) {
          const waiting = waitFor(call, { timeoutMs, startedAtMs, now });
          watches.push(waiting);
          return waiting;
        },
        setHeader: (name, value) => metadata.set(name, value),
      });
    };
    run()
      .finally(() => {
        for (const watch of watches) watch.stop();
      })
      .then(
        (response) => {
          call.sendMetadata(metadata);
          respond(null, response);
        },
        (error: unknown) => {
          if (!isRuntimeError(error))
            own.error("A call failed for a reason of the server's own", { error });
          respond(toStatus(error));
        },
      );
  };
}

function toHeaders({
  metadata,
}: Pick<ServerUnaryCall<unknown, unknown>, "metadata">): Record<string, string> {
  const texts = Object.entries(metadata.getMap()).flatMap(([name, value]) =>
    typeof value === "string" ? [[name, value] as const] : [],
  );
  return withoutCredentials(Object.fromEntries(texts));
}
