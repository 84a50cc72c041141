/**
 * The spans of one inference: in the queue, in a worker's hands, and what the worker told of it.
 */
import {
  ROOT_CONTEXT,
  SpanStatusCode,
  trace as traceApi,
  type Context,
  type Span,
  type SpanContext,
} from "@opentelemetry/api";

import { isRuntimeError, type RuntimeError } from "../errors.ts";
import type { InferenceTimings, JsonValue } from "../inference.ts";
import type { InferenceTrace, SpanAttributes, TracedModel } from "./trace.ts";
import { toHeaders, type SpanTools } from "./trace-span.ts";

export interface InferenceOptions extends SpanTools {
  /** The request's. */
  readonly parent: SpanContext;
  readonly onEnd: () => void;
}

export interface OpenInference extends InferenceTrace {
  /** Ends it, whatever it waits for. */
  close(): void;
}

export function openInference(
  model: TracedModel,
  { tracer, ids, toTime, now, parent, onEnd }: InferenceOptions,
): OpenInference {
  const spanId = ids.generateSpanId();
  const arrivedAtMs = now();
  const above = traceApi.setSpanContext(ROOT_CONTEXT, parent);
  const own: SpanAttributes = {
    "hubserve.model.name": model.name,
    "hubserve.model.version": model.version,
  };
  let begunAtMs: number | undefined;
  let pid: number | undefined;
  let dispatches = 0;
  let span: Span | undefined;
  let isOver = false;

  function begin(name: string, startedAtMs: number, within: Context, attributes: SpanAttributes) {
    return tracer.startSpan(name, { startTime: toTime(startedAtMs), attributes }, within);
  }

  /** A span that is over already. @returns Its context, for what lies in it. */
  function add(
    name: string,
    { from, ms, within }: { from: number; ms: number; within: Context },
  ): Context {
    const added = begin(name, from, within, {});
    added.end(toTime(from + ms));
    return traceApi.setSpan(within, added);
  }

  /** @returns What the worker's spans lie in, and when it began. */
  function beginWork(fallbackMs: number): { within: Context; startedAtMs: number } {
    const startedAtMs = begunAtMs ?? fallbackMs;
    add("queue", { from: arrivedAtMs, ms: startedAtMs - arrivedAtMs, within: above });
    ids.reserve(spanId);
    span = begin("inference", startedAtMs, above, {
      ...own,
      ...(pid !== undefined && { "hubserve.worker.pid": pid }),
      ...(dispatches > 1 && { "hubserve.dispatches": dispatches }),
    });
    return { within: traceApi.setSpan(above, span), startedAtMs };
  }

  function end(error?: RuntimeError): void {
    if (isOver) return;
    isOver = true;
    if (span !== undefined) {
      if (error !== undefined) markFailed(span, error);
      span.end(toTime(now()));
    }
    onEnd();
  }

  /** The worker's clock is another one: its time is put in the middle of what the parent has seen. */
  function addWork({ inferenceMs, stages }: InferenceTimings, from: number, within: Context): void {
    const crossingMs = Math.max(0, now() - from - inferenceMs) / 2;
    const startedAtMs = from + crossingMs;
    const inside = add("handler", { from: startedAtMs, ms: inferenceMs, within });
    if (stages === undefined) return;
    const { prepareMs, waitMs, modelMs } = stages;
    add("tokenize", { from: startedAtMs, ms: prepareMs, within: inside });
    add("batch", { from: startedAtMs + prepareMs, ms: waitMs, within: inside });
    add("model", { from: startedAtMs + prepareMs + waitMs, ms: modelMs, within: inside });
  }

  return {
    context: toHeaders(parent, spanId),
    begun(worker) {
      dispatches++;
      begunAtMs ??= now();
      pid = worker;
    },
    done(result) {
      const { timings, tokens, output } = result;
      const { within, startedAtMs } = beginWork(arrivedAtMs + timings.queueMs);
      span?.setAttributes({
        ...(timings.stages !== undefined && { "hubserve.batch.size": timings.stages.batchSize }),
        ...(tokens !== undefined && { "hubserve.tokens": tokens }),
      });
      // Of a list no single worker can tell.
      if (dispatches <= 1) addWork(timings, startedAtMs, within);
      if (output.kind !== "stream") {
        end();
        return result;
      }
      return { ...result, output: { ...output, chunks: watch(output.chunks, end) } };
    },
    failed(error) {
      if (begunAtMs !== undefined) beginWork(begunAtMs);
      else span = begin("queue", arrivedAtMs, above, own);
      end(error);
    },
    close: () => end(),
  };
}

/** What a client did wrong may quote what it sent: that stays out of traces. */
function markFailed(span: Span, { code, message }: RuntimeError): void {
  span.setAttribute("error.type", code);
  const isOurs = code !== "INVALID_INPUT" && code !== "CANCELLED";
  span.setStatus({ code: SpanStatusCode.ERROR, ...(isOurs && { message }) });
}

/** Not a generator: its `return()` would wait for the chunk that `next()` is waiting for. */
function watch(
  chunks: AsyncIterable<JsonValue>,
  end: (error?: RuntimeError) => void,
): AsyncIterable<JsonValue> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = chunks[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const next = await iterator.next();
            if (next.done === true) end();
            return next;
          } catch (error) {
            end(isRuntimeError(error) ? error : undefined);
            throw error;
          }
        },
        async return(value?: unknown) {
          end();
          return iterator.return?.(value) ?? { done: true, value };
        },
      };
    },
  };
}
