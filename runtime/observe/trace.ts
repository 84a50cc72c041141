/**
 * Traces: which request was where for how long, told to whoever collects such things from many services.
 *
 * Off unless OpenTelemetry's own variables name a collector (`trace-settings.ts`); only then is anything of OpenTelemetry
 * loaded (`trace-otlp.ts`). Where they are off, a request costs a look at `undefined`. Children make no spans: they tell
 * numbers, and the parent makes the spans of them.
 */
import type { InferenceResult } from "../inference.ts";
import type { RuntimeError } from "../errors.ts";
import type { Log } from "./log.ts";
import { readTraceSettings } from "./trace-settings.ts";

/** W3C Trace Context, as headers carry it: checked. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** A request that has come. Times are on the engine's clock, in milliseconds. */
export interface ArrivedRequest {
  readonly name: string;
  readonly attributes: SpanAttributes;
  /** The span that it belongs to, as its client says. */
  readonly parent: TraceContext | undefined;
  readonly startedAtMs: number;
}

/** What is known of a request once its status is. */
export interface AnsweredRequest {
  readonly name: string;
  readonly attributes: SpanAttributes;
  /** Where the server failed, and not the client: `"503"`. */
  readonly errorType?: string | undefined;
}

export interface Tracing {
  begin(request: ArrivedRequest): RequestTrace;
  /** Sends what has not been sent. Never rejects, and does not wait for a collector that is gone. */
  close(): Promise<void>;
}

export interface RequestTrace {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  readonly context: TraceContext;
  /** An inference begins: it is handed to the engine now. */
  inference(model: TracedModel): InferenceTrace;
  /** Its span ends, or, where it is held, with `release`. */
  answered(request: AnsweredRequest): void;
  /** The answer's body goes on after its head. */
  hold(): void;
  release(): void;
}

export interface TracedModel {
  readonly name: string;
  readonly version: string;
}

export interface InferenceTrace {
  /** For the handler, which may call further services: they belong to this span. */
  readonly context: TraceContext;
  /** A worker has begun it, or a part of it. */
  begun(pid: number | undefined): void;
  /** @returns The same answer; a stream is watched until its end. */
  done(result: InferenceResult): InferenceResult;
  failed(error: RuntimeError | undefined): void;
}

/** @returns `undefined` where nobody collects traces. */
export async function openTracing(
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
): Promise<Tracing | undefined> {
  const { settings, warnings } = readTraceSettings(env);
  for (const warning of warnings) log.warn(warning);
  if (settings === undefined) return undefined;
  const { createTracing } = await import("./trace-otlp.ts");
  log.info(`Traces go to ${settings.shownUrl}, as the service ${settings.serviceName}`);
  return createTracing(settings, { log });
}

/** For lines of the log. @param headers As a handler sees them: a `traceparent` among them has been checked. */
export function traceIdOf(headers: Readonly<Record<string, string>>): string | undefined {
  return headers["traceparent"]?.split("-", 2)[1];
}
