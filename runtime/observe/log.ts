/**
 * The one door for output: levelled lines, as text for people or as JSON for machines.
 *
 * Secrets are redacted here, so that no caller can forget to: tokens in Hugging Face's own form, bearer headers,
 * and every string named in `secrets`.
 */

import { CLEAR_LINE } from "./progress.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "text" | "json";
export type LogFields = Readonly<Record<string, unknown>>;

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];
export const LOG_FORMATS = ["text", "json"] as const satisfies readonly LogFormat[];

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose lines all carry `fields`. */
  child(fields: LogFields): Log;
}

export interface LogOptions {
  readonly level?: LogLevel;
  readonly format?: LogFormat;
  /** Strings that must never be printed. */
  readonly secrets?: readonly string[];
  /** Receives one finished line without its newline; stderr by default, as stdout belongs to a command's result. */
  readonly write?: (line: string) => void;
  readonly now?: () => Date;
}

/** Creates the log that everything else writes to. */
export function createLog({
  level = "info",
  format = "text",
  secrets = [],
  write = writeLine,
  now = () => new Date(),
}: LogOptions = {}): Log {
  const threshold = LOG_LEVELS.indexOf(level);

  function at(lineLevel: LogLevel, inherited: LogFields) {
    return (message: string, fields?: LogFields): void => {
      if (LOG_LEVELS.indexOf(lineLevel) < threshold) return;
      const line = { message, fields: { ...inherited, ...fields }, level: lineLevel, time: now() };
      write(redact(format === "json" ? toJsonLine(line) : toTextLine(line), secrets));
    };
  }

  function withFields(inherited: LogFields): Log {
    return {
      debug: at("debug", inherited),
      info: at("info", inherited),
      warn: at("warn", inherited),
      error: at("error", inherited),
      child: (fields) => withFields({ ...inherited, ...fields }),
    };
  }
  return withFields({});
}

/** A line on stderr; a progress line that stands there is cleared first. */
function writeLine(line: string): void {
  process.stderr.write(`${process.stderr.isTTY ? CLEAR_LINE : ""}${line}\n`);
}

/** A log that prints nothing: for tests and for embedding programs that want silence. */
export function silentLog(): Log {
  return createLog({ write: () => undefined });
}

/** Replaces tokens and the given secrets in `text`. */
export function redact(text: string, secrets: readonly string[] = []): string {
  let clean = text.replace(TOKEN, "[redacted]").replace(BEARER, "$1[redacted]");
  for (const secret of secrets) {
    if (secret.length > 0) clean = clean.replaceAll(secret, "[redacted]");
  }
  return clean;
}

/** User access tokens and OAuth tokens of the Hub: `hf_` or `hf_oauth_`, then letters and digits. */
const TOKEN = /\bhf_(?:oauth_)?[A-Za-z0-9._-]{6,}/g;
const BEARER = /\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi;

interface Line {
  readonly message: string;
  readonly fields: LogFields;
  readonly level: LogLevel;
  readonly time: Date;
}

function toJsonLine({ message, fields, level, time }: Line): string {
  const printable = Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, toPrintable(value)]),
  );
  return JSON.stringify({ time: time.toISOString(), level, message, ...printable });
}

function toTextLine({ message, fields, level, time }: Line): string {
  const clock = time.toISOString().slice(11, 19);
  const mark = level === "info" ? "" : `${level.toUpperCase()} `;
  const details: string[] = [];
  let stack = "";
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (value instanceof Error) stack = `\n${stackOf(value)}`;
    else details.push(`${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  }
  const tail = details.length > 0 ? `  (${details.join(", ")})` : "";
  return `${clock} ${mark}${message}${tail}${stack}`;
}

function toPrintable(value: unknown): unknown {
  return value instanceof Error ? stackOf(value) : value;
}

function stackOf(error: Error): string {
  const own = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}

/** Prints a command's result, which belongs on stdout. */
export function printResult(text: string): void {
  process.stdout.write(`${text}\n`);
}
