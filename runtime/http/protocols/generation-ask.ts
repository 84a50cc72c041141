/**
 * Asks a model to generate, for every protocol that does: whole answers, or one stream of what happens.
 *
 * Several prompts are several requests to the engine, side by side: they share the client's patience, and the first that fails
 * ends the others. Streams are merged in the order in which their events come.
 */
import { RuntimeError } from "../../errors.ts";
import type {
  GenerationAbilities,
  GenerationEvent,
  GenerationRequest,
  GenerationResult,
} from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { ask, waitingFor, type Answering } from "../ask.ts";
import type { AppContext } from "../context.ts";
import { setHeader } from "../respond.ts";

/** The most prompts of one request. */
export const MAX_PROMPTS = 64;

/** What the model says of its generations. @throws RuntimeError `NOT_SUPPORTED` where it has another task. */
export function assertGenerates(
  { model, description }: Answering,
  action: string,
): GenerationAbilities {
  const { generation, task, handler } = description;
  if (generation !== undefined) return generation;
  const does =
    handler === "custom"
      ? "is answered by a handler of its own"
      : `is there for ${task ?? "another task"}`;
  throw new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot ${action}: the model "${model.name}" ${does}, wanted one for text-generation`,
  );
}

/** One result for each prompt, in their order. @throws RuntimeError as `Engine.submit`. */
export async function generateAll(
  c: AppContext,
  ready: Answering,
  requests: readonly GenerationRequest[],
): Promise<readonly GenerationResult[]> {
  const { submit, stop } = startAsking(c, ready);
  try {
    const results = await Promise.all(
      requests.map(async (request) => toResult(await submit(request))),
    );
    setHeader(c, "x-compute-tokens", String(results.reduce((sum, each) => sum + countOf(each), 0)));
    return results;
  } catch (error) {
    stop();
    throw error;
  }
}

/** An event, and which of the prompts it belongs to. */
export interface PromptEvent {
  readonly prompt: number;
  readonly event: GenerationEvent;
}

export interface GenerationStream extends AsyncIterable<PromptEvent> {
  /** Ends what is still generated: nobody reads it. */
  readonly stop: () => void;
}

/**
 * Settles with the first event, so that a request which is refused still gets a status of its own.
 *
 * @throws RuntimeError as `Engine.submit`, or what a stream throws before its first event.
 */
export async function streamAll(
  c: AppContext,
  ready: Answering,
  requests: readonly GenerationRequest[],
): Promise<GenerationStream> {
  const { submit, stop } = startAsking(c, ready);
  const merged = mergeStreams(
    requests.map(async (request) => toIterator(await submit(request))),
    stop,
  );
  const first = await merged.next();
  c.get("keepWaiting")();
  let isFirst = true;
  const iterator: AsyncIterator<PromptEvent, undefined> = {
    async next() {
      if (!isFirst) return merged.next();
      isFirst = false;
      return first;
    },
    async return() {
      stop();
      return { done: true, value: undefined };
    },
  };
  return { stop, [Symbol.asyncIterator]: () => iterator };
}

type Output = Awaited<ReturnType<typeof ask>>["output"];

/** Requests whose signal is the client's, and can be ended together besides. */
function startAsking(
  c: AppContext,
  ready: Answering,
): { submit: (request: GenerationRequest) => Promise<Output>; stop: () => void } {
  const waiting = waitingFor(c, ready);
  const group = new AbortController();
  const signal = AbortSignal.any([waiting.signal, group.signal]);
  return {
    async submit(generation) {
      const content = { kind: "generate", data: {}, generation } as const;
      return (await ask(c, ready, content, { ...waiting, signal })).output;
    },
    stop: () => group.abort(new DOMException("Nobody waits for the rest", "AbortError")),
  };
}

function toResult(output: Output): GenerationResult {
  if (output.kind !== "json") throw strange();
  return output.value as unknown as GenerationResult; // what a worker answers to kind "generate"
}

/** Tokens read and written. */
function countOf({ promptTokens, sequences }: GenerationResult): number {
  return sequences.reduce((sum, { tokens }) => sum + tokens, promptTokens);
}

function toIterator(output: Output): AsyncIterator<JsonValue> {
  if (output.kind !== "stream") throw strange();
  return output.chunks[Symbol.asyncIterator]();
}

function strange(): RuntimeError {
  return new RuntimeError("INTERNAL", "Cannot answer: the model did not answer with a generation");
}

interface Arrival {
  readonly prompt: number;
  readonly next: IteratorResult<JsonValue, unknown>;
}

/** The events of all streams as they come. A stream may begin long after the others, as a worker need not take all at once. */
function mergeStreams(
  sources: readonly Promise<AsyncIterator<JsonValue>>[],
  stop: () => void,
): { next: () => Promise<IteratorResult<PromptEvent, undefined>> } {
  const pending = new Map<number, Promise<Arrival>>();
  const advance = (prompt: number, source: Promise<AsyncIterator<JsonValue>>): void => {
    const arrival = source
      .then((iterator) => iterator.next())
      .then((next) => ({ prompt, next }) satisfies Arrival);
    arrival.catch(() => undefined); // whoever fails first is told of; the rest is ended by then
    pending.set(prompt, arrival);
  };
  sources.forEach((source, prompt) => advance(prompt, source));
  return {
    async next() {
      while (pending.size > 0) {
        try {
          const { prompt, next } = await Promise.race(pending.values());
          const source = sources[prompt];
          if (next.done === true || source === undefined) {
            pending.delete(prompt);
            continue;
          }
          advance(prompt, source);
          // What a worker streams for kind "generate".
          return {
            done: false,
            value: { prompt, event: next.value as unknown as GenerationEvent },
          };
        } catch (error) {
          pending.clear();
          stop();
          throw error;
        }
      }
      return { done: true, value: undefined };
    },
  };
}
