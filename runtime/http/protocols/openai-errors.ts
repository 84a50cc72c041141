/**
 * What OpenAI's API says when something fails: `{"error": {"message", "type", "param", "code"}}`.
 *
 * Its clients choose their error class by the status, show `message`, and hand `type`, `param` and `code` on; they try again by
 * themselves at 408, 409, 429 and from 500 on, after `Retry-After`. So what another try cannot mend is below 500: a route that
 * this model cannot answer is a 400. Types and codes are OpenAI's own where it has one for the case.
 *
 * Source: OpenAI's guide to error codes; `openai` 6.49 (`core/error.ts`).
 */
import { RuntimeError, type ErrorCode } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import type { ErrorRenderer } from "../context.ts";
import { respondJson, setHeader } from "../respond.ts";

interface Failure {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
}

const INVALID = "invalid_request_error";

const FAILURES: Readonly<Partial<Record<ErrorCode, Failure>>> = {
  INVALID_INPUT: { status: 400, type: INVALID, code: null },
  NOT_SUPPORTED: { status: 400, type: INVALID, code: "not_supported" },
  UNAUTHORIZED: { status: 401, type: INVALID, code: "invalid_api_key" },
  FORBIDDEN: { status: 403, type: INVALID, code: "forbidden" },
  ROUTE_NOT_FOUND: { status: 404, type: INVALID, code: "unknown_url" },
  MODEL_NOT_FOUND: { status: 404, type: INVALID, code: "model_not_found" },
  VERSION_NOT_FOUND: { status: 404, type: INVALID, code: "model_not_found" },
  METHOD_NOT_ALLOWED: { status: 405, type: INVALID, code: "method_not_supported" },
  NOT_ACCEPTABLE: { status: 406, type: INVALID, code: "not_acceptable" },
  CONFLICT: { status: 409, type: INVALID, code: "conflict" },
  BODY_TOO_LARGE: { status: 413, type: INVALID, code: "body_too_large" },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, type: INVALID, code: "unsupported_media_type" },
  QUEUE_FULL: { status: 429, type: "rate_limit_error", code: "server_overloaded" },
  CANCELLED: { status: 499, type: INVALID, code: "cancelled" }, // nginx's code; nobody is there to read it
  NOT_READY: { status: 503, type: "service_unavailable_error", code: "model_not_ready" },
  DEADLINE_EXCEEDED: { status: 504, type: "timeout_error", code: "deadline_exceeded" },
};

const SERVER_ERROR: Failure = { status: 500, type: "server_error", code: null };

/** A refusal that names the field at fault, and perhaps a code of OpenAI's (`"context_length_exceeded"`). A 400. */
export class OpenAIRefusal extends RuntimeError {
  readonly param: string | null;
  readonly reason: string | null;

  constructor(param: string | null, message: string, reason: string | null = null) {
    super("INVALID_INPUT", message);
    this.param = param;
    this.reason = reason;
  }
}

export const renderOpenAIError: ErrorRenderer = (error, c) => {
  const { status } = failureOf(error);
  if (error.code === "QUEUE_FULL" || error.code === "NOT_READY")
    setHeader(c, "retry-after", String(Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))));
  return respondJson(c, toOpenAIError(error), status);
};

/** The body of an error: a whole answer, or, within a stream that has begun, one event. */
export function toOpenAIError(error: RuntimeError): { readonly error: JsonValue } {
  const { type, code } = failureOf(error);
  const own = error instanceof OpenAIRefusal ? error : undefined;
  const param = own?.param ?? (code === "model_not_found" ? "model" : null);
  return { error: { message: error.message, type, param, code: own?.reason ?? code } };
}

function failureOf({ code }: RuntimeError): Failure {
  return FAILURES[code] ?? SERVER_ERROR;
}
