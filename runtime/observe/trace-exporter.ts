/**
 * Says in our own log when spans cannot be sent: once, and again when a minute has passed.
 */
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base";

import type { Log } from "./log.ts";

const QUIET_MS = 60_000;

export interface ReportingOptions {
  /** Where they go, for people. */
  readonly url: string;
  readonly now?: () => number;
  readonly log: Log;
}

type Callback = Parameters<SpanExporter["export"]>[1];

export function createReportingExporter(
  exporter: SpanExporter,
  { url, now = Date.now, log }: ReportingOptions,
): SpanExporter {
  let lost = 0;
  let toldAt = -Infinity;

  function report(error: Error | undefined): void {
    if (now() - toldAt < QUIET_MS) return;
    toldAt = now();
    const why = error === undefined ? "no reason was given" : describe(error);
    log.warn(`Cannot send traces to ${url}: ${why}; ${lost} spans are lost`);
    lost = 0;
  }

  return {
    export(spans: ReadableSpan[], done: Callback) {
      exporter.export(spans, (result) => {
        const code: number = result.code; // an enumeration of a package that is not ours to name
        if (result.error !== undefined || code !== 0) {
          lost += spans.length;
          report(result.error);
        }
        done(result); // OpenTelemetry's own complaint, with a stack each time, goes nowhere: no logger is set
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}

/** A collector's refusal has a status; a connection that cannot be had often has its reason in its code alone. */
function describe(error: Error): string {
  const code = "code" in error ? error.code : undefined;
  const isTold = typeof code === "string" || typeof code === "number";
  return `${error.message.split("\n")[0] || error.name}${isTold ? ` (${code})` : ""}`;
}
