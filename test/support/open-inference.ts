/**
 * The Open Inference Protocol's own OpenAPI page, for tests to hold answers against, and requests that they send.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Ajv } from "ajv";
import { parse } from "yaml";

const PAGE = new URL("../fixtures/oip/open_inference_rest.yaml", import.meta.url);

const ajv = new Ajv({ strict: false }); // OpenAPI has keywords of its own
ajv.addSchema({ $id: "oip", ...(parse(readFileSync(PAGE, "utf8")) as object) });

type SchemaName =
  | "metadata_server_response"
  | "metadata_model_response"
  | "inference_request"
  | "inference_response";

/** Whether a value is what the page says. */
export function assertConforms(value: unknown, name: SchemaName): void {
  const $ref = `oip#/components/schemas/${name}`;
  const validate = ajv.getSchema($ref);
  assert.ok(validate !== undefined, $ref);
  assert.ok(validate(value), `${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`);
}

/** What answers have, as far as tests read it. */
export interface InferAnswer {
  readonly id: string;
  readonly model_name: string;
  readonly model_version: string;
  readonly outputs: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly datatype: string;
    readonly parameters?: Readonly<Record<string, unknown>>;
    readonly data: readonly unknown[];
  }[];
}

/** A 200 that conforms. */
export async function readAnswer(response: Response): Promise<InferAnswer> {
  const text = await response.text();
  assert.equal(response.status, 200, text);
  assert.equal(response.headers.get("content-type"), "application/json");
  const answer: unknown = JSON.parse(text);
  assertConforms(answer, "inference_response");
  return answer as InferAnswer;
}

/** A failure in the protocol's shape. @returns Its sentence. */
export async function readError(response: Response, status: number): Promise<string> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  const body = JSON.parse(text) as { error?: unknown };
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.equal(typeof body.error, "string");
  return String(body.error);
}

/** A request with binary tensors: JSON, then the bytes. */
export function binaryRequest(
  body: unknown,
  blobs: readonly Uint8Array[],
  headers: Readonly<Record<string, string>> = {},
): RequestInit {
  const json = Buffer.from(JSON.stringify(body));
  return {
    method: "POST",
    headers: { "inference-header-content-length": String(json.byteLength), ...headers },
    body: new Uint8Array(Buffer.concat([json, ...blobs])),
  };
}

/** A binary answer, taken apart: its JSON, and the bytes of each output that has some. */
export async function readBinaryAnswer(
  response: Response,
): Promise<{ readonly answer: InferAnswer; readonly blobs: readonly Buffer[] }> {
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(response.status, 200, bytes.toString());
  assert.equal(response.headers.get("content-type"), "application/octet-stream");
  const length = Number(response.headers.get("inference-header-content-length"));
  const answer = JSON.parse(bytes.subarray(0, length).toString()) as InferAnswer;
  let at = length;
  const blobs = answer.outputs.flatMap(({ parameters, data }) => {
    const size = parameters?.["binary_data_size"];
    if (typeof size !== "number") return [];
    assert.equal(data, undefined);
    at += size;
    return [bytes.subarray(at - size, at)];
  });
  assert.equal(at, bytes.byteLength);
  return { answer, blobs };
}
