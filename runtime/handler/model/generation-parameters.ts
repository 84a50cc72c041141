/**
 * What a client may say about a generation, by the names of Python's `generate()`.
 *
 * Every task that generates spreads `GENERATION_PARAMETERS` into its own schema and reads the request with
 * `readGenerationParameters`, which also finds them where clients nest them. What a model says by itself is added in
 * `generation-settings.ts`. To add a parameter: a line here, one there, and where it is honoured.
 */
import { isFields } from "../../fields.ts";
import { z } from "zod";

import { invalidInput, readParameters, type ParameterOptions } from "../tasks/inputs.ts";

const positive = "a whole number of at least 1";
const whole = "a whole number of at least 0";
const Positive = z.int(positive).positive(positive);
const Whole = z.int(whole).nonnegative(whole);
const numberBetween = (low: number, high: number, text: string) =>
  z.number(text).min(low, text).max(high, text);
const numberAbove = (low: number, text: string) => z.number(text).gt(low, text);

/** As many as anybody has shown to help; the cost grows with them. */
const MAX_BEAMS = 64;
const beams = `a whole number from 1 to ${MAX_BEAMS}`;

/** More of them would make a token cost more to check than to compute. */
const MAX_STOPS = 16;
const stops = `up to ${MAX_STOPS} texts, none of them empty`;
const StopText = z.string(stops).min(1, stops);

/** How many sequences are kept in view; spread it over `GENERATION_PARAMETERS` where beams are searched. */
export const BEAM_PARAMETERS = {
  num_beams: z.int(beams).min(1, beams).max(MAX_BEAMS, beams).nullish(),
  /** Above 0 favours long sequences, below 0 short ones; for beams alone. */
  length_penalty: z.number("a number").nullish(),
  /** Whether the search ends with as many finished sequences as there are beams. */
  early_stopping: z.union([z.boolean(), z.literal("never")], `true, false or "never"`).nullish(),
};

/** For `z.object({ …, ...GENERATION_PARAMETERS })`. Absent and `null` mean the same: what the model says. */
export const GENERATION_PARAMETERS = {
  /** Tokens to generate, without those given. Counts more than `max_length`. */
  max_new_tokens: Positive.nullish(),
  /** Tokens of the whole sequence: with a decoder alone those given count too. */
  max_length: Positive.nullish(),
  min_new_tokens: Whole.nullish(),
  min_length: Whole.nullish(),
  /** Draws each token by chance instead of taking the likeliest. */
  do_sample: z.boolean("true or false").nullish(),
  temperature: z.number("a number of at least 0").nonnegative("a number of at least 0").nullish(),
  /** 0 for all tokens. */
  top_k: Whole.nullish(),
  top_p: numberBetween(0, 1, "a number from 0 to 1").nullish(),
  min_p: numberBetween(0, 1, "a number from 0 to 1").nullish(),
  typical_p: numberBetween(0, 1, "a number from 0 to 1").nullish(),
  epsilon_cutoff: numberBetween(0, 1, "a number from 0 to 1").nullish(),
  eta_cutoff: numberBetween(0, 1, "a number from 0 to 1").nullish(),
  repetition_penalty: numberAbove(0, "a number above 0").nullish(),
  no_repeat_ngram_size: Whole.nullish(),
  /** The same chance again: two requests with one seed get one answer. */
  seed: Whole.nullish(),
  /** One sequence: beams need a search of their own, see `BEAM_PARAMETERS`. */
  num_beams: z.literal(1, "1, as this task searches no beams").nullish(),
  num_beam_groups: z.literal(1, "1, as groups of beams are not searched").nullish(),
  num_return_sequences: z.literal(1, "1, as one sequence is answered").nullish(),
  penalty_alpha: z.literal(0, "0, as contrastive search is not offered").nullish(),
};

const StopTexts = z
  .union([StopText, z.array(StopText, stops).max(MAX_STOPS, stops)], stops)
  .nullish();

/**
 * Texts that end a generation, alone or in a list, by the names of text-generation-inference, its old clients, Python's
 * `generate()` and its pipelines. They stay in the answer, as with all of them.
 */
export const STOP_PARAMETERS = {
  stop: StopTexts,
  stop_sequences: StopTexts,
  stop_strings: StopTexts,
  stop_sequence: StopTexts,
};

/** Under whatever name they were sent. */
export function stopTextsOf(
  parameters: z.output<z.ZodObject<typeof STOP_PARAMETERS>>,
): readonly string[] {
  const { stop, stop_sequences, stop_strings, stop_sequence } = parameters;
  return [stop ?? [], stop_sequences ?? [], stop_strings ?? [], stop_sequence ?? []].flat();
}

/** All generation parameters as they were sent and understood. */
const GenerationParameters = z.object({ ...GENERATION_PARAMETERS, ...BEAM_PARAMETERS });
export type GenerationParameters = z.output<typeof GenerationParameters>;

/** Where clients nest them: Hugging Face's own two names, and that of the Python pipelines. */
const NESTED = ["generate_kwargs", "generation_parameters", "generate_parameters"];

/** Parameters of Python's `generate()` that change nothing here: the cache is always used. */
const IGNORED = ["use_cache", "return_tensors", "return_text", "return_type", "max_time"];

/**
 * Checks `parameters` with those nested in it; what stands beside the nested ones counts more.
 *
 * @param value What the client sent as `parameters`.
 * @throws `INVALID_INPUT` with one sentence.
 */
export function readGenerationParameters<S extends z.ZodObject>(
  schema: S,
  value: unknown,
  options: ParameterOptions,
): z.output<S> {
  const ignored = [...IGNORED, ...(options.ignored ?? [])];
  return readParameters(schema, flatten(value, options.action), { ...options, ignored });
}

/** Lifts nested generation parameters up to the others. */
function flatten(value: unknown, action: string): unknown {
  if (!isFields(value)) return value; // readParameters says what is wrong with it
  const nested: Record<string, unknown> = {};
  for (const name of NESTED) {
    const inner = value[name] ?? {};
    if (!isFields(inner)) {
      const found = Array.isArray(inner) ? "a list" : `a ${typeof inner}`;
      throw invalidInput(action, `"${name}" is ${found}, wanted an object`);
    }
    Object.assign(nested, inner);
  }
  const direct = Object.entries(value).filter(([key]) => !NESTED.includes(key));
  return { ...nested, ...Object.fromEntries(direct) };
}
