/**
 * What the protocols say when something fails: their shapes, and the statuses that a route can have.
 */
import { z } from "zod";

import type { Components, Fields } from "./components.ts";
import { json } from "./operation.ts";

export type ErrorShape =
  | "HuggingFaceError"
  | "OpenAIError"
  | "OpenInferenceError"
  | "TorchServeError";

const SHAPES: Readonly<Record<ErrorShape, z.ZodType>> = {
  HuggingFaceError: z.object({
    error: z.string().describe("A sentence that says what failed, and what was wanted"),
    error_type: z.string().describe("The code of the failure, such as INVALID_INPUT"),
  }),
  OpenAIError: z.object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable().describe("The field at fault"),
      code: z.string().nullable(),
    }),
  }),
  OpenInferenceError: z.object({ error: z.string() }),
  TorchServeError: z.object({
    code: z.int().describe("The status"),
    type: z.string().describe("A Java class of TorchServe's"),
    message: z.string(),
  }),
};

export type Status =
  | 400
  | 401
  | 403
  | 404
  | 405
  | 406
  | 409
  | 413
  | 415
  | 429
  | 500
  | 501
  | 503
  | 504
  | 507;

const MEANINGS: Readonly<Record<Status, string>> = {
  400: "What was sent is not what this route, or this model, takes",
  401: "The request has no key, or one that is not good",
  403: "Clients of this port may not do this",
  404: "No such model, or no such version of it",
  405: "The route takes other methods; `Allow` names them",
  406: "The answer has no form that `Accept` takes",
  409: "It is being changed by somebody else",
  413: "The body is larger than `--max-body-size`",
  415: "Bodies of this media type are not read",
  429: "The queue is full; try again after `Retry-After`",
  500: "The handler failed, or the server did",
  501: "The model cannot do this",
  503: "The model is not ready; try again after `Retry-After`",
  504: "The deadline has passed",
  507: "Out of memory",
};

/** Of a route that asks a model. */
export const ASKING_STATUSES: readonly Status[] = [
  400, 404, 406, 413, 415, 429, 500, 501, 503, 504,
];

/** Responses by status, as references; those of keys are added where the server has a lock. */
export function failures(shape: ErrorShape, statuses: readonly Status[]): Fields {
  return Object.fromEntries(
    statuses.map((status) => [
      String(status),
      { $ref: `#/components/responses/${shape}_${status}` },
    ]),
  );
}

/** All that `failures` may refer to. */
export function describeFailures(components: Components): Fields {
  const all = Object.keys(SHAPES) as ErrorShape[]; // its own keys
  const statuses = Object.keys(MEANINGS).map(Number) as Status[]; // its own keys
  return Object.fromEntries(
    all.flatMap((shape) =>
      statuses.map((status) => [
        `${shape}_${status}`,
        describeFailure(components.schema(shape, SHAPES[shape]), status),
      ]),
    ),
  );
}

function describeFailure(schema: Fields, status: Status): Fields {
  const names = ["x-request-id", ...(status === 429 || status === 503 ? ["retry-after"] : [])];
  const headers = names.map((name) => [name, { $ref: `#/components/headers/${name}` }] as const);
  return {
    description: MEANINGS[status],
    headers: Object.fromEntries(headers),
    content: json(schema),
  };
}
