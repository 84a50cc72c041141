/**
 * Forms: `multipart/form-data` as fields and files.
 *
 * The platform's own parser reads them, from bytes that are bounded already. What a field is for, the protocol decides.
 */
import { RuntimeError } from "../errors.ts";
import type { Media } from "../inference.ts";
import { sniffMediaType } from "../media-type.ts";
import { essenceOf, isUntold } from "./content-type.ts";

/** Text, or a file with its type, told or recognized. */
export type FormValue = string | Media;

/** The values of each field, in the order in which they were sent. */
export type Form = ReadonlyMap<string, readonly FormValue[]>;

/** Far more than any real form has: each costs an object, and the parser runs on the server's one thread. */
const MOST_PARTS = 1000;

/** Of a field, in characters. */
const LONGEST_NAME = 1024;

/** @throws `INVALID_INPUT` for what is no form, or one of too many parts. */
export async function parseForm(bytes: Uint8Array, contentType: string): Promise<Form> {
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(contentType);
  if (boundary === null) throw invalidForm("its Content-Type names no boundary");
  assertFewParts(bytes, boundary[1] ?? boundary[2] ?? "");
  const fields = new Map<string, FormValue[]>();
  for (const [name, value] of await readFields(bytes, contentType)) {
    assertName(name);
    const values = fields.get(name) ?? [];
    values.push(typeof value === "string" ? value : await toMedia(value));
    fields.set(name, values);
  }
  return fields;
}

async function readFields(bytes: Uint8Array, contentType: string): Promise<FormData> {
  try {
    const headers = { "content-type": contentType };
    return await new Response(bytes as BodyInit, { headers }).formData();
  } catch (error) {
    throw invalidForm("it is not valid multipart/form-data", error);
  }
}

function assertFewParts(bytes: Uint8Array, boundary: string): void {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const delimiter = `--${boundary}`;
  let parts = -1; // the last delimiter ends the form
  for (let at = body.indexOf(delimiter); at !== -1; at = body.indexOf(delimiter, at + 1)) {
    if (++parts > MOST_PARTS) throw invalidForm(`it has more than ${MOST_PARTS} parts`);
  }
}

/** Names become keys of plain objects, where this one is none. */
function assertName(name: string): void {
  if (name === "__proto__") throw invalidForm('a field of it is named "__proto__"');
  if (name.length > LONGEST_NAME)
    throw invalidForm(
      `the name of a field has ${name.length} characters, wanted at most ${LONGEST_NAME}`,
    );
}

async function toMedia(file: Blob): Promise<Media> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const told = isUntold(essenceOf(file.type)) ? undefined : file.type;
  return { bytes, contentType: told ?? sniffMediaType(bytes) ?? "application/octet-stream" };
}

function invalidForm(problem: string, cause?: unknown): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read the form: ${problem}`, { cause });
}
