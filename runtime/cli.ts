#!/usr/bin/env node
/**
 * The command line: commands, help, exit codes. Each command is loaded when it is asked for.
 *
 * Exit codes: 0 done, 1 the work failed, 2 the command line was not understood; 130, the shell's, after Ctrl-C.
 * To add a command: an entry in `COMMANDS`, the function it calls, and its page in `commands/manual.ts`.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import {
  disableTelemetry,
  readConfig,
  readSurroundings,
  type Config,
  type Surroundings,
} from "./config.ts";
import { isRuntimeError, messageOf, RuntimeError } from "./errors.ts";
import { nearestWord } from "./nearest-word.ts";
import { createLog, printResult, type Log } from "./observe/log.ts";
import { readTraceHeaders } from "./observe/trace-settings.ts";
import { createPaint } from "./observe/terminal.ts";
import { TERMINATION_LOG, writeTerminationLog } from "./termination-log.ts";
import { VERSION } from "./version.ts";

interface Command {
  readonly usage: string;
  readonly meaning: string;
  /** Whether `--version` is one of its own flags. */
  readonly hasVersionFlag?: boolean;
  /** @returns The exit code. */
  readonly run: (surroundings: Surroundings) => Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    usage: "hubserve [serve] [reference] [options]",
    meaning: "Serve a folder or a Hub repository over HTTP (the default command)",
    run: serveCommand,
  },
  describe: {
    usage: "hubserve describe [url] [--json]",
    meaning: "Say what a running server serves, and what it has learned of its costs",
    run: async (surroundings) => (await import("./describe.ts")).describeServer(surroundings),
  },
  call: {
    usage: "hubserve call [reference] <payload> [--watch] [--json] [options]",
    meaning: "Run a handler on one payload with no server and print the answer",
    run: async (surroundings) => (await import("./harness.ts")).runHarness(surroundings),
  },
  init: {
    usage: "hubserve init [folder] [--task <task>] [--bare] [--force] [--json]",
    meaning: "Write a handler for a repository's model, with a test",
    run: async (surroundings) => (await import("./commands/init.ts")).runInit(surroundings),
  },
  push: {
    usage: "hubserve push [folder] <owner/name> [--include <file>] [--dry-run] [--yes] […]",
    meaning: "Publish a handler to the Hub, after showing what changes",
    run: async (surroundings) => (await import("./commands/push.ts")).runPush(surroundings),
  },
  pull: {
    usage: "hubserve pull <owner/name> [folder] [--all] [--force] [--json] […]",
    meaning: "Download a repository of the Hub into a plain folder",
    run: async (surroundings) => (await import("./commands/pull.ts")).runPull(surroundings),
  },
  doctor: {
    usage: "hubserve doctor [reference] [--json]",
    meaning: "Say what would keep this machine, or a repository on it, from serving",
    run: async (surroundings) => (await import("./commands/doctor.ts")).runDoctor(surroundings),
  },
  bench: {
    usage:
      "hubserve bench [url | reference] [--concurrency <count>] [--duration <time>] [--json] […]",
    meaning: "Measure how fast a server answers",
    run: async (surroundings) => (await import("./commands/bench.ts")).runBench(surroundings),
  },
  types: {
    usage: "hubserve types [url | reference] [--model <name>] […]",
    meaning: "Print TypeScript types of what a model takes and answers",
    run: async (surroundings) => (await import("./commands/types.ts")).runTypes(surroundings),
  },
  start: {
    usage: "hubserve start [--foreground] [--model-store <folder>] [--models <list>] […]",
    meaning: "Serve in the background, with torchserve's command line or this one's",
    run: startCommand,
  },
  stop: {
    usage: "hubserve stop",
    meaning: "End what was started so, and wait until it is gone",
    run: async (surroundings) => (await import("./start.ts")).stop(surroundings),
  },
  config: {
    usage: "hubserve config [options] [--json]",
    meaning: "Print each option's value, and where it came from",
    run: async (surroundings) => (await import("./show-config.ts")).showConfig(surroundings),
  },
  archive: {
    usage: "hubserve archive --model-name <name> --version <version> [--extra-files <list>] […]",
    meaning: "Make a model archive (.mar, .tar.gz), with the flags of torch-model-archiver",
    hasVersionFlag: true,
    run: async (surroundings) => (await import("./archive.ts")).runArchive(surroundings),
  },
};

