/**
 * `hubserve bench`: how fast a server answers, one that runs or one that is started for a repository.
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Surroundings } from "../config.ts";
import { messageOf, RuntimeError, systemCodeOf } from "../errors.ts";
import { sniffMediaType } from "../media-type.ts";
import { createLog, printResult, type Log } from "../observe/log.ts";
import { createPaint } from "../observe/terminal.ts";
import { toCount, toDurationMs } from "../option-values.ts";
import { readArguments, refuse, type Arguments } from "./arguments.ts";
import { applyLoad, percentileOf, type LoadOptions, type LoadResult } from "./bench-load.ts";
import { startBenchServer, type BenchServer } from "./bench-server.ts";
import { interruptibly } from "./interruption.ts";
import { BENCH } from "./manual.ts";

const DEFAULT_URL = "http://localhost:8080";

/** @returns The exit code: 1 where an answer was an error. */
export async function runBench(surroundings: Surroundings): Promise<number> {
  return interruptibly((signal) => bench(surroundings, signal));
}

async function bench(surroundings: Surroundings, signal: AbortSignal): Promise<number> {
  const given = readArguments("bench", BENCH, surroundings, 1);
  const plan = readPlan(given);
  const { logLevel, logFormat } = given.config;
  const log = createLog({ level: logLevel, format: logFormat });
  const [word = DEFAULT_URL] = given.words;
  const isUrl = /^https?:\/\//.test(word);
  if (word.startsWith("https:"))
    throw refuse("bench", `found "${word}", wanted an address that begins with http://`);
  await using server = isUrl ? undefined : await start(word, given, surroundings, log, signal);
  const url = new URL(plan.path, server?.url ?? word);
  const payload = await readPayload(given.value("payload"), url, surroundings.cwd);

  const load = { ...plan, ...payload, url, signal } satisfies LoadOptions;
  if (plan.warmUp > 0) {
    const warm = await applyLoad({ ...load, requests: plan.warmUp, durationMs: Infinity });
    signal.throwIfAborted();
    assertAnswers(warm, url);
  }
  log.info(`Measuring ${url} with ${plan.concurrency} connections`);
  const result = await applyLoad(load);
  signal.throwIfAborted();
  assertAnswers(result, url);
  const report = toReport(result, url, plan.concurrency);
  const paint = createPaint({ env: surroundings.env });
  printResult(given.has("json") ? JSON.stringify(report) : toText(report, result, paint.bold));
  return Object.keys(result.errors).length === 0 ? 0 : 1;
}

interface Plan {
  readonly concurrency: number;
  readonly durationMs: number;
  readonly requests: number;
  readonly warmUp: number;
  readonly path: string;
}

function readPlan(given: Arguments): Plan {
  const read = <T>(flag: string, parse: (text: string) => T): T | undefined => {
    const text = given.value(flag);
    try {
      return text === undefined ? undefined : parse(text);
    } catch (error) {
      throw refuse("bench", `--${flag}: found "${text}", wanted ${messageOf(error)}`);
    }
  };
  const requests = read("requests", toCount(1, 1_000_000_000));
  return {
    concurrency: read("concurrency", toCount(1, 10_000)) ?? 8,
    requests: requests ?? Infinity,
    durationMs: read("duration", toDurationMs) ?? (requests === undefined ? 10_000 : Infinity),
    warmUp: read("warm-up", toCount(0, 1_000_000)) ?? 8,
    path: given.value("path") ?? "/",
  };
}

/** The server's own options go on to it, as flags. */
async function start(
  reference: string,
  { config }: Arguments,
  surroundings: Surroundings,
  log: Log,
  signal: AbortSignal,
): Promise<BenchServer> {
  const { describeOptions } = await import("../config.ts");
  const flags = describeOptions().flatMap(({ name, row }) => {
    const value = config[name];
    if (!config.origins[name].startsWith("--") || row.flag.startsWith("log-")) return [];
    if (value === true) return [`--${row.flag}`];
    if (name === "maxBatchDelayMs") return [`--${row.flag}=${String(value)}ms`];
    return [`--${row.flag}=${Array.isArray(value) ? value.join(",") : String(value)}`];
  });
  log.info(`Starting a server for ${reference}`);
  return startBenchServer([reference, ...flags], surroundings, log, signal);
}

type Payload = Pick<LoadOptions, "body" | "contentType">;

