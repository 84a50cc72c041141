/**
 * The child's end of the channel, and a log whose lines the parent prints.
 */
import type { FromWorker } from "../messages.ts";
import type { Log, LogFields, LogLevel } from "../observe/log.ts";

/** @param sent Called once the message is on its way. */
export function send(message: FromWorker, sent?: () => void): void {
  if (!process.connected) return;
  process.send?.(message, undefined, undefined, sent);
}

export function createChannelLog(inherited: LogFields): Log {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    send({
      type: "log",
      level,
      message,
      fields: toPlainFields({ ...inherited, ...fields }),
    });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => createChannelLog({ ...inherited, ...fields }),
  };
}

/** Handlers log whatever they like; functions and class instances do not cross the channel. */
function toPlainFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? (value.stack ?? value.message) : toPlain(value),
    ]),
  );
}

function toPlain(value: unknown): unknown {
  if (typeof value !== "object" || value === null)
    return typeof value === "bigint" || typeof value === "function" ? String(value) : value;
  try {
    return JSON.parse(JSON.stringify(value)) as unknown;
  } catch {
    return "[unprintable]"; // a cycle
  }
}
