/**
 * The URLs from which models may be fetched, as `--allowed-urls` names them.
 *
 * TorchServe's patterns, regular expressions such as `https://models.example.com/.*`, but read part by part against the
 * parsed URL: its scheme, its host and its path each have to fit their own part. There `https://s3.amazonaws.com.*`
 * also allows `https://s3.amazonaws.com.evil.example/`, and `https://good.example.*` allows `https://good.example@evil.example/`.
 * So in a host a plain dot is a dot, and `.*` right behind a host with no path means any path.
 */
import type { Permit } from "./guarded-request.ts";

/** One pattern of the list. */
export interface AllowedUrl {
  readonly protocol: RegExp;
  readonly host: RegExp;
  readonly path: RegExp;
  /** Whether it names one host in full, which may then be a private one. */
  readonly isNamed: boolean;
}

/** Whether one of `patterns` allows a URL, and whether by its host's full name. */
export function permitUrl(url: URL, patterns: readonly string[]): Permit | undefined {
  const allowing = patterns.map(parseAllowedUrl).filter((allowed) => fits(url, allowed));
  if (allowing.length === 0) return undefined;
  return allowing.some(({ isNamed }) => isNamed) ? "named" : "pattern";
}

const WANTED =
  'URLs whose host and path are regular expressions, such as "https://models.example.com/.*"';

/** @throws RangeError with what was wanted. */
export function parseAllowedUrl(text: string): AllowedUrl {
  const found = /^([^/:]+):\/\/(.*)$/s.exec(text.trim().replaceAll("\\/", "/"));
  if (found === null) throw new RangeError(WANTED);
  const [, scheme = "", rest = ""] = found;
  const { host, path } = splitAtPath(rest);
  try {
    return {
      protocol: new RegExp(`^(?:${scheme}):$`, "i"),
      host: new RegExp(`^(?:${withPlainDots(host)})$`, "i"),
      path: new RegExp(`^(?:${path})$`, "is"),
      isNamed: /^(?:[\w:-]|\\?\.(?![*+?{]))+$/.test(host),
    };
  } catch {
    throw new RangeError(WANTED);
  }
}

function fits(url: URL, { protocol, host, path }: AllowedUrl): boolean {
  if (!protocol.test(url.protocol)) return false;
  const usualPort: Readonly<Record<string, string>> = { "http:": ":80", "https:": ":443" };
  const hosts = [
    url.host,
    ...(url.port === "" ? [url.host + (usualPort[url.protocol] ?? "")] : []),
  ];
  return hosts.some((name) => host.test(name)) && path.test(url.pathname + url.search);
}

/** At the first slash that stands in no class: `[^/]+` is a part of the host. */
function splitAtPath(rest: string): { host: string; path: string } {
  let isInClass = false;
  for (let i = 0; i < rest.length; i++) {
    const character = rest[i];
    if (character === "\\") i++;
    else if (character === "[") isInClass = true;
    else if (character === "]") isInClass = false;
    else if (character === "/" && !isInClass)
      return { host: rest.slice(0, i), path: rest.slice(i) };
  }
  const host = rest.length > 2 && rest.endsWith(".*") ? rest.slice(0, -2) : rest;
  return { host, path: ".*" };
}

/** `models.example.com` means these dots; `.*` and `.+` stay what they are. */
function withPlainDots(host: string): string {
  return host.replace(/\\.|\[(?:\\.|[^\]])*\]|\.(?![*+?{])/g, (part) =>
    part === "." ? "\\." : part,
  );
}
