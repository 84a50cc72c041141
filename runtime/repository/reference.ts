/**
 * What a person names when they say what to serve: a folder, an archive, or a repository on the Hub.
 *
 * Pure: whether a folder or a file exists arrives as an argument.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { RuntimeError } from "../errors.ts";
import { isArchiveName } from "./archive-name.ts";

export type Reference =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "archive"; readonly path: string }
  | { readonly kind: "hub"; readonly name: string; readonly revision: string };

export interface ReferenceOptions {
  readonly cwd: string;
  /** Whether a path is a folder. */
  readonly isFolder: (path: string) => boolean;
  /** Whether a path is a file. */
  readonly isFile: (path: string) => boolean;
  /** The revision where the reference names none. */
  readonly revision?: string | undefined;
}

const HUB_SCHEME = "hf://";
const DEFAULT_REVISION = "main";

/**
 * Reads a reference: a folder (`.`, `./mine`, `/models/mine`, `~/mine`), an archive (`bert.mar`, `bert.tar.gz`,
 * `bert.zip`), or a Hub repository (`owner/name`, `owner/name@revision`, `hf://owner/name@revision`). What lies here
 * under that name wins over the Hub.
 *
 * @throws RuntimeError `REPOSITORY_NOT_FOUND` for what is not there, `INVALID_OPTION` for none of them.
 */
export function parseReference(
  text: string,
  { cwd, isFolder, isFile, revision }: ReferenceOptions,
): Reference {
  if (text.startsWith(HUB_SCHEME)) return toHub(text.slice(HUB_SCHEME.length), text, revision);
  const isPath = /^(?:\.{0,2}\/|\.{1,2}$|~(?:\/|$)|[A-Za-z]:[\\/])/.test(text);
  const path = resolve(cwd, text.startsWith("~") ? join(homedir(), text.slice(1)) : text);
  if (isFolder(path)) return { kind: "folder", path };
  if (isArchiveName(text)) {
    if (isFile(path)) return { kind: "archive", path };
    throw new RuntimeError(
      "REPOSITORY_NOT_FOUND",
      `Cannot serve "${text}": there is no archive at ${path}`,
    );
  }
  if (isPath) {
    throw new RuntimeError(
      "REPOSITORY_NOT_FOUND",
      `Cannot serve "${text}": there is no folder at ${path}`,
    );
  }
  if (!text.includes("/")) {
    throw new RuntimeError(
      "REPOSITORY_NOT_FOUND",
      `Cannot serve "${text}": there is no such folder here; a Hub repository is written owner/name or ${HUB_SCHEME}${text}`,
    );
  }
  return toHub(text, text, revision);
}

function toHub(address: string, text: string, fallback: string | undefined): Reference {
  const at = address.indexOf("@");
  const name = at === -1 ? address : address.slice(0, at);
  const named = at === -1 ? undefined : address.slice(at + 1);
  if (name === "" || named === "") {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read the reference "${text}": wanted a folder, owner/name, owner/name@revision or ${HUB_SCHEME}owner/name`,
    );
  }
  return { kind: "hub", name, revision: named ?? fallback ?? DEFAULT_REVISION };
}
