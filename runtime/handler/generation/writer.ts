/**
 * One sequence as it is written: chooses its tokens, makes text of them, and knows when it ends.
 *
 * Everything that a client asked for is here; who runs when is `scheduler.ts`.
 */
import { randomInt } from "node:crypto";

import type {
  FinishReason,
  GeneratedSequence,
  GeneratedToken,
  PromptToken,
} from "../../generation.ts";
import { createDraw, processScores } from "../model/generation-choice.ts";
import type { GenerationSettings } from "../model/generation-settings.ts";
import type { Logits } from "./causal-graph.ts";
import { createJsonChoice } from "./json-choice.ts";
import type { TokenBytes } from "./json-tokens.ts";
import { likeliest, logSumExp } from "./likelihood.ts";
import type { Writing } from "./scheduler.ts";
import { createStopMatcher } from "./stop-texts.ts";
import { createTextStream, type TokenReader } from "./text-stream.ts";

/** What tells tokens apart. */
export interface Vocabulary extends TokenReader {
  readonly all_special_ids: readonly number[];
}

export interface WriterOptions {
  /** Which of the request's sequences, from 0. */
  readonly sequence: number;
  readonly prompt: readonly number[];
  readonly settings: GenerationSettings;
  readonly tokenizer: Vocabulary;
  /** What the sequence's text begins with: the prompt's own, where it is echoed. */
  readonly echo?: string;
  /** Whether the text that ended the sequence is part of it. */
  readonly keepsStop: boolean;
  /** How many of the likeliest tokens are told beside each chosen one. */
  readonly topTokens: number;
  /** Where it is to be a JSON object: what its tokens say. */
  readonly json?: TokenBytes;
  /** A copy of scores that is used at once; writers may share the memory for it. */
  readonly copy: (scores: Float32Array) => Float32Array;
  readonly isPaused: () => boolean;
  readonly onPrompt?: ((tokens: readonly PromptToken[]) => void) | undefined;
  /** A token was chosen, whether or not it is told. */
  readonly onWritten: () => void;
  /** Absent where only the ids are wanted: then no likelihood is computed. */
  readonly onToken?: ((written: WrittenToken) => void) | undefined;
  readonly onEnd: (sequence: GeneratedSequence) => void;
  readonly onFail: (error: unknown) => void;
}

export interface WrittenToken {
  readonly token: GeneratedToken;
  /** What may be shown now. */
  readonly text: string;
  readonly top?: readonly GeneratedToken[];
}

/** Seeds are told to clients: all of them are exact in JSON. */
const MOST_SEEDS = 2 ** 32;

export interface Writer extends Writing {
  /** What was generated, without the token that ended the sequence. */
  readonly generated: readonly number[];
}

