/**
 * Runs a handler on one payload, with no server: for authors while they write, and for tests.
 *
 *     npx tsx runtime/harness.ts . '{"inputs": "I love you"}'
 *
 * Prints the answer on stdout, and on stderr how long loading and calling took; `--watch` runs again on each save. The handler runs
 * in this very process, so a debugger reaches it.
 */
import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { text } from "node:stream/consumers";
import {
  disableTelemetry,
  isMain,
  readConfig,
  readSurroundings,
  type Config,
  type Surroundings,
} from "./config.ts";
import { messageOf, RuntimeError } from "./errors.ts";
import type { LoadedHandler } from "./handler/contract.ts";
import type { InferenceOutput, InferenceRequest, LoadOptions, Media } from "./inference.ts";
import { sniffMediaType } from "./media-type.ts";
import { createLog, printResult, type Log } from "./observe/log.ts";
import { createProgressLine } from "./observe/progress.ts";
import { prepareRepository } from "./repository/resolve.ts";

/** One handler, called once. */
export interface Trial {
  readonly output: InferenceOutput;
  readonly loadMs: number;
  readonly callMs: number;
  /** The handler's own files, for whoever wants to watch them. */
  readonly files: readonly string[];
}

export type Payload = Pick<InferenceRequest, "data" | "media">;

/** Loads the handler, calls it once, disposes of it; a stream is read to its end before that. */
export async function tryHandler(
  load: LoadOptions,
  payload: Payload,
  log: Log,
  onChunk: (value: unknown) => void = () => undefined,
): Promise<Trial> {
  // Lazily, so that this module can be imported without onnxruntime.
  const [{ loadHandler }, { toOutput }, { createHandlerMetrics }, { LazyResponse }] =
    await Promise.all([
      import("./handler/load.ts"),
      import("./handler/output/output.ts"),
      import("./handler/custom/metrics.ts"),
      import("./handler/custom/response.ts"),
    ]);
  const startedAtMs = performance.now();
  const handler: LoadedHandler = await loadHandler(load, log);
  const loadMs = performance.now() - startedAtMs;
  for (const { level, text } of handler.description.notes) log[level](text);
  try {
    const request: InferenceRequest = { id: "trial", kind: "predict", headers: {}, ...payload };
    const calledAtMs = performance.now();
    const response = new LazyResponse();
    const context = {
      response,
      metrics: createHandlerMetrics(request.id, ({ name, value, unit, dimensions }) =>
        log.info(`Measured ${name}: ${value} ${unit}`, dimensions),
      ),
      signal: new AbortController().signal,
      requestId: request.id,
      log,
      headers: {},
    };
    const output = await toOutput(await handler.call(request, context));
    const { status, headers } = response.head() ?? {};
    if (status !== undefined || headers !== undefined)
      log.info(`Answered with the status ${status ?? 200}`, { ...headers });
    if (output.kind === "stream") for await (const value of output.chunks) onChunk(value);
    return { output, loadMs, callMs: performance.now() - calledAtMs, files: handler.files ?? [] };
  } finally {
    await handler.dispose();
  }
}

/** The command: reads its arguments, runs, prints. @returns The exit code. */
export async function runHarness({ args, ...surroundings }: Surroundings): Promise<number> {
  const isWatching = args.includes("--watch");
  const isForScript = args.includes("--json");
  const words = args.filter((word) => word !== "--watch" && word !== "--json");
  const config = readConfig({ ...surroundings, args: words });
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat === "auto" ? "text" : config.logFormat, // for whoever writes a handler
    ...(config.token && { secrets: [config.token] }),
  });
  const { config: placed, payloadText } = splitPayload(config);
  const payload = await readPayload(payloadText, placed.cwd);
  const { load } = await prepareRepository({
    settings: placed,
    signal: new AbortController().signal,
    log,
    drawDownload: createProgressLine(),
  });
  if (!isWatching) {
    await runOnce(load, payload, log, isForScript);
    return 0;
  }
  await runOnEachSave(load, payload, log, isForScript);
  return 0;
}

