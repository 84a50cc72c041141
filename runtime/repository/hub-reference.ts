/**
 * What may be asked of the Hub: a model's name and a revision, checked before any request is made of them.
 *
 * Both also become folders of the cache, so what passes here is safe as a path. Names follow `validate_repo_id` of
 * huggingface_hub 2.0 (`utils/_validators.py`), in ASCII; revisions follow `git check-ref-format`.
 */
import { RuntimeError } from "../errors.ts";

/** A model repository at one revision. */
export interface HubReference {
  /** `owner/name`, or `name` alone for the few old models without an owner. */
  readonly name: string;
  /** A branch, a tag, `refs/pr/N`, or a commit of 40 hexadecimal digits. */
  readonly revision: string;
}

/** huggingface_hub allows 96 characters in the name and sets no bound for the owner; here one bound serves both. */
const MAX_PART_LENGTH = 96;
/** Git has no bound of its own; a component of a path has 255 bytes on most file systems. */
const MAX_REVISION_LENGTH = 255;

/** @throws RuntimeError `INVALID_OPTION` when the Hub can have no such model or revision. */
export function assertReference({ name, revision }: HubReference): void {
  const nameProblem = findNameProblem(name);
  if (nameProblem !== undefined) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot ask the Hub for the model ${JSON.stringify(name)}: ${nameProblem}`,
    );
  }
  if (!isSafeRevision(revision)) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot ask the Hub for the revision ${JSON.stringify(revision)} of "${name}": found characters that no branch, tag or commit has, wanted a name such as "main", "v1.0" or "refs/pr/1"`,
    );
  }
}

/** Whether `revision` is a commit, which never changes its content. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

function findNameProblem(name: string): string | undefined {
  const parts = name.split("/");
  if (parts.length > 2) {
    return `found ${parts.length - 1} slashes, wanted "owner/name"`;
  }
  for (const part of parts) {
    if (part.length > MAX_PART_LENGTH) {
      return `found ${part.length} characters in a row, wanted at most ${MAX_PART_LENGTH}`;
    }
    if (!/^\w(?:[\w.-]*\w)?$/.test(part)) {
      return `wanted "owner/name" of letters, digits, "-", "_" and ".", with neither "-" nor "." first or last`;
    }
  }
  const forbidden = ["--", ".."].find((pair) => name.includes(pair));
  if (forbidden !== undefined) return `found "${forbidden}", which no name on the Hub has`;
  return name.endsWith(".git") ? `found ".git" at the end, wanted the name without it` : undefined;
}

function isSafeRevision(revision: string): boolean {
  if (revision.length > MAX_REVISION_LENGTH || revision.includes("@{")) return false;
  // No control character, space, or any of git's own signs.
  if (!/^[^\p{Cc}\s~^:?*[\\]+$/u.test(revision)) return false;
  return revision
    .split("/")
    .every((part) => part !== "" && !part.startsWith(".") && !/\.\.|\.$|\.lock$/.test(part));
}