export function createWriter(options: WriterOptions): Writer {
  const { sequence, prompt, tokenizer, topTokens, keepsStop, onToken } = options;
  const tells = onToken !== undefined;
  const settings = withSeed(options.settings, sequence);
  const json = options.json && createJsonChoice(options.json, settings);
  const draw = json ? json.choose : createDraw(settings);
  const special = new Set(tokenizer.all_special_ids);
  const ids = [...prompt];
  const generated: number[] = [];
  const counts = new Map<number, number>();
  const stream = createTextStream(tokenizer, prompt);
  const stops = createStopMatcher(settings.stopTexts, keepsStop);
  const isWatched = tells || settings.stopTexts.length > 0;
  const promptTokens: PromptToken[] = [];
  let text = options.echo ?? "";
  let isFirst = true;
  let written = 0;

  /** A token by itself, for those that were not chosen. */
  function textOf(id: number): string {
    return tokenizer.decode([id], {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }

  function describe(id: number, logprob: number | null, own?: string): GeneratedToken {
    const isSpecial = special.has(id);
    return { id, text: isSpecial ? textOf(id) : (own ?? textOf(id)), logprob, special: isSpecial };
  }

  /** The likeliest of scores `[V]`. */
  function topOf(scores: Float32Array, normalizer: number): { top?: readonly GeneratedToken[] } {
    if (topTokens === 0) return {};
    const best = likeliest(scores, topTokens, normalizer);
    return { top: best.map(({ id, logprob }) => describe(id, logprob)) };
  }

  function tell(told: WrittenToken): void {
    const begins = isFirst ? (options.echo ?? "") : "";
    isFirst = false;
    onToken?.(begins === "" ? told : { ...told, text: begins + told.text });
  }

  function end(reason: FinishReason, rest: string, stopText?: string): void {
    text += rest;
    options.onEnd({
      sequence,
      text,
      tokens: written,
      reason,
      ...(stopText !== undefined && { stopText }),
      ...(rest !== "" && { rest }),
      ...(settings.seed !== undefined && { seed: settings.seed }),
    });
  }

  /** What was held back: half characters, and beginnings of stop texts. */
  function flush(): string {
    const { shown } = stops.push(stream.end());
    return shown + stops.end();
  }

  return {
    ids,
    promptLength: prompt.length,
    maxNewTokens: settings.maxNewTokens,
    generated,
    get isPaused() {
      return options.isPaused();
    },
    ...(options.onPrompt && {
      onPromptScores(logits: Logits, first: number) {
        if (promptTokens.length === prompt.length) return; // read once more, after it had given its place up
        promptTokens.splice(first === 0 ? 0 : first + 1);
        if (first === 0) promptTokens.push(describe(prompt[0] ?? 0, null));
        for (let row = 0; row < logits.columns; row++) {
          const id = prompt[first + row + 1];
          if (id === undefined) break;
          const scores = logits.data.subarray(row * logits.size, (row + 1) * logits.size);
          const normalizer = logSumExp(scores);
          const told = describe(id, (scores[id] ?? -Infinity) - normalizer);
          promptTokens.push({ ...told, ...topOf(scores, normalizer) });
        }
        if (promptTokens.length === prompt.length) options.onPrompt?.(promptTokens);
      },
    }),

    write(scores) {
      const normalizer = tells ? logSumExp(scores) : 0;
      const more = topOf(scores, normalizer);
      const changed = tells ? options.copy(scores) : scores; // the likelihood is that before all changes
      processScores(changed, { ids, generated: generated.length, counts }, settings);
      const id = draw(changed);
      const logprob = (scores[id] ?? -Infinity) - normalizer;
      written++;
      options.onWritten();
      if (settings.endIds.includes(id)) {
        if (tells) tell({ token: describe(id, logprob), text: "", ...more });
        end("eos_token", flush());
        return false;
      }
      ids.push(id);
      generated.push(id);
      counts.set(id, (counts.get(id) ?? 0) + 1);
      const isWhole = json?.isComplete ?? false;
      const isLast = isWhole || generated.length >= settings.maxNewTokens;
      const reason = isWhole ? "eos_token" : "length";
      if (!isWatched) {
        if (isLast) end(reason, "");
        return !isLast;
      }
      const isSpecial = special.has(id);
      const piece = isSpecial ? "" : stream.push(id);
      const { shown, stop } = isSpecial ? stops.push(textOf(id), true) : stops.push(piece);
      text += shown;
      if (tells) tell({ token: describe(id, logprob, piece), text: shown, ...more });
      if (stop !== undefined) end("stop_sequence", "", stop);
      else if (isLast) end(reason, flush());
      return stop === undefined && !isLast;
    },

    fail: options.onFail,
  };
}

/** Where it samples without a seed, one is made, so that a client can ask for the same again; each sequence has its own. */
function withSeed(settings: GenerationSettings, sequence: number): GenerationSettings {
  if (settings.sampling === undefined) return settings;
  const seed = settings.seed ?? randomInt(MOST_SEEDS);
  // The golden ratio's fraction in 32 bits spreads neighbours far apart.
  return { ...settings, seed: sequence === 0 ? seed : (seed + sequence * 0x9e3779b9) % MOST_SEEDS };
}
