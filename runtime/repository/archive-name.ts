/**
 * Archives told from names.
 */
import { basename } from "node:path";

/** `.model` is what TorchServe's forerunner called a `.mar`. */
const EXTENSION = /\.(?:mar|zip|model|tar\.gz|tgz)$/i;

/** Whether a file of that name would be an archive. */
export function isArchiveName(name: string): boolean {
  return EXTENSION.test(name);
}

/** What an archive without a manifest is called: `bert.mar` → `bert`. */
export function nameOfArchive(path: string): string {
  return basename(path).replace(EXTENSION, "");
}
