/**
 * What every call passes, of whichever service: its id, the key it needs, its count and its line in the log.
 */
import { randomUUID } from "node:crypto";
import {
  Metadata,
  ServerInterceptingCall,
  status as Status,
  type ServerInterceptor,
  type StatusObject,
} from "@grpc/grpc-js";

import { RuntimeError } from "../errors.ts";
import { accessLevel, type AccessLog } from "../http/access-log.ts";
import { NO_API_KEY, PUBLIC_METHODS, type ApiKeys } from "../http/api-keys.ts";
import { REQUEST_ID } from "../http/middleware.ts";
import { AUTHORIZATION_FAILED, type KeyKind, type TokenAuthority } from "../http/token-auth.ts";
import { readTraceContext } from "../http/trace-context.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { RequestTrace, Tracing } from "../observe/trace.ts";
import { toStatus } from "./status.ts";

export const REQUEST_ID_KEY = "x-request-id";

export interface HallOptions {
  readonly metrics: Pick<Metrics, "call">;
  /** The key that a method needs, by its path; `undefined` for none. */
  readonly lockOf: (path: string) => Lock | undefined;
  /** Of which every call needs one, but for those of health; none where absent. */
  readonly apiKeys?: ApiKeys | undefined;
  readonly now: () => number;
  readonly makeId?: () => string;
  /** Where spans are made; nowhere when absent. */
  readonly tracing?: Tracing | undefined;
  /** Which calls have a line in the log; as HTTP's. */
  readonly accessLog?: AccessLog | undefined;
  readonly log: Log;
}

export interface Lock {
  readonly authority: TokenAuthority;
  readonly kind: KeyKind;
}

export interface Hall {
  readonly interceptor: ServerInterceptor;
  /** The trace of the call that came with this metadata. */
  readonly traceOf: (metadata: Metadata) => RequestTrace | undefined;
  /** Ends the streams that would go on for ever, such as a watch of the health. */
  endStreams(): void;
}

export function createHall({
  metrics,
  lockOf,
  apiKeys,
  now,
  makeId = randomUUID,
  tracing,
  accessLog = "errors",
  log,
}: HallOptions): Hall {
  const streams = new Set<ServerInterceptingCall>();
  const traces = new WeakMap<Metadata, RequestTrace>();

  const interceptor: ServerInterceptor = ({ path, responseStream }, inner) => {
    const startedAtMs = now();
    const method = path.replace(/^\//, "");
    const lock = lockOf(path);
    const isPublic = apiKeys === undefined || PUBLIC_METHODS.test(path);
    const refusalOf = (metadata: Metadata): RuntimeError | undefined => {
      if (!isPublic && !apiKeys.accepts((name) => textOf(metadata, name)))
        return new RuntimeError("UNAUTHORIZED", NO_API_KEY);
      if (lock?.authority.accepts(lock.kind, textOf(metadata, "authorization")) === false)
        return new RuntimeError("UNAUTHORIZED", AUTHORIZATION_FAILED);
      return undefined;
    };
    let id = makeId();
    let trace: RequestTrace | undefined;
    let hasSentMetadata = false;
    let isCounted = false;

    const count = (code: Status): void => {
      if (isCounted) return;
      isCounted = true;
      const tookMs = now() - startedAtMs;
      metrics.call(method, Status[code], tookMs);
      const isFault = OUR_FAULT.has(code);
      trace?.answered({
        name: method,
        attributes: { "rpc.grpc.status_code": code },
        errorType: isFault ? Status[code] : undefined,
      });
      const level = accessLevel(accessLog, isFault);
      if (level === undefined) return;
      log[level](`gRPC ${method} ${Status[code]} in ${tookMs.toFixed(1)} ms`, {
        requestId: id,
        ...(trace !== undefined && { traceId: trace.traceId }),
        route: method,
        status: Status[code],
        ms: Math.round(tookMs * 10) / 10,
      });
    };

    /** Questions about the server itself are not traced, as with HTTP. */
    const beginTrace = (metadata: Metadata): void => {
      if (tracing === undefined || ABOUT_THE_SERVER.test(method)) return;
      const [service = "", name = ""] = method.split("/", 2);
      trace = tracing.begin({
        name: method,
        attributes: { "rpc.system": "grpc", "rpc.service": service, "rpc.method": name },
        parent: readTraceContext(textOf(metadata, "traceparent"), textOf(metadata, "tracestate")),
        startedAtMs,
      });
      traces.set(metadata, trace);
    };

    const outer = new ServerInterceptingCall(inner, {
      start(next) {
        next({
          onReceiveMetadata(metadata, pass) {
            if (responseStream) streams.add(outer);
            const given = textOf(metadata, REQUEST_ID_KEY);
            if (given !== undefined && REQUEST_ID.test(given)) id = given;
            metadata.set(REQUEST_ID_KEY, id);
            beginTrace(metadata);
            const refusal = refusalOf(metadata);
            if (refusal === undefined) pass(metadata);
            else outer.sendStatus(toStatus(refusal));
          },
          // Also after the end; and where the library itself refused a message, which it tells nobody.
          onCancel() {
            streams.delete(outer);
            const isLate = Date.now() >= Number(inner.getDeadline());
            count(isLate ? Status.DEADLINE_EXCEEDED : Status.CANCELLED);
          },
        });
      },
      sendMetadata(metadata, next) {
        hasSentMetadata = true;
        metadata.set(REQUEST_ID_KEY, id);
        next(metadata);
      },
      sendStatus(status, next) {
        count(status.code ?? Status.UNKNOWN);
        const metadata = status.metadata ?? new Metadata();
        if (!hasSentMetadata) metadata.set(REQUEST_ID_KEY, id);
        next({ ...status, metadata });
      },
    });
    return outer;
  };

  return {
    interceptor,
    traceOf: (metadata) => traces.get(metadata),
    endStreams() {
      for (const stream of streams) stream.sendStatus(SHUTTING_DOWN);
    },
  };
}

const ABOUT_THE_SERVER =
  /^grpc\.(?:health|reflection)\.|\/(?:Server(?:Live|Ready)|ModelReady|ServerMetadata)$/;

/** What is worth a warning: the client could not have done better. */
const OUR_FAULT = new Set([
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
]);

const SHUTTING_DOWN: Partial<StatusObject> & Pick<StatusObject, "code" | "details"> = {
  code: Status.UNAVAILABLE,
  details: "Cannot go on: the server is shutting down",
};

function textOf(metadata: Metadata, key: string): string | undefined {
  const [value] = metadata.get(key);
  return typeof value === "string" ? value : undefined;
}
