/**
 * `hubserve init`: a handler for a repository's model, a test of it, and a section of the README.
 *
 * What is written is the handler's side's business (`handler/scaffold`); here it is decided where, and that nothing of
 * somebody's is lost.
 */
import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Surroundings } from "../config.ts";
import { RuntimeError } from "../errors.ts";
import type { Scaffold } from "../handler/scaffold/scaffold.ts";
import { printResult } from "../observe/log.ts";
import { createPaint } from "../observe/terminal.ts";
import { readArguments } from "./arguments.ts";
import { INIT } from "./manual.ts";

/** Any of these answers for the repository already. */
const HANDLER_FILES = ["handler.ts", "handler.js", "handler.mjs"];

/** @returns The exit code. */
export async function runInit(surroundings: Surroundings): Promise<number> {
  const { words, config, has } = readArguments("init", INIT, surroundings, 1);
  const folder = resolve(surroundings.cwd, words[0] ?? ".");
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw refusal(`there is no folder ${folder}`);
  const repository = realpathSync(folder);
  const { scaffoldBare, scaffoldHandler } = await import("../handler/scaffold/scaffold.ts");
  const { task, dtype } = config;
  const scaffold = has("bare")
    ? scaffoldBare()
    : await scaffoldHandler({ repository, task, dtype });

  const files = filesOf(scaffold);
  const taken = [...new Set([...HANDLER_FILES, ...files.keys()])].filter((file) =>
    existsSync(join(repository, file)),
  );
  if (taken.length > 0 && !has("force"))
    throw refusal(`${repository} has ${taken.join(", ")} already; --force writes over them`);
  for (const [file, text] of files) writeFileSync(join(repository, file), text);
  const readme = writeSection(join(repository, "README.md"), scaffold);

  const written = [...files.keys(), ...(readme ? ["README.md"] : [])];
  if (has("json")) {
    const { task: chosen = null, example } = scaffold;
    printResult(JSON.stringify({ folder: repository, task: chosen, files: written, example }));
    return 0;
  }
  const paint = createPaint({ env: surroundings.env });
  printResult(toText(scaffold, repository, written, surroundings.cwd, paint.bold));
  return 0;
}

function filesOf(scaffold: Scaffold): ReadonlyMap<string, string> {
  const requirements = { dependencies: {} };
  return new Map([
    ["handler.ts", scaffold.handler],
    ["handler.test.ts", scaffold.test],
    ["requirements.json", `${JSON.stringify(requirements, undefined, 2)}\n`],
  ]);
}

const [BEGIN, END] = ["<!-- hubserve -->", "<!-- /hubserve -->"];

/**
 * Adds the section to the README's end, or writes it anew where it stands: between its two marks all is ours.
 *
 * @returns Whether the file is another one now.
 */
function writeSection(path: string, { task, example }: Scaffold): boolean {
  const before = existsSync(path) ? readFileSync(path, "utf8") : "";
  const body = JSON.stringify(example).replaceAll("'", "'\\''");
  const command =
    body.length <= 500
      ? `curl http://localhost:8080 -H 'Content-Type: application/json' -d '${body}'`
      : "curl http://localhost:8080 --data-binary @picture.png";
  const section = `${BEGIN}
## Serve it over HTTP

\`handler.ts\` answers requests for this repository${task === undefined ? "" : ` (${task})`} with hubserve, in this folder or by the repository's name on the Hub:

\`\`\`sh
npx hubserve .
${command}
\`\`\`

\`npm install --no-save hubserve tsx && npx tsx --test handler.test.ts\` tests it. Packages that it needs go into \`requirements.json\`.
${END}`;
  const [start, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  const isThere = start !== -1 && end > start;
  const after = isThere
    ? before.slice(0, start) + section + before.slice(end + END.length)
    : `${before}${before === "" || before.endsWith("\n") ? "" : "\n"}${before === "" ? "" : "\n"}${section}\n`;
  if (after === before) return false;
  writeFileSync(path, after);
  return true;
}

function toText(
  { task, why, example }: Scaffold,
  repository: string,
  written: readonly string[],
  cwd: string,
  bold: (text: string) => string,
): string {
  const here = repository === realpathSync(cwd) ? "." : repository;
  const at = here === "." ? "" : `cd ${quoted(here)} && `;
  const body = JSON.stringify(example);
  const payload = body.length <= 500 ? quoted(body) : "@picture.png";
  const name = basename(repository);
  const steps = [
    [`hubserve call ${quoted(here)} ${payload}`, "runs it on one payload"],
    [`${at}npm install --no-save hubserve tsx && npx tsx --test handler.test.ts`, "tests it"],
    [`hubserve ${quoted(here)} --dev`, "serves it, and loads it anew on each save"],
    [`hubserve push ${quoted(here)} <owner>/${name}`, "publishes it"],
  ] as const;
  return [
    `Wrote ${written.join(", ")} in ${repository}: ${task === undefined ? "a handler without a model" : `${task}, ${why}`}`,
    `${bold("Next")}\n${steps.map(([line, what]) => `  ${line}\n      ${what}`).join("\n")}`,
  ].join("\n\n");
}

/** For a shell, where it needs to be. */
function quoted(text: string): string {
  return /^[\w./@:+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function refusal(reason: string): RuntimeError {
  return new RuntimeError("INVALID_OPTION", `Cannot write a handler: ${reason}`);
}
