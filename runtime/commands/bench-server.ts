/**
 * A server for `hubserve bench` to measure: the program itself, as a process of its own, on a free port.
 */
import { spawn } from "node:child_process";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Surroundings } from "../config.ts";
import { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";

export interface BenchServer extends AsyncDisposable {
  readonly url: string;
}

/** From SIGTERM to SIGKILL. */
const PATIENCE_MS = 10_000;

/**
 * Starts it, and settles once it answers.
 *
 * @param args As for `hubserve serve`, without address and port.
 * @throws RuntimeError `NOT_READY` with what it said last.
 */
export async function startBenchServer(
  args: readonly string[],
  { cwd, env }: Surroundings,
  log: Log,
  signal: AbortSignal,
): Promise<BenchServer> {
  const cli = fileURLToPath(new URL(`../cli${extname(import.meta.url)}`, import.meta.url));
  const child = spawn(
    process.execPath,
    [...process.execArgv, cli, "serve", ...args, "--host", "127.0.0.1", "--port", "0"],
    // Its lines are read here, so they have the form that is looked for.
    {
      cwd,
      env: { ...env, HUBSERVE_LOG_FORMAT: "text", HUBSERVE_LOG_LEVEL: "info" },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const kill = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    await exited;
    clearTimeout(kill);
  };
  // Whoever ends the measurement ends the server too.
  const onExit = (): void => void child.kill("SIGTERM");
  process.once("exit", onExit);
  signal.addEventListener("abort", onExit, { once: true });
  void exited.then(() => process.off("exit", onExit));

  let last = "it ended without a word";
  const lines = createInterface({ input: child.stderr });
  const url = await new Promise<string | undefined>((resolve) => {
    lines.on("line", (line) => {
      log.debug(`The server: ${line}`);
      if (/\bERROR\b/.test(line)) last = line.replace(/^.*?\bERROR\s+/, "");
      const ready = /Ready after .*: send requests to (\S+)$/.exec(line)?.[1];
      if (ready !== undefined) resolve(ready);
    });
    lines.once("close", () => resolve(undefined));
  });
  if (url !== undefined) return { url, [Symbol.asyncDispose]: end };
  await end();
  throw new RuntimeError("NOT_READY", `Cannot start the server to measure: ${last}`);
}
