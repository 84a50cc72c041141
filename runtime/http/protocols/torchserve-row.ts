/**
 * A request's inputs as TorchServe's worker hands them to a handler: a form's fields by name, any other body as `body`.
 *
 * JSON is decoded where the client calls it that, text too; what breaks as JSON goes on as the bytes that it is. Unlike
 * there, a claim of a form that is none (`curl -d '{"text": …}'`) is not believed, and bytes that nobody named are read as
 * JSON if they are that; with `original` they stay bytes.
 */
import { isUtf8 } from "node:buffer";

import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type { Media } from "../../inference.ts";
import { sniffMediaType } from "../../media-type.ts";
import { readBodyBytes } from "../body.ts";
import { essenceOf, isJsonType, isUntold } from "../content-type.ts";
import { parseForm } from "../form.ts";
import { decodeText, parseJson } from "../json-body.ts";
import type { Manner } from "./torchserve-errors.ts";

/** Inputs by name: text, what was JSON, or bytes with their type. */
export type Row = Readonly<Record<string, unknown>>;

export interface RowOptions {
  readonly limitBytes: number;
  readonly manner: Manner;
  /** Inputs besides, from routes whose query is input. */
  readonly query?: URLSearchParams | undefined;
}

const BYTES_TYPE = "application/octet-stream";

/** As many as a form may have parts. */
const MOST_FIELDS = 1000;

/** @throws RuntimeError `BODY_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, or `INVALID_INPUT` for a broken form. */
export async function readRow(
  request: Request,
  { limitBytes, manner, query }: RowOptions,
): Promise<Row> {
  const contentType = request.headers.get("content-type") ?? "";
  const bytes = await readBodyBytes(request, limitBytes);
  const fields = [...(query ?? []), ...(await readFields(bytes, contentType, manner))];
  return Object.fromEntries(fields); // of several fields of a name the last counts
}

async function readFields(
  bytes: Uint8Array,
  contentType: string,
  manner: Manner,
): Promise<readonly (readonly [name: string, value: unknown])[]> {
  const essence = essenceOf(contentType);
  if (essence === "multipart/form-data") {
    const form = await parseForm(bytes, contentType);
    return [...form].map(([name, values]) => {
      const last = values.at(-1);
      return [name, typeof last === "object" ? decode(last, manner) : last] as const;
    });
  }
  if (essence === "application/x-www-form-urlencoded" && looksEncoded(bytes)) {
    const text = decodeText(bytes);
    if (text.split("&", MOST_FIELDS + 2).length > MOST_FIELDS + 1) {
      throw new RuntimeError(
        "INVALID_INPUT",
        `Cannot read the form: it has more than ${MOST_FIELDS} fields`,
      );
    }
    return [...new URLSearchParams(text)];
  }
  const told = isUntold(essence) ? "" : contentType;
  return [["body", decode({ bytes, contentType: told }, manner)]];
}

/** Whether it begins as `name=` does, or is empty: nobody encodes braces, quotes or spaces as themselves in a name. */
function looksEncoded(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(256, bytes.byteLength));
  return bytes.byteLength === 0 || (isUtf8(bytes) && /^[^\s{}[\]"'<>=&]+=/.test(head.toString()));
}

function decode({ bytes, contentType }: Media, manner: Manner): unknown {
  const essence = essenceOf(contentType);
  const isJson =
    manner === "original" ? essence === "application/json" : isJsonType(essence) || essence === "";
  if (isJson) {
    try {
      // A bare number or word that nobody calls JSON is text.
      if (essence !== "" || sniffMediaType(bytes) === "application/json") return parseJson(bytes);
    } catch (error) {
      if (!isRuntimeError(error)) throw error;
    }
  }
  if (essence.startsWith("text/") && !isJson) return decodeText(bytes);
  return { bytes, contentType: contentType || (sniffMediaType(bytes) ?? BYTES_TYPE) };
}
