/**
 * `POST /models` of TorchServe's Management API: what is to be served is found, launched and, where the client wants to
 * wait, waited for. What does not start is unregistered again.
 */
import type { FoundModel, LaunchedModel, Launcher, LaunchRequest } from "../../engine/launcher.ts";
import { FIRST_VERSION } from "../../engine/models.ts";
import { isRuntimeError, messageOf, RuntimeError, type ErrorCode } from "../../errors.ts";
import type { AppContext } from "../context.ts";
import { answerStatus } from "./management-answers.ts";
import { readParameters, RegisterParameters, sentParameters } from "./management-parameters.ts";
import type { Manner } from "./torchserve-errors.ts";

export interface RegisterOptions {
  readonly launcher: Launcher;
  readonly manner: Manner;
}

/** What is answered to whoever does not wait for workers. */
export const PROCESSING = "Processing worker updates...";

export async function register(c: AppContext, options: RegisterOptions): Promise<Response> {
  const { launcher, manner } = options;
  const sent = await sentParameters(c);
  const parameters = readParameters(RegisterParameters, sent, manner === "original");
  const { url, runtime, initial_workers: workers, synchronous } = parameters;
  assertSource(url, runtime);

  const found = await locate(url, options);
  const name = parameters.model_name ?? found.name;
  const version = found.version ?? FIRST_VERSION;
  const launched = await launch(launcher, found, name, {
    ...(found.version !== undefined && { version }),
    origin: url,
    isFromStart: false,
    isLazy: workers === undefined ? "unless-told" : workers === 0,
    onRemoved: () => found.discard(),
    settings: {
      reference: found.reference,
      ...(parameters.handler && { handler: parameters.handler }),
      ...(workers !== undefined && workers > 0 && { minWorkers: workers, maxWorkers: workers }),
      ...(parameters.batch_size !== undefined && { batchSize: parameters.batch_size }),
      ...(parameters.max_batch_delay !== undefined && {
        maxBatchDelayMs: parameters.max_batch_delay,
      }),
      ...(parameters.response_timeout !== undefined && {
        requestTimeoutMs: parameters.response_timeout * 1000,
      }),
      ...(parameters.startup_timeout !== undefined && {
        startupTimeoutMs: parameters.startup_timeout * 1000,
      }),
    },
  });

  const settled = startOrUndo(launched, launcher, manner);
  settled.catch(() => undefined); // it may fail before it is waited for
  // A download may take minutes, and so may workers: who does not want to wait is told so at once.
  const isBrief = !found.isOnHub && !(await willLoad(launched));
  if (!synchronous && !isBrief) {
    settled.catch((error: unknown) => c.get("log").error(messageOf(error)));
    return answerStatus(c, PROCESSING, 202);
  }
  const count = await settled;
  const more = "Use scale workers API to add workers for the model.";
  const sentence = `Model "${name}" Version: ${version} registered with ${count} initial workers`;
  return answerStatus(c, count === 0 ? `${sentence}. ${more}` : sentence);
}

const RUNTIMES = ["node", "python", "python3", "LSP"];

function assertSource(url: string | undefined, runtime: string | undefined): asserts url is string {
  if (url === undefined) throw new RuntimeError("INVALID_INPUT", "Parameter url is required.");
  if (url === "") throw new RuntimeError("MODEL_NOT_FOUND", "empty url");
  if (url.includes("..")) {
    const text = `Relative path is not allowed in url: ${url}`;
    throw new RuntimeError("MODEL_NOT_FOUND", text);
  }
  if (runtime !== undefined && !RUNTIMES.includes(runtime))
    throw new RuntimeError("INVALID_INPUT", `Invalid RuntimeType value: ${runtime}`);
}

async function locate(url: string, { launcher, manner }: RegisterOptions): Promise<FoundModel> {
  try {
    return await launcher.locate(url);
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    const said: Partial<Record<ErrorCode, readonly [ErrorCode, string]>> = {
      MODEL_NOT_FOUND: ["MODEL_NOT_FOUND", `Model not found at: ${url}`],
      FORBIDDEN: ["MODEL_NOT_FOUND", `Given URL ${url} does not match any allowed URL(s)`],
      DOWNLOAD_FAILED: ["DOWNLOAD_FAILED", `Failed to download archive from: ${url}`],
      REPOSITORY_INVALID: ["REPOSITORY_INVALID", inTheirWords(error.message)],
      // Java's FileAlreadyExistsException is nobody's fault but the server's there.
      ...(manner === "original" && { CONFLICT: ["INTERNAL", error.message] as const }),
    };
    const [code, sentence] = said[error.code] ?? [error.code, error.message];
    const isReasonKept = manner === "mended" && code === "DOWNLOAD_FAILED";
    const reason = isReasonKept ? error.message.replace(/^Cannot fetch "[^"]*": /, " (") : "";
    throw new RuntimeError(code, reason === "" ? sentence : `${sentence}${reason})`, {
      cause: error,
    });
  }
}

/** What TorchServe says of a manifest is said without words of ours. */
function inTheirWords(message: string): string {
  const said =
    /: (Missing Model entry in manifest file\.|(?:Model name|Model version) is not defined\.|Runtime is not defined or invalid\.)$/;
  return said.exec(message)?.[1] ?? message;
}

async function launch(
  launcher: Launcher,
  found: FoundModel,
  name: string,
  request: LaunchRequest,
): Promise<LaunchedModel> {
  try {
    return launcher.launch({ ...request, name });
  } catch (error) {
    await found.discard();
    if (!isRuntimeError(error) || error.code !== "CONFLICT") throw error;
    const version = request.version ?? FIRST_VERSION;
    const text = `Model version ${version} is already registered for model ${name}`;
    throw new RuntimeError("CONFLICT", text, { cause: error });
  }
}

async function willLoad({ prepared }: LaunchedModel): Promise<boolean> {
  try {
    return (await prepared).willLoad;
  } catch {
    return false; // whoever waits for the start hears why
  }
}

/** One that does not start is unregistered again. @returns How many workers it has, all of them ready. */
async function startOrUndo(
  launched: LaunchedModel,
  launcher: Launcher,
  manner: Manner,
): Promise<number> {
  const { name, version } = launched.entry;
  try {
    return await start(launched);
  } catch (error) {
    try {
      await launcher.remove(name, version);
    } catch (second) {
      // Somebody else was quicker, or has added versions since: it stays, as the one that failed.
      if (!isRuntimeError(second)) throw second;
    }
    throw startFailure(error, name, version, manner);
  }
}

async function start(launched: LaunchedModel): Promise<number> {
  await launched.ready;
  if (launched.isIdle) return 0;
  const { minWorkers, maxWorkers } = launched.settings;
  await launched.scale(minWorkers, maxWorkers);
  return minWorkers;
}

/** Where the repository could not be had that is said; the rest is workers that did not start. */
export function startFailure(
  error: unknown,
  name: string,
  version: string,
  manner: Manner,
): unknown {
  if (!isRuntimeError(error)) return error;
  const isOfRepository = /^(?:REPOSITORY_|HUB_|DOWNLOAD_)/.test(error.code);
  if (isOfRepository) return error;
  const text = `Failed to start workers for model ${name} version: ${version}`;
  const reason = manner === "original" ? "" : ` (${error.message})`;
  return new RuntimeError("INTERNAL", `${text}${reason}`, { cause: error });
}
