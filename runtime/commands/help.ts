/**
 * `hubserve help`: short by itself, one command's page by its name, every option as `hubserve help options`.
 */
import { describeOptions } from "../config.ts";
import { RuntimeError } from "../errors.ts";
import { nearestWord } from "../nearest-word.ts";
import type { Paint } from "../observe/terminal.ts";
import {
  defaultTextOf,
  otherNamesOf,
  spellingOf,
  type OptionName,
  type OptionRow,
} from "../options.ts";
import { VERSION } from "../version.ts";
import { MANUAL, type FlagRow, type ManualPage } from "./manual.ts";

/** What `cli.ts` knows of a command. */
export interface CommandLine {
  readonly usage: string;
  readonly meaning: string;
}

/** What most people look for; `hubserve help options` has the others. */
const USUAL: readonly OptionName[] = [
  "port",
  "host",
  "task",
  "dtype",
  "revision",
  "workers",
  "threads",
  "requestTimeoutMs",
  "dev",
  "logLevel",
];

/**
 * Help about a topic.
 *
 * @param topic A command, `options`, or nothing.
 * @throws RuntimeError `INVALID_OPTION` for another word.
 */
export function helpText(
  topic: string | undefined,
  commands: Readonly<Record<string, CommandLine>>,
  paint: Paint,
): string {
  if (topic === undefined) return shortHelp(commands, paint);
  if (topic === "options") return allOptions(paint);
  const command = Object.hasOwn(commands, topic) ? commands[topic] : undefined;
  if (command !== undefined) return commandHelp(topic, command, paint);
  const near = nearestWord(topic, [...Object.keys(commands), "options"]);
  const advice = near === undefined ? "`hubserve help` lists them" : `did you mean "${near}"`;
  throw new RuntimeError(
    "INVALID_OPTION",
    `Cannot help with "${topic}": there is no such command; ${advice}`,
  );
}

function shortHelp(commands: Readonly<Record<string, CommandLine>>, paint: Paint): string {
  const names = Object.keys(commands);
  const width = Math.max(...names.map((name) => name.length));
  const rows = describeOptions().filter(({ name }) => USUAL.includes(name));
  return [
    `hubserve ${VERSION}: a Hugging Face Hub repository as an HTTP endpoint`,
    `${paint.bold("Usage")}\n  hubserve [serve] [reference] [options]\n  hubserve <command> […]`,
    `${paint.bold("Commands")}\n${names
      .map((name) => `  ${name.padEnd(width)}  ${commands[name]?.meaning}`)
      .join("\n")}`,
    `${paint.bold("The options most used")}\n${optionLines(rows.map(({ row }) => row))}`,
    "A reference is a folder, an archive, owner/name, owner/name@revision or hf://owner/name@revision; without one:\n" +
      "HF_MODEL_DIR, HF_MODEL_ID, /repository, the current folder.",
    "`hubserve help <command>` tells more of a command, `hubserve help options` all options. Every option can be set as\n" +
      "HUBSERVE_<OPTION>. Exit codes: 0 done, 1 failed, 2 command line not understood, 130 ended by Ctrl-C.",
  ].join("\n\n");
}

function commandHelp(name: string, { usage, meaning }: CommandLine, paint: Paint): string {
  const page: ManualPage | undefined = Object.hasOwn(MANUAL, name) ? MANUAL[name] : undefined;
  const parts = [`${usage}\n\n${meaning}.${page?.about === undefined ? "" : `\n${page.about}`}`];
  if (page !== undefined && page.flags.length > 0)
    parts.push(`${paint.bold("Its own options")}\n${page.flags.map(flagLine).join("\n")}`);
  if (page?.options === "all") parts.push(...groupsOf(paint));
  else if (page !== undefined && page.options.length > 0) {
    const { options } = page;
    const rows = describeOptions().filter((option) => options.includes(option.name));
    const title = page.flags.length > 0 ? "Further options" : "Options";
    parts.push(`${paint.bold(title)}\n${optionLines(rows.map(({ row }) => row))}`);
  }
  if (page !== undefined) {
    const lines = page.examples.map(([line, what]) => `  ${line}\n      ${what}`);
    parts.push(`${paint.bold("Examples")}\n${lines.join("\n")}`);
  }
  return parts.join("\n\n");
}

function allOptions(paint: Paint): string {
  return [
    "The options of `hubserve serve`. A flag wins over a variable, that over the files of the repository, these over\n" +
      "config.properties, that over the default; `hubserve config` prints each value with its origin.",
    ...groupsOf(paint),
    "Every option can be set as HUBSERVE_<OPTION>.",
  ].join("\n\n");
}

function groupsOf(paint: Paint): readonly string[] {
  const options = describeOptions();
  return [...new Set(options.map(({ row }) => row.group))].map((group) => {
    const rows = options.filter(({ row }) => row.group === group).map(({ row }) => row);
    return `${paint.bold(group)}\n${optionLines(rows)}`;
  });
}

const FLAG_WIDTH = 28;

function optionLines(rows: readonly OptionRow[]): string {
  return rows
    .map((row) => {
      const fallback = defaultTextOf(row);
      const notes = fallback === "" ? [] : [`default: ${fallback}`];
      if (otherNamesOf(row).length > 0) notes.push(`also ${otherNamesOf(row).join(", ")}`);
      const tail = notes.length > 0 ? ` (${notes.join("; ")})` : "";
      return `  ${spellingOf(row).padEnd(FLAG_WIDTH)} ${row.meaning}${tail}`;
    })
    .join("\n");
}

function flagLine({ flag, short, value, meaning }: FlagRow): string {
  const names = short === undefined ? `--${flag}` : `-${short}, --${flag}`;
  return `  ${`${names}${value === undefined ? "" : ` ${value}`}`.padEnd(FLAG_WIDTH)} ${meaning}`;
}
