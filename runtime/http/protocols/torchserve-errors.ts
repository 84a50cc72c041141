/**
 * What TorchServe says when something fails: `{"code", "type", "message"}`, with the class names and sentences of its Java code.
 *
 * Codes become what TorchServe would have answered, and where that helps nobody (a full queue and a model without workers
 * are the same 503, a timeout is "Worker died.", a client's mistake is the server's) what says what happened. With
 * `--compat torchserve` the original's answers come back, for clients that were written around them.
 *
 * Wire facts: TorchServe 0.12.0.
 */
import type { ErrorCode, RuntimeError } from "../../errors.ts";
import { NO_API_KEY } from "../api-keys.ts";
import type { AppContext } from "../context.ts";
import { respond, setHeader } from "../respond.ts";
import { toPlatformJson } from "./torchserve-json.ts";

/** Which of the two: hubserve's own manner, or the original's to the letter. */
export type Manner = "mended" | "original";

/** What was asked for, as far as the request said. */
export interface Asked {
  readonly name: string;
  readonly version?: string | undefined;
  /** Whether the model has no workers, by request. */
  readonly isUnloaded?: boolean;
  /** Whether a repository's own handler answers. */
  readonly isCustom?: boolean;
}

interface Failure {
  readonly status: number;
  /** The simple name of a Java class. */
  readonly type: string;
  readonly message: string;
}

const NOWHERE: Asked = { name: "" };

const RESOURCE_NOT_FOUND = "Requested resource is not found, please refer to API document.";
const METHOD_NOT_ALLOWED = "Requested method is not allowed, please refer to API document.";
const TOKEN_REFUSED =
  "Token Authorization failed. Token either incorrect, expired, or not provided correctly";

const BAD_REQUEST = "BadRequestException";
const INTERNAL = "InternalServerException";
const UNAVAILABLE = "ServiceUnavailableException";
const PREDICTION_FAILED: Failure = { status: 503, type: INTERNAL, message: "Prediction failed" };
const WORKER_DIED: Failure = { status: 500, type: INTERNAL, message: "Worker died." };

/** What TorchServe says, for what happens in it. */
const SAID: Readonly<Partial<Record<ErrorCode, (asked: Asked, message: string) => Failure>>> = {
  ROUTE_NOT_FOUND: () => ({
    status: 404,
    type: "ResourceNotFoundException",
    message: RESOURCE_NOT_FOUND,
  }),
  METHOD_NOT_ALLOWED: () => ({
    status: 405,
    type: "MethodNotAllowedException",
    message: METHOD_NOT_ALLOWED,
  }),
  MODEL_NOT_FOUND: ({ name }) => ({
    status: 404,
    type: "ModelNotFoundException",
    message: `Model not found: ${name}`,
  }),
  VERSION_NOT_FOUND: ({ name, version = "" }) => ({
    status: 404,
    type: "ModelVersionNotFoundException",
    message: `Model version: ${version} does not exist for model: ${name}`,
  }),
  UNAUTHORIZED: (_asked, message) => refusedKey(message, 401),
  HANDLER_FAILED: () => PREDICTION_FAILED,
  WORKER_DIED: () => WORKER_DIED,
};

/** Where the original's answer misleads. */
const ORIGINAL: typeof SAID = {
  INVALID_INPUT: ({ name, isCustom }, message) => {
    // Before there is a model it is the platform that refuses.
    if (name === "") return { status: 400, type: BAD_REQUEST, message };
    // A handler that says so itself does what `raise PredictionException(message, 400)` does.
    return isCustom === true ? { status: 400, type: INTERNAL, message } : PREDICTION_FAILED;
  },
  NOT_SUPPORTED: () => PREDICTION_FAILED,
  UNSUPPORTED_MEDIA_TYPE: () => PREDICTION_FAILED,
  UNAUTHORIZED: (_asked, message) => refusedKey(message, 400),
  QUEUE_FULL: (asked) => ({ status: 503, type: UNAVAILABLE, message: noWorker(asked) }),
  NOT_READY: (asked) => ({ status: 503, type: UNAVAILABLE, message: noWorker(asked) }),
  DEADLINE_EXCEEDED: () => WORKER_DIED,
};