/** JSON, `@file`, or the example that the server shows of its model. */
async function readPayload(word: string | undefined, url: URL, cwd: string): Promise<Payload> {
  if (word?.startsWith("@") === true) {
    const file = resolve(cwd, word.slice(1));
    let bytes: Uint8Array;
    try {
      bytes = await readFile(file);
    } catch (error) {
      throw refuse("bench", `--payload: cannot read ${file} (${systemCodeOf(error) ?? ""})`);
    }
    const contentType = sniffMediaType(bytes) ?? "application/json";
    if (contentType === "application/json") assertJson(new TextDecoder().decode(bytes));
    return { body: bytes, contentType };
  }
  const text = word ?? JSON.stringify(await askExample(url));
  assertJson(text);
  return { body: new TextEncoder().encode(text), contentType: "application/json" };
}

function assertJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw refuse(
      "bench",
      `--payload: wanted JSON or @file, found what is no JSON: ${messageOf(error)}`,
    );
  }
}

async function askExample(url: URL): Promise<unknown> {
  let info: unknown;
  try {
    const response = await fetch(new URL("/info", url), { signal: AbortSignal.timeout(10_000) });
    info = await response.json();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason =
      error instanceof SyntaxError
        ? "no JSON came back"
        : (systemCodeOf(cause) ?? messageOf(cause));
    throw new RuntimeError(
      "NOT_READY",
      `Cannot ask the server at ${url.origin} for an example: ${reason}; start it, or name a folder or a model to start one for`,
      { cause: error },
    );
  }
  if (typeof info === "object" && info !== null && "example" in info) return info.example;
  throw new RuntimeError(
    "INVALID_OPTION",
    `Cannot measure the server at ${url.origin}: it shows no example of its model; name a body with --payload`,
  );
}

/** A server of which no request succeeds is not measured. */
function assertAnswers({ latenciesMs, errors, firstError }: LoadResult, url: URL): void {
  if (latenciesMs.length > 0) return;
  const found = Object.keys(errors).join(", ") || "no answer";
  throw new RuntimeError(
    "NOT_READY",
    `Cannot measure ${url}: every request failed with ${found}${firstError === undefined ? "" : `: ${firstError}`}`,
  );
}

interface Spread {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** In milliseconds, to a hundredth. */
function spreadOf(sorted: readonly number[]): Spread | undefined {
  if (sorted.length === 0) return undefined;
  const round = (value = 0): number => Math.round(value * 100) / 100;
  const at = (percent: number): number => round(percentileOf(sorted, percent));
  const mean = round(sorted.reduce((sum, value) => sum + value, 0) / sorted.length);
  return { mean, p50: at(50), p95: at(95), p99: at(99), max: at(100) };
}

function toReport(result: LoadResult, url: URL, concurrency: number) {
  const { latenciesMs, tookMs, errors } = result;
  return {
    url: url.href,
    concurrency,
    seconds: Math.round(tookMs) / 1000,
    answers: latenciesMs.length,
    answersPerSecond: Math.round((latenciesMs.length / tookMs) * 100_000) / 100,
    latencyMs: spreadOf(latenciesMs) ?? null,
    serverQueueMs: spreadOf(result.queueMs) ?? null,
    serverInferenceMs: spreadOf(result.inferenceMs) ?? null,
    errors,
  };
}

function toText(
  report: ReturnType<typeof toReport>,
  { firstError }: LoadResult,
  bold: (text: string) => string,
): string {
  const { latencyMs, serverQueueMs, serverInferenceMs, errors } = report;
  const columns = ["mean", "p50", "p95", "p99", "max"] as const;
  const row = (name: string, spread: Spread | null): readonly string[] =>
    spread === null
      ? []
      : [name.padEnd(20) + columns.map((each) => spread[each].toFixed(2).padStart(10)).join("")];
  const failed = Object.entries(errors).map(([what, count]) => `${count} × ${what}`);
  return [
    `${bold(`${report.answersPerSecond} answers a second`)}: ${report.answers} in ${report.seconds} s from ${report.url}, ${report.concurrency} connections`,
    "",
    "milliseconds".padEnd(20) + columns.map((each) => each.padStart(10)).join(""),
    ...row("latency", latencyMs),
    ...row("server: queue", serverQueueMs),
    ...row("server: inference", serverInferenceMs),
    ...(failed.length === 0 ? [] : ["", `errors: ${failed.join(", ")}; the first: ${firstError}`]),
  ].join("\n");
}
