/**
 * What a failure is called in gRPC.
 *
 * The codes are those of the specification of status codes (grpc/doc/statuscodes.md); which error has which is the Open
 * Inference Protocol's and KServe's practice.
 */
import { Metadata, status as Status, type StatusObject } from "@grpc/grpc-js";

import { isRuntimeError, RuntimeError, type ErrorCode } from "../errors.ts";

const CODES: Readonly<Partial<Record<ErrorCode, Status>>> = {
  INVALID_INPUT: Status.INVALID_ARGUMENT,
  NOT_ACCEPTABLE: Status.INVALID_ARGUMENT,
  UNSUPPORTED_MEDIA_TYPE: Status.INVALID_ARGUMENT,
  ROUTE_NOT_FOUND: Status.UNIMPLEMENTED,
  METHOD_NOT_ALLOWED: Status.UNIMPLEMENTED,
  NOT_SUPPORTED: Status.UNIMPLEMENTED,
  BODY_TOO_LARGE: Status.RESOURCE_EXHAUSTED, // what the library says of a message that is too large
  QUEUE_FULL: Status.RESOURCE_EXHAUSTED,
  MODEL_NOT_FOUND: Status.NOT_FOUND,
  VERSION_NOT_FOUND: Status.NOT_FOUND,
  CONFLICT: Status.FAILED_PRECONDITION,
  UNAUTHORIZED: Status.UNAUTHENTICATED,
  FORBIDDEN: Status.PERMISSION_DENIED,
  CANCELLED: Status.CANCELLED,
  NOT_READY: Status.UNAVAILABLE,
  DEADLINE_EXCEEDED: Status.DEADLINE_EXCEEDED,
};

/**
 * The status of a failure. Its words are the error's own; a client hears nothing of what is not a `RuntimeError`.
 *
 * After how long to try again stands in the words, and in milliseconds in `grpc-retry-pushback-ms`, which clients of gRPC
 * that retry obey (gRFC A6).
 */
export function toStatus(error: unknown): StatusObject {
  const known = isRuntimeError(error)
    ? error
    : new RuntimeError("INTERNAL", "Cannot answer the request: the server made a mistake");
  const metadata = new Metadata();
  const { retryAfterMs } = known;
  if (retryAfterMs !== undefined)
    metadata.set("grpc-retry-pushback-ms", String(Math.ceil(retryAfterMs)));
  return {
    code: CODES[known.code] ?? Status.INTERNAL,
    details: toDetails(withHint(known)),
    metadata,
  };
}

/** In whole seconds, as HTTP's `Retry-After`. */
function withHint({ message, retryAfterMs }: RuntimeError): string {
  if (retryAfterMs === undefined) return message;
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return `${message.replace(/; try again later$/, "")}; try again after ${seconds} s`;
}

/** A message travels percent-encoded in a header, and clients refuse more than 8 KiB of headers. */
const LONGEST_DETAILS = 4096;

/** Half a surrogate pair cannot be percent-encoded: the library would throw. */
const LONE_SURROGATE = /\p{Surrogate}/gu;

function toDetails(text: string): string {
  const whole = text.slice(0, LONGEST_DETAILS).replace(LONE_SURROGATE, "\ufffd");
  if (encodeURI(whole).length <= LONGEST_DETAILS && whole.length === text.length) return whole;
  let cut = whole;
  while (encodeURI(cut).length > LONGEST_DETAILS)
    cut = cut.slice(0, Math.floor(cut.length * 0.9)).replace(LONE_SURROGATE, "\ufffd");
  return `${cut}…`;
}