/** What is said instead; the message is ours, the type one that TorchServe has. */
const MENDED: Readonly<Partial<Record<ErrorCode, Omit<Failure, "message">>>> = {
  INVALID_INPUT: { status: 400, type: BAD_REQUEST },
  FORBIDDEN: { status: 403, type: "InvalidKeyException" },
  CONFLICT: { status: 409, type: "ConflictStatusException" },
  BODY_TOO_LARGE: { status: 413, type: BAD_REQUEST },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, type: BAD_REQUEST },
  QUEUE_FULL: { status: 429, type: UNAVAILABLE },
  CANCELLED: { status: 499, type: "RequestTimeoutException" }, // nginx's code; nobody is there to read it
  NOT_SUPPORTED: { status: 501, type: INTERNAL },
  NOT_READY: { status: 503, type: UNAVAILABLE },
  DEADLINE_EXCEEDED: { status: 504, type: "RequestTimeoutException" },
};

export function describeFailure(
  error: Pick<RuntimeError, "code" | "message">,
  manner: Manner,
  asked: Asked = NOWHERE,
): Failure {
  if (isOutOfMemory(error)) return outOfMemory(error);
  const said = (manner === "original" ? ORIGINAL[error.code] : undefined) ?? SAID[error.code];
  if (said !== undefined) return said(asked, error.message);
  const mended = MENDED[error.code] ?? { status: 500, type: INTERNAL };
  // No worker, and none will come by itself: the original's sentence says what to do.
  const isUnloaded = error.code === "NOT_READY" && asked.isUnloaded === true;
  return { ...mended, message: isUnloaded ? noWorker(asked) : error.message };
}

/** An API key is no token of TorchServe's: without it, a 401 in each manner. */
function refusedKey(message: string, tokenStatus: number): Failure {
  return message === NO_API_KEY
    ? { status: 401, type: "InvalidKeyException", message }
    : { status: tokenStatus, type: "InvalidKeyException", message: TOKEN_REFUSED };
}

/** @param asked What the request named, for sentences that name it. */
export function respondWithFailure(
  c: AppContext,
  error: RuntimeError,
  manner: Manner,
  asked?: Asked,
): Response {
  const { status, type, message } = describeFailure(error, manner, asked);
  if (manner === "original") setHeader(c, "connection", "close");
  else if (error.code === "QUEUE_FULL" || error.code === "NOT_READY")
    setHeader(c, "retry-after", String(Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))));
  // Netty's own answer, which has no body.
  if (manner === "original" && error.code === "BODY_TOO_LARGE")
    return respond(c, { body: new Uint8Array(), headers: { "content-length": "0" } }, status);
  const body = toPlatformJson({ code: status, type, message });
  return respond(c, { body, headers: { "content-type": "application/json" } }, status);
}

/** The stray quote is the original's. */
function noWorker({ name, version }: Asked): string {
  const model = version === undefined ? `Model "${name}"` : `Model "${name}" Version ${version}"`;
  return (
    `${model} has no worker to serve inference request. Please use scale workers API to add workers. ` +
    "If this is a sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize"
  );
}

/** What V8, onnxruntime and the kernel say of it. */
const OUT_OF_MEMORY =
  /out of memory|bad_alloc|failed to allocate memory|allocation failed|\bsignal SIGKILL$|\bcode 137$/i;

function isOutOfMemory({ code, message }: Pick<RuntimeError, "code" | "message">): boolean {
  return (code === "HANDLER_FAILED" || code === "WORKER_DIED") && OUT_OF_MEMORY.test(message);
}

function outOfMemory({ code }: Pick<RuntimeError, "code">): Failure {
  const message = code === "WORKER_DIED" ? "Worker died." : "Out of resources";
  return { status: 507, type: INTERNAL, message };
}
