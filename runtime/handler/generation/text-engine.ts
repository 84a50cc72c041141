/**
 * A causal model that writes for many requests at once: what is asked goes to the scheduler, what is written becomes each
 * request's answer.
 *
 * Beams are searched on the older path (`../model/beam-search.ts`), one request after the other, while the others go on.
 */
import type {
  GeneratedSequence,
  GeneratedToken,
  GenerationEvent,
  GenerationResult,
  GenerationStatistics,
  PromptToken,
} from "../../generation.ts";
import type { Generated } from "../model/generation.ts";
import type { GenerationSettings } from "../model/generation-settings.ts";
import { createEventQueue } from "./event-queue.ts";
import type { TokenBytes } from "./json-tokens.ts";
import type { EngineLimits } from "./limits.ts";
import { createPrefixCache } from "./prefix-cache.ts";
import type { Runner } from "./runner.ts";
import { createScheduler } from "./scheduler.ts";
import { toSearchedAnswer } from "./searched-answer.ts";
import { createStatistics } from "./statistics.ts";
import { createWriter, type Vocabulary, type WrittenToken } from "./writer.ts";

/** What is written for one request. */
export interface TextOrder {
  readonly prompt: readonly number[];
  readonly settings: GenerationSettings;
  readonly sequences: number;
  readonly topTokens: number;
  /** Whether the prompt's own tokens are told. */
  readonly promptTokens: boolean;
  readonly keepsStop: boolean;
  /** Where every sequence is to be a JSON object: what the tokens say. */
  readonly json?: TokenBytes;
  /** What each text begins with, where the prompt is echoed. */
  readonly echo?: string;
}

export interface TextEngine {
  readonly limits: EngineLimits;
  /**
   * The ids that follow, for whoever makes text of them.
   *
   * @throws The signal's reason within one token, once it is aborted.
   */
  continue(
    prompt: readonly number[],
    settings: GenerationSettings,
    signal: AbortSignal,
  ): Promise<Generated>;
  /** Writes an answer, streamed. @throws `QUEUE_FULL` */
  stream(order: TextOrder, signal: AbortSignal): AsyncIterable<GenerationEvent>;
  /** Writes an answer, whole. @throws `QUEUE_FULL` */
  answer(order: TextOrder, signal: AbortSignal): Promise<GenerationResult>;
  takeStatistics(): GenerationStatistics | undefined;
  close(): Promise<void>;
}

export interface TextEngineOptions {
  readonly runner: Runner;
  readonly limits: EngineLimits;
  readonly tokenizer: Vocabulary;
  /** Searches beams. */
  readonly search: (
    prompt: readonly number[],
    settings: GenerationSettings,
    signal: AbortSignal,
  ) => Promise<Generated>;
  /** Milliseconds on a clock that never goes back. */
  readonly now?: () => number;
}

/** The share of all tokens' memory that beginnings of prompts may take besides. */
const PREFIX_SHARE = 1 / 4;

