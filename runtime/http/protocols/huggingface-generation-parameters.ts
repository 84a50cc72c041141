/**
 * What Hugging Face's clients may say about a generation, by text-generation-inference's names, made neutral.
 *
 * The names and their meaning are those of the task's own parameters (`handler/model/generation-parameters.ts`), which a plain answer is
 * made by; here are those that tell more: details, several sequences, streams.
 *
 * Source: text-generation-inference 3.3 (`router/src/lib.rs`, `validation.rs`); `huggingface_hub` 1.33 (`text_generation`).
 */
import { isFields } from "../../fields.ts";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { GenerationParameters } from "../../generation.ts";
import {
  aboveZero,
  flag,
  given,
  MAX_SEQUENCES,
  MAX_TOP_TOKENS,
  numberFrom,
  StopTexts,
  wholeAtLeast,
  wholeFrom,
} from "./generation-fields.ts";

const not = <T extends z.core.util.Literal>(value: T, why: string) =>
  z.literal(value, `${String(value)}, as ${why}`).nullish();

const MAX_BEAMS = 64;

/** Parameters of a plain answer that nothing stands for in a neutral request. */
const UNOFFERED = [
  "max_length",
  "min_length",
  "length_penalty",
  "early_stopping",
  "epsilon_cutoff",
  "eta_cutoff",
  "penalty_alpha",
  "num_beam_groups",
];

export const Parameters = z.object({
  max_new_tokens: wholeAtLeast(1),
  min_new_tokens: wholeAtLeast(0),
  do_sample: flag,
  temperature: z.number("a number of at least 0").min(0, "a number of at least 0").nullish(),
  top_k: wholeAtLeast(0),
  top_p: numberFrom(0, 1),
  min_p: numberFrom(0, 1),
  typical_p: numberFrom(0, 1),
  repetition_penalty: aboveZero,
  frequency_penalty: numberFrom(-2, 2),
  presence_penalty: numberFrom(-2, 2),
  no_repeat_ngram_size: wholeAtLeast(0),
  num_beams: wholeFrom(1, MAX_BEAMS),
  num_return_sequences: wholeFrom(1, MAX_SEQUENCES),
  best_of: wholeFrom(1, MAX_SEQUENCES),
  seed: wholeAtLeast(0),
  stop: StopTexts,
  stop_sequences: StopTexts,
  stop_strings: StopTexts,
  truncate: wholeAtLeast(1),
  return_full_text: flag,
  details: flag,
  decoder_input_details: flag,
  top_n_tokens: wholeFrom(0, MAX_TOP_TOKENS),
  watermark: not(false, "texts are not watermarked"),
  ...Object.fromEntries(UNOFFERED.map((name) => [name, not(null, "it is not offered here")])),
  grammar: z
    .null(`null, as schemas are not followed; "response_format" of OpenAI's routes asks for JSON`)
    .optional(),
  adapter_id: z.null("null, as adapters are not loaded").optional(),
});
export type Parameters = z.output<typeof Parameters>;

/** Where clients nest them: Hugging Face's own two names, and that of the Python pipelines. */
const NESTED = ["generate_kwargs", "generation_parameters", "generate_parameters"];

/** @throws RuntimeError `INVALID_INPUT` with one sentence. */
export function readParameters(given: unknown, action: string): Parameters {
  const fields = given ?? {};
  if (!isFields(fields)) {
    throw new RuntimeError("INVALID_INPUT", `Cannot ${action}: "parameters" must be an object`);
  }
  const result = Parameters.safeParse(flatten(fields));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const name = String(issue?.path[0] ?? "");
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot ${action}: the parameter "${name}" must be ${issue?.message ?? "something else"}`,
  );
}

type Fields = Readonly<Record<string, unknown>>;

/** With those that are nested; what stands beside them counts more. */
function flatten(given: Fields): Fields {
  const nested = NESTED.map((name) => given[name]).filter(isFields);
  return Object.assign({}, ...nested, given) as Fields; // a union of objects is one
}

/**
 * Whether a request asks for more than the plain answer that the task gives: `[{"generated_text": …}]`, one sequence, no details.
 */
export function asksForMore(data: Fields): boolean {
  const { stream, parameters } = data;
  if (stream === true) return true;
  if (!isFields(parameters)) return false;
  const fields = flatten(parameters);
  return (
    fields["details"] === true ||
    fields["decoder_input_details"] === true ||
    [fields["best_of"], fields["num_return_sequences"]].some((count) => isAbove(count, 1)) ||
    isAbove(fields["top_n_tokens"], 0) ||
    ["frequency_penalty", "presence_penalty"].some((name) => (fields[name] ?? 0) !== 0)
  );
}

function isAbove(value: unknown, least: number): boolean {
  return typeof value === "number" && value > least;
}

/** How many sequences are written, and how many of them are answered. */
export function countsOf(
  { best_of, num_return_sequences, num_beams, do_sample, temperature }: Parameters,
  action: string,
): { written: number; isBest: boolean } {
  const written = Math.max(best_of ?? 1, num_return_sequences ?? 1);
  if (written > 1 && (num_beams ?? 1) === 1 && (do_sample === false || temperature === 0)) {
    const text = `${written} sequences are asked for without chance, wanted 1, as they would all be alike; "do_sample" draws them`;
    throw new RuntimeError("INVALID_INPUT", `Cannot ${action}: ${text}`);
  }
  if (typeof best_of !== "number" || best_of === 1) return { written, isBest: false };
  if ((num_return_sequences ?? 1) > 1 || (num_beams ?? 1) > 1) {
    const text = `"best_of" is ${best_of}, wanted 1 beside "num_return_sequences" or "num_beams" above 1`;
    throw new RuntimeError("INVALID_INPUT", `Cannot ${action}: ${text}`);
  }
  return { written, isBest: true };
}

export function toNeutral(parameters: Parameters, sequences: number): GenerationParameters {
  const stop = [parameters.stop, parameters.stop_sequences, parameters.stop_strings].flatMap(
    (texts) => texts ?? [],
  );
  return {
    ...given<GenerationParameters>({
      maxNewTokens: parameters.max_new_tokens,
      minNewTokens: parameters.min_new_tokens,
      // Sequences that are alike would be of no use.
      doSample: parameters.do_sample ?? (sequences > 1 ? true : undefined),
      temperature: parameters.temperature,
      topK: parameters.top_k,
      topP: parameters.top_p,
      minP: parameters.min_p,
      typicalP: parameters.typical_p,
      repetitionPenalty: parameters.repetition_penalty,
      presencePenalty: parameters.presence_penalty,
      frequencyPenalty: parameters.frequency_penalty,
      noRepeatNgramSize: parameters.no_repeat_ngram_size,
      numBeams: parameters.num_beams,
      seed: parameters.seed,
      truncate: parameters.truncate,
      topTokens: parameters.top_n_tokens,
    }),
    ...(stop.length > 0 && { stop }),
    keepsStop: true,
    ...(sequences > 1 && { sequences }),
    ...(parameters.decoder_input_details === true && { promptTokens: true }),
  };
}
