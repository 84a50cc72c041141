/**
 * Starts what is measured, each as a process of its own, and ends it.
 *
 * The bench's own programs are compiled once per run with esbuild, so that no contender starts slower for TypeScript's
 * sake; hubserve is its compiled self, `dist/cli.js`.
 */
import { fork, spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

import type { FromMeasured, Observation } from "./measurement.ts";
import { readUsage, type Usage } from "./process-tree.ts";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BUILD = join(ROOT, "build/bench");

/** A program that takes longer to come up will not. */
const START_TIMEOUT_MS = 120_000;
/** From SIGTERM to SIGKILL. */
const STOP_TIMEOUT_MS = 10_000;

/** A running program. */
export interface Program extends AsyncDisposable {
  /** Where it listens; `ipc:…` for one that is spoken to over a channel. */
  readonly url: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** From spawn to the line that says it is ready. */
  readonly startMs: number;
  /** The last lines it printed, for whoever must say why it failed. */
  readonly lastLines: () => string;
  readonly exited: Promise<string>;
}

export interface ProgramOptions {
  /** The file that is run. */
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The line that says it is ready; its first group is the address. */
  readonly ready: RegExp;
  readonly nodeFlags?: readonly string[];
  /** What runs the file; this Node unless told. */
  readonly program?: string;
}

/** Compiles one of this folder's programs. @returns The file to run. */
export async function compile(name: string): Promise<string> {
  const outfile = join(BUILD, `${name}.mjs`);
  await build({
    entryPoints: [join(ROOT, "bench", `${name}.ts`)],
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    outfile,
    logLevel: "warning",
  });
  return outfile;
}

/** `dist/cli.js`, built when it is missing or older than the source. @throws When the source does not compile. */
export async function builtHubserve(onBuild: () => void): Promise<string> {
  const cli = join(ROOT, "dist/cli.js");
  const newest = readdirSync(join(ROOT, "runtime"), { recursive: true })
    .map((file) => statSync(join(ROOT, "runtime", String(file))).mtimeMs)
    .reduce((a, b) => Math.max(a, b), 0);
  if (existsSync(cli) && statSync(cli).mtimeMs > newest) return cli;
  onBuild();
  const child = spawn(process.execPath, [join(ROOT, "scripts/build.mjs")], { stdio: "inherit" });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0)
    throw new Error(
      `Cannot build hubserve: the compiler ended with ${String(code)}; see above, or name one with --hubserve`,
    );
  return cli;
}

/** Settles when the program is ready. @throws With its last lines when it ends before. */
export async function startProgram({
  file,
  args,
  env = {},
  ready,
  nodeFlags = [],
  program = process.execPath,
}: ProgramOptions): Promise<Program> {
  const startedMs = performance.now();
  const child = fork(file, args, {
    execPath: program,
    execArgv: [...nodeFlags],
    env: { ...cleanEnvironment(), ORT_DISABLE_TELEMETRY: "1", ...env },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    serialization: "advanced",
  });
  const lines: string[] = [];
  const exited = new Promise<string>((resolve) => {
    child.once("close", (code, signal) => resolve(signal ?? `code ${code}`));
  });
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        if (lines.length > 20) lines.shift();
        const found = ready.exec(line)?.[1];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found.replace("//localhost:", "//127.0.0.1:")); // spares clients a look-up of both families
      });
    }
    void exited.then((reason) => {
      clearTimeout(timer);
      reject(new Error(`Cannot start "${file}": it ended with ${reason}\n${lines.join("\n")}`));
    });
  });
  return {
    url,
    pid: child.pid ?? 0,
    child,
    startMs: performance.now() - startedMs,
    lastLines: () => lines.join("\n"),
    exited,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      child.kill("SIGTERM");
      await exited;
      clearTimeout(timer);
    },
  };
}

/** An observation and what the observed program took for it. */
export interface Measurement extends Observation {
  /** Of the window; absent where it cannot be read. */
  readonly cpuSeconds?: number;
  /** Since the program started. */
  readonly peakBytes?: number;
}

/**
 * Sends a measuring child its order and watches the program `pid` while its window is open.
 *
 * @throws What the child says, or how it ended.
 */
export function measure(child: ChildProcess, order: object, pid: number): Promise<Measurement> {
  return new Promise((resolve, reject) => {
    let opened: Usage | undefined;
    let closed: Usage | undefined;
    const onExit = (code: number | null): void =>
      settle(() => reject(new Error(`The measuring process ended with ${code}`)));
    function settle(how: () => void): void {
      child.off("message", onMessage);
      child.off("exit", onExit);
      how();
    }
    function onMessage(message: FromMeasured): void {
      switch (message.type) {
        case "opened":
          opened = readUsage(pid);
          break;
        case "closed":
          closed = readUsage(pid);
          break;
        case "failed":
          settle(() => reject(new Error(message.message)));
          break;
        case "observed": {
          const usage =
            opened === undefined || closed === undefined
              ? {}
              : {
                  cpuSeconds: closed.cpuSeconds - opened.cpuSeconds,
                  peakBytes: closed.peakBytes,
                };
          settle(() => resolve({ ...message.observation, ...usage }));
          break;
        }
      }
    }
    child.on("message", onMessage);
    child.once("exit", onExit);
    child.send(order);
  });
}

/** Runs the load generator once against the program. */
export async function measureLoad(
  generator: string,
  order: object,
  pid: number,
): Promise<Measurement> {
  const child = fork(generator, [], {
    env: { ...cleanEnvironment(), BENCH_CHILD: "load" },
    execArgv: [],
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  try {
    return await measure(child, order, pid);
  } finally {
    child.kill();
  }
}

/** The machine's environment without what would change a contender's course. */
function cleanEnvironment(): Record<string, string | undefined> {
  const steering =
    /^(?:HF_|HUBSERVE_|HUGGING|TASK$|DTYPE$|PORT$|REVISION$|MODEL_|API_INFERENCE|WORKERS$|NODE_TEST|NODE_OPTIONS|NODE_ENV)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !steering.test(name)));
}
