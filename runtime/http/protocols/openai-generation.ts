/**
 * What OpenAI's two ways to generate, `completions` and `chat/completions`, have in common: their fields, how these become a
 * neutral request, and what every answer and every chunk of a stream says of itself.
 *
 * Beside OpenAI's own fields those of vLLM's that its clients send are read (`top_k`, `min_p`, `ignore_eos` …). What a request
 * leaves out is as the model's own `generation_config.json` says, and not as OpenAI's models do it: a `temperature` of 1 in
 * particular. Fields that nobody knows are passed over; those that would change the answer and cannot be followed are refused.
 *
 * Source: OpenAI's API reference; `openai` 6.49 (`resources/completions.ts`, `resources/chat/completions`); vLLM's protocol.
 */
import { createHash } from "node:crypto";
import { z } from "zod";

import type {
  FinishReason,
  GeneratedSequence,
  GenerationParameters,
  GenerationResult,
} from "../../generation.ts";
import type { Answering } from "../ask.ts";
import {
  aboveZero,
  flag,
  given,
  MAX_SEQUENCES,
  numberFrom,
  StopTexts,
  wholeAtLeast,
  wholeFrom,
} from "./generation-fields.ts";
import { inWordsOf } from "./generation-words.ts";
import { checkBody, type OpenAICall } from "./openai-request.ts";
import { OpenAIRefusal } from "./openai-errors.ts";

const not = (why: string) => z.null(`null, as ${why}`).optional();

/** As many as vLLM takes; OpenAI takes 300. */
const MAX_BIASES = 1024;
const biases = `an object of up to ${MAX_BIASES} token ids, each with a number from -100 to 100`;

const constrained = `what the model may write is not constrained so; "response_format" takes {"type": "json_object"}`;
const formats = `"text" or "json_object", as schemas are not followed`;

/** For `z.object({ …, ...GENERATION_FIELDS })`. Absent and `null` mean the same. */
export const GENERATION_FIELDS = {
  stream: flag,
  stream_options: z.looseObject({ include_usage: flag }, "an object").nullish(),
  n: wholeFrom(1, MAX_SEQUENCES),
  temperature: numberFrom(0, 2),
  top_p: numberFrom(0, 1),
  presence_penalty: numberFrom(-2, 2),
  frequency_penalty: numberFrom(-2, 2),
  stop: StopTexts,
  seed: z.int("a whole number").nullish(),
  logit_bias: z
    .record(
      z.string().regex(/^\d{1,9}$/, biases),
      z.number(biases).min(-100, biases).max(100, biases),
      biases,
    )
    .refine((map) => Object.keys(map).length <= MAX_BIASES, biases)
    .nullish(),
  response_format: z
    .looseObject({ type: z.literal(["text", "json_object"], formats) }, "an object")
    .nullish(),
  // vLLM's.
  top_k: wholeFrom(-1, 1_000_000),
  min_p: numberFrom(0, 1),
  typical_p: numberFrom(0, 1),
  repetition_penalty: aboveZero,
  min_tokens: wholeAtLeast(0),
  ignore_eos: flag,
  include_stop_str_in_output: flag,
  truncate_prompt_tokens: wholeAtLeast(1),
  guided_json: not(constrained),
  guided_regex: not(constrained),
  guided_choice: not(constrained),
  guided_grammar: not(constrained),
  structured_outputs: not(constrained),
};
type GenerationFields = z.output<z.ZodObject<typeof GENERATION_FIELDS>>;

/** Reads a body whose fields go together. @throws OpenAIRefusal */
export function readFields<S extends z.ZodType<GenerationFields>>(
  schema: S,
  body: OpenAICall["body"],
  action: string,
): z.output<S> {
  const fields = checkBody(schema, body, action);
  if (fields.stream_options?.include_usage === true && fields.stream !== true) {
    throw new OpenAIRefusal(
      "stream_options",
      `Cannot ${action}: "stream_options" asks for usage in a stream, wanted "stream": true with it`,
    );
  }
  return fields;
}

