/**
 * A text generation, in neutral words: what every protocol that generates translates to and from.
 *
 * Hugging Face, OpenAI and the Open Inference Protocol each have names of their own for the same few things. All of this is
 * plain data and crosses the process wall as it is: the request in an `InferenceRequest` of kind `"generate"`, the answer as
 * a `GenerationResult`, or, streamed, as `GenerationEvent`s.
 */
import type { JsonValue } from "./inference.ts";

export interface GenerationRequest {
  readonly prompt: GenerationPrompt;
  readonly parameters: GenerationParameters;
  /** Whether the answer is a stream of events; else one result. */
  readonly stream: boolean;
}

export type GenerationPrompt =
  | { readonly kind: "text"; readonly text: string }
  /** Token ids of the model's own vocabulary. */
  | { readonly kind: "tokens"; readonly ids: readonly number[] }
  /** A conversation, made a text by the model's chat template. */
  | {
      readonly kind: "chat";
      readonly messages: readonly ChatMessage[];
      /** Functions that the model may call, as OpenAI describes them (JSON Schema). */
      readonly tools?: readonly JsonValue[];
      /** Further variables of the template. */
      readonly templateArguments?: Readonly<Record<string, JsonValue>>;
      /** Whether the last message is written on instead of answered. */
      readonly continuesLast?: boolean;
    };

/** A message as templates know it: `role`, `content`, and whatever else a template reads (`name`, `tool_calls`). */
export interface ChatMessage {
  readonly role: string;
  readonly content?: JsonValue;
  readonly [key: string]: JsonValue | undefined;
}

/** What a request may say; whatever it leaves out is as the repository's `generation_config.json` says. */
export interface GenerationParameters {
  /** As many further tokens as there is room for where `null`. */
  readonly maxNewTokens?: number | null;
  readonly minNewTokens?: number;
  readonly doSample?: boolean;
  /** 0 means greedy. */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly typicalP?: number;
  readonly repetitionPenalty?: number;
  /** OpenAI's: subtracted from the score of a token that has been generated. */
  readonly presencePenalty?: number;
  /** OpenAI's: subtracted once for each time a token has been generated. */
  readonly frequencyPenalty?: number;
  /** Added to the scores of these tokens: id → bias. */
  readonly logitBias?: Readonly<Record<string, number>>;
  readonly noRepeatNgramSize?: number;
  readonly numBeams?: number;
  /** Texts that end the sequence, wherever tokens begin or end. */
  readonly stop?: readonly string[];
  /** Whether the text that ended the sequence is part of the answer; Hugging Face says yes, OpenAI no. */
  readonly keepsStop?: boolean;
  readonly ignoreEos?: boolean;
  /** What every sequence is to be: a JSON object, and its end then; anything where absent. */
  readonly format?: "json";
  /** The same seed, model and request give the same text. */
  readonly seed?: number;
  /** Keeps only this many of the prompt's last tokens. */
  readonly truncate?: number;
  /** How many sequences are written for the one prompt; 1 where absent. */
  readonly sequences?: number;
  /** How many of the likeliest tokens are told beside each chosen one; 0 where absent. */
  readonly topTokens?: number;
  /** Whether the answer begins with the prompt. */
  readonly echo?: boolean;
  /** Whether the prompt's own tokens are told with their log probabilities. */
  readonly promptTokens?: boolean;
}

/**
 * `length`: as long as it may be. `eos_token`: the model ended it, or what it was to be is whole. `stop_sequence`: a text of `stop`.
 */
export type FinishReason = "length" | "eos_token" | "stop_sequence";

/** One token. */
export interface GeneratedToken {
  readonly id: number;
  /** Its own text; a character that several tokens make up stands in the last of them. */
  readonly text: string;
  /** Natural logarithm of its probability, before temperature and every other change; `null` for a prompt's first. */
  readonly logprob: number | null;
  readonly special: boolean;
}

/** A token of a prompt, with the likeliest that could have stood in its place, where both were asked for. */
export interface PromptToken extends GeneratedToken {
  readonly top?: readonly GeneratedToken[];
}

/** What a stream says, in order: `start`, then for each sequence its `token`s and one `end`; sequences may mix. */
export type GenerationEvent =
  | {
      readonly type: "start";
      readonly promptTokens: number;
      /** The prompt's tokens, where they were asked for. */
      readonly prompt?: readonly PromptToken[];
    }
  | {
      readonly type: "token";
      /** Which of the sequences, from 0. */
      readonly sequence: number;
      readonly token: GeneratedToken;
      /**
       * What may be shown now: never half a character, nothing that may yet turn out to begin a stop text, no special
       * tokens. All of a sequence's together are its text.
       */
      readonly text: string;
      readonly top?: readonly GeneratedToken[];
    }
  | ({ readonly type: "end" } & GeneratedSequence);

export interface GeneratedSequence {
  readonly sequence: number;
  readonly text: string;
  /** Tokens generated, the one that ended it included. */
  readonly tokens: number;
  readonly reason: FinishReason;
  /** The text that ended it, for `stop_sequence`. */
  readonly stopText?: string;
  /** What was still held back when it ended: the last part of a streamed text. */
  readonly rest?: string;
  /** The seed that was used, where it sampled. */
  readonly seed?: number;
}

export interface GenerationResult {
  readonly promptTokens: number;
  readonly prompt?: readonly PromptToken[];
  readonly sequences: readonly (GeneratedSequence & {
    readonly details: readonly {
      readonly token: GeneratedToken;
      readonly top?: readonly GeneratedToken[];
    }[];
  })[];
}

/** What a model that generates says about itself. */
export interface GenerationAbilities {
  /** Whether it has a chat template. */
  readonly chat: boolean;
  /** Whether its chat template knows tools. */
  readonly tools: boolean;
  /** The most tokens of prompt and answer together. */
  readonly maxTokens: number;
}

/** How much one worker may write at once; what is absent follows from the model and the machine. */
export interface GenerationLimits {
  /** Sequences that are read or written together. */
  readonly maxSequences?: number;
  /** Tokens of them together: prompts and what is written. */
  readonly maxTotalTokens?: number;
  /** Workers that share the machine's memory. */
  readonly workers?: number;
}

/** What one worker has written since it last told, and how things stand. */
export interface GenerationStatistics {
  /** Tokens of prompts, those included that were copied from prompts that begin alike. */
  readonly promptTokens: number;
  readonly reusedTokens: number;
  /** Tokens written. */
  readonly tokens: number;
  /** From a request's arrival in the worker to its first token, one for each request. */
  readonly firstTokenMs: readonly number[];
  /** The mean time of each further token, one for each sequence. */
  readonly perTokenMs: readonly number[];
  readonly gauges: {
    readonly running: number;
    readonly waiting: number;
    /** Tokens that running sequences have room for, and the most there may be. */
    readonly cacheTokens: number;
    readonly cacheLimit: number;
  };
}
