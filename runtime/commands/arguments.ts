/**
 * A command's own flags beside the options that it shares with `serve`.
 *
 * `manual.ts` has the rows; help and reading both come from them. What neither knows is refused with the nearest word.
 */
import { parseArgs } from "node:util";
import { describeOptions, readConfig, type Config, type Surroundings } from "../config.ts";
import { RuntimeError } from "../errors.ts";
import { nearestWord } from "../nearest-word.ts";
import type { FlagRow, ManualPage } from "./manual.ts";

export interface Arguments {
  /** What is no flag, in order. */
  readonly words: readonly string[];
  readonly config: Config;
  /** Whether a flag without a value was given. */
  readonly has: (flag: string) => boolean;
  /** The value of a flag; of several the last. */
  readonly value: (flag: string) => string | undefined;
  /** All values of a flag that may be repeated; each may be a list with commas. */
  readonly list: (flag: string) => readonly string[];
}

/**
 * Reads a command's arguments.
 *
 * @param mostWords How many words it takes.
 * @throws RuntimeError `INVALID_OPTION`.
 */
export function readArguments(
  command: string,
  { flags, options }: Pick<ManualPage, "flags" | "options">,
  { args, ...surroundings }: Surroundings,
  mostWords: number,
): Arguments {
  const shared = describeOptions()
    .filter(({ name }) => options === "all" || options.includes(name))
    .map(({ row }) => row);
  const known = new Map<string, { readonly value?: string; readonly isOwn: boolean }>();
  for (const { flag, value } of shared)
    known.set(flag, { isOwn: false, ...(value !== undefined && { value }) });
  for (const { flag, value } of flags)
    known.set(flag, { isOwn: true, ...(value !== undefined && { value }) });

  const given = new Map<string, string[]>();
  const words: string[] = [];
  const rest: string[] = [];
  for (const token of tokensOf(args, known, flags)) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const row = known.get(token.name);
    if (row === undefined) throw unknown(command, token.rawName, [...known.keys()]);
    if (row.value !== undefined && (token.value ?? "") === "") {
      const wanted = `--${token.name} ${row.value}`;
      throw refuse(command, `"--${token.name}" takes a value, ${wanted}`);
    }
    if (row.value === undefined && token.value !== undefined)
      throw refuse(command, `"--${token.name}" takes no value, found "${token.value}"`);
    if (row.isOwn) given.set(token.name, [...(given.get(token.name) ?? []), token.value ?? ""]);
    else rest.push(token.value === undefined ? token.rawName : `--${token.name}=${token.value}`);
  }
  if (words.length > mostWords) {
    const found = words.slice(mostWords).map((word) => `"${word}"`);
    throw refuse(command, `found ${found.join(", ")} beyond what it takes`);
  }
  return {
    words,
    // A word is named always, so that no file that a server would look for in this folder is read.
    config: readConfig({ ...surroundings, args: [...rest, words[0] ?? "."] }),
    has: (flag) => given.has(flag),
    value: (flag) => given.get(flag)?.at(-1),
    list: (flag) =>
      (given.get(flag) ?? [])
        .flatMap((text) => text.split(","))
        .map((part) => part.trim())
        .filter((part) => part !== ""),
  };
}

function tokensOf(
  args: readonly string[],
  known: ReadonlyMap<string, { readonly value?: string }>,
  flags: readonly FlagRow[],
) {
  const shorts = new Map(flags.map(({ flag, short }) => [flag, short]));
  const options = [...known].map(([flag, { value }]) => {
    const short = shorts.get(flag);
    const type = value === undefined ? ("boolean" as const) : ("string" as const);
    return [flag, { type, ...(short !== undefined && { short }) }] as const;
  });
  return parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(options),
  }).tokens;
}

function unknown(command: string, rawName: string, known: readonly string[]): RuntimeError {
  const name = rawName.replace(/^-+/, "");
  const near = nearestWord(name, known);
  if (near !== undefined) return refuse(command, `"${rawName}" is none; did you mean "--${near}"`);
  const isOfServe = describeOptions().some(({ row }) => row.flag === name);
  const what = isOfServe ? `"${rawName}" is one of \`hubserve serve\`` : `"${rawName}" is none`;
  return refuse(command, `${what}; \`hubserve help ${command}\` lists them`);
}

/** The command line was not understood: exit code 2. */
export function refuse(command: string, reason: string): RuntimeError {
  return new RuntimeError(
    "INVALID_OPTION",
    `Cannot read the options of \`hubserve ${command}\`: ${reason}`,
  );
}
