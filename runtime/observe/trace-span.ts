/**
 * What spans are made with: ids, times, and W3C Trace Context as OpenTelemetry has it.
 */
import {
  createTraceState,
  ROOT_CONTEXT,
  trace as traceApi,
  type Context,
  type HrTime,
  type SpanContext,
  type Tracer,
} from "@opentelemetry/api";
import { RandomIdGenerator } from "@opentelemetry/sdk-trace-base";

import type { TraceContext } from "./trace.ts";

/** What makes spans, and what they are told by. */
export interface SpanTools {
  readonly tracer: Tracer;
  readonly ids: Ids;
  /** Of the engine's clock, as OpenTelemetry wants it. */
  readonly toTime: (ms: number) => HrTime;
  readonly now: () => number;
}

/** Ids that may be drawn before their span is made. */
export interface Ids {
  generateTraceId(): string;
  generateSpanId(): string;
  /** The next span that is made has this id. */
  reserve(spanId: string): void;
}

export function createIds(): Ids {
  const random = new RandomIdGenerator();
  let reserved: string | undefined;
  return {
    generateTraceId: () => random.generateTraceId(),
    generateSpanId() {
      const id = reserved ?? random.generateSpanId();
      reserved = undefined;
      return id;
    },
    reserve: (spanId) => void (reserved = spanId),
  };
}

/** Of one request: all its spans stand to each other as the engine's clock says, whatever happens to the time of day. */
export function createClock(now: () => number): (ms: number) => HrTime {
  const offsetMs = Date.now() - now();
  return (ms) => {
    const micros = Math.round((ms + offsetMs) * 1000);
    const seconds = Math.floor(micros / 1e6);
    return [seconds, (micros - seconds * 1e6) * 1000];
  };
}

export function toContext({ traceparent, tracestate }: TraceContext): Context {
  const [, traceId = "", spanId = "", flags = ""] = traceparent.split("-");
  return traceApi.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  });
}

/** @param spanId Another span of the same trace. */
export function toHeaders(
  { traceId, spanId: own, traceFlags, traceState }: SpanContext,
  spanId: string = own,
): TraceContext {
  const state = traceState?.serialize();
  return {
    traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`,
    ...(state && { tracestate: state }),
  };
}
