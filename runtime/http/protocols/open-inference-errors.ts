/**
 * What the Open Inference Protocol says when something fails: `{"error": "<sentence>"}` and a status that tells whose fault it is.
 */
import type { ErrorCode } from "../../errors.ts";
import type { ErrorRenderer } from "../context.ts";
import { respondJson, setHeader } from "../respond.ts";

/** Anything that is not here is the server's fault. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  INVALID_INPUT: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  ROUTE_NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  CONFLICT: 409,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  QUEUE_FULL: 429,
  CANCELLED: 499, // nginx's code; nobody is there to read it
  NOT_SUPPORTED: 501,
  NOT_READY: 503,
  DEADLINE_EXCEEDED: 504,
  // A model that a client asked to load, and that is not there or cannot be served.
  REPOSITORY_NOT_FOUND: 404,
  REPOSITORY_FORBIDDEN: 403,
  REPOSITORY_INVALID: 400,
  REQUIREMENTS_FAILED: 400,
  HANDLER_INVALID: 400,
  TASK_UNKNOWN: 400,
  WEIGHTS_NOT_FOUND: 400,
  MODEL_INVALID: 400,
  HUB_UNREACHABLE: 503,
  DOWNLOAD_FAILED: 503,
};

export const renderOpenInferenceError: ErrorRenderer = (error, c) => {
  if (error.code === "QUEUE_FULL" || error.code === "NOT_READY")
    setHeader(c, "retry-after", String(Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))));
  return respondJson(c, { error: error.message }, STATUS[error.code] ?? 500);
};
