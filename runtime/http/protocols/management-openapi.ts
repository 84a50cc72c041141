/**
 * The management port's own description, OpenAPI 3.0.1, from the schemas that read its parameters.
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";
import {
  DescribeParameters,
  ListParameters,
  RegisterParameters,
  ScaleParameters,
} from "./management-parameters.ts";

interface Operation {
  readonly method: "get" | "post" | "put" | "delete";
  readonly path: string;
  /** TorchServe's name for it, where it has one. */
  readonly operationId: string;
  readonly description: string;
  readonly query?: z.ZodObject;
  readonly body?: JsonValue;
  readonly statuses: readonly number[];
}

const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/models",
    operationId: "registerModel",
    description: "Registers a model",
    query: RegisterParameters,
    statuses: [200, 202, 400, 404, 405, 409, 500],
  },
  {
    method: "get",
    path: "/models",
    operationId: "listModels",
    description: "Lists the models by name",
    query: ListParameters,
    statuses: [200],
  },
  ...["", "/{model_version}"].flatMap((version): Operation[] => [
    {
      method: "get",
      path: `/models/{model_name}${version}`,
      operationId: version === "" ? "describeModel" : "version_describeModel",
      description: "Describes the default version, a version, or `all`",
      query: DescribeParameters,
      statuses: [200, 404, 503],
    },
    {
      method: "put",
      path: `/models/{model_name}${version}`,
      operationId: version === "" ? "setAutoScale" : "version_setAutoScale",
      description: "Sets the bounds of the workers; what runs is finished",
      query: ScaleParameters,
      statuses: [200, 202, 400, 404, 500],
    },
    {
      method: "delete",
      path: `/models/{model_name}${version}`,
      operationId: version === "" ? "unregisterModel" : "version_unregisterModel",
      description: "Removes a model once what runs is finished",
      statuses: [200, 403, 404, 405, 408],
    },
  ]),
  {
    method: "put",
    path: "/models/{model_name}/{model_version}/set-default",
    operationId: "setDefault",
    description: "Makes a version the one that requests without a version go to",
    statuses: [200, 404],
  },
  {
    method: "get",
    path: "/models/{model_name}/traffic",
    operationId: "describeTraffic",
    description: "How requests without a version are shared out, version by weight",
    statuses: [200, 404],
  },
  {
    method: "put",
    path: "/models/{model_name}/traffic",
    operationId: "setTraffic",
    description: "Shares requests without a version out by weight; `{}` ends it",
    body: { type: "object", additionalProperties: { type: "number", minimum: 0 } },
    statuses: [200, 400, 404],
  },
  {
    method: "get",
    path: "/v1/models/{model_name}",
    operationId: "readiness",
    description: "Whether a model answers",
    statuses: [200, 404],
  },
  {
    method: "get",
    path: "/token",
    operationId: "renewToken",
    description: "Renews the key of `type`, management or inference; takes the API key",
    query: z.object({ type: z.enum(["management", "inference"]) }),
    statuses: [200, 400, 401],
  },
];

/** @param model Its own operations alone, with its name in their paths. */
export function describeApi(version: string, model?: string): JsonValue {
  const paths: Record<string, Record<string, JsonValue>> = {};
  for (const operation of OPERATIONS) {
    if (model !== undefined && !operation.path.startsWith("/models/{model_name}")) continue;
    const path =
      model === undefined ? operation.path : operation.path.replace("{model_name}", model);
    (paths[path] ??= {})[operation.method] = describeOperation(operation, path);
  }
  return {
    openapi: "3.0.1",
    info: {
      title: "hubserve management API",
      description: "TorchServe's Management API, as hubserve speaks it",
      version,
    },
    paths,
    components: { schemas: { Status: STATUS, Error: ERROR } },
  };
}

const STATUS = { type: "object", required: ["status"], properties: { status: { type: "string" } } };
const ERROR = {
  type: "object",
  required: ["code", "type", "message"],
  properties: {
    code: { type: "integer" },
    type: { type: "string" },
    message: { type: "string" },
  },
};

function describeOperation(
  { operationId, description, query, body, statuses }: Operation,
  path: string,
): JsonValue {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    in: "path",
    name,
    required: true,
    schema: { type: "string" },
  }));
  return {
    operationId,
    description,
    parameters: [...inPath, ...(query === undefined ? [] : describeQuery(query))],
    ...(body !== undefined && {
      requestBody: { required: true, content: { "application/json": { schema: body } } },
    }),
    responses: Object.fromEntries(statuses.map((status) => [String(status), toResponse(status)])),
  };
}

function describeQuery(schema: z.ZodObject): JsonValue[] {
  // Of the input: what a client writes, before it is read.
  const { properties = {} } = z.toJSONSchema(schema, { io: "input", target: "openapi-3.0" });
  return Object.entries(properties).map(([name, own]) => {
    const { description, ...rest } = typeof own === "object" ? own : {};
    return {
      in: "query",
      name,
      ...(description !== undefined && { description }),
      required: false,
      schema: rest as JsonValue, // JSON Schema is JSON
    };
  });
}

function toResponse(status: number): JsonValue {
  const isError = status >= 400;
  const schema = isError ? { $ref: "#/components/schemas/Error" } : {};
  return {
    description: isError ? "It did not work" : "It worked",
    content: { "application/json": { schema } },
  };
}
