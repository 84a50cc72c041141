/**
 * One process at a time, by a lock file whose holder touches it while at work.
 *
 * Node has no `flock`, so Python's locks cannot be shared. A lock that nobody touches belonged to a process that died
 * and is taken over. A process that only slept may then work on at the same time: what the lock guards must bear
 * that. Downloads do, as both write the same bytes to the same places of the file.
 */
import { open, rm, stat, utimes } from "node:fs/promises";
import { systemCodeOf } from "../errors.ts";
import type { Sleep } from "./hub-fetch.ts";

/** How often a holder touches its lock. */
const HEARTBEAT_MS = 2000;
/** Ten heartbeats: the file's clock may be another machine's. */
const STALE_MS = 20_000;
/** How often a waiter looks again. */
const POLL_MS = 500;

export interface LockOptions {
  readonly signal: AbortSignal;
  readonly sleep: Sleep;
  readonly now?: (() => number) | undefined;
  /** Called once, when another process turns out to hold the lock. */
  readonly onWait?: () => void;
  /** Calls `beat` at the interval until the returned function is called. */
  readonly every?: (ms: number, beat: () => void) => () => void;
}

/** Runs `task` while holding the lock file at `path`, whose folder must exist. */
export async function withLock<T>(
  path: string,
  { signal, sleep, now = Date.now, onWait, every = everyInterval }: LockOptions,
  task: () => Promise<T>,
): Promise<T> {
  let hasWaited = false;
  while (!(await tryLock(path))) {
    if (await isStale(path, now())) {
      await rm(path, { force: true });
      continue;
    }
    if (!hasWaited) onWait?.();
    hasWaited = true;
    await sleep(POLL_MS, signal);
  }

  const stop = every(HEARTBEAT_MS, () => {
    const time = now() / 1000;
    // A lock that was taken over and released is gone; there is nothing to touch.
    utimes(path, time, time).catch(() => undefined);
  });
  try {
    return await task();
  } finally {
    stop();
    await rm(path, { force: true });
  }
}

async function tryLock(path: string): Promise<boolean> {
  try {
    await (await open(path, "wx")).close();
    return true;
  } catch (error) {
    if (systemCodeOf(error) === "EEXIST") return false;
    throw error;
  }
}

async function isStale(path: string, nowMs: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && nowMs - found.mtimeMs > STALE_MS;
}

function everyInterval(ms: number, beat: () => void): () => void {
  const timer = setInterval(beat, ms);
  timer.unref();
  return () => clearInterval(timer);
}
