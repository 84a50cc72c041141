/**
 * What a repository's `requirements.json` asks for, checked before npm sees it.
 *
 * Two shapes are read: `{"dependencies": {"date-holidays": "^3"}}`, as in a package.json, and the inner object alone.
 */
import { isFields } from "../fields.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError, systemCodeOf } from "../errors.ts";
import { locateSyntaxError } from "./requirements-syntax.ts";

export const REQUIREMENTS_FILE = "requirements.json";

/** Far more than any list of packages: 256 KiB. */
const MAX_FILE_BYTES = 256 * 1024;

/** One package and what it is wanted as: a range, a tag, an alias, a git or web address. */
export interface Requirement {
  readonly name: string;
  readonly spec: string;
}

/**
 * Reads the file.
 *
 * @returns The packages in the order of their names; `undefined` when the repository has no such file.
 * @throws {RuntimeError} `REQUIREMENTS_FAILED` with the line or the key that is wrong.
 */
export async function readRequirements(
  repository: string,
): Promise<readonly Requirement[] | undefined> {
  let text: string;
  try {
    text = await readFile(join(repository, REQUIREMENTS_FILE), "utf8");
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return undefined;
    throw refusal(`it cannot be read (${systemCodeOf(error) ?? "unknown reason"})`, error);
  }
  return parseRequirements(text);
}

/** @throws {RuntimeError} `REQUIREMENTS_FAILED` with the line or the key that is wrong. */
export function parseRequirements(text: string): readonly Requirement[] {
  if (text.length > MAX_FILE_BYTES) {
    throw refusal(`it is larger than ${MAX_FILE_BYTES / 1024} KiB`);
  }
  const packages = findPackages(parseJson(text.replace(/^\uFEFF/, "")));
  return Object.entries(packages)
    .map(([name, spec]) => toRequirement(name, spec))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { line, column, found } = locateSyntaxError(text);
    throw refusal(`line ${line}, column ${column} is not JSON, found ${found}`, error);
  }
}

function findPackages(content: unknown): Readonly<Record<string, unknown>> {
  if (!isFields(content)) throw refusal(`${WANTED}, found ${nameType(content)}`);
  const { dependencies } = content;
  if (dependencies === undefined) return content;
  if (!isFields(dependencies)) {
    throw refusal(`"dependencies" must be an object, found ${nameType(dependencies)}; ${WANTED}`);
  }
  return dependencies;
}

const WANTED =
  'packages and their versions are wanted, such as {"dependencies": {"date-holidays": "^3"}}';

function toRequirement(name: string, spec: unknown): Requirement {
  if (!PACKAGE_NAME.test(name) || name.length > LONGEST_NAME) {
    throw refusal(`${JSON.stringify(clip(name))} is not the name of a package`);
  }
  if (typeof spec !== "string") {
    throw refusal(`"${name}" must have a version such as "^3", found ${nameType(spec)}`);
  }
  if (isLocal(spec)) {
    throw refusal(
      `"${name}" is wanted from "${clip(spec)}", a path of this machine: packages are installed in another folder, ` +
        "where it leads elsewhere; name a version, a git repository or a web address",
    );
  }
  return { name, spec: spec.trim() };
}

const LONGEST_NAME = 214;

/** npm's rule, with the capitals that some old packages have (validate-npm-package-name 7). */
const PACKAGE_NAME =
  /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?(?!node_modules$|favicon\.ico$)[a-z0-9~-][a-z0-9._~-]*$/i;

/** Whether npm would take `spec` for a file or folder (npm-package-arg 13, `npa.resolve`). */
function isLocal(spec: string): boolean {
  const text = spec.trim();
  if (/^(?:git\+)?(?:file|link|workspace|portal):/i.test(text)) return true;
  if (/^(?:[.~]{0,2}[/\\]|\.{1,2}$|[A-Za-z]:[/\\])/.test(text)) return true;
  return /\.(?:tgz|tar\.gz|tar)$/i.test(text) && !/^[a-z+]+:/i.test(text);
}

/** As much of a name as a sentence repeats: npm's own limit. */
function clip(text: string): string {
  return text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME)}…`;
}

function nameType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function refusal(found: string, cause?: unknown): RuntimeError {
  const text = `Cannot read ${REQUIREMENTS_FILE}: ${found}`;
  return new RuntimeError("REQUIREMENTS_FAILED", text, { cause });
}
