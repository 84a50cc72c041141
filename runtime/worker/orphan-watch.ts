/**
 * Ends this process when its parent is gone, even while a handler holds the event loop for ever.
 *
 * Without a parent the channel closes, which the event loop notices, unless a handler never lets go of it: such a process
 * would use a CPU until somebody finds it. So a thread looks, which costs some 8 MB.
 */
import { Worker } from "node:worker_threads";

/** How often it looks. */
const EVERY_MS = 1000;

const LOOK = `
const { workerData } = require("node:worker_threads");
setInterval(() => {
  if (process.ppid !== workerData.parent) process.kill(process.pid, "SIGKILL");
}, workerData.everyMs);
`;

export function watchForOrphanhood(): void {
  const parent = process.ppid;
  if (!mayStartThreads()) {
    // In a sandbox the event loop looks, which a handler may hold; its parent, as long as it lives, ends such a worker.
    setInterval(() => {
      if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
    }, EVERY_MS).unref();
    return;
  }
  const workerData = { parent, everyMs: EVERY_MS };
  new Worker(LOOK, { eval: true, execArgv: [], env: {}, workerData }).unref();
}

/** Without the permission model there is no `process.permission`, though its type says otherwise. */
function mayStartThreads(): boolean {
  const { permission } = process as { permission?: { has(scope: string): boolean } };
  return permission?.has("worker") ?? true;
}
