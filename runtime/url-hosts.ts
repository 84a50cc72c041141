/**
 * Hosts from which inputs that are URLs may be fetched, as `--allow-url-inputs` names them.
 *
 * `example.com` is that host over https on its usual port; `*.example.com` every host below it, at any depth, and not
 * itself; `http://` before a name and `:8443` behind it say otherwise.
 */

/** One name of the list. */
export interface UrlHost {
  readonly protocol: "https:" | "http:";
  /** As `URL` spells it: lower case, punycode, IPv6 in brackets. */
  readonly hostname: string;
  /** Whether every host below `hostname` is meant, instead of itself. */
  readonly isWildcard: boolean;
  /** Empty for the protocol's usual one, as in `URL`. */
  readonly port: string;
}

/** @throws RangeError with what was wanted, when it names no host. */
export function parseUrlHost(text: string): UrlHost {
  const found = /^(?:(https?):\/\/)?(\*\.)?([^\s/?#@*]+)$/i.exec(text.trim());
  const url = `${found?.[1] ?? "https"}://${found?.[3] ?? ""}`;
  if (found === null || !URL.canParse(url))
    throw new RangeError('hosts such as "example.com", "*.example.com" or "http://localhost:9000"');
  const { protocol, hostname, port } = new URL(url);
  return {
    protocol: protocol === "http:" ? "http:" : "https:",
    hostname,
    isWildcard: found[2] !== undefined,
    port,
  };
}

/** The first of `hosts` that allows a URL; one that names the host itself goes before a wildcard. */
export function findUrlHost(url: URL, hosts: readonly string[]): UrlHost | undefined {
  const allowing = hosts
    .map(parseUrlHost)
    .filter(({ protocol, port }) => protocol === url.protocol && port === url.port);
  return (
    allowing.find(({ isWildcard, hostname }) => !isWildcard && hostname === url.hostname) ??
    allowing.find(({ isWildcard, hostname }) => isWildcard && url.hostname.endsWith(`.${hostname}`))
  );
}
