/**
 * How the management port answers: TorchServe's envelope, its exception names, its pretty JSON and its headers.
 *
 * Wire facts: TorchServe 0.12 (`NettyUtils`, `ErrorResponse`, `StatusResponse`). Errors travel as `RuntimeError` like
 * everywhere else; this file alone knows what each is called there.
 */
import type { ErrorCode, RuntimeError } from "../../errors.ts";
import { NO_API_KEY } from "../api-keys.ts";
import type { AppContext } from "../context.ts";
import { respond } from "../respond.ts";
import type { JsonValue } from "../../inference.ts";
import type { Manner } from "./torchserve-errors.ts";
import { toPlatformJson } from "./torchserve-json.ts";

/** Nothing of this port may be kept by a cache. */
const NO_CACHE = {
  pragma: "no-cache",
  "cache-control": "no-cache; no-store, must-revalidate, private",
  expires: "Thu, 01 Jan 1970 00:00:00 UTC",
} as const;

/** The names of its Java classes. */
const EXCEPTIONS: Partial<Record<ErrorCode, readonly [status: number, type: string]>> = {
  INVALID_INPUT: [400, "BadRequestException"],
  UNSUPPORTED_MEDIA_TYPE: [400, "BadRequestException"],
  UNAUTHORIZED: [401, "InvalidKeyException"],
  FORBIDDEN: [403, "InvalidModelVersionException"],
  MODEL_NOT_FOUND: [404, "ModelNotFoundException"],
  REPOSITORY_NOT_FOUND: [404, "ModelNotFoundException"],
  REPOSITORY_FORBIDDEN: [404, "ModelNotFoundException"],
  VERSION_NOT_FOUND: [404, "ModelVersionNotFoundException"],
  ROUTE_NOT_FOUND: [404, "ResourceNotFoundException"],
  METHOD_NOT_ALLOWED: [405, "MethodNotAllowedException"],
  DEADLINE_EXCEEDED: [408, "RequestTimeoutException"],
  CONFLICT: [409, "ConflictStatusException"],
  BODY_TOO_LARGE: [413, "BadRequestException"],
  REPOSITORY_INVALID: [400, "InvalidModelException"],
  DOWNLOAD_FAILED: [400, "DownloadArchiveException"],
  HUB_UNREACHABLE: [400, "DownloadArchiveException"],
  NOT_SUPPORTED: [501, "InternalServerException"],
  NOT_READY: [503, "ServiceUnavailableException"],
};

export function answerJson(c: AppContext, value: JsonValue, status = 200): Response {
  return answerText(c, toPlatformJson(value), status);
}

/** @param text JSON, or what TorchServe sends in its place. */
export function answerText(c: AppContext, text: string, status = 200): Response {
  const headers = {
    "content-type": "application/json",
    ...NO_CACHE,
    ...(status >= 400 && { connection: "close" }),
  };
  return respond(c, { body: text, headers }, status);
}

export function answerStatus(c: AppContext, sentence: string, status = 200): Response {
  return answerJson(c, { status: sentence }, status);
}

/** In the original's manner a wrong token is a 400. */
export function answerError(c: AppContext, error: RuntimeError, manner: Manner): Response {
  const [usual, type] = EXCEPTIONS[error.code] ?? [500, "InternalServerException"];
  const isToken = error.code === "UNAUTHORIZED" && error.message !== NO_API_KEY;
  const code = manner === "original" && isToken ? 400 : usual;
  return answerJson(c, { code, type, message: error.message }, code);
}
