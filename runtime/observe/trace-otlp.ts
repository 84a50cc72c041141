/**
 * Spans, made with OpenTelemetry and sent as OTLP over HTTP. Loaded only where somebody collects them.
 *
 * A request's tree: the server's span; below it for each inference `queue` and `inference`; below that what the worker told of:
 * `handler`, and in it `tokenize`, `batch`, `model`. The inference's own id is drawn before its span is made, because the handler
 * is told it when nobody knows yet when the worker will begin.
 */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, type Span } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
} from "@opentelemetry/sdk-trace-base";

import { VERSION } from "../version.ts";
import type { Log } from "./log.ts";
import type { RequestTrace, Tracing } from "./trace.ts";
import { createReportingExporter } from "./trace-exporter.ts";
import { openInference, type OpenInference } from "./trace-inference.ts";
import type { SamplerChoice, TraceSettings } from "./trace-settings.ts";
import { createClock, createIds, toContext, toHeaders, type SpanTools } from "./trace-span.ts";

export interface TracingOptions {
  /** Milliseconds on the engine's clock. */
  readonly now?: () => number;
  readonly log: Log;
}

/** A collector that does not answer must not keep the server from ending. */
const LONGEST_FLUSH_MS = 5000;

/** Inferences of one request that have spans of their own: a list of prompts or instances may be long. */
const MOST_INFERENCES = 32;

export function createTracing(
  settings: TraceSettings,
  { now = () => performance.now(), log }: TracingOptions,
): Tracing {
  const { url, headers, serviceName, attributes, sampler } = settings;
  const ids = createIds();
  const exporter = new OTLPTraceExporter({ url, headers: { ...headers } });
  const provider = new BasicTracerProvider({
    resource: defaultResource().merge(
      resourceFromAttributes({
        "service.version": VERSION,
        "process.pid": process.pid,
        "process.runtime.name": "nodejs",
        "process.runtime.version": process.versions.node,
        ...attributes,
        "service.name": serviceName,
      }),
    ),
    sampler: toSampler(sampler),
    idGenerator: ids,
    spanProcessors: [
      new BatchSpanProcessor(createReportingExporter(exporter, { url: settings.shownUrl, log })),
    ],
  });
  const tracer = provider.getTracer("hubserve", VERSION);

  return {
    begin({ name, attributes: known, parent, startedAtMs }) {
      const toTime = createClock(now);
      const span = tracer.startSpan(
        name,
        { kind: SpanKind.SERVER, attributes: known, startTime: toTime(startedAtMs) },
        parent === undefined ? ROOT_CONTEXT : toContext(parent),
      );
      return createRequestTrace(span, { tracer, ids, toTime, now });
    },
    async close() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          log.warn("Some traces were not sent: the collector takes too long");
          resolve();
        }, LONGEST_FLUSH_MS);
      });
      const sent = provider.shutdown().catch((error: unknown) => {
        log.debug("The last traces were not sent", { error }); // the exporter has said so
      });
      await Promise.race([sent, late]);
      clearTimeout(timer);
    },
  };
}

function createRequestTrace(span: Span, tools: SpanTools): RequestTrace {
  const spanContext = span.spanContext();
  const context = toHeaders(spanContext);
  const open = new Set<OpenInference>();
  let inferences = 0;
  let isHeld = false;
  let isAnswered = false;

  function finish(): void {
    for (const inference of open) inference.close();
    span.end(tools.toTime(tools.now()));
  }

  return {
    traceId: spanContext.traceId,
    context,
    inference(model) {
      if (!span.isRecording() || ++inferences > MOST_INFERENCES)
        return {
          context,
          begun: () => undefined,
          done: (result) => result,
          failed: () => undefined,
        };
      const inference = openInference(model, {
        ...tools,
        parent: spanContext,
        onEnd: () => void open.delete(inference),
      });
      open.add(inference);
      return inference;
    },
    answered({ name, attributes, errorType }) {
      span.updateName(name);
      span.setAttributes(attributes);
      if (errorType !== undefined) {
        span.setAttribute("error.type", errorType);
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      isAnswered = true;
      if (!isHeld) finish();
    },
    hold: () => void (isHeld = true),
    release() {
      if (!isHeld) return;
      isHeld = false;
      if (isAnswered) finish();
    },
  };
}

function toSampler({ name, ratio }: SamplerChoice): Sampler {
  switch (name) {
    case "always_on":
      return new AlwaysOnSampler();
    case "always_off":
      return new AlwaysOffSampler();
    case "traceidratio":
      return new TraceIdRatioBasedSampler(ratio);
    case "parentbased_always_on":
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case "parentbased_always_off":
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case "parentbased_traceidratio":
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  }
}
