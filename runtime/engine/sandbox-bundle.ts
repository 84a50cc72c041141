/**
 * Compiles a repository's handler in a process of its own, for a worker that may not start the compiler.
 *
 * esbuild reads the repository's code and runs none of it, so that process needs no sandbox.
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

import { fromPlainError, RuntimeError, type PlainError } from "../errors.ts";
import type { CompiledBundle, LoadOptions } from "../inference.ts";

/** What the process answers, once. `bundle` is absent where the repository has no handler of its own. */
export type BundleAnswer = { readonly bundle?: CompiledBundle } | { readonly error: PlainError };

export interface BundlingOptions {
  readonly load: LoadOptions;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What Node is started with. */
  readonly flags: readonly string[];
  readonly signal: AbortSignal;
}

/** @returns `load` with the bundle in it. @throws RuntimeError `HANDLER_INVALID` when it does not compile. */
export async function bundleOutside({
  load,
  env,
  flags,
  signal,
}: BundlingOptions): Promise<LoadOptions> {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const entry = fileURLToPath(new URL(`../worker/bundling.${extension}`, import.meta.url));
  const answer = await new Promise<BundleAnswer>((resolve, reject) => {
    const child = fork(entry, [], {
      cwd: load.repository,
      env,
      execArgv: [...flags],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      signal,
      killSignal: "SIGKILL",
    });
    // Proof of the cast: the process runs our own code, and nothing of the repository's, which could say more.
    child.once("message", (message) => resolve(message as BundleAnswer));
    child.once("error", reject);
    child.once("exit", (code, killed) => {
      const text = `Cannot compile the handler: the compiler's process ended with ${killed ?? `code ${code}`}`;
      reject(new RuntimeError("HANDLER_INVALID", text));
    });
    child.send(load);
  });
  if ("error" in answer) throw fromPlainError(answer.error);
  return answer.bundle === undefined ? load : { ...load, bundle: answer.bundle };
}
