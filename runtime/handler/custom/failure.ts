/**
 * Why a custom handler could not be loaded, in one sentence that names the file and the line.
 *
 * The sentence is for the author and the operator; stacks stay in `cause`, for the log.
 */
import { relative, isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import type { Message } from "esbuild";
import { isRuntimeError, messageOf, RuntimeError, systemCodeOf } from "../../errors.ts";
import { describeForClient } from "./message.ts";

/** The most complaints of the compiler that one message repeats. */
const MAX_COMPLAINTS = 3;

/** What a repository must export, shown where it does not. */
export const WANTED_SHAPE =
  "export class EndpointHandler { constructor(path: string) {}  async call(data) {} }";

/** A file's first line may have grown by some bytes before esbuild read it: by absolute path. */
export type LineShifts = ReadonlyMap<string, number>;

/** esbuild's failure as `HANDLER_INVALID`; anything else as it is. */
export function toCompileError(error: unknown, shifts: LineShifts): unknown {
  if (!(error instanceof Error) || !("errors" in error) || !Array.isArray(error.errors))
    return error;
  const complaints = error.errors as readonly Message[]; // the fields of esbuild's BuildFailure
  const shown = complaints.slice(0, MAX_COMPLAINTS).map((text) => formatNotice(text, shifts));
  const more = complaints.length - shown.length;
  const tail = more > 0 ? `; and ${more} more` : "";
  const text = `Cannot compile the handler: ${shown.join("; ")}${tail}`;
  return new RuntimeError("HANDLER_INVALID", text, { cause: error });
}

/** `handler.ts:3:14: Expected ";" but found "foo"`, counted from 1 as editors do. */
export function formatNotice({ text, location }: Message, shifts: LineShifts): string {
  const missing = /^Could not resolve "([./\\][^"]*)"/.exec(text)?.[1];
  const sentence = missing === undefined ? text : `there is no file "${missing}"`;
  if (location === null) return describeForClient(sentence);
  let bytes = location.column;
  if (location.line === 1) {
    for (const [path, shift] of shifts) if (path.endsWith(location.file)) bytes -= shift;
  }
  const before = Buffer.from(location.lineText).subarray(0, location.column).toString();
  const column = location.line === 1 ? bytes + 1 : before.length + 1;
  return `${location.file}:${location.line}:${column}: ${describeForClient(sentence)}`;
}

/**
 * What the handler's own code threw while it was loaded, as `HANDLER_INVALID`. A `RuntimeError` is left as it is.
 *
 * @param what What was running: `"its constructor"`.
 */
export function toLoadError(error: unknown, what: string, repository: string): RuntimeError {
  if (isRuntimeError(error)) return error;
  const place = findOwnFrame(error, repository);
  const missing = findMissingPackage(error);
  const reason =
    missing === undefined
      ? (findDenied(error, repository) ?? describeForClient(messageOf(error), { repository }))
      : `the package "${missing}" is not installed; add it to requirements.json`;
  const text = `Cannot load the handler: ${what} failed: ${reason}${place === undefined ? "" : ` (${place})`}`;
  return new RuntimeError("HANDLER_INVALID", text, { cause: error });
}

/** Where in the repository's own files an error was made: `lib/score.ts:12:7`; absent when nowhere. */
export function findOwnFrame(error: unknown, repository: string): string | undefined {
  if (!(error instanceof Error) || typeof error.stack !== "string") return undefined;
  for (const line of error.stack.split("\n")) {
    const [, location, row, column] = FRAME.exec(line) ?? [];
    if (location === undefined) continue;
    const path = location.startsWith("file:") ? fileURLToPath(location) : location;
    const inside = relative(repository, path);
    const isOwn = inside !== "" && !inside.startsWith("..") && !isAbsolute(inside);
    if (isOwn && !inside.includes("node_modules")) return `${inside}:${row}:${column}`;
  }
  return undefined;
}

const FRAME = /^\s+at (?:.*\()?((?:file:\/\/|\/|[A-Za-z]:[\\/])[^()]*?):(\d+):(\d+)\)?$/;

/** What Node's permission model refused, told from its own error. */
function findDenied(error: unknown, repository: string): string | undefined {
  if (!(error instanceof Error) || systemCodeOf(error) !== "ERR_ACCESS_DENIED") return undefined;
  const { permission = "", resource = "" } = error as {
    readonly permission?: string;
    readonly resource?: string;
  };
  const what = describeForClient(`${permission} ${resource}`.trim(), { repository });
  return `it wants what --sandbox does not give${what === "" ? "" : ` (${what})`}`;
}

/** The package that `require` or `import` did not find, told from Node's own error. */
function findMissingPackage(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  if (error.code !== "MODULE_NOT_FOUND" && error.code !== "ERR_MODULE_NOT_FOUND") return undefined;
  return /^Cannot find (?:package|module) '((?:@[^'/\\]+\/)?[^'./\\:][^'/\\:]*)/.exec(
    error.message,
  )?.[1];
}
