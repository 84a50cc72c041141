/**
 * Files behind URLs, from the hosts that `--allow-url-inputs` names and from nowhere else.
 *
 * A server that fetches what clients name can be made to ask its own network. So: only named hosts, redirects
 * included; no credentials; and an address that is not a public one only where the list names its host in full. The
 * address that was checked is the one that is connected to, so a name that resolves differently the second time gains
 * nothing.
 */
import { lookup } from "node:dns/promises";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";

import { isRuntimeError } from "../../errors.ts";
import type { Media } from "../../inference.ts";
import { findUrlHost, type UrlHost } from "../../url-hosts.ts";
import { invalidInput } from "../tasks/inputs.ts";

/** An address of a host, as `dns.lookup` finds it. */
export interface Address {
  readonly address: string;
  readonly family: number;
}

export interface RemoteOptions {
  /** What is being done, for a refusal: `classify the image`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`. */
  readonly name: string;
  /** The allowed hosts, as `url-hosts.ts` reads them. */
  readonly hosts: readonly string[];
  readonly signal: AbortSignal;
  /** The most bytes. The default is that of `--max-body-size`: what a client could have sent itself. */
  readonly limitBytes?: number;
  /** For all of it, redirects included. */
  readonly timeoutMs?: number;
  /** Every address of a host. */
  readonly resolve?: (hostname: string) => Promise<readonly Address[]>;
}

const MOST_BYTES = 64 * 1024 * 1024;
/** Well below a request's own deadline of 120 s. */
const TIMEOUT_MS = 20_000;
/** Browsers follow 20; a file that is really there needs one or two. */
const MOST_REDIRECTS = 5;

/** Fetches one file. @throws `INVALID_INPUT` with one sentence, or the signal's reason. */
export async function fetchRemote(text: string, options: RemoteOptions): Promise<Media> {
  const { action, name, signal, timeoutMs = TIMEOUT_MS } = options;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const stop = AbortSignal.any([signal, late.signal]);
  const stopped = new Promise<never>((_resolve, reject) => {
    stop.addEventListener("abort", () => reject(stop.reason), { once: true });
  });
  try {
    signal.throwIfAborted();
    // A race, as the lookup of a name cannot be called off.
    return await Promise.race([follow(new URL(text), options, stop), stopped]);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (isRuntimeError(error)) throw error;
    const problem = late.signal.aborted
      ? `its host did not send it within ${timeoutMs / 1000} s`
      : "its host cannot be reached";
    throw invalidInput(action, `"${name}" cannot be fetched: ${problem}`, error);
  } finally {
    clearTimeout(timer);
  }
}

async function follow(url: URL, options: RemoteOptions, signal: AbortSignal): Promise<Media> {
  const { action, name, hosts } = options;
  const refuse = (problem: string) => invalidInput(action, `"${name}" ${problem}`);
  let target = url;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const where = redirects === 0 ? "is a URL" : "leads to a URL";
    const host = findUrlHost(target, hosts);
    if (host === undefined)
      throw refuse(`${where} of a host from which this server does not fetch (--allow-url-inputs)`);
    if (target.username !== "" || target.password !== "")
      throw refuse(`${where} with credentials, which this server does not send`);
    const response = await open(target, host, options, signal);
    const { statusCode = 0, headers } = response;
    if ([301, 302, 303, 307, 308].includes(statusCode) && headers.location !== undefined) {
      response.destroy();
      if (!URL.canParse(headers.location, target)) throw refuse("leads to no valid URL");
      target = new URL(headers.location, target);
      continue;
    }
    if (statusCode !== 200) {
      response.destroy();
      throw refuse(`cannot be fetched: its host answers ${statusCode}`);
    }
    return readFile(response, options);
  }
  throw refuse(`leads from one URL to the next more than ${MOST_REDIRECTS} times`);
}

