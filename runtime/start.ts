/**
 * `hubserve start` and `hubserve stop`: a server in the background, with torchserve's command line.
 *
 * Its process id lies in hubserve's cache, its log in `logs/hubserve.log` below the current folder. `start` returns when
 * the server answers, and says why when it does not; `stop` returns when it is gone.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { dirname, extname, join, relative, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readConfig, type Config, type Surroundings } from "./config.ts";
import { RuntimeError, systemCodeOf } from "./errors.ts";
import { printResult } from "./observe/log.ts";

/** torchserve's flags under other names. */
const RENAMED: Readonly<Record<string, string>> = {
  "--ncs": "--no-config-snapshots",
  "--dt": "--disable-token-auth",
  "--disable-token": "--disable-token-auth",
  "--model-api-enabled": "--enable-model-api",
};

/** torchserve's flags that take a value and mean nothing here. */
const IGNORED: ReadonlySet<string> = new Set([
  "--log-config",
  "--cpp-log-config",
  "--plugins-path",
  "--ppath",
  "--workflow-store",
]);

export interface StartPlan {
  /** What `hubserve serve` takes. */
  readonly args: readonly string[];
  readonly isForeground: boolean;
  /** Flags that were left out, for a warning. */
  readonly ignored: readonly string[];
}

/** Reads torchserve's command line as ours: `--models a.mar b=c.mar` has its list behind it, word by word. */
export function planStart(given: readonly string[]): StartPlan {
  const args: string[] = [];
  const ignored: string[] = [];
  let isForeground = false;
  const words = [...given];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [flag = "", value] = word.split(/=(.*)/s);
    if (word === "--start") continue;
    if (word === "--foreground") isForeground = true;
    else if (IGNORED.has(flag)) {
      ignored.push(flag);
      if (value === undefined) words.shift();
    } else if (flag === "--models") {
      const list = value === undefined ? [] : [value];
      while (words[0] !== undefined && !words[0].startsWith("-")) list.push(words.shift() ?? "");
      args.push(`--models=${list.join(",")}`);
    } else args.push(RENAMED[word] ?? word);
  }
  return { args, isForeground, ignored };
}

