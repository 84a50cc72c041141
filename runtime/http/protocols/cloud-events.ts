/**
 * CloudEvents over HTTP: a request that is an event is answered with one, in the mode in which it came.
 *
 * In binary mode the attributes are headers and the body is the data; in structured mode the body is the event. Batches are
 * refused: KServe knows none, and an answer belongs to one question. The answer's `source` and `type` are KServe's.
 *
 * Source: CloudEvents 1.0.2, HTTP protocol binding and JSON event format.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import { essenceOf } from "../content-type.ts";
import { parseJson } from "../json-body.ts";
import type { Rendered } from "../render.ts";

/** How a request's data came, and its answer goes. */
export type EventMode = "none" | "binary" | "structured";

export interface Received {
  readonly mode: EventMode;
  /** JSON. */
  readonly data: unknown;
}

const STRUCTURED_TYPE = "application/cloudevents+json";

/** What every event has. */
const REQUIRED = ["specversion", "id", "source", "type"] as const;

const Attributes = z.looseObject({
  specversion: z.literal("1.0", `"1.0"`),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
});

/**
 * Reads a body that may be an event, or any event's data. JSON whatever the content type is called.
 *
 * @throws RuntimeError `INVALID_INPUT` for a broken event, `UNSUPPORTED_MEDIA_TYPE` for a batch or another format than JSON.
 */
export function readEvent(headers: Headers, bytes: Uint8Array): Received {
  const essence = essenceOf(headers.get("content-type") ?? "");
  if (essence === STRUCTURED_TYPE) return { mode: "structured", data: readStructured(bytes) };
  if (essence.startsWith("application/cloudevents")) {
    throw new RuntimeError(
      "UNSUPPORTED_MEDIA_TYPE",
      `Cannot read the event: its Content-Type is ${isBatch(essence) ? "a batch of events" : "a format"} that is not read here, wanted one event as ${STRUCTURED_TYPE} or in binary mode`,
    );
  }
  if (!REQUIRED.some((name) => headers.has(`ce-${name}`)))
    return { mode: "none", data: parseJson(bytes) };
  const found = REQUIRED.map((name) => [name, headers.get(`ce-${name}`) ?? undefined] as const);
  assertAttributes(Object.fromEntries(found), (name) => `the header "ce-${name}"`);
  return { mode: "binary", data: parseJson(bytes) };
}

function isBatch(essence: string): boolean {
  return essence.startsWith("application/cloudevents-batch");
}

function readStructured(bytes: Uint8Array): unknown {
  const event = parseJson(bytes);
  if (typeof event !== "object" || event === null || Array.isArray(event))
    throw broken("it is no JSON object");
  assertAttributes(event, (name) => `"${name}"`);
  const { data, data_base64: base64 } = event as { data?: unknown; data_base64?: unknown }; // unchecked
  if (data !== undefined && base64 !== undefined)
    throw broken(`it has both "data" and "data_base64", wanted one of them`);
  if (typeof base64 === "string") return readBase64(base64);
  if (base64 !== undefined) throw broken(`"data_base64" is no string`);
  if (data === undefined) throw broken(`it has neither "data" nor "data_base64"`);
  // JSON under another name arrives as text.
  return typeof data === "string" ? parseJson(Buffer.from(data)) : data;
}

function readBase64(text: string): unknown {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0)
    throw broken(`"data_base64" is not base64`);
  return parseJson(new Uint8Array(Buffer.from(text, "base64")));
}

function assertAttributes(given: unknown, nameOf: (attribute: string) => string): void {
  const result = Attributes.safeParse(given);
  if (result.success) return;
  const [issue] = result.error.issues;
  const name = String(issue?.path[0] ?? "");
  const wanted = name === "specversion" ? `"1.0"` : "text that is not empty";
  throw broken(`${nameOf(name)} is missing or wrong, wanted ${wanted}`);
}

function broken(problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read the event: ${problem}`);
}

/** The answering event's attributes. */
export interface AnswerAttributes {
  readonly id: string;
  /** The name of the model that answers. */
  readonly model: string;
  readonly time: Date;
}

/** An answer as an event of the same mode; as plain JSON to what was none. */
export function renderEvent(
  mode: EventMode,
  data: JsonValue,
  { id, model, time }: AnswerAttributes,
): Rendered {
  const json = "application/json";
  if (mode === "none") return { body: JSON.stringify(data), headers: { "content-type": json } };
  const attributes = {
    specversion: "1.0",
    id,
    source: `io.kserve.inference.${encodeURI(model)}`, // a URI reference
    type: "io.kserve.inference.response",
    time: time.toISOString(),
  };
  if (mode === "structured") {
    const event = { ...attributes, datacontenttype: json, data };
    return { body: JSON.stringify(event), headers: { "content-type": STRUCTURED_TYPE } };
  }
  const headers = Object.entries(attributes).map(([name, value]) => [
    `ce-${name}`,
    value.replaceAll("%", "%25"), // the binding's own encoding; all else is printable ASCII
  ]);
  return {
    body: JSON.stringify(data),
    headers: { "content-type": json, ...Object.fromEntries(headers) },
  };
}
