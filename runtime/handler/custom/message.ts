/**
 * What a handler's error may say outside the server.
 *
 * Handlers throw whatever their libraries throw: texts with stacks, file names and now and then a token. Clients see
 * one sentence without any of them; the log sees everything through `cause`.
 */
import { pathToFileURL } from "node:url";
import { isRuntimeError, messageOf, RuntimeError } from "../../errors.ts";
import type { InferenceKind } from "../../inference.ts";
import { redact } from "../../observe/log.ts";

/** The longest message a client reads, in UTF-16 units: enough for a sentence, too short for a dump. */
const MAX_MESSAGE_LENGTH = 500;

export interface DescribeOptions {
  /**
   * The repository's folder, for messages that the operator reads: names below it become relative and other
   * packages' files are named by their package, where a client would see `[path]`.
   */
  readonly repository?: string;
}

/** The first line of `message` without tokens, absolute paths and file URLs, at most 500 characters long. */
export function describeForClient(message: string, { repository }: DescribeOptions = {}): string {
  const line = message.split(/\r?\n/).find((text) => text.trim() !== "") ?? "";
  // Cut first, with room for what paths take: the expressions below must not work through megabytes.
  let text = redact(line.trim().slice(0, 4 * MAX_MESSAGE_LENGTH));
  if (repository !== undefined) text = toRelative(text, repository);
  text = text.replace(FILE_URL, "[path]").replace(QUOTED_PATH, "$1[path]$1");
  text = text.replace(POSIX_PATH, "[path]").replace(WINDOWS_PATH, "[path]");
  return text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH - 1)}…` : text;
}

/**
 * What a handler threw from `call` or from its stream, as an error of ours.
 *
 * @param signal The call's signal: an error that only repeats its abort is the cancellation, not the handler's fault.
 */
export function toHandlerError(error: unknown, signal?: AbortSignal): RuntimeError {
  if (isRuntimeError(error)) return error;
  if (signal?.aborted === true && isAbortOf(error, signal)) return toCancellation(signal.reason);
  const text = describeForClient(messageOf(error)) || "it threw an error without a message";
  return new RuntimeError("HANDLER_FAILED", `Handler failed: ${text}`, { cause: error });
}

/**
 * What an author's class cannot answer; `undefined` where it can. Whoever asks for an explanation must not get a prediction,
 * nor a prediction in place of a graph's tensors or a generation in neutral words, which only the default handler knows.
 */
export function refusalOf(
  kind: InferenceKind,
  instance: { readonly explain?: unknown },
): RuntimeError | undefined {
  switch (kind) {
    case "predict":
      return undefined;
    case "explain":
      return typeof instance.explain === "function" ? undefined : notExplained();
    case "tensors":
      return new RuntimeError(
        "NOT_SUPPORTED",
        "Cannot run the graph: this repository's own handler answers, which takes inputs and no tensors of the graph",
      );
    case "generate":
      return new RuntimeError(
        "NOT_SUPPORTED",
        "Cannot generate: this repository's own handler answers in a shape of its own; send its inputs to POST /",
      );
  }
}

/** Of a handler without a method `explain`. */
function notExplained(): RuntimeError {
  const text = "the repository's own handler has no method explain, and gives predictions only";
  return new RuntimeError("NOT_SUPPORTED", `Cannot explain the prediction: ${text}`);
}

function isAbortOf(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

function toCancellation(reason: unknown): RuntimeError {
  if (isRuntimeError(reason)) return reason;
  return reason instanceof Error && reason.name === "TimeoutError"
    ? new RuntimeError("DEADLINE_EXCEEDED", "Handler stopped: the request's deadline has passed")
    : new RuntimeError("CANCELLED", "Handler stopped: the request was cancelled");
}

// An absolute path begins where no word, dot, slash or closing bracket stands before it, so that "a/b", "n/a",
// "./x/y", "~/x", "</p>" and "https://x/y" stay; a lone "/name" stays too, as it is a route more often than a file.
const FILE_URL = /\bfile:\/\/[^\s"'`<>|)\]}]*(?<![:.])/gi;
const QUOTED_PATH =
  /(["'`])(?:\/(?!\/)[^"'`\n/]+\/[^"'`\n]*|[A-Za-z]:[\\/][^"'`\n]*|\\\\[^"'`\n]+)\1/g;
const POSIX_PATH = /(?<![\w./~)\]}\\-])\/[^\s"'`<>|/(),;:]+\/[^\s"'`<>|(),;]*(?<![:.])/g;
const WINDOWS_PATH = /(?<![A-Za-z0-9])(?:[A-Za-z]:[\\/]|\\\\)[^\s"'`<>|(),;]+(?<![:.])/g;

/** `/models/a/lib/x.ts` → `lib/x.ts`; `/…/node_modules/@scope/name/dist/i.js` → `@scope/name`. */
function toRelative(text: string, repository: string): string {
  const folder = repository.replace(/[\\/]+$/, "");
  return text
    .replace(PACKAGE_FILE, "$1")
    .replaceAll(`${pathToFileURL(folder).href}/`, "")
    .replaceAll(`${folder}/`, "")
    .replaceAll(`${folder}\\`, "");
}

const PACKAGE_FILE =
  /(?:file:\/\/|(?<![\w./]))\/?[^\s"'`<>|()]*[\\/]node_modules[\\/]((?:@[^\s"'`\\/]+[\\/])?[^\s"'`\\/]+)[^\s"'`<>|()]*/g;
