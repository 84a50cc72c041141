/**
 * One answer before the first request: what a model does once (memory is laid out, code is compiled, packages are loaded on
 * demand) is done before the worker says that it is ready.
 *
 * The question is the description's own example. A handler of somebody's own is asked only where it gives one
 * (`static example`): a call may cost money or change something.
 */
import { RuntimeError } from "../errors.ts";
import type { LoadedHandler, RequestContext } from "../handler/contract.ts";
import { toHandlerError } from "../handler/custom/message.ts";
import { toOutput } from "../handler/output/output.ts";
import type { InferenceRequest, JsonValue } from "../inference.ts";
import type { Log } from "../observe/log.ts";

/** A model that writes long texts, or is slow, is not waited for longer: all of its code has run by then. */
const LONGEST_MS = 3000;

export const WARM_UP_ID = "warm-up";

export interface WarmUpOptions {
  /** What surrounds the request. */
  readonly contextOf: (request: InferenceRequest, signal: AbortSignal) => RequestContext;
  readonly log: Log;
  readonly longestMs?: number;
}

/**
 * Asks the handler its example.
 *
 * @returns How long it took in milliseconds; `undefined` where there is no example to ask.
 * @throws RuntimeError `MODEL_INVALID` when the default handler's model cannot answer. An author's handler that fails, and
 * an example that does not fit, are warnings.
 */
export async function warmUp(
  handler: LoadedHandler,
  { contextOf, log, longestMs = LONGEST_MS }: WarmUpOptions,
): Promise<number | undefined> {
  const { example, handler: kind } = handler.description;
  const data = toData(example);
  if (data === undefined) return undefined;
  const request: InferenceRequest = { id: WARM_UP_ID, kind: "predict", data, headers: {} };
  const abort = new AbortController();
  const late = setTimeout(() => {
    abort.abort(new DOMException("The warm-up has taken long enough", "TimeoutError"));
  }, longestMs);
  const startedAtMs = performance.now();
  try {
    const context = contextOf(request, abort.signal);
    // That the example was cut, say, concerns nobody; what an author's handler says may.
    const surroundings =
      kind === "default" ? { ...context, log: withoutWarnings(context.log) } : context;
    const output = await toOutput(await handler.call(request, surroundings));
    if (output.kind === "stream") await readUntil(output.chunks, abort.signal);
  } catch (error) {
    const failure = toHandlerError(error, abort.signal);
    if (abort.signal.aborted) log.debug(`The warm-up was ended after ${longestMs / 1000} s`);
    else if (kind === "custom" || failure.code === "INVALID_INPUT")
      log.warn(`The warm-up failed, the first requests may be slow: ${failure.message}`);
    else {
      throw new RuntimeError(
        "MODEL_INVALID",
        `Cannot load the model: it does not answer its own example: ${failure.message}; ` +
          "--no-warm-up serves it all the same",
        { cause: error },
      );
    }
  } finally {
    clearTimeout(late);
  }
  return performance.now() - startedAtMs;
}

/** A body as a protocol hands it on; the handler may change it. */
function toData(example: JsonValue | undefined): InferenceRequest["data"] | undefined {
  if (typeof example !== "object" || example === null || Array.isArray(example)) return undefined;
  // Proof of the cast: JSON that is an object and no list.
  return structuredClone(example) as InferenceRequest["data"];
}

function withoutWarnings(log: Log): Log {
  return { ...log, warn: (message, fields) => log.debug(message, fields) };
}

async function readUntil(chunks: AsyncIterable<JsonValue>, signal: AbortSignal): Promise<void> {
  for await (const _ of chunks) if (signal.aborted) break;
}
