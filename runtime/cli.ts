#!/usr/bin/env node
/**
 * The command line: commands, help, exit codes. Each command is loaded when it is asked for.
 *
 * Exit codes: 0 done, 1 the work failed, 2 the command line was not understood.
 * To add a command: an entry in `COMMANDS` and the function it calls.
 */
import {
  describeOptions,
  disableTelemetry,
  readConfig,
  readSurroundings,
  type Config,
  type Surroundings,
} from "./config.ts";
import { isRuntimeError, messageOf } from "./errors.ts";
import { nearestWord } from "./nearest-word.ts";
import { createLog, printResult, type Log } from "./observe/log.ts";
import { defaultTextOf, otherNamesOf, spellingOf } from "./options.ts";
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
    usage: "hubserve call [reference] <payload> [--watch] [options]",
    meaning: "Run a handler on one payload with no server and print the answer",
    run: async (surroundings) => (await import("./harness.ts")).runHarness(surroundings),
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
  if (args.includes("--help") || args.includes("-h") || args[0] === "help") {
    printResult(helpText());
    return 0;
  }
  const word = args[0]?.replace(/^--(?=(?:start|stop)$)/, "") ?? ""; // as torchserve writes it
  const named = Object.hasOwn(COMMANDS, word) ? word : undefined;
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
  const config = readConfig(surroundings);
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    secrets: config.token === undefined ? [] : [config.token],
  });
  assertOneReference(config, log);
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

/** `hubserve srve` would otherwise be taken for a folder: say what was meant. */
function assertOneReference({ reference, words }: Config, log: Log): void {
  if (words.length > 0)
    log.warn(`Ignoring ${words.map((word) => `"${word}"`).join(", ")}: one reference is served`);
  const near = reference === undefined ? undefined : nearestWord(reference, Object.keys(COMMANDS));
  if (near !== undefined && near !== reference)
    log.debug(`"${reference}" is taken for a reference; the command is "${near}"`);
}

function helpText(): string {
  const commands = Object.values(COMMANDS).map(
    ({ usage, meaning }) => `  ${usage}\n      ${meaning}`,
  );
  const options = describeOptions();
  const groups = [...new Set(options.map(({ row }) => row.group))].map((group) => {
    const rows = options.filter(({ row }) => row.group === group);
    const lines = rows.map(({ row }) => {
      const fallback = defaultTextOf(row);
      const notes = fallback === "" ? [] : [`default: ${fallback}`];
      if (otherNamesOf(row).length > 0) notes.push(`also ${otherNamesOf(row).join(", ")}`);
      return `  ${spellingOf(row).padEnd(28)} ${row.meaning}${notes.length > 0 ? ` (${notes.join("; ")})` : ""}`;
    });
    return `${group}\n${lines.join("\n")}`;
  });
  return [
    `hubserve ${VERSION}: a Hugging Face Hub repository as an HTTP endpoint`,
    `Commands\n${commands.join("\n")}`,
    "A reference is a folder, owner/name, owner/name@revision or hf://owner/name@revision; without one: HF_MODEL_DIR,\n" +
      "HF_MODEL_ID, /repository, the current folder. A payload is JSON, @file, or - for stdin.",
    ...groups,
    "Every option can be set as HUBSERVE_<OPTION>. Exit codes: 0 done, 1 failed, 2 command line not understood.",
  ].join("\n\n");
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