export function createTextEngine({
  runner,
  limits,
  tokenizer,
  search,
  now = () => performance.now(),
}: TextEngineOptions): TextEngine {
  const statistics = createStatistics();
  const { fork } = runner;
  const prefixes =
    fork !== undefined && runner.readsParts
      ? createPrefixCache({ ...runner, fork }, Math.floor(limits.maxTotalTokens * PREFIX_SHARE))
      : undefined;
  const scheduler = createScheduler({
    runner,
    prefixes,
    ...limits,
    onPrompt: (tokens) => statistics.prompt(tokens),
  });
  let scratch = new Float32Array(0);
  function copy(scores: Float32Array): Float32Array {
    if (scratch.length < scores.length) scratch = new Float32Array(scores.length);
    scratch.set(scores);
    return scratch.subarray(0, scores.length);
  }
  let searching: Promise<unknown> = Promise.resolve();

  /** One search after the other: each has a cache of its own for every beam. */
  function searchInTurn(
    prompt: readonly number[],
    settings: GenerationSettings,
    signal: AbortSignal,
  ): Promise<Generated> {
    const found = searching.then(() => {
      signal.throwIfAborted();
      return search(prompt, settings, signal);
    });
    searching = found.catch(() => undefined);
    return found;
  }

  /** What is told of tokens, and counted. */
  interface Telling {
    readonly isPaused: () => boolean;
    readonly onPrompt: (tokens: readonly PromptToken[]) => void;
    readonly onToken: (sequence: number, written: WrittenToken) => void;
    readonly onEnd: (sequence: GeneratedSequence) => void;
    readonly onFail: (error: unknown) => void;
  }

  /** Counts what one request writes. */
  function openWatch() {
    const beganAtMs = now();
    let isFirst = true;
    return {
      /** For one of its sequences. */
      follow() {
        let firstAtMs = 0;
        let count = 0;
        return {
          onWritten() {
            statistics.token();
            if (isFirst) statistics.firstToken(now() - beganAtMs);
            isFirst = false;
            if (count++ === 0) firstAtMs = now();
          },
          onEnd() {
            if (count > 1) statistics.perToken((now() - firstAtMs) / (count - 1));
          },
        };
      },
    };
  }

  function write(order: TextOrder, signal: AbortSignal, telling: Telling): void {
    const watch = openWatch();
    const writers = Array.from({ length: order.sequences }, (_, sequence) => {
      const followed = watch.follow();
      return createWriter({
        ...order,
        sequence,
        tokenizer,
        copy,
        isPaused: telling.isPaused,
        ...(order.promptTokens && sequence === 0 && { onPrompt: telling.onPrompt }),
        onWritten: () => followed.onWritten(),
        onToken: (written) => telling.onToken(sequence, written),
        onEnd(ended) {
          followed.onEnd();
          telling.onEnd(ended);
        },
        onFail: telling.onFail,
      });
    });
    scheduler.add(writers, signal);
  }

  return {
    limits,
    continue(prompt, settings, signal) {
      if (settings.beams > 1) return searchInTurn(prompt, settings, signal);
      const followed = openWatch().follow();
      return new Promise((resolve, reject) => {
        const writer = createWriter({
          sequence: 0,
          prompt,
          settings,
          tokenizer,
          keepsStop: true,
          topTokens: 0,
          copy,
          isPaused: () => false,
          onWritten: () => followed.onWritten(),
          onEnd() {
            followed.onEnd();
            resolve({ ids: writer.generated });
          },
          onFail: reject,
        });
        scheduler.add([writer], signal);
      });
    },

    stream(order, signal) {
      const abort = new AbortController();
      const follow = (): void => abort.abort(signal.reason);
      if (signal.aborted) follow();
      else signal.addEventListener("abort", follow, { once: true });
      const queue = createEventQueue({
        onRoom: () => scheduler.wake(),
        onAbandoned() {
          signal.removeEventListener("abort", follow);
          abort.abort(new DOMException("The reader has left", "AbortError"));
        },
      });
      let left = order.sequences;
      const start = { type: "start", promptTokens: order.prompt.length } as const;
      const finish = (error?: unknown): void => {
        signal.removeEventListener("abort", follow);
        queue.end(error);
      };
      write(order, abort.signal, {
        isPaused: () => queue.isFull,
        onPrompt: (prompt) => queue.push({ ...start, prompt }),
        onToken: (sequence, written) => queue.push({ type: "token", sequence, ...written }),
        onEnd(sequence) {
          queue.push({ type: "end", ...sequence });
          if (--left === 0) finish();
        },
        onFail: finish,
      });
      if (!order.promptTokens) queue.push(start);
      return queue.events;
    },

    async answer(order, signal) {
      const { prompt, settings } = order;
      if (settings.beams > 1)
        return toSearchedAnswer(order, tokenizer, await searchInTurn(prompt, settings, signal));
      const details: { token: GeneratedToken; top?: readonly GeneratedToken[] }[][] = [];
      const ended: GeneratedSequence[] = [];
      let told: readonly PromptToken[] | undefined;
      await new Promise<void>((resolve, reject) => {
        write(order, signal, {
          isPaused: () => false,
          onPrompt: (tokens) => (told = tokens),
          onToken(sequence, { token, top }) {
            (details[sequence] ??= []).push({ token, ...(top && { top }) });
          },
          onEnd(sequence) {
            const { rest: _rest, ...whole } = sequence; // part of the text
            ended.push(whole);
            if (ended.length === order.sequences) resolve();
          },
          onFail: reject,
        });
      });
      return {
        promptTokens: prompt.length,
        ...(told && { prompt: told }),
        sequences: ended
          .sort((a, b) => a.sequence - b.sequence)
          .map((one) => ({ ...one, details: details[one.sequence] ?? [] })),
      };
    },

    takeStatistics: () =>
      statistics.take({
        running: scheduler.running,
        waiting: scheduler.waiting,
        cacheTokens: scheduler.reservedTokens,
        cacheLimit: limits.maxTotalTokens,
      }),

    async close() {
      await scheduler.close();
      await searching;
    },
  };
}
