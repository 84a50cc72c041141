/**
 * The description of a server, held against the server: schemas that are compiled, requests that are made of what it says.
 */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";

import { createHandlerMetrics } from "../../runtime/handler/custom/metrics.ts";
import { LazyResponse } from "../../runtime/handler/custom/response.ts";
import { loadHandler } from "../../runtime/handler/load.ts";
import { toOutput } from "../../runtime/handler/output/output.ts";
import type { createApp } from "../../runtime/http/app.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createTestApp, type DoorOptions } from "./app-matrix.ts";

export type Fields = Readonly<Record<string, unknown>>;
type App = ReturnType<typeof createApp>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value that must be an object. */
export function fields(value: unknown): Fields {
  assert.ok(isFields(value), `${JSON.stringify(value)} is no object`);
  return value;
}

export async function readDescription(app: App): Promise<Fields> {
  const response = await app.request("/openapi.json");
  assert.equal(response.status, 200);
  return fields(await response.json());
}

/** An operation of the description. */
export interface DescribedOperation {
  readonly method: string;
  readonly path: string;
  readonly operation: Fields;
}

export function operationsOf(document: Fields): readonly DescribedOperation[] {
  return Object.entries(fields(document["paths"])).flatMap(([path, methods]) =>
    Object.entries(fields(methods)).map(([method, operation]) => ({
      method,
      path,
      operation: fields(operation),
    })),
  );
}

/** What a reference leads to, or the thing itself. */
export function follow(document: Fields, value: unknown): Fields {
  const reference = isFields(value) ? value["$ref"] : undefined;
  if (typeof reference !== "string") return fields(value);
  assert.match(reference, /^#\//);
  let found: unknown = document;
  for (const step of reference.slice(2).split("/"))
    found = fields(found)[step.replaceAll("~1", "/").replaceAll("~0", "~")];
  return follow(document, found);
}

/** Every reference of a document. */
export function referencesOf(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(referencesOf);
  if (!isFields(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : referencesOf(inner),
  );
}

export interface Validator {
  /** Whether a value fits the schema at a place of the document. */
  fits(place: readonly string[], value: unknown): boolean;
  /** @throws AssertionError that says what does not fit. */
  assertFits(place: readonly string[], value: unknown): void;
}

/** @param isClosed Whether a key that no schema names is a mistake. */
export function createValidator(document: Fields, isClosed = false): Validator {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ ...fields(isClosed ? closed(document) : document), $id: "doc" });
  const compile = (place: readonly string[]) => {
    const pointer = place.map((step) =>
      encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1")),
    );
    return ajv.compile({ $ref: `doc#/${pointer.join("/")}` });
  };
  return {
    fits: (place, value) => compile(place)(value),
    assertFits(place, value) {
      const validate = compile(place);
      const isFit = validate(value);
      const text = JSON.stringify(value)?.slice(0, 600);
      assert.ok(isFit, `${place.join(" ")}: ${ajv.errorsText(validate.errors)}\n${text}`);
    },
  };
}

function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (!isFields(value)) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, closed(each)]));
  const isObject = value["type"] === "object" && isFields(value["properties"]);
  return isObject && !("additionalProperties" in value)
    ? { ...inner, additionalProperties: false }
    : inner;
}

/** A real handler behind the application, with no worker in between. */
export async function serveFolder(
  repository: string,
  options: Omit<DoorOptions, "answer" | "description"> & { readonly task?: string } = {},
): Promise<AsyncDisposable & { readonly app: App }> {
  const { task, ...rest } = options;
  const log = silentLog();
  const handler = await loadHandler({ repository, ...(task !== undefined && { task }) }, log);
  const app = createTestApp({
    description: handler.description,
    maxBodyBytes: 10_000_000,
    async answer(request, { signal }) {
      const { id: requestId, headers } = request;
      const metrics = createHandlerMetrics(requestId, () => undefined);
      const context = { signal, requestId, headers, log, metrics, response: new LazyResponse() };
      return toOutput(await handler.call(request, context));
    },
    ...rest,
  });
  return { app, [Symbol.asyncDispose]: () => handler.dispose() };
}

/** A path with its variables filled in, by the description's own examples. */
export function fillIn({ path, operation }: DescribedOperation, document: Fields): string {
  const { parameters = [] } = operation;
  assert.ok(Array.isArray(parameters));
  const all = parameters.map((parameter) => follow(document, parameter));
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const parameter = all.find((each) => each["in"] === "path" && each["name"] === name);
    assert.ok(parameter !== undefined, `${path} does not describe {${name}}`);
    assert.equal(parameter["required"], true);
    const [value = "anything"] = examplesOf(parameter);
    return encodeURIComponent(String(value));
  });
}

/** The values of `examples`. */
export function examplesOf(holder: unknown): readonly unknown[] {
  const examples = isFields(holder) ? (holder["examples"] ?? {}) : {};
  return Object.values(fields(examples)).map((example) => fields(example)["value"]);
}

/** The JSON examples of an operation's body. */
export function bodyExamplesOf({ operation }: DescribedOperation): readonly unknown[] {
  const { requestBody } = operation;
  if (requestBody === undefined) return [];
  return examplesOf(fields(fields(requestBody)["content"])["application/json"]);
}