/** What both ways say of the generation itself. */
export function toParameters(fields: GenerationFields): GenerationParameters {
  const { seed, top_k, n, stop, repetition_penalty, temperature } = fields;
  // A temperature asks for chance, 0 apart; and choices that are alike would be of no use.
  const isSampled = (temperature ?? 0) > 0 || (temperature !== 0 && (n ?? 1) > 1);
  return {
    ...(isSampled && { doSample: true }),
    ...given<GenerationParameters>({
      temperature,
      topP: fields.top_p,
      topK: top_k === -1 ? 0 : top_k, // vLLM's and ours for all tokens
      minP: fields.min_p,
      typicalP: fields.typical_p,
      presencePenalty: fields.presence_penalty,
      frequencyPenalty: fields.frequency_penalty,
      repetitionPenalty: repetition_penalty,
      logitBias: fields.logit_bias,
      minNewTokens: fields.min_tokens,
      ignoreEos: fields.ignore_eos,
      truncate: fields.truncate_prompt_tokens,
      // OpenAI's may be below 0; ours are not.
      seed: seed !== undefined && seed !== null && seed < 0 ? seed + 2 ** 53 : seed,
      sequences: n,
    }),
    ...(stop && { stop: [stop].flat() }),
    ...(fields.response_format?.type === "json_object" && { format: "json" }),
    keepsStop: fields.include_stop_str_in_output ?? false,
  };
}

/** What the engine calls by Hugging Face's names. */
const NAMES = {
  max_new_tokens: "max_tokens",
  min_new_tokens: "min_tokens",
  top_n_tokens: "logprobs",
  truncate: "truncate_prompt_tokens",
};

/** Waits for the engine, whose refusals become OpenAI's: by its names, with its code for what is too long. */
export async function refusedInOpenAIWords<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const told = inWordsOf(error, NAMES);
    if (told === undefined || error instanceof OpenAIRefusal) throw error;
    const { message, name } = told;
    const isTooLong = name === "max_tokens" || /the prompt is \d+ tokens long/.test(message);
    const param = name ?? (message.includes("of the messages:") ? "messages" : null);
    throw new OpenAIRefusal(param, message, isTooLong ? "context_length_exceeded" : null);
  }
}

/** OpenAI's words for why a sequence ended. */
export function toFinishReason(reason: FinishReason): "length" | "stop" {
  return reason === "length" ? "length" : "stop";
}

/** Tokens that were read and written; a prompt's count once, however many choices it gets. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

export function usageOf(results: readonly GenerationResult[]): Usage {
  const count = createUsage();
  for (const { promptTokens, sequences } of results) {
    count.read(promptTokens);
    for (const sequence of sequences) count.wrote(sequence);
  }
  return count.usage();
}

/** Counts while a stream goes on. */
export function createUsage(): {
  read: (promptTokens: number) => void;
  wrote: (sequence: Pick<GeneratedSequence, "tokens">) => void;
  usage: () => Usage;
} {
  let prompt_tokens = 0;
  let completion_tokens = 0;
  return {
    read: (count) => void (prompt_tokens += count),
    wrote: ({ tokens: count }) => void (completion_tokens += count),
    usage: () => ({
      prompt_tokens,
      completion_tokens,
      total_tokens: prompt_tokens + completion_tokens,
    }),
  };
}

/** What every answer, and every chunk of one stream, begins with. */
export interface Heading<O extends string> {
  readonly id: string;
  readonly object: O;
  /** In seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** @param prefix What OpenAI's ids begin with: `"chatcmpl"`, `"cmpl"`. The rest is the request's own id. */
export function headingOf<O extends string>(
  { c, ready }: OpenAICall,
  { prefix, object, now }: { prefix: string; object: O; now: () => number },
): Heading<O> {
  return {
    id: `${prefix}-${c.get("requestId")}`,
    object,
    created: Math.floor(now() / 1000),
    model: ready.model.name,
    system_fingerprint: fingerprintOf(ready),
  };
}

/** The same as long as the same weights answer. */
function fingerprintOf({ model, description }: Answering): string {
  const { name, version, revision } = model;
  const facts = JSON.stringify([name, version, revision ?? null, description.dtype ?? null]);
  return `fp_${createHash("sha256").update(facts).digest("hex").slice(0, 12)}`;
}
