/**
 * Models by name and version for tests of TorchServe's protocol, and what an original answer's headers are.
 */
import assert from "node:assert/strict";

import { createModels, type Models } from "../../runtime/engine/models.ts";
import type { ModelDescription } from "../../runtime/inference.ts";
import type { Envelope } from "../../runtime/torchserve-modes.ts";
import { readyModels, type Answer } from "./app-matrix.ts";

export interface TestModel {
  readonly name?: string;
  readonly version?: string;
  readonly answer?: Answer;
  readonly description?: Partial<ModelDescription>;
  readonly envelope?: Envelope;
}

/** A register of ready models; by default `echo`, whose answer is what its handler was given. */
export function torchServeModels(...wanted: readonly TestModel[]): Models {
  const models = createModels();
  for (const each of wanted) {
    const { name = "echo", version = "1.0", answer = echo, description = {}, envelope } = each;
    const [ready] = readyModels(answer, description).list;
    assert.ok(ready?.engine !== undefined && ready.description !== undefined);
    models
      .register(name, { version })
      .started({ engine: ready.engine, description: ready.description }, { envelope });
  }
  return models;
}

/** What a handler is told, as JSON: files by their type and text. */
export const echo: Answer = ({ kind, data, media, headers }) => ({
  kind: "json",
  value: JSON.parse(
    JSON.stringify(
      {
        kind,
        data,
        ...(media !== undefined && { media }),
        explain: headers["explain"],
        url_path: headers["url_path"],
      },
      (_key, value: unknown) =>
        typeof value === "object" && value !== null && "bytes" in value && "contentType" in value
          ? `${String(value.contentType)}: ${Buffer.from(value.bytes as Uint8Array).toString()}`
          : value,
    ),
  ),
});

const NO_CACHE = {
  pragma: "no-cache",
  "cache-control": "no-cache; no-store, must-revalidate, private",
  expires: "Thu, 01 Jan 1970 00:00:00 UTC",
};

export function assertUncached({ headers }: Response): void {
  for (const [name, value] of Object.entries(NO_CACHE)) assert.equal(headers.get(name), value);
  assert.match(headers.get("x-request-id") ?? "", /^[\x21-\x7e]+$/);
}

/** An error as TorchServe prints it, with its status, type and sentence. */
export async function assertFailure(
  response: Response,
  status: number,
  type: string,
  message: string | RegExp,
): Promise<void> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get("content-type"), "application/json");
  assertUncached(response);
  const body = JSON.parse(text) as { code: number; type: string; message: string };
  assert.deepEqual(Object.keys(body), ["code", "type", "message"]);
  assert.match(text, /^\{\n {2}"code": \d+,\n {2}"type": ".*",\n {2}"message": ".*"\n\}\n$/);
  assert.equal(body.code, status);
  assert.equal(body.type, type);
  if (typeof message === "string") assert.equal(body.message, message);
  else assert.match(body.message, message);
}
