/**
 * What every protocol does with headers around an inference: what the handler may see, what the client is told besides.
 */
import type { InferenceResult, ResponseHead } from "../inference.ts";
import { CREDENTIAL_HEADERS } from "./api-keys.ts";
import { essenceOf, isJsonType } from "./content-type.ts";
import type { AppContext } from "./context.ts";
import type { Rendered } from "./render.ts";
import { respond, setHeader } from "./respond.ts";
import { readTraceContext } from "./trace-context.ts";

const CREDENTIALS = new Set([...CREDENTIAL_HEADERS, "proxy-authorization", "cookie"]);

/** What `readTraceContext` makes takes their place. */
const TRACE = new Set(["traceparent", "tracestate"]);

/** The request's headers as a handler sees them: without credentials, and without a trace that does not fit. */
export function withoutCredentials(
  headers: Readonly<Record<string, string>>,
): Record<string, string> {
  const kept = Object.entries(headers).filter(
    ([name]) => !CREDENTIALS.has(name) && !TRACE.has(name),
  );
  const trace = readTraceContext(headers["traceparent"], headers["tracestate"]);
  return trace === undefined ? Object.fromEntries(kept) : { ...Object.fromEntries(kept), ...trace };
}

/**
 * How long the answer took, and what the caller should know about it.
 *
 * @param nowMs On the engine's clock.
 */
export function setAnswerHeaders(c: AppContext, result: Timed, nowMs: number): void {
  const headers = toAnswerHeaders(result, nowMs - c.get("startedAtMs"));
  for (const [name, value] of Object.entries(headers)) setHeader(c, name, value);
}

/** What an answer's headers tell of it. */
type Timed = Pick<InferenceResult, "timings" | "warnings" | "tokens">;

/** What several inferences of one request read together; nothing where one of them does not tell. */
export function tokensOf(
  results: readonly Pick<InferenceResult, "tokens">[],
): Pick<InferenceResult, "tokens"> {
  const counts = results.flatMap(({ tokens }) => tokens ?? []);
  if (counts.length < results.length) return {};
  return { tokens: counts.reduce((sum, each) => sum + each, 0) };
}

/** The same, whatever carries it. @param totalMs Since the request's arrival. */
export function toAnswerHeaders(
  { timings, tokens, warnings = [] }: Timed,
  totalMs: number,
): Readonly<Record<string, string>> {
  return {
    "x-queue-time": timings.queueMs.toFixed(1),
    "x-inference-time": timings.inferenceMs.toFixed(1),
    "x-total-time": totalMs.toFixed(1),
    ...(tokens !== undefined && { "x-compute-tokens": String(tokens) }),
    "server-timing": toServerTiming(timings, totalMs),
    ...(warnings.length > 0 && { warnings: toHeader(warnings) }),
  };
}

/** For browsers' developer tools: https://www.w3.org/TR/server-timing/. */
function toServerTiming(
  { queueMs, inferenceMs, stages }: InferenceResult["timings"],
  totalMs: number,
): string {
  const parts: string[] = [`queue;dur=${queueMs.toFixed(1)}`];
  if (stages !== undefined) {
    const { prepareMs, waitMs, modelMs } = stages;
    parts.push(
      `tokenize;dur=${prepareMs.toFixed(1)}`,
      `batch;dur=${waitMs.toFixed(1)}`,
      `model;dur=${modelMs.toFixed(1)}`,
    );
  }
  parts.push(`inference;dur=${inferenceMs.toFixed(1)}`, `total;dur=${totalMs.toFixed(1)}`);
  return parts.join(", ");
}

/** An answer with the status and the headers that its handler asked for. */
export function respondWithHead(
  c: AppContext,
  { body, headers }: Rendered,
  { status = 200, headers: own = {} }: ResponseHead = {},
): Response {
  return respond(c, { body, headers: { ...headers, ...own } }, status);
}

/** The media type that a handler gave its answer, where it is not the usual one: then a text is sent as it is. */
export function ownTextType({ response, output }: InferenceResult): string | undefined {
  const type = response?.headers?.["content-type"];
  const isText = output.kind === "json" && typeof output.value === "string";
  return isText && type !== undefined && !isJsonType(essenceOf(type)) ? type : undefined;
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
