/**
 * Asks for a URL that somebody else has chosen, without becoming their way into this network.
 *
 * A server that fetches what it is told can be made to ask its own network. So: the caller permits each URL, redirects
 * included; no credentials are sent; and an address that is not a public one is connected to only where the host was
 * permitted by its full name. The address that was checked is the one that is connected to, so a name that resolves
 * differently the second time gains nothing.
 */
import { lookup } from "node:dns/promises";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** An address of a host, as `dns.lookup` finds it. */
export interface Address {
  readonly address: string;
  readonly family: number;
}

/** `"named"`: the host was named in full, and may be a private one; `"pattern"`: it fits a pattern, and must be public. */
export type Permit = "named" | "pattern";

export interface GuardedRequest {
  /** Whether a URL may be asked for; `undefined` where it may not. */
  readonly permit: (url: URL) => Permit | undefined;
  /** What permits, for the refusal: `--allow-url-inputs`. */
  readonly permittedBy: string;
  /** Makes the error of a refusal; `problem` goes on after the URL's name: `is a URL of a private address`. */
  readonly refuse: (problem: string) => Error;
  readonly signal: AbortSignal;
  /** Every address of a host. */
  readonly resolve?: ((hostname: string) => Promise<readonly Address[]>) | undefined;
}

/** Browsers follow 20; a file that is really there needs one or two. */
const MOST_REDIRECTS = 5;

/** Follows redirects to a response with status 200, whose body is the caller's to read or to destroy. */
export async function requestGuarded(url: URL, options: GuardedRequest): Promise<IncomingMessage> {
  const { permit, permittedBy, refuse } = options;
  let target = url;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const where = redirects === 0 ? "is a URL" : "leads to a URL";
    const permitted = permit(target);
    if (permitted === undefined)
      throw refuse(`${where} of a host from which this server does not fetch (${permittedBy})`);
    if (target.username !== "" || target.password !== "")
      throw refuse(`${where} with credentials, which this server does not send`);
    const response = await open(target, permitted, options);
    const { statusCode = 0, headers } = response;
    if ([301, 302, 303, 307, 308].includes(statusCode) && headers.location !== undefined) {
      response.destroy();
      if (!URL.canParse(headers.location, target)) throw refuse("leads to no valid URL");
      target = new URL(headers.location, target);
      continue;
    }
    if (statusCode === 200) return response;
    response.destroy();
    throw refuse(`cannot be fetched: its host answers ${statusCode}`);
  }
  throw refuse(`leads from one URL to the next more than ${MOST_REDIRECTS} times`);
}

/** Connects to a checked address and waits for the response's head. */
async function open(
  url: URL,
  permitted: Permit,
  { refuse, signal, resolve = lookupAll }: GuardedRequest,
): Promise<IncomingMessage> {
  const bare = url.hostname.replace(/^\[|\]$/g, "");
  const found = isIP(bare) === 0 ? await resolve(bare) : [{ address: bare, family: isIP(bare) }];
  // Who names a host in full has its address in mind, be it a private one.
  const addresses =
    permitted === "named" ? found : found.filter(({ address }) => isPublic(address));
  const [first] = addresses;
  if (first === undefined)
    throw refuse("is a URL of a private address; only a host named in full may have one");
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
