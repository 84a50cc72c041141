/**
 * Waits for a folder whose files come after the start.
 *
 * KServe mounts an OCI image with a model (a modelcar) as a symbolic link into another container's file system: the link
 * appears when that container runs, and it says so with `MODEL_INIT_MODE=async`. A folder that somebody still copies into
 * looks the same. So the folder has to hold a repository, and to have stopped growing.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { RuntimeError, systemCodeOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";

export interface WaitOptions {
  /** Whether these names, relative to the folder, are a repository's. */
  readonly isComplete: (names: readonly string[]) => boolean;
  /** The longest to wait, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly now?: () => number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

const LOOK_EVERY_MS = 250;
/** Files that have not changed for so long are all there: what copies them writes every few milliseconds. */
const QUIET_MS = 1000;
const SAY_EVERY_MS = 15_000;

/**
 * Settles when `folder` is complete and has not changed for a second.
 *
 * @throws RuntimeError `REPOSITORY_NOT_FOUND` after `timeoutMs`; the signal's reason when it fires.
 */
export async function waitForFiles(
  folder: string,
  {
    isComplete,
    timeoutMs,
    signal,
    log,
    now = () => performance.now(),
    sleep = (ms, signal) => delay(ms, undefined, { signal }),
  }: WaitOptions,
): Promise<void> {
  const startedAtMs = now();
  let seen: Look | undefined;
  let changedAtMs = startedAtMs;
  let saidAtMs = -Infinity;
  for (;;) {
    const look = await lookInto(folder);
    const atMs = now();
    if (seen !== undefined && look.print !== seen.print) changedAtMs = atMs;
    const isFirst = seen === undefined;
    seen = look;
    const isHere = isComplete(look.names);
    if (isHere && !isFirst && atMs - changedAtMs >= QUIET_MS) return;
    if (atMs - startedAtMs >= timeoutMs) {
      throw new RuntimeError(
        "REPOSITORY_NOT_FOUND",
        `Cannot serve the folder ${folder}: after ${Math.round(timeoutMs / 1000)} s of waiting ${describe(look, isHere)}; ` +
          "is what fills it running? --startup-timeout says how long to wait",
      );
    }
    if (atMs - saidAtMs >= SAY_EVERY_MS) {
      log.info(`Waiting for the files of ${folder}: ${describe(look, isHere)}`);
      saidAtMs = atMs;
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
}

interface Look {
  /** Relative to the folder; empty where it is not there. */
  readonly names: readonly string[];
  /** Changes with every file and its size. */
  readonly print: string;
  /** Why the folder could not be read. */
  readonly problem: string | undefined;
}

async function lookInto(folder: string): Promise<Look> {
  try {
    const names = (await readdir(folder, { recursive: true })).toSorted();
    const sizes = await Promise.all(
      // A file that has just gone counts as changed.
      names.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size),
    );
    return { names, print: JSON.stringify([names, sizes]), problem: undefined };
  } catch (error) {
    const problem = systemCodeOf(error) ?? "it cannot be read";
    return { names: [], print: problem, problem };
  }
}

function describe({ names, problem }: Look, isHere: boolean): string {
  if (problem === "ENOENT") return "it is not there";
  if (problem !== undefined) return `it cannot be read (${problem})`;
  if (isHere) return "it still grows";
  return names.length === 0
    ? "it is empty"
    : "it holds no handler.ts, no config.json and no model/";
}
