/**
 * The one error class of hubserve and its closed set of codes.
 *
 * A code says what went wrong, never which HTTP status that is: each protocol file translates codes itself.
 * An `Error` sent to another process loses its class, name and fields, so errors cross the process wall as
 * `PlainError` and are made whole again on the other side.
 */

/** Everything that can go wrong in words that programs can compare. */
export const ERROR_CODES = [
  // What a client did.
  "INVALID_INPUT",
  "ROUTE_NOT_FOUND",
  "METHOD_NOT_ALLOWED",
  "BODY_TOO_LARGE",
  "NOT_ACCEPTABLE",
  "UNSUPPORTED_MEDIA_TYPE",
  "MODEL_NOT_FOUND",
  "VERSION_NOT_FOUND",
  "CONFLICT",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "CANCELLED",
  // What this model, or this hubserve, cannot do.
  "NOT_SUPPORTED",
  // What the server is short of.
  "QUEUE_FULL",
  "NOT_READY",
  "DEADLINE_EXCEEDED",
  // What a handler or a worker did.
  "HANDLER_FAILED",
  "WORKER_DIED",
  "INTERNAL",
  // What stops a start.
  "INVALID_OPTION",
  "REPOSITORY_NOT_FOUND",
  "REPOSITORY_FORBIDDEN",
  "REPOSITORY_INVALID",
  "HUB_UNREACHABLE",
  "DOWNLOAD_FAILED",
  "REQUIREMENTS_FAILED",
  "HANDLER_INVALID",
  "TASK_UNKNOWN",
  "WEIGHTS_NOT_FOUND",
  "MODEL_INVALID",
  "PORT_UNAVAILABLE",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** A `RuntimeError` as data, for the process wall. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * An error whose message a person may read: it names the action that failed, then a colon, then what was found
 * and what was wanted. Clients see the message; a stack or `cause` stays in the server's log.
 *
 * Handlers may throw it too: `INVALID_INPUT` becomes a 400 on every protocol.
 */
export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
  readonly code: ErrorCode;
  /** After how many milliseconds trying again makes sense, where that is known. */
  declare readonly retryAfterMs?: number;

  constructor(
    code: ErrorCode,
    message: string,
    options?: ErrorOptions & { readonly retryAfterMs?: number },
  ) {
    super(message, options);
    this.code = code;
    if (options?.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * Whether `error` is a `RuntimeError`, also one made by another copy of this module (a handler's own hubserve).
 */
export function isRuntimeError(error: unknown): error is RuntimeError {
  if (!(error instanceof Error) || error.name !== "RuntimeError") return false;
  return "code" in error && ERROR_CODES.some((code) => code === error.code);
}

/** `error` as a `RuntimeError`: itself when it is one, else wrapped under `code` with `prefix` before its message. */
export function toRuntimeError(error: unknown, code: ErrorCode, prefix: string): RuntimeError {
  if (isRuntimeError(error)) return error;
  return new RuntimeError(code, `${prefix}: ${messageOf(error)}`, { cause: error });
}

export function toPlainError(error: RuntimeError): PlainError {
  return { code: error.code, message: error.message };
}

export function fromPlainError(plain: PlainError): RuntimeError {
  return new RuntimeError(plain.code, plain.message);
}

/** What a thrown value says, whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return typeof error === "string" ? error : `a thrown ${error === null ? "null" : typeof error}`;
}

/** The `code` of a Node system error (`"ENOENT"`, `"ECONNREFUSED"`), or `undefined`. */
export function systemCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
