/**
 * What every protocol does with headers around an inference: what the handler may see, what the client is told besides.
 */
import type { InferenceResult } from "../inference.ts";
import type { AppContext } from "./context.ts";
import { setHeader } from "./respond.ts";

const CREDENTIALS = new Set(["authorization", "proxy-authorization", "cookie"]);

/** The request's headers as a handler sees them. */
export function withoutCredentials(
  headers: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !CREDENTIALS.has(name)));
}

/**
 * How long the answer took, and what the caller should know about it.
 *
 * @param nowMs On the engine's clock.
 */
export function setAnswerHeaders(
  c: AppContext,
  { timings, warnings = [] }: InferenceResult,
  nowMs: number,
): void {
  setHeader(c, "x-queue-time", timings.queueMs.toFixed(1));
  setHeader(c, "x-inference-time", timings.inferenceMs.toFixed(1));
  setHeader(c, "x-total-time", (nowMs - c.get("startedAtMs")).toFixed(1));
  if (warnings.length > 0) setHeader(c, "warnings", toHeader(warnings));
}

/** More would not be read, and proxies refuse long headers. */
const MOST_WARNINGS = 5;
const LONGEST_WARNING = 200;

/** Sentences as a header's value: visible ASCII, `; ` between them. */
function toHeader(warnings: readonly string[]): string {
  const shown = warnings
    .slice(0, MOST_WARNINGS)
    .map((text) => text.replace(/[^\x20-\x7e]/g, "?").slice(0, LONGEST_WARNING));
  const rest = warnings.length - shown.length;
  return [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join("; ");
}