/** `call '{…}'` serves the current folder, `call <reference> '{…}'` the named one. */
function splitPayload(config: Config): { config: Config; payloadText: string | undefined } {
  const { reference, words } = config;
  const isPayload = reference !== undefined && words.length === 0 && /^\s*[{@-]/.test(reference);
  return isPayload
    ? { config: { ...config, reference: undefined }, payloadText: reference }
    : { config, payloadText: words[0] };
}

/** A payload: JSON text, `@file` with JSON or with an image or sound, or `-` for JSON on stdin. */
async function readPayload(word: string | undefined, cwd: string): Promise<Payload> {
  if (word === undefined) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot call the handler: no payload was given; as in \`hubserve call . '{"inputs": "I love you"}'\``,
    );
  }
  if (word === "-") return toPayload(await text(process.stdin), "stdin");
  if (!word.startsWith("@")) return toPayload(word, "the payload");
  const path = resolve(cwd, word.slice(1));
  const bytes = await readFile(path);
  const contentType = sniffMediaType(bytes);
  if (contentType === undefined || contentType === "application/json")
    return toPayload(bytes.toString("utf8"), path);
  return { data: {}, media: { bytes: new Uint8Array(bytes), contentType } satisfies Media };
}

function toPayload(text: string, source: string): Payload {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RuntimeError("INVALID_OPTION", `Cannot read ${source} as JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read ${source}: wanted an object such as {"inputs": "I love you"}`,
    );
  }
  return { data: value as Record<string, unknown> }; // a non-null, non-array object out of JSON.parse
}

async function runOnce(
  load: LoadOptions,
  payload: Payload,
  log: Log,
  isForScript: boolean,
): Promise<Trial> {
  const toText = isForScript ? JSON.stringify : toReadableText;
  const trial = await tryHandler(load, payload, log, (value) => printResult(JSON.stringify(value)));
  const { output } = trial;
  if (output.kind === "json") printResult(toText(output.value));
  if (output.kind === "media") {
    const { bytes, contentType } = output.media;
    printResult(toText({ contentType, bytes: bytes.byteLength }));
  }
  log.info(`Loaded in ${trial.loadMs.toFixed(0)} ms, called in ${trial.callMs.toFixed(1)} ms`);
  return trial;
}

/** Short answers on one line, long ones indented. */
function toReadableText(value: unknown): string {
  const line = JSON.stringify(value);
  return line.length <= 120 ? line : JSON.stringify(value, undefined, 2);
}

const WATCHED_EXTENSIONS = new Set([".ts", ".mts", ".js", ".mjs", ".cjs", ".json"]);

/** Editors write a file in several steps; this long after the last of them it is read. */
const SETTLE_MS = 80;

/** Runs now and again after each save, until the process is ended. */
async function runOnEachSave(
  load: LoadOptions,
  payload: Payload,
  log: Log,
  isForScript: boolean,
): Promise<never> {
  const watched = new Set<string>();
  let onChange: () => void = () => undefined;
  const watchFolder = (folder: string): void => {
    if (watched.has(folder)) return;
    watched.add(folder);
    watch(folder, (_event, file) => {
      if (file === null || WATCHED_EXTENSIONS.has(extname(file))) onChange();
    });
  };
  watchFolder(load.repository);
  for (;;) {
    const changed = new Promise<void>((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      onChange = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, SETTLE_MS);
      };
    });
    try {
      const { files } = await runOnce(load, payload, log, isForScript);
      for (const file of files) watchFolder(dirname(file));
    } catch (error) {
      log.error(messageOf(error));
    }
    log.info("Waiting for the handler to be saved; Ctrl-C ends");
    await changed;
  }
}

if (isMain(import.meta.url)) {
  disableTelemetry();
  runHarness(readSurroundings()).then(
    (code) => void (process.exitCode = code),
    (error: unknown) => {
      createLog().error(messageOf(error));
      process.exitCode = error instanceof RuntimeError && error.code === "INVALID_OPTION" ? 2 : 1;
    },
  );
}
