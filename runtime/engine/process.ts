/**
 * One child process: started, spoken to, watched, ended.
 *
 * The only place of the engine that knows `node:child_process`. It knows nothing of queues or retries: it hands out
 * messages and the one fact that matters at the end, that the child is gone.
 */
import { fork, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { fromPlainError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { Batching, LoadOptions, ModelDescription } from "../inference.ts";
import { isFromWorker, type FromWorker, type ToWorker } from "../messages.ts";
import type { Log } from "../observe/log.ts";
import { bundleOutside } from "./sandbox-bundle.ts";
import { openSandbox } from "./sandbox.ts";

/** How a child ended, in words: `"code 1"`, `"signal SIGKILL"`. */
export type ExitReason = string;

/** What a child says while it works; loading and logging are dealt with here. */
export type WorkMessage = Extract<FromWorker, { type: "results" | "statistics" | "chunk" | "end" }>;

/** What a child says when it is ready. */
export interface Loaded {
  readonly description: ModelDescription;
  readonly batching: Batching;
  /** How long each part of the start took, in milliseconds, from the process's beginning on. */
  readonly parts: Readonly<Record<string, number>>;
}

export interface WorkerProcess {
  readonly pid: number | undefined;
  /** Settles once: the model's description, or a `RuntimeError` when loading failed, took too long or the child died. */
  readonly ready: Promise<Loaded>;
  /** Settles once, when the child is gone. Never rejects. */
  readonly exited: Promise<ExitReason>;
  send(message: ToWorker): void;
  /** Ends it politely, then less so: *stop*, SIGTERM, SIGKILL, each after its own delay. */
  stop(): Promise<void>;
  /** Ends it now. */
  kill(): void;
}

export interface WorkerProcessOptions {
  readonly load: LoadOptions;
  readonly startupTimeoutMs: number;
  /** Whether it runs under Node's permission model. */
  readonly isSandboxed?: boolean;
  /** The child's environment, already free of secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onMessage: (message: WorkMessage) => void;
  readonly log: Log;
}

export type StartWorkerProcess = (options: WorkerProcessOptions) => WorkerProcess;

/** From *stop* to SIGTERM: a handler's `dispose` may take this long. */
const STOP_DELAY_MS = 5000;
/** From SIGTERM to SIGKILL. */
const TERM_DELAY_MS = 1000;

/** Starts a child and has it load its handler. */
export function startWorkerProcess(options: WorkerProcessOptions): WorkerProcess {
  const { load, env, log, onMessage, startupTimeoutMs } = options;
  const sandbox = options.isSandboxed === true ? openSandbox({ load }) : undefined;
  const child = fork(workerEntry(), [], {
    // A handler finds its own files relative to where it stands, as in the author's own trial runs.
    cwd: load.repository,
    env: { ...env, ...sandbox?.env, ORT_DISABLE_TELEMETRY: "1" },
    execArgv: sandbox === undefined ? workerFlags() : [...sandbox.flags],
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const workerLog = log.child({ worker: child.pid });
  forwardLines(child.stdout, (line) => workerLog.info(line));
  forwardLines(child.stderr, (line) => workerLog.warn(line));

  const exited = new Promise<ExitReason>((resolve) => {
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `code ${code}` : `signal ${signal}`),
    );
    // No such program, no memory for a process: then there is no exit event.
    child.once("error", (error) => {
      if (child.pid === undefined) resolve(`no process: ${error.message}`);
      else workerLog.debug("The channel to a worker failed", { error });
    });
  });

  let fail: (error: RuntimeError) => void = () => undefined;
  const ready = new Promise<Loaded>((resolve, reject) => {
    fail = reject;
    const timer = setTimeout(() => {
      const seconds = Math.round(startupTimeoutMs / 1000);
      reject(
        new RuntimeError(
          "HANDLER_INVALID",
          `Cannot load the model: it took longer than the ${seconds} s of --startup-timeout`,
        ),
      );
      child.kill("SIGKILL");
    }, startupTimeoutMs);
    void exited.then((reason) => {
      clearTimeout(timer);
      reject(
        new RuntimeError(
          "WORKER_DIED",
          `Cannot load the model: the worker ended with ${reason} while it was loading`,
        ),
      );
    });
    child.on("message", (message: unknown) => {
      if (!isFromWorker(message)) {
        workerLog.debug("A handler sent a message of its own on the channel; it is ignored");
        return;
      }
      switch (message.type) {
        case "ready":
          clearTimeout(timer);
          resolve(message);
          break;
        case "failed":
          clearTimeout(timer);
          if (message.error.stack !== undefined) workerLog.debug(message.error.stack);
          reject(fromPlainError(message.error));
          break;
        case "log":
          workerLog[message.level](message.message, message.fields);
          break;
        case "results":
        case "statistics":
        case "chunk":
        case "end":
          onMessage(message);
          break;
      }
    });
  });
  ready.catch(() => undefined); // a caller that already left must not make this an unhandled rejection

  let outbox: ToWorker[] = [];

  /** Messages of one turn of the event loop go together, once all of its connections have been read. */
  function send(message: ToWorker): void {
    if (outbox.push(message) === 1) setImmediate(flush);
  }

  function flush(): void {
    const messages = outbox;
    outbox = [];
    const [only, ...more] = messages;
    if (only === undefined || !child.connected) return;
    child.send(
      more.length === 0 ? only : ({ type: "several", messages } satisfies ToWorker),
      (error) => error && workerLog.debug("A message did not reach a worker", { error }),
    );
  }
  if (sandbox === undefined) send({ type: "load", options: load });
  else {
    const gone = new AbortController();
    void exited.then(() => {
      gone.abort();
      sandbox.close();
    });
    bundleOutside({ load, env, flags: workerFlags(), signal: gone.signal }).then(
      (bundled) => send({ type: "load", options: { ...bundled, scratch: sandbox.scratch } }),
      (error: unknown) => {
        fail(toRuntimeError(error, "HANDLER_INVALID", "Cannot compile the handler"));
        child.kill("SIGKILL");
      },
    );
  }

  return {
    pid: child.pid,
    ready,
    exited,
    send,
    stop: () => stop(child, send, exited),
    kill: () => void child.kill("SIGKILL"),
  };
}

async function stop(
  child: ChildProcess,
  send: (message: ToWorker) => void,
  exited: Promise<ExitReason>,
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  send({ type: "stop" });
  const term = setTimeout(() => child.kill("SIGTERM"), STOP_DELAY_MS);
  const kill = setTimeout(() => child.kill("SIGKILL"), STOP_DELAY_MS + TERM_DELAY_MS);
  await exited;
  clearTimeout(term);
  clearTimeout(kill);
}

/** What a handler prints becomes lines of the log. */
function forwardLines(stream: Readable | null, write: (line: string) => void): void {
  if (stream !== null) createInterface({ input: stream, crlfDelay: Infinity }).on("line", write);
}

/** `worker.ts` from source, `worker.js` once published: the compiler rewrites imports but not URLs. */
function workerEntry(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return fileURLToPath(new URL(`../worker.${extension}`, import.meta.url));
}

/** A child that runs from source needs tsx, found from here and not from the child's folder. */
function workerFlags(): string[] {
  return import.meta.url.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
}