/** Connects to a checked address and waits for the response's head. */
async function open(
  url: URL,
  host: UrlHost,
  options: RemoteOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const addresses = await findAddresses(url, host, options);
  const [first = { address: "", family: 0 }] = addresses; // there is at least one
  const answerLookup: LookupFunction = (_hostname, { all }, done) => {
    if (all) done(null, [...addresses]);
    else done(null, first.address, first.family);
  };
  const request = url.protocol === "http:" ? requestHttp : requestHttps;
  const headers = { accept: "*/*", "accept-encoding": "identity", "user-agent": "hubserve" };
  return new Promise((settle, reject) => {
    request(url, { agent: false, headers, lookup: answerLookup, signal })
      .once("response", settle)
      .once("error", reject)
      .end();
  });
}

/** The addresses of a host to which a connection may be made. @throws `INVALID_INPUT` when there is none. */
async function findAddresses(
  { hostname }: URL,
  { isWildcard }: UrlHost,
  { action, name, resolve = lookupAll }: RemoteOptions,
): Promise<readonly Address[]> {
  const bare = hostname.replace(/^\[|\]$/g, "");
  const found = isIP(bare) === 0 ? await resolve(bare) : [{ address: bare, family: isIP(bare) }];
  // Who names a host in full has its address in mind, be it a private one.
  const allowed = isWildcard ? found.filter(({ address }) => isPublic(address)) : found;
  if (allowed.length > 0) return allowed;
  const problem = `"${name}" is a URL of a private address; only a host named in full may have one`;
  throw invalidInput(action, problem);
}

async function readFile(response: IncomingMessage, options: RemoteOptions): Promise<Media> {
  const { action, name, limitBytes = MOST_BYTES } = options;
  const { headers } = response;
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding !== "identity")
      throw invalidInput(action, `"${name}" cannot be fetched: its host compresses what it sends`);
    for await (const part of response as AsyncIterable<Uint8Array>) {
      total += part.byteLength;
      if (total > limitBytes)
        throw invalidInput(action, `"${name}" is larger than ${limitBytes} bytes`);
      parts.push(part);
    }
  } finally {
    response.destroy();
  }
  return {
    bytes: new Uint8Array(Buffer.concat(parts)),
    contentType: headers["content-type"] ?? "application/octet-stream",
  };
}

function lookupAll(hostname: string): Promise<readonly Address[]> {
  return lookup(hostname, { all: true });
}

/** IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and later), and multicast. */
const SPECIAL: Readonly<Record<"ipv4" | "ipv6", readonly (readonly [string, number])[]>> = {
  ipv4: [
    ["0.0.0.0", 8],
    ["10.0.0.0", 8],
    ["100.64.0.0", 10], // carrier-grade NAT; some clouds' metadata
    ["127.0.0.0", 8],
    ["169.254.0.0", 16], // link-local; most clouds' metadata
    ["172.16.0.0", 12],
    ["192.0.0.0", 24],
    ["192.0.2.0", 24],
    ["192.88.99.0", 24],
    ["192.168.0.0", 16],
    ["198.18.0.0", 15],
    ["198.51.100.0", 24],
    ["203.0.113.0", 24],
    ["224.0.0.0", 3], // multicast, reserved, broadcast
  ],
  ipv6: [
    ["2001::", 23], // Teredo and other protocols' own
    ["2001:db8::", 32],
    ["2002::", 16], // 6to4: an IPv4 address in disguise
    ["3fff::", 20],
  ],
};

const special = new BlockList();
for (const family of ["ipv4", "ipv6"] as const)
  for (const [network, prefix] of SPECIAL[family]) special.addSubnet(network, prefix, family);

/** Of IPv6 only this is handed out: loopback, private, mapped and translated addresses all lie outside. */
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");

/** Whether anybody on the internet could reach that address too. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !special.check(address, "ipv4");
  return globalUnicast.check(address, "ipv6") && !special.check(address, "ipv6");
}
