/**
 * The one door for output: levelled lines, as text for people or as JSON for machines.
 *
 * Secrets are redacted here, so that no caller can forget to (`redact.ts`), and whatever is logged stays within its own line:
 * what a client sent may have newlines, and they must not look like lines of ours.
 */

import { CLEAR_LINE } from "./progress.ts";
import { isSecretName, redact, REDACTED } from "./redact.ts";

export { redact } from "./redact.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
/** `auto`: text where a terminal reads it, else JSON. */
export type LogFormat = "auto" | "text" | "json";
export type LogFields = Readonly<Record<string, unknown>>;

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const satisfies readonly LogLevel[];
export const LOG_FORMATS = ["auto", "text", "json"] as const satisfies readonly LogFormat[];

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
  /** Whether a terminal reads it; asked for the format `auto`. */
  readonly isTerminal?: boolean;
  readonly now?: () => Date;
}

/** Creates the log that everything else writes to. */
export function createLog({
  level = "info",
  format = "text",
  secrets = [],
  write = writeLine,
  isTerminal = process.stderr.isTTY,
  now = () => new Date(),
}: LogOptions = {}): Log {
  const threshold = LOG_LEVELS.indexOf(level);
  const isJson = format === "json" || (format === "auto" && !isTerminal);
  const toLine = isJson ? toJsonLine : toTextLine;

  function at(lineLevel: LogLevel, inherited: LogFields) {
    return (message: string, fields?: LogFields): void => {
      if (LOG_LEVELS.indexOf(lineLevel) < threshold) return;
      const line = { message, fields: { ...inherited, ...fields }, level: lineLevel, time: now() };
      write(toLine(line, secrets));
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

/** Longer values are cut: a client must not fill the disk with one request. 16 KiB hold the longest stacks. */
const LONGEST_VALUE = 16 * 1024;

interface Line {
  readonly message: string;
  readonly fields: LogFields;
  readonly level: LogLevel;
  readonly time: Date;
}

/** What every line says first; a field of that name stands behind it with a `_` before its name. */
const OWN_KEYS: ReadonlySet<string> = new Set(["time", "level", "message"]);

/** RFC 8259 has no newline in a string, so the line is one whatever it says. */
function toJsonLine({ message, fields, level, time }: Line, secrets: readonly string[]): string {
  const renamed = Object.entries(fields).map(([key, value]) => [
    OWN_KEYS.has(key) ? `_${key}` : key,
    value,
  ]);
  const own = { time: time.toISOString(), level, message };
  return toJson({ ...own, ...Object.fromEntries(renamed) }, secrets);
}

function toTextLine({ message, fields, level, time }: Line, secrets: readonly string[]): string {
  const clock = time.toISOString().slice(11, 19);
  const mark = level === "info" ? "" : `${level.toUpperCase()} `;
  const details: string[] = [];
  let stack = "";
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (value instanceof Error) stack = `\n${clean(stackOf(value), secrets)}`;
    else details.push(`${quoted(key)}=${toDetail(key, value, secrets)}`);
  }
  const tail = details.length > 0 ? `  (${details.join(", ")})` : "";
  return `${clock} ${mark}${indent(clean(message, secrets))}${tail}${indent(stack)}`;
}

function toDetail(key: string, value: unknown, secrets: readonly string[]): string {
  if (isSecretName(key)) return REDACTED;
  return typeof value === "string"
    ? quoted(clean(value, secrets))
    : toVisible(toJson(value, secrets));
}

/** A string as it is where that is plain, else as JSON has it. */
function quoted(text: string): string {
  return UNPRINTABLE.test(text) || text.includes("\n") ? toVisible(JSON.stringify(text)) : text;
}

/** What a terminal would obey, and what other programs take for the end of a line; tabs and newlines are seen to by `indent`. */
const UNPRINTABLE = /[^\P{Cc}\t\n]|[\u2028\u2029]/u;
const EVERY_UNPRINTABLE = new RegExp(UNPRINTABLE, "gu");

function toVisible(text: string): string {
  return text.replace(
    EVERY_UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A stack goes on below; set in, it cannot be taken for the next line. */
function indent(text: string): string {
  return toVisible(text.replaceAll("\r\n", "\n")).replace(/\n(?!$)/g, "\n    ");
}

function toJson(value: unknown, secrets: readonly string[]): string {
  try {
    return stringify(value, secrets);
  } catch {
    return stringify(withoutUnprintable(value, secrets), secrets); // a cycle, or a toJSON() that throws
  }
}

function stringify(value: unknown, secrets: readonly string[]): string {
  const text = JSON.stringify(value, (key, each: unknown) => {
    if (isSecretName(key)) return REDACTED;
    if (typeof each === "bigint") return String(each);
    if (each instanceof Error) return clean(stackOf(each), secrets);
    return typeof each === "string" ? clean(each, secrets) : each;
  }) as string | undefined; // for a function, say
  return text ?? '"[unprintable]"';
}

/** The parts that can be printed, so that a line is never lost. */
function withoutUnprintable(value: unknown, secrets: readonly string[]): unknown {
  const parts = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(
    parts.map(([key, each]) => {
      try {
        stringify(each, secrets);
        return [key, each];
      } catch {
        return [key, "[unprintable]"];
      }
    }),
  );
}

/** Cut twice: what is not printed need not be searched, and no secret may lose its second half at the edge. */
function clean(text: string, secrets: readonly string[]): string {
  if (text.length <= LONGEST_VALUE) return redact(text, secrets);
  const left = text.length - LONGEST_VALUE;
  const start = redact(text.slice(0, 2 * LONGEST_VALUE), secrets).slice(0, LONGEST_VALUE);
  return `${start}… (${left} more characters)`;
}

function stackOf(error: Error): string {
  const own = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}

/** Prints a command's result, which belongs on stdout. */
export function printResult(text: string): void {
  process.stdout.write(`${text}\n`);
}
