/**
 * Which files go into an archive, and under which names: torch-model-archiver's rules.
 *
 * Every file lies at the archive's root under its own name. A folder among the extra files gives what it holds: its
 * files lie at the root, its folders come as they are. Caches, hidden folders, packages and other archives stay out.
 */
import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { RuntimeError } from "../errors.ts";

export interface ArchivedFile {
  /** In the archive, with `/`. */
  readonly name: string;
  /** Where it lies, absolute. */
  readonly path: string;
}

const SKIPPED_FOLDER = /^(?:\..*|__MACOSX|__pycache__|node_modules|MAR-INF)$/;
const SKIPPED_FILE = /(?:\.pyc|\.DS_Store|\.mar)$|^MANIFEST\.json$/;

/**
 * @param files Single files, as the flags name them.
 * @param extraFiles A comma list of files, folders and patterns.
 * @returns Sorted by name: the same files make the same archive.
 * @throws RuntimeError `INVALID_OPTION` for what is not there, and for two files of one name.
 */
export function collectFiles(
  cwd: string,
  files: readonly string[],
  extraFiles: string | undefined,
): readonly ArchivedFile[] {
  const found = new Map<string, string>();
  const add = (name: string, path: string): void => {
    const before = found.get(name);
    if (before !== undefined && realpathSync(before) !== realpathSync(path)) {
      throw refusal(`both ${before} and ${path} would be ${name}`);
    }
    found.set(name, path);
  };
  for (const file of files) {
    const path = resolve(cwd, file);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile())
      throw refusal(`there is no file ${file}`);
    add(basename(path), path);
  }
  for (const part of (extraFiles ?? "").split(",").map((each) => each.trim())) {
    if (part === "") continue;
    const paths = existsSync(resolve(cwd, part)) ? [resolve(cwd, part)] : expand(cwd, part);
    if (paths.length === 0) throw refusal(`there is no file ${part}`);
    for (const path of paths) {
      if (!statSync(path).isDirectory()) add(basename(path), path);
      else for (const file of filesBelow(path)) add(file.name, file.path);
    }
  }
  return [...found]
    .map(([name, path]) => ({ name, path }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function* filesBelow(folder: string, prefix = ""): Generator<ArchivedFile> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!statSync(path).isDirectory()) {
      if (!SKIPPED_FILE.test(name)) yield { name: `${prefix}${name}`, path };
    } else if (!SKIPPED_FOLDER.test(name)) yield* filesBelow(path, `${prefix}${name}/`);
  }
}

/** `*`, `?` and `[…]` within one part of a path, as Python's `glob` reads them. */
function expand(cwd: string, pattern: string): readonly string[] {
  let paths = [pattern.startsWith("/") ? "/" : cwd];
  for (const part of pattern.split("/").filter((each) => each !== "")) {
    if (!/[*?[]/.test(part)) {
      paths = paths.map((path) => join(path, part)).filter((path) => existsSync(path));
      continue;
    }
    const matcher = toMatcher(part);
    paths = paths
      .filter((path) => statSync(path).isDirectory())
      .flatMap((path) =>
        readdirSync(path)
          .filter((name) => matcher.test(name) && (part.startsWith(".") || !name.startsWith(".")))
          .sort()
          .map((name) => join(path, name)),
      );
  }
  return paths;
}

function toMatcher(part: string): RegExp {
  const source = part.replaceAll(/\[!?[^\]]+\]|[\s\S]/g, (piece) => {
    if (piece === "*") return "[^/]*";
    if (piece === "?") return "[^/]";
    if (piece.length > 1) return piece.replace(/^\[!/, "[^").replaceAll("\\", "\\\\"); // a set, `[!a]` for "not a"
    return piece.replace(/[\\^$.|+()[\]{}]/, "\\$&");
  });
  return new RegExp(`^${source}$`);
}

export function refusal(reason: string): RuntimeError {
  return new RuntimeError("INVALID_OPTION", `Cannot make the archive: ${reason}`);
}
