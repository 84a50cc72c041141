/**
 * The file that a request is about, wherever the client put it: the body itself, a form's file, base64, a data URL, or
 * a URL of an allowed host.
 *
 * A string of a client never reaches a loader of transformers.js, which would open paths and URLs alike: it is decoded
 * here, fetched under `remote.ts`'s rules, or refused.
 */
import { isMedia, type InferenceRequest, type Media } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { decodeBase64 } from "./base64.ts";
import { fetchRemote } from "./remote.ts";

/** How to read one file. */
export interface SourceOptions {
  /** What is being done, for a refusal: `classify the image`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`. */
  readonly name: string;
  /** What is wanted, for a refusal: `an image`. */
  readonly wanted: string;
  /** Hosts from which a URL may be fetched; none when absent. */
  readonly urlHosts?: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/** The body as a file, where it is one. */
export function bodyFile({ media }: InferenceRequest): Media | undefined {
  return media;
}

/**
 * The bytes behind a value of a request's data: a string of its JSON, or a file of its form.
 *
 * @throws `INVALID_INPUT` with one sentence.
 */
export async function readSource(value: unknown, options: SourceOptions): Promise<Media> {
  const { action, name, wanted, urlHosts = [], signal } = options;
  if (isMedia(value)) return value;
  if (value instanceof Blob)
    return { bytes: new Uint8Array(await value.arrayBuffer()), contentType: value.type };
  if (typeof value !== "string") {
    throw invalidInput(action, `"${name}" is not a string, wanted ${wanted} in base64`);
  }
  if (/^https?:\/\//i.test(value)) {
    if (urlHosts.length === 0)
      throw invalidInput(action, `"${name}" is a URL, which this server does not fetch`);
    if (!URL.canParse(value)) throw invalidInput(action, `"${name}" is not a valid URL`);
    return fetchRemote(value, { action, name, hosts: urlHosts, signal });
  }
  const decoded = decodeBase64(value);
  if (decoded === undefined)
    throw invalidInput(action, `"${name}" is not base64, wanted ${wanted} in base64`);
  return { bytes: decoded.bytes, contentType: decoded.contentType ?? "application/octet-stream" };
}
