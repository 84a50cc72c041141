/**
 * What one generation does: the client's parameters, over the task's, over the model's.
 *
 * The order is that of Python's pipelines (4.57): what the client asks for; what `config.json` says of the task
 * (`task_specific_params`); the pipeline's own defaults; what `generation_config.json` says, or an old `config.json` in
 * its place; what `GenerationConfig` says when nobody else does.
 */
import { z } from "zod";

import { invalidInput } from "../tasks/inputs.ts";
import type { TaskModel } from "../tasks/task.ts";
import { readJson } from "./folder.ts";
import type { GenerationParameters } from "./generation-parameters.ts";

/** How tokens are drawn by chance. */
export interface Sampling {
  readonly temperature: number;
  /** 0 for all tokens. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typicalP: number;
  readonly epsilonCutoff: number;
  readonly etaCutoff: number;
}

export interface GenerationSettings {
  /** At least 1. */
  readonly maxNewTokens: number;
  /** Before so many, nothing ends the sequence. */
  readonly minNewTokens: number;
  readonly beams: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | "never";
  /** Absent where the likeliest token is taken. */
  readonly sampling?: Sampling;
  readonly seed?: number;
  readonly repetitionPenalty: number;
  /** Subtracted from the score of a token that has been generated. */
  readonly presencePenalty?: number;
  /** The same, once for each time. */
  readonly frequencyPenalty?: number;
  /** Added to the scores of these tokens. */
  readonly logitBias?: ReadonlyMap<number, number>;
  readonly noRepeatNgramSize: number;
  readonly badWordsIds: readonly (readonly number[])[];
  readonly suppressTokens: readonly number[];
  readonly beginSuppressTokens: readonly number[];
  /** The first token after the decoder's start: a language, for one. */
  readonly forcedFirstId?: number;
  /** The token at the limit. */
  readonly forcedLastIds?: readonly number[];
  /** Any of them ends the sequence. */
  readonly endIds: readonly number[];
  /** Texts that end the sequence; they stay in the answer. */
  readonly stopTexts: readonly string[];
  /** What a task says besides, after all else: changes the scores `[V]` of a row in place. */
  readonly rule?: (
    scores: Float32Array,
    row: { readonly ids: readonly number[]; readonly generated: number },
  ) => void;
}

const Ids = z.union([z.number().transform((id) => [id]), z.array(z.number())]);
const number = z.number().nullish();

