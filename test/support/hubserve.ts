/**
 * The real program as a real process: started with arguments, spoken to over HTTP, ended.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CLI = fileURLToPath(new URL("../../runtime/cli.ts", import.meta.url));

export interface Hubserve extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Everything printed so far. */
  readonly lines: readonly string[];
  /** Settles with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  /** Settles when a printed line matches, also one from before. */
  readonly line: (pattern: RegExp) => Promise<string>;
  kill(signal: NodeJS.Signals): void;
  post(
    inputs: unknown,
    more?: { headers?: Record<string, string>; signal?: AbortSignal; path?: string },
  ): Promise<Response>;
}

/** A line that has not come by then never will; the program is ended so that the test can say so. */
const LINE_TIMEOUT_MS = 60_000;

export interface StartOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The number of the user, and of the group, that it runs as; only root may choose. */
  readonly uid?: number;
  /** The program's file, where it is not the source. */
  readonly entry?: string;
}

/** Starts the program; settles when it listens, which is before it is ready. */
export async function startHubserve({
  args = [],
  env = {},
  cwd = ROOT,
  uid,
  entry = CLI,
}: StartOptions): Promise<Hubserve> {
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), entry, ...args], {
    cwd,
    env: {
      ...cleanEnvironment(),
      HUBSERVE_PORT: "0",
      HUBSERVE_HOST: "127.0.0.1",
      HUBSERVE_LOG_FORMAT: "text",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  const lines: string[] = [];
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      for (const watcher of watchers) watcher();
    });
  }
  const exited = new Promise<number | string>((resolve) => {
    child.once("close", (code, signal) => {
      resolve(code ?? signal ?? "unknown");
      for (const watcher of watchers) watcher();
    });
  });

  async function line(pattern: RegExp): Promise<string> {
    const deadline = setTimeout(() => child.kill("SIGKILL"), LINE_TIMEOUT_MS);
    try {
      return await awaitLine(pattern);
    } finally {
      clearTimeout(deadline);
    }
  }

  async function awaitLine(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (child.exitCode !== null || child.signalCode !== null) {
        await exited; // the last lines may come after the exit
        const late = lines.find((line) => pattern.test(line));
        if (late !== undefined) return late;
        throw new Error(`The program ended without a line like ${pattern}:\n${lines.join("\n")}`);
      }
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
      });
    }
  }

  const listening = await line(/Listening on /);
  const url = /http:\/\/[^\s,]+/.exec(listening)?.[0] ?? "";
  return {
    url,
    pid: child.pid ?? 0,
    lines,
    exited,
    line,
    kill: (signal) => void child.kill(signal),
    post: (inputs, { headers, signal, path = "/" } = {}) =>
      fetch(`${url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ inputs }),
        ...(signal && { signal }),
      }),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Runs the program to its end. */
export async function runHubserve(
  options: StartOptions & { entry?: string },
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const { args = [], env = {}, cwd = ROOT, entry = CLI } = options;
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), entry, ...args], {
    cwd,
    env: { ...cleanEnvironment(), HUBSERVE_LOG_FORMAT: "text", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => (stdout += String(data)));
  child.stderr.on("data", (data) => (stderr += String(data)));
  const code = await new Promise<number | string>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
  });
  return { code, stdout, stderr };
}

/** The machine's environment without what would change the program's course. */
function cleanEnvironment(): Record<string, string | undefined> {
  const steering =
    /^(?:HF_|HUBSERVE_|HUGGING|LOG_|OTEL_|TASK$|DTYPE$|PORT$|REVISION$|MODEL_|API_INFERENCE|WORKERS$|NODE_TEST|NODE_OPTIONS)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !steering.test(name)));
}
