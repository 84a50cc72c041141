/**
 * How the text of a flag or a variable becomes a value.
 *
 * Each reader throws a `RangeError` whose message says what was wanted; `config.ts` makes a sentence of it.
 */

import { parseAllowedUrl } from "./allowed-urls.ts";
import { LOG_LEVELS, type LogLevel } from "./observe/log.ts";
import { parseUrlHost } from "./url-hosts.ts";

export const SECOND_MS = 1000;
export const MIB = 1024 * 1024;

export function toText(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") throw new RangeError("some text");
  return trimmed;
}

export function toList(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

export function toUrlHosts(text: string): readonly string[] {
  const hosts = toList(text);
  for (const host of hosts) parseUrlHost(host);
  return hosts;
}

export function toAllowedUrls(text: string): readonly string[] {
  const patterns = toList(text);
  for (const pattern of patterns) parseAllowedUrl(pattern);
  return patterns;
}

export function toVariableNames(text: string): readonly string[] {
  const names = toList(text);
  for (const name of names) {
    if (!/^[A-Za-z_]\w{0,199}$/.test(name))
      throw new RangeError("names of environment variables, without their values");
    if (/^HUBSERVE_API_KEYS?$/i.test(name))
      throw new RangeError("names of variables other than those of this server's own keys");
  }
  return names;
}

/** Port 0 takes a free one. */
export function toPortOrOff(text: string): number | "off" {
  if (text.trim().toLowerCase() === "off") return "off";
  try {
    return toCount(0, 65_535)(text);
  } catch {
    throw new RangeError("a port from 0 to 65535, or off");
  }
}

export function toSwitch(text: string): boolean {
  const word = text.trim().toLowerCase();
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (["0", "false", "no", "off", ""].includes(word)) return false;
  throw new RangeError("true or false");
}

/** KServe's `MODEL_INIT_MODE`, or a switch: whether the model's files may come after the start. */
export function toInitMode(text: string): boolean {
  const word = text.trim().toLowerCase();
  if (word === "async") return true;
  if (word === "sync") return false;
  try {
    return toSwitch(text);
  } catch {
    throw new RangeError("true, false, async or sync");
  }
}

/** A name is a part of paths: `/v2/models/<name>/infer`. */
export function toModelName(text: string): string {
  const name = text.trim();
  if (!/^[A-Za-z\d][\w.-]{0,199}$/.test(name))
    throw new RangeError("letters, digits, dots, dashes and underscores, at most 200 of them");
  return name;
}

/** In the words of other programs too: `LOG_LEVEL` is everybody's variable. */
export function toLogLevel(text: string): LogLevel {
  const word = text.trim().toLowerCase();
  const found = LOG_LEVELS.find((level) => level === word) ?? OTHER_LEVELS.get(word);
  if (found === undefined) throw new RangeError(`one of ${LOG_LEVELS.join(", ")}`);
  return found;
}

const OTHER_LEVELS: ReadonlyMap<string, LogLevel> = new Map([
  ["trace", "debug"],
  ["notice", "info"],
  ["warning", "warn"],
  ["critical", "error"],
  ["fatal", "error"],
]);

export function toChoice<const Choice extends string>(
  choices: readonly Choice[],
): (text: string) => Choice {
  return (text) => {
    const found = choices.find((choice) => choice === text.trim().toLowerCase());
    if (found === undefined) throw new RangeError(`one of ${choices.join(", ")}`);
    return found;
  };
}

export function toCount(least: number, most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (text.trim() === "" || !Number.isInteger(count) || count < least || count > most) {
      throw new RangeError(`a whole number from ${least} to ${most}`);
    }
    return count;
  };
}

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND_MS,
  m: 60 * SECOND_MS,
  h: 3600 * SECOND_MS,
};

/** setTimeout's own limit: 2^31 − 1 ms, a little under 25 days. */
const LONGEST_TIMER_MS = 2_147_483_647;

export function toDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(text.trim().toLowerCase());
  const ms = match ? Number(match[1]) * (DURATION_MS[match[2] ?? "s"] ?? SECOND_MS) : Number.NaN;
  if (!(ms <= LONGEST_TIMER_MS))
    throw new RangeError('a duration of at most 24 days such as "30s", "500ms" or "2m"');
  return Math.round(ms);
}

const SIZE_BYTES: Readonly<Record<string, number>> = { "": 1, k: 1024, m: MIB, g: 1024 * MIB };

export function toBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/.exec(text.trim().toLowerCase());
  const bytes = match ? Number(match[1]) * (SIZE_BYTES[match[2] ?? ""] ?? 1) : Number.NaN;
  if (!(bytes >= 1)) throw new RangeError('a size such as "64MiB" or a number of bytes');
  return Math.round(bytes);
}

export function toHttpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol))
    throw new RangeError("an http(s) URL");
  return text.trim().replace(/\/+$/, "");
}