/** @returns The exit code. */
export async function startInBackground(
  surroundings: Surroundings,
  { args, ignored }: StartPlan,
): Promise<number> {
  const config = checkStart(surroundings, args);
  for (const flag of ignored) printResult(`Ignoring ${flag}: it changes nothing in hubserve`);
  const { cwd, env } = surroundings;
  const logFile = join(resolve(cwd, env["LOG_LOCATION"] || "logs"), "hubserve.log");
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, "a");
  const logged = statSync(logFile).size;
  const cli = fileURLToPath(new URL(`./cli${extname(import.meta.url)}`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, cli, "serve", ...args], {
    cwd,
    env,
    detached: true, // survives the terminal
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const ended = new Promise<true>((settle) => {
    child.once("exit", () => settle(true));
    child.once("error", () => settle(true));
  });
  using pid = writePid(config, child.pid ?? 0);
  const url = await waitUntilReady(logFile, logged, ended);
  const shown = relative(cwd, logFile);
  if (url === undefined) {
    throw new RuntimeError(
      "NOT_READY",
      `Cannot start the server: ${await lastError(logFile, logged)}; its log is ${shown}`,
    );
  }
  pid.keep();
  child.unref();
  printResult(`hubserve answers on ${url}, as process ${child.pid}; its log is ${shown}`);
  return 0;
}

/**
 * What has to hold before a server is started: the options can be read, the store is there, and none runs yet.
 *
 * @throws RuntimeError `INVALID_OPTION` or `CONFLICT`.
 */
export function checkStart(surroundings: Surroundings, args: readonly string[]): Config {
  const config = readConfig({ ...surroundings, args });
  const { modelStore, cwd } = config;
  const store = modelStore === undefined ? undefined : resolve(cwd, modelStore);
  if (store !== undefined && !statSync(store, { throwIfNoEntry: false })?.isDirectory()) {
    throw new RuntimeError("INVALID_OPTION", `--model-store directory not found: ${modelStore}`);
  }
  const running = readPid(config);
  if (running !== undefined) {
    throw new RuntimeError(
      "CONFLICT",
      `Cannot start the server: it is already running, as process ${running}; \`hubserve stop\` ends it`,
    );
  }
  return config;
}

/** @returns The exit code: 0 also where nothing runs, as torchserve has it. */
export async function stop(surroundings: Surroundings): Promise<number> {
  const { args } = surroundings;
  const config = readConfig({ ...surroundings, args: args.filter((arg) => arg !== "--stop") });
  const pid = readPid(config);
  if (pid === undefined) {
    printResult("hubserve is not currently running");
    return 0;
  }
  process.kill(pid, "SIGTERM");
  // What it allows itself for what runs, and what its workers take to end.
  const patienceMs = config.drainDelayMs + config.drainTimeoutMs + 15_000;
  const deadlineMs = performance.now() + patienceMs;
  while (isAlive(pid)) {
    if (performance.now() > deadlineMs) {
      throw new RuntimeError(
        "DEADLINE_EXCEEDED",
        `Cannot stop the server: process ${pid} still runs after ${patienceMs / 1000} s`,
      );
    }
    await delay(LOOK_EVERY_MS);
  }
  rmSync(pidFile(config), { force: true });
  printResult("hubserve has stopped");
  return 0;
}

const LOOK_EVERY_MS = 50;

export interface HeldPid extends Disposable {
  /** Leaves the file where it is. */
  keep(): void;
}

/** Writes down which process serves; disposing takes it back. */
export function writePid(config: Config, pid: number): HeldPid {
  const file = pidFile(config);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${pid}\n`);
  let isKept = false;
  return {
    keep: () => void (isKept = true),
    [Symbol.dispose]() {
      if (!isKept) rmSync(file, { force: true });
    },
  };
}

function pidFile({ cache }: Config): string {
  return join(cache, "hubserve.pid");
}

/** The process that serves; `undefined` where none does, also where one has died and left its file. */
function readPid(config: Config): number | undefined {
  let text: string;
  try {
    text = readFileSync(pidFile(config), "utf8");
  } catch {
    return undefined; // nobody started one
  }
  const pid = Number.parseInt(text, 10);
  return pid > 0 && isAlive(pid) && isOurs(pid) ? pid : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A process whose parent has not asked for its end yet is as good as gone.
    return !/^State:\s+Z/m.test(readProc(pid, "status") ?? "");
  } catch (error) {
    return systemCodeOf(error) === "EPERM";
  }
}

/** Numbers are given out again: on Linux it is looked whether this one is a server. */
function isOurs(pid: number): boolean {
  const command = readProc(pid, "cmdline");
  return command === undefined || /\bcli\.(?:ts|js)\0|hubserve/.test(command);
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined; // not Linux, or it has just ended
  }
}

/** @returns Its URL; `undefined` when it ended instead. */
async function waitUntilReady(
  logFile: string,
  from: number,
  ended: Promise<true>,
): Promise<string | undefined> {
  for (;;) {
    const [, url] =
      /Ready after .*: send requests to (\S+?)["\s]/.exec(await read(logFile, from)) ?? [];
    if (url !== undefined) return url;
    if ((await Promise.race([ended, delay(LOOK_EVERY_MS)])) === true) return undefined;
  }
}

async function lastError(logFile: string, from: number): Promise<string> {
  const lines = (await read(logFile, from)).trim().split("\n");
  const line =
    lines.findLast((each) => /\bERROR\b|"level":"error"/.test(each)) ?? lines.at(-1) ?? "";
  return line.replace(/^.*?\bERROR\s+/, "") || "it ended without a word";
}

/** Longer logs than a start writes are not looked through. */
const LONGEST_LOG_BYTES = 1024 * 1024;

async function read(path: string, from: number): Promise<string> {
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(
    Buffer.alloc(LONGEST_LOG_BYTES),
    0,
    LONGEST_LOG_BYTES,
    from,
  );
  return buffer.toString("utf8", 0, bytesRead);
}
