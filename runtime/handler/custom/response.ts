/**
 * `context.response`: the status and the headers that a handler wants for its answer, checked once it has answered.
 */
import { RuntimeError } from "../../errors.ts";
import type { ResponseHead } from "../../inference.ts";
import type { HandlerResponse } from "../contract.ts";

/** A response whose `Headers` are made when somebody asks for them: most handlers never do. */
export class LazyResponse implements HandlerResponse {
  status: number | undefined;
  #headers: Headers | undefined;

  get headers(): Headers {
    return (this.#headers ??= new Headers());
  }

  /** What was said so far, to be compared. */
  get said(): string {
    return JSON.stringify([this.status, [...(this.#headers ?? [])]]);
  }

  /** @returns `undefined` where the handler said nothing. @throws RuntimeError `HANDLER_FAILED` for what cannot be sent. */
  head(): ResponseHead | undefined {
    const { status } = this;
    const headers = this.#headers === undefined ? undefined : readHeaders(this.#headers);
    if (status !== undefined) assertStatus(status);
    if (status === undefined && headers === undefined) return undefined;
    return {
      ...(status !== undefined && { status }),
      ...(headers !== undefined && { headers }),
    };
  }
}

/** Proxies and clients refuse longer heads. */
const MOST_HEADERS = 32;
const MOST_CHARACTERS = 8192;

/** What belongs to the connection (RFC 9110, section 7.6.1), to the body's framing, or to the server. */
const REFUSED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "date",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-request-id",
]);

/** `Headers` itself has refused what no header can be: line breaks, control characters, names with spaces. */
function readHeaders(headers: Headers): Record<string, string> | undefined {
  const entries = [...headers];
  if (entries.length === 0) return undefined;
  if (entries.length > MOST_HEADERS)
    throw unsendable(`it has ${entries.length} headers, wanted at most ${MOST_HEADERS}`);
  const size = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (size > MOST_CHARACTERS)
    throw unsendable(`its headers have ${size} characters, wanted at most ${MOST_CHARACTERS}`);
  const read: Record<string, string> = {};
  for (const [name, value] of entries) {
    if (REFUSED.has(name)) throw unsendable(`the header ${name} is the server's own to say`);
    if (Object.hasOwn(read, name)) throw unsendable(`the header ${name} is there twice`); // only set-cookie can be
    read[name] = value;
  }
  return read;
}

function assertStatus(status: unknown): void {
  if (Number.isInteger(status) && Number(status) >= 200 && Number(status) <= 599) return;
  const found = typeof status === "string" ? JSON.stringify(status.slice(0, 60)) : String(status);
  throw unsendable(`the status is ${found}, wanted a whole number from 200 to 599`);
}

function unsendable(problem: string): RuntimeError {
  return new RuntimeError(
    "HANDLER_FAILED",
    `Handler failed: its response cannot be sent: ${problem}`,
  );
}