async function main(surroundings: Surroundings): Promise<number> {
  const { args } = surroundings;
  const asksForHelp = args.includes("--help") || args.includes("-h");
  if (asksForHelp || args[0] === "help") {
    const { helpText } = await import("./commands/help.ts");
    const topic = args[0] === "help" ? args[1] : args[0];
    const isTopic = args[0] === "help" || Object.hasOwn(COMMANDS, topic ?? "");
    const paint = createPaint({ env: surroundings.env });
    printResult(
      helpText(isTopic && topic?.startsWith("-") !== true ? topic : undefined, COMMANDS, paint),
    );
    return 0;
  }
  const word = args[0]?.replace(/^--(?=(?:start|stop)$)/, "") ?? ""; // as torchserve writes it
  const named = Object.hasOwn(COMMANDS, word) ? word : undefined;
  if (named === undefined) assertNoTypingError(word, surroundings.cwd);
  const command = COMMANDS[named ?? "serve"];
  const asksForVersion = args.includes("--version") || args.includes("-v");
  if (asksForVersion && command?.hasVersionFlag !== true) {
    printResult(VERSION);
    return 0;
  }
  return (
    (await command?.run(
      named === undefined ? surroundings : { ...surroundings, args: args.slice(1) },
    )) ?? 2
  );
}

async function serveCommand(surroundings: Surroundings): Promise<number> {
  let lastWords: { path: string; log: Log } = { path: TERMINATION_LOG, log: createLog() };
  try {
    const config = readConfig(surroundings);
    const log = createLog({
      level: config.logLevel,
      format: config.logFormat,
      secrets: [
        ...(config.token === undefined ? [] : [config.token]),
        ...(config.apiKeys ?? []),
        ...Object.values(readTraceHeaders(config.env)),
      ],
    });
    lastWords = { path: resolve(config.cwd, config.terminationLog), log };
    return await serveUntilEnd(config, log);
  } catch (error) {
    writeTerminationLog(lastWords.path, messageOf(error), lastWords.log);
    throw error;
  }
}

async function serveUntilEnd(config: Config, log: Log): Promise<number> {
  assertOneReference(config, log);
  for (const { level, text } of config.notices) log[level](text);
  for (const warning of config.configFile?.warnings ?? []) log.warn(warning);
  const { serve } = await import("./serve.ts");

  // From here on a signal ends the start-up; once the server runs it drains it.
  const startup = new AbortController();
  let onSignal = (): void => startup.abort();
  let signals = 0;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (++signals > 1) process.exit(1); // the second one means now
      onSignal();
    });
  }
  const server = await serve({ config, log, signal: startup.signal });
  const stopped = new Promise<void>((resolve) => {
    onSignal = () => void server.drain().then(resolve);
  });
  if (startup.signal.aborted) onSignal();
  const ended = await Promise.race([
    stopped.then(() => "stopped" as const),
    // Ready is not the end: only a failed start settles this race.
    server.ready.then(() => new Promise<never>(() => undefined)),
  ]).catch((error: unknown) => error);
  if (ended === "stopped" || signals > 0) return 0;
  throw ended;
}

async function startCommand(surroundings: Surroundings): Promise<number> {
  const { checkStart, planStart, startInBackground, writePid } = await import("./start.ts");
  const plan = planStart(surroundings.args);
  if (!plan.isForeground) return startInBackground(surroundings, plan);
  using _pid = writePid(checkStart(surroundings, plan.args), process.pid);
  return await serveCommand({ ...surroundings, args: plan.args });
}

function assertOneReference({ words }: Config, log: Log): void {
  if (words.length > 0)
    log.warn(`Ignoring ${words.map((word) => `"${word}"`).join(", ")}: one reference is served`);
}

/**
 * `hubserve srve` would otherwise be taken for a folder: say what was meant.
 *
 * @throws RuntimeError `INVALID_OPTION` where a lone word is near a command's name and nothing here is called so.
 */
function assertNoTypingError(word: string, cwd: string): void {
  if (!/^\w[\w-]*$/.test(word) || existsSync(resolve(cwd, word))) return;
  const near = nearestWord(word, [...Object.keys(COMMANDS), "help"]);
  if (near === undefined) return;
  throw new RuntimeError(
    "INVALID_OPTION",
    `Cannot run "${word}": there is no such command, and no such folder here; did you mean "hubserve ${near}"?`,
  );
}

disableTelemetry(); // before a command can load onnxruntime

main(readSurroundings()).then(
  (code) => process.exit(code),
  (error: unknown) => {
    const isUsage = isRuntimeError(error) && error.code === "INVALID_OPTION";
    const log = createLog();
    // A sentence for what we know; for what we do not, everything that helps to mend it.
    if (isRuntimeError(error)) log.error(error.message);
    else log.error(`hubserve failed: ${messageOf(error)}`, { error });
    process.exit(isUsage ? 2 : 1);
  },
);
