/**
 * A request as a command that a shell reads.
 */
import type { JsonValue } from "../../inference.ts";

export interface Command {
  readonly method: string;
  readonly url: string;
  /** A body of JSON, or `@` and the name of a file with it; none where absent. */
  readonly body?: JsonValue | undefined;
  /** The name of a file that is the body. */
  readonly file?: string;
  readonly needsKey: boolean;
}

/** @returns Lines that a backslash joins. */
export function toCurl({ method, url, body, file, needsKey }: Command): string {
  const isUsual = method === (body === undefined && file === undefined ? "GET" : "POST");
  const parts = [
    `curl ${isUsual ? "" : `-X ${method} `}${quote(url)}`,
    ...(needsKey ? [`-H "Authorization: Bearer $KEY"`] : []),
    ...(body === undefined
      ? []
      : ["-H 'Content-Type: application/json'", `-d ${quote(toText(body))}`]),
    ...(file === undefined ? [] : [`--data-binary ${quote(`@${file}`)}`]),
  ];
  return parts.join(" \\\n  ");
}

function toText(body: JsonValue): string {
  return typeof body === "string" && body.startsWith("@") ? body : JSON.stringify(body);
}

/** As a POSIX shell reads it: nothing within single quotes means anything. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
