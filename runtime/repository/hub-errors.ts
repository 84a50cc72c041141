/**
 * What a person reads when the Hub does not give a model, one sentence for each reason.
 *
 * The Hub tells its reasons in `X-Error-Code` and `X-Error-Message` (huggingface_hub 2.0, `utils/_http.py`,
 * `hf_raise_for_status`). A token never enters a sentence, nor does a whole URL: those of a CDN carry signatures.
 */
import { type ErrorCode, messageOf, RuntimeError, systemCodeOf } from "../errors.ts";

/** What was asked for, and with what in hand. */
export interface HubSubject {
  readonly name: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly cacheDir: string;
  readonly hasToken: boolean;
  /** What is done, for sentences; to download it where absent. */
  readonly action?: "push to";
}

/** An answer that is a refusal. */
export interface HubAnswer {
  readonly status: number;
  /** Who answered, after redirects. */
  readonly origin: string;
  /** `X-Error-Code`, where there is one. */
  readonly code: string | null;
  /** `X-Error-Message`, or the body's `error`. */
  readonly message: string | null;
  /** The file that was asked for; absent where it was the repository. */
  readonly file?: string;
}

/** The longest text of a stranger that is repeated in a message. */
const MAX_QUOTED_CHARACTERS = 200;

/** The error for an answer that another attempt will not change. */
export function toRefusal(subject: HubSubject, answer: HubAnswer): RuntimeError {
  const { name, revision, endpoint, hasToken, action } = subject;
  const refuse = (code: ErrorCode, reason: string): RuntimeError =>
    new RuntimeError(code, `Cannot ${action ?? "download"} ${quote(name)}: ${reason}`);

  if (answer.origin !== new URL(endpoint).origin) return toStorageFailure(subject, answer);
  // First, as the Hub names other codes beside it.
  if (hasToken && isTokenRefused(answer)) {
    return refuse(
      "REPOSITORY_FORBIDDEN",
      `the Hub refuses HF_TOKEN; make a new one at ${endpoint}/settings/tokens, or unset it if the model is public`,
    );
  }
  if (answer.code === "GatedRepo") {
    const page = `${endpoint}/${name}`;
    return refuse(
      "REPOSITORY_FORBIDDEN",
      hasToken
        ? `it is gated and the account of HF_TOKEN has not been granted access; ask for it at ${page}`
        : `it is gated; accept its licence at ${page} and set HF_TOKEN to a token of that account`,
    );
  }
  if (answer.message === "Access to this resource is disabled.") {
    return refuse("REPOSITORY_FORBIDDEN", "the Hub has disabled it");
  }
  if (answer.code === "RevisionNotFound") {
    return refuse(
      "REPOSITORY_NOT_FOUND",
      `it has no revision ${quote(revision)}, wanted a branch, a tag, "refs/pr/N" or a commit`,
    );
  }
  if (answer.code === "EntryNotFound" && answer.file !== undefined) {
    return refuse("DOWNLOAD_FAILED", `the Hub lists ${quote(answer.file)} but does not have it`);
  }
  if (answer.code === "RepoNotFound" || answer.status === 401 || answer.status === 404) {
    return refuse(
      "REPOSITORY_NOT_FOUND",
      hasToken
        ? "the Hub shows no such model to the account of HF_TOKEN; check the spelling, or use a token that may read it"
        : "the Hub shows no such model; check the spelling, or set HF_TOKEN if it is private",
    );
  }
  const said = answer.message === null ? "" : ` and says ${quote(answer.message)}`;
  if (answer.status === 403) {
    return refuse(
      "REPOSITORY_FORBIDDEN",
      `the Hub forbids it${said}; check what HF_TOKEN may ${action === undefined ? "read" : "write"} at ${endpoint}/settings/tokens`,
    );
  }
  return refuse("DOWNLOAD_FAILED", `the Hub answers ${answer.status}${said}`);
}

/** The error for a Hub that does not answer, after all attempts. Its `cause` says the reason alone. */
export function toUnreachable(subject: HubSubject, reason: string): RuntimeError {
  return new RuntimeError(
    "HUB_UNREACHABLE",
    `Cannot reach the Hub at ${quote(subject.endpoint)}: ${reason}; check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 once a copy of ${quote(subject.name)} is in ${quote(subject.cacheDir)}`,
    { cause: new Error(reason) },
  );
}

/** The error for an answer that every attempt got and that waiting may mend. */
export function toOverload(subject: HubSubject, answer: HubAnswer): RuntimeError {
  if (answer.origin !== new URL(subject.endpoint).origin) {
    return toStorageFailure(subject, answer);
  }
  return toUnreachable(
    subject,
    answer.status === 429
      ? `it answers 429, too many requests${subject.hasToken ? "" : "; with HF_TOKEN it allows more"}`
      : `it answers ${answer.status}`,
  );
}

/** The error for a model that is not in the cache and must not be asked for. */
export function toNotCached(subject: HubSubject, found: string): RuntimeError {
  return new RuntimeError(
    "REPOSITORY_NOT_FOUND",
    `Cannot load ${quote(subject.name)} at ${quote(subject.revision)} offline: ${found} in the cache folder ${quote(subject.cacheDir)}; start once without HF_HUB_OFFLINE, or copy the folder there from a machine that has it`,
  );
}

/** The error for one file that does not arrive, or cannot be kept. */
export function toFileFailure(
  subject: HubSubject,
  file: string,
  reason: string,
  cause?: unknown,
): RuntimeError {
  return new RuntimeError(
    "DOWNLOAD_FAILED",
    `Cannot download ${quote(file)} of ${quote(subject.name)}: ${reason}`,
    cause === undefined ? undefined : { cause },
  );
}

/** What a failed `fetch` says: undici hides the reason in `cause`. */
export function describeNetworkFailure(error: unknown): string {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  switch (systemCodeOf(reason)) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `its name has no address (${systemCodeOf(reason)})`;
    case "ECONNREFUSED":
      return "it refuses the connection (ECONNREFUSED)";
    case undefined:
      return messageOf(reason);
    default:
      return `${messageOf(reason)} (${systemCodeOf(reason)})`;
  }
}

/** `text` between quotes and without control characters, whoever wrote it. */
export function quote(text: string): string {
  return JSON.stringify(
    text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS)}…` : text,
  );
}

/** The Hub's store of large files is another machine: what it refuses says nothing about the repository. */
function toStorageFailure(subject: HubSubject, { origin, status, file }: HubAnswer): RuntimeError {
  const reason = `${quote(origin)}, where the Hub keeps its files, answers ${status}`;
  if (status >= 500 || status === 429) return toUnreachable(subject, reason);
  return file === undefined
    ? new RuntimeError(
        "DOWNLOAD_FAILED",
        `Cannot ${subject.action ?? "download"} ${quote(subject.name)}: ${reason}`,
      )
    : toFileFailure(subject, file, reason);
}

function isTokenRefused({ status, code, message }: HubAnswer): boolean {
  if (status !== 401) return false;
  return (
    code === null || /invalid (?:credentials|username|user token)|expired/i.test(message ?? "")
  );
}