/** The keys of `generation_config.json` that are honoured. */
const ModelGeneration = z.looseObject({
  max_length: number,
  max_new_tokens: number,
  min_length: number,
  min_new_tokens: number,
  num_beams: number,
  length_penalty: number,
  early_stopping: z.union([z.boolean(), z.literal("never")]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: number,
  top_k: number,
  top_p: number,
  min_p: number,
  typical_p: number,
  epsilon_cutoff: number,
  eta_cutoff: number,
  repetition_penalty: number,
  no_repeat_ngram_size: number,
  bad_words_ids: z.array(z.array(z.number())).nullish(),
  suppress_tokens: z.array(z.number()).nullish(),
  begin_suppress_tokens: z.array(z.number()).nullish(),
  forced_bos_token_id: number,
  forced_eos_token_id: Ids.nullish(),
  decoder_start_token_id: number,
  bos_token_id: number,
  eos_token_id: Ids.nullish(),
  pad_token_id: number,
});
export type ModelGeneration = z.output<typeof ModelGeneration>;

/** What an old `config.json` says of generations, and what it says of one task. */
const LegacyConfig = z.looseObject({
  task_specific_params: z
    .record(z.string(), z.looseObject({ prefix: z.string().nullish() }))
    .nullish(),
  prefix: z.string().nullish(),
  /** The half of a model of several kinds that writes. */
  text_config: z.looseObject({}).nullish(),
});

/** What a model says of its generations. */
export interface GenerationDefaults {
  readonly model: ModelGeneration;
  /** What `config.json` says of each task, by Python's name of it. */
  readonly tasks: Readonly<
    Record<string, ModelGeneration & { readonly prefix?: string | undefined }>
  >;
  /** Put before every text, whatever the task. */
  readonly prefix: string;
}

/**
 * Reads `generation_config.json` and what `config.json` says besides.
 *
 * @throws `MODEL_INVALID` when `generation_config.json` is not what it should be.
 */
export async function readGenerationDefaults({
  folder,
  settings: handler,
}: TaskModel): Promise<GenerationDefaults> {
  const file = `${folder.prefix}generation_config.json`;
  const legacy = LegacyConfig.catch({}).parse(folder.config);
  const old = understoodOf({ ...legacy.text_config, ...folder.config });
  const { eos_token_id, bos_token_id, pad_token_id, decoder_start_token_id } = old;
  const ids = { eos_token_id, bos_token_id, pad_token_id, decoder_start_token_id };
  const model = folder.files.includes(file)
    ? { ...ids, ...(await readJson(folder.repository, file, ModelGeneration)) }
    : old;
  const tasks = Object.entries(legacy.task_specific_params ?? {}).map(([task, given]) => {
    return [task, { ...understoodOf(given), prefix: given.prefix ?? undefined }] as const;
  });
  const byTask = Object.fromEntries(tasks);
  // TorchServe's handler hands its own to `generate()`, over all that the model says.
  const mode = handler?.generation && {
    "text-generation": { ...byTask["text-generation"], ...handler.generation },
  };
  return { model, tasks: { ...byTask, ...mode }, prefix: legacy.prefix ?? "" };
}

/** Of a configuration that was written for much else, what can be understood. */
function understoodOf(config: Readonly<Record<string, unknown>>): ModelGeneration {
  const understood: Record<string, unknown> = {};
  for (const [key, schema] of Object.entries(ModelGeneration.shape)) {
    const { data } = schema.safeParse(config[key]);
    if (isGiven(data)) understood[key] = data;
  }
  return ModelGeneration.parse(understood);
}

/** What is known where settings are made. */
export interface SettingsContext {
  readonly parameters: GenerationParameters;
  readonly defaults: GenerationDefaults;
  /** Python's name of the task in `task_specific_params`. */
  readonly task?: string | undefined;
  /** What the pipeline says, over what the model says. */
  readonly pipeline: Pick<GenerationParameters, "max_new_tokens" | "num_beams">;
  /** Tokens the decoder begins with: the prompt, or its start. */
  readonly promptTokens: number;
  readonly endIds?: readonly number[];
  readonly forcedFirstId?: number | undefined;
  readonly stopTexts?: readonly string[];
  /** Draws by chance where a parameter of chance is given and `do_sample` is not, as text-generation-inference does. */
  readonly impliesSampling?: boolean;
}

/** Joins them. `maxNewTokens` is not yet bounded by what the model can hold. */
export function toSettings(context: SettingsContext): GenerationSettings {
  const { parameters, defaults, pipeline, promptTokens } = context;
  const task: ModelGeneration = (context.task && defaults.tasks[context.task]) || {};
  const { model } = defaults;
  const said: readonly Readonly<Record<string, unknown>>[] = [parameters, task, pipeline, model];
  const first = (key: keyof GenerationParameters, or: number): number =>
    said.map((source) => source[key]).find((value) => typeof value === "number") ?? or;
  const minLength = first("min_length", 0) - promptTokens;
  const endIds = context.endIds ?? model.eos_token_id ?? [];
  const forcedFirstId =
    context.forcedFirstId ?? task.forced_bos_token_id ?? model.forced_bos_token_id;
  const forcedLastIds = task.forced_eos_token_id ?? model.forced_eos_token_id;
  const sampling = isSampled(context, task) ? toSampling(first) : undefined;
  return {
    maxNewTokens: Math.max(1, maxNewTokensOf(context, task)),
    minNewTokens: Math.max(0, minLength, first("min_new_tokens", 0)),
    beams: first("num_beams", 1),
    lengthPenalty: first("length_penalty", 1),
    earlyStopping: earlyStoppingOf(parameters, task, model),
    ...(sampling && { sampling }),
    ...(isGiven(parameters.seed) && { seed: parameters.seed }),
    repetitionPenalty: first("repetition_penalty", 1),
    noRepeatNgramSize: first("no_repeat_ngram_size", 0),
    badWordsIds: task.bad_words_ids ?? model.bad_words_ids ?? [],
    suppressTokens: task.suppress_tokens ?? model.suppress_tokens ?? [],
    beginSuppressTokens: task.begin_suppress_tokens ?? model.begin_suppress_tokens ?? [],
    ...(isGiven(forcedFirstId) && { forcedFirstId }),
    ...(forcedLastIds && { forcedLastIds }),
    endIds,
    stopTexts: context.stopTexts ?? [],
  };
}

/** Who says first how long: the pipelines give way to a `max_length` of the model. */
function maxNewTokensOf(
  { parameters, pipeline, defaults: { model }, promptTokens }: SettingsContext,
  task: ModelGeneration,
): number {
  for (const source of [parameters, task, model]) {
    if (isGiven(source.max_new_tokens)) return source.max_new_tokens;
    // 20 is what `GenerationConfig` says when nobody else does; saved files repeat it. A model's file cannot know the
    // prompt.
    const isReal =
      source !== model || (source.max_length !== 20 && (source.max_length ?? 0) > promptTokens);
    if (isGiven(source.max_length) && isReal) return source.max_length - promptTokens;
  }
  return pipeline.max_new_tokens ?? 20;
}

/** Parameters that mean nothing unless tokens are drawn, with the value that changes nothing. */
const CHANCE = {
  temperature: 1,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
};

/** The parameters of chance that a client has set to something. */
function chanceOf(parameters: GenerationParameters): string[] {
  const neutral = Object.entries(CHANCE) as [keyof typeof CHANCE, number][];
  return neutral
    .filter(([name, value]) => isGiven(parameters[name]) && parameters[name] !== value)
    .map(([name]) => name);
}

function isSampled(
  { parameters, defaults, impliesSampling }: SettingsContext,
  task: ModelGeneration,
) {
  if (parameters.temperature === 0) return false;
  const isImplied = impliesSampling === true && chanceOf(parameters).length > 0 ? true : undefined;
  return parameters.do_sample ?? isImplied ?? task.do_sample ?? defaults.model.do_sample ?? false;
}

/** `top_k` is 50 where nobody says otherwise, as in Python. */
function toSampling(first: (key: keyof typeof CHANCE, or: number) => number): Sampling {
  return {
    temperature: first("temperature", 1) || 1, // 0 in a model's file: nothing to divide by
    topK: first("top_k", 50),
    topP: first("top_p", 1),
    minP: first("min_p", 0),
    typicalP: first("typical_p", 1),
    epsilonCutoff: first("epsilon_cutoff", 0),
    etaCutoff: first("eta_cutoff", 0),
  };
}

function earlyStoppingOf(...sources: readonly Pick<ModelGeneration, "early_stopping">[]) {
  return sources.map((source) => source.early_stopping).find(isGiven) ?? false;
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}

/** What bounds a generation besides its settings. */
export interface TokenLimit {
  /** The most tokens that the decoder holds. */
  readonly maxTokens: number;
  /** Of them, those it begins with. */
  readonly promptTokens: number;
  readonly parameters: GenerationParameters;
  readonly action: string;
}

/**
 * Cuts what nobody asked for to what the decoder can hold.
 *
 * @throws `INVALID_INPUT` when the client asked for more, or for a sequence shorter than its beginning.
 */
export function limitNewTokens(
  settings: GenerationSettings,
  { maxTokens, promptTokens, parameters, action }: TokenLimit,
): GenerationSettings {
  const { max_new_tokens, max_length } = parameters;
  const begins = `as the sequence begins with ${promptTokens}`;
  if (!isGiven(max_new_tokens) && isGiven(max_length) && max_length <= promptTokens) {
    throw invalidInput(
      action,
      `"max_length" is ${max_length}, wanted at least ${promptTokens + 1} tokens, ${begins}`,
    );
  }
  const room = maxTokens - promptTokens;
  if (settings.maxNewTokens <= room) return settings;
  const asked = max_new_tokens ?? max_length;
  if (isGiven(asked)) {
    const [name, most] = isGiven(max_new_tokens)
      ? ["max_new_tokens", room]
      : ["max_length", maxTokens];
    throw invalidInput(
      action,
      `"${name}" is ${asked}, wanted at most ${most} tokens, ${begins} and the model holds ${maxTokens}`,
    );
  }
  return { ...settings, maxNewTokens: room };
}

/** Says which parameters change nothing because another one is not set. */
export function warnOfIdle(
  parameters: GenerationParameters,
  { sampling, beams }: GenerationSettings,
  warn: (text: string) => void,
): void {
  const idle = sampling === undefined ? chanceOf(parameters) : [];
  for (const name of idle) {
    // A temperature of 0 is a way to say "greedy".
    if (name === "temperature" && parameters.temperature === 0) continue;
    warn(`The parameter "${name}" has no effect without "do_sample": true`);
  }
  if (beams > 1) return;
  for (const name of ["length_penalty", "early_stopping"] as const) {
    if (!isGiven(parameters[name])) continue;
    warn(`The parameter "${name}" has no effect without "num_beams" above 1`);
  }
}
