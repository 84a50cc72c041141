/**
 * Tells when somebody has saved a file of a repository.
 *
 * Every folder is watched by itself, as watching a whole tree is another thing on every system. An event only says that
 * it is time to look: what counts is whether a file is another one than before. Looked at is what decides the answers:
 * code, settings, the card, weights. Hidden folders and `node_modules` are left out, and so is what a handler may write.
 */
import { watch, type FSWatcher } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";

export interface FollowOptions {
  readonly signal: AbortSignal;
  /** Called with the files that changed, relative to the folder; nothing is looked at until it settles. */
  readonly onChange: (files: readonly string[]) => Promise<void>;
  readonly log: Log;
}

const CODE = [".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx"];
const DATA = [".json", ".yaml", ".yml", ".md", ".txt", ".jinja", ".onnx", ".onnx_data"];
const FOLLOWED = new Set([...CODE, ...DATA]);

/** Editors write a file in several steps; this long after the last of them it is looked at. */
const SETTLE_MS = 100;
/** A repository has a handful; each costs a watch of the system's. */
const MAX_FOLDERS = 200;
const MAX_DEPTH = 6;

/** Settles when the signal fires. */
export async function followFolder(
  folder: string,
  { signal, onChange, log }: FollowOptions,
): Promise<void> {
  const watchers = new Map<string, FSWatcher>();
  let wake = (): void => undefined;
  let isDue = false;
  const note = (): void => {
    isDue = true;
    wake();
  };

  /** Also those that have come since. */
  function watchAll(folders: readonly string[]): void {
    for (const [path, watcher] of watchers) {
      if (folders.includes(path)) continue;
      watcher.close();
      watchers.delete(path);
    }
    for (const path of folders) {
      if (watchers.has(path)) continue;
      try {
        const watcher = watch(join(folder, path), { persistent: false }, note);
        watcher.on("error", note); // the folder is gone: the next look sees that
        watchers.set(path, watcher);
      } catch (error) {
        log.warn(`Cannot watch the folder ${join(folder, path)}: ${messageOf(error)}`);
      }
    }
  }

  /** Until no event has come for a moment. */
  async function settled(): Promise<void> {
    while (!isDue && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
    while (isDue && !signal.aborted) {
      isDue = false;
      await delay(SETTLE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  signal.addEventListener("abort", () => wake(), { once: true });
  let before = await look(folder);
  watchAll(before.folders);
  try {
    // What was saved between the look and the watch is seen by one more look.
    for (isDue = true; !signal.aborted; await settled()) {
      const now = await look(folder);
      watchAll(now.folders);
      const changed = differences(before.files, now.files);
      before = now;
      if (changed.length > 0 && !signal.aborted) await onChange(changed);
    }
  } finally {
    for (const watcher of watchers.values()) watcher.close();
  }
}

interface View {
  /** Relative to the root; `""` is the root itself. */
  readonly folders: readonly string[];
  /** What tells one state of a file from another. */
  readonly files: ReadonlyMap<string, string>;
}

async function look(root: string): Promise<View> {
  const folders = [""];
  const files = new Map<string, string>();
  for (const folder of folders) {
    const depth = folder === "" ? 0 : folder.split("/").length;
    const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH && folders.length < MAX_FOLDERS) folders.push(path);
      } else if (FOLLOWED.has(extname(entry.name))) {
        const found = await stat(join(root, path)).catch(() => undefined); // it may just go
        if (found?.isFile() === true) files.set(path, `${found.mtimeMs} ${found.size}`);
      }
    }
  }
  return { folders, files };
}

function differences(
  before: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): string[] {
  const names = new Set([...before.keys(), ...now.keys()]);
  return [...names].filter((name) => before.get(name) !== now.get(name));
}
