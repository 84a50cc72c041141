/**
 * Which model a client means by a name.
 */
import type { Models } from "../engine/models.ts";

/**
 * The registered name: the one that was given, or that of a model from the Hub which is served under another
 * (`owner/name`, as `--model-name` renames it).
 */
export function lookUpName(given: string, { list }: Models): string | undefined {
  if (list.some(({ name }) => name === given)) return given;
  return list.find(({ origin }) => hubNameOf(origin) === given)?.name;
}

/** `hf://owner/name@main` → `owner/name`. A folder's path stays what it is. */
function hubNameOf(origin: string): string {
  return origin.replace(/^hf:\/\//, "").replace(/@[^@/]*$/, "");
}
