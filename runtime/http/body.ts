/**
 * The cloakroom: a request's body becomes plain data.
 *
 * Bodies are bounded while they are read. Media types are compared by their essence, in any case; where a client
 * names none, or a name that says nothing (`curl -d` claims a form), the bytes themselves decide.
 */
import { isUtf8 } from "node:buffer";
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { Media } from "../inference.ts";
import { sniffMediaType } from "../media-type.ts";
import { essenceOf, isJsonType, isUntold, printable } from "./content-type.ts";
import { parseForm, type Form } from "./form.ts";
import { decodeText, parseJson } from "./json-body.ts";

/** What came in. */
export type IncomingBody =
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "media"; readonly media: Media }
  | { readonly kind: "form"; readonly form: Form };

const FORM_TYPE = "multipart/form-data";

const ACCEPTED_TYPES =
  "application/json, multipart/form-data, text/plain, image/*, audio/* and application/octet-stream";

/**
 * Reads and decodes a body.
 *
 * @throws RuntimeError `BODY_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, or `INVALID_INPUT` for a malformed one.
 */
export async function readBody(request: Request, limitBytes: number): Promise<IncomingBody> {
  const contentType = request.headers.get("content-type") ?? "";
  const essence = essenceOf(contentType);
  const isTold = !isUntold(essence);
  if (isTold && !isReadable(essence)) {
    throw new RuntimeError(
      "UNSUPPORTED_MEDIA_TYPE",
      `Cannot read the body: its Content-Type is "${printable(essence)}", wanted one of ${ACCEPTED_TYPES}`,
    );
  }
  const bytes = await readBodyBytes(request, limitBytes);
  if (isJsonType(essence)) return { kind: "json", value: parseJson(bytes) };
  if (essence === FORM_TYPE) return { kind: "form", form: await parseForm(bytes, contentType) };
  if (essence.startsWith("text/")) return toText(bytes);
  if (isTold) return { kind: "media", media: { bytes, contentType } };
  const sniffed = sniffMediaType(bytes);
  if (sniffed === "application/json") return { kind: "json", value: parseJson(bytes) };
  if (sniffed !== undefined) return { kind: "media", media: { bytes, contentType: sniffed } };
  if (bytes.byteLength > 0 && (essence === "application/octet-stream" || !isUtf8(bytes)))
    return { kind: "media", media: { bytes, contentType: "application/octet-stream" } };
  // Neither a known kind of file nor noise: say what is wrong with it as JSON, which it most likely meant to be.
  return { kind: "json", value: parseJson(bytes) };
}

function isReadable(essence: string): boolean {
  return isJsonType(essence) || essence === FORM_TYPE || /^(?:image|audio|text)\/./.test(essence);
}

/**
 * Text is the inputs, except where it is a whole JSON body: `fetch` calls a string `text/plain` unless told otherwise,
 * and answering about the braces would be a wrong answer without an error.
 */
function toText(bytes: Uint8Array): IncomingBody {
  const text = decodeText(bytes);
  if (sniffMediaType(bytes) === "application/json" && text.includes('"inputs"')) {
    try {
      const value = parseJson(bytes);
      if (typeof value === "object" && value !== null && "inputs" in value)
        return { kind: "json", value };
    } catch (error) {
      if (!isRuntimeError(error)) throw error; // text that only looks like JSON is text
    }
  }
  return { kind: "text", text };
}

function assertPlainEncoding(encoding: string | null): void {
  if (encoding === null || ["", "identity"].includes(encoding.trim().toLowerCase())) return;
  throw new RuntimeError(
    "UNSUPPORTED_MEDIA_TYPE",
    `Cannot read the body: its Content-Encoding is "${printable(encoding)}", wanted an uncompressed body`,
  );
}

/**
 * A body as it came.
 *
 * @throws RuntimeError `BODY_TOO_LARGE`, or `UNSUPPORTED_MEDIA_TYPE` for a compressed one.
 */
export async function readBodyBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  assertPlainEncoding(request.headers.get("content-encoding"));
  return readBytes(request, limitBytes).catch((error: unknown) => {
    // The only other way to fail is a connection that breaks while the body is on its way.
    throw toRuntimeError(error, "CANCELLED", "Cannot read the body");
  });
}

async function readBytes(request: Request, limitBytes: number): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? Number.NaN);
  if (announced > limitBytes) throw tooLarge(limitBytes, `${announced} bytes`);
  // A length that was announced is kept by the HTTP parser; without one the bytes are counted as they come.
  if (!Number.isNaN(announced)) return new Uint8Array(await request.arrayBuffer());
  if (request.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
    total += part.byteLength;
    if (total > limitBytes) throw tooLarge(limitBytes, "more");
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function tooLarge(limitBytes: number, found: string): RuntimeError {
  return new RuntimeError(
    "BODY_TOO_LARGE",
    `Cannot read the body: it has ${found}, the limit is ${limitBytes} bytes (--max-body-size)`,
  );
}
