/**
 * `hubserve pull`: a repository of the Hub in a plain folder.
 */
import { statSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import type { Surroundings } from "../config.ts";
import { createLog, printResult } from "../observe/log.ts";
import { createProgressLine } from "../observe/progress.ts";
import { createPaint } from "../observe/terminal.ts";
import { formatBytes } from "../repository/hub-progress.ts";
import { pullRepository, type Pulled } from "../repository/pull.ts";
import { parseReference } from "../repository/reference.ts";
import { readArguments, refuse } from "./arguments.ts";
import { interruptibly } from "./interruption.ts";
import { PULL } from "./manual.ts";

/** @returns The exit code. */
export async function runPull(surroundings: Surroundings): Promise<number> {
  return interruptibly((signal) => pull(surroundings, signal));
}

async function pull(surroundings: Surroundings, signal: AbortSignal): Promise<number> {
  const { words, config, has } = readArguments("pull", PULL, surroundings, 2);
  const { cwd } = surroundings;
  const [address, place] = words;
  if (address === undefined) throw refuse("pull", "wanted the repository's name, owner/name");
  const reference = parseReference(address, {
    cwd,
    isFolder: () => false, // what lies here under that name is where it goes
    isFile: () => false,
    revision: config.revision,
  });
  if (reference.kind !== "hub")
    throw refuse("pull", `found "${address}", wanted the repository's name, owner/name`);
  const folder = resolve(cwd, place ?? basename(reference.name));
  if (statSync(folder, { throwIfNoEntry: false })?.isFile() === true)
    throw refuse("pull", `${folder} is a file, wanted a folder or a name that is free`);

  const isForScript = has("json");
  const { name, revision } = reference;
  const { endpoint, token, dtype, include, exclude, logLevel, logFormat } = config;
  const pulled = await pullRepository(
    { name, revision },
    {
      folder,
      endpoint,
      token,
      dtype,
      include,
      exclude,
      isAll: has("all"),
      isForced: has("force"),
      signal,
      log: createLog({
        level: logLevel,
        format: logFormat,
        secrets: token === undefined ? [] : [token],
      }),
      onProgress: createProgressLine(),
    },
  );
  const paint = createPaint({ env: surroundings.env });
  printResult(
    isForScript
      ? JSON.stringify({ repository: name, revision, folder, ...pulled })
      : toText(pulled, name, folder, cwd, paint.bold),
  );
  return 0;
}

function toText(
  { commit, files }: Pulled,
  name: string,
  folder: string,
  cwd: string,
  bold: (text: string) => string,
): string {
  const count = (wanted: string): number => files.filter(({ state }) => state === wanted).length;
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const parts = (["added", "updated", "unchanged"] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state}`);
  const short = relative(cwd, folder);
  const shown = short === "" ? "." : /^[\w-][\w./-]*$/.test(short) ? `./${short}` : folder;
  return (
    `${bold(folder)} holds ${name} at commit ${commit.slice(0, 12)}: ${parts.join(", ")}, ${formatBytes(bytes)}\n` +
    `Serve it:  hubserve ${shown}`
  );
}
