/**
 * A generation in neutral words, made what the engine writes by.
 *
 * Which default counts, and what a parameter may be, is decided where Hugging Face's parameters are
 * (`../model/generation-parameters.ts`, `../model/generation-settings.ts`): the neutral names are theirs in another spelling.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type {
  GenerationParameters,
  GenerationPrompt,
  GenerationRequest,
} from "../../generation.ts";
import type { ChatTemplate } from "../model/chat-template.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  readGenerationParameters,
  STOP_PARAMETERS,
  stopTextsOf,
} from "../model/generation-parameters.ts";
import {
  limitNewTokens,
  toSettings,
  type GenerationSettings,
} from "../model/generation-settings.ts";
import type { Generator } from "../model/text-generator.ts";
import { invalidInput } from "../tasks/inputs.ts";
import type { TaskContext } from "../tasks/task.ts";
import { tokenBytesOf } from "./json-tokens.ts";
import type { TextEngine, TextOrder } from "./text-engine.ts";

const ACTION = "generate text";

/** What is known of the model where a request is read. */
export interface RequestReader {
  readonly generator: Pick<
    Generator,
    "encode" | "tokensOf" | "decode" | "defaults" | "maxTokens" | "tokenizer"
  >;
  readonly template: ChatTemplate | undefined;
  readonly engine: Pick<TextEngine, "limits">;
  /** What the pipeline says where nobody else does. */
  readonly pipeline: { readonly max_new_tokens: number };
}

/** More would make a token cost more to tell than to compute. */
const MOST_TOP_TOKENS = 100;
/** OpenAI allows 1024 entries. */
const MOST_BIASES = 1024;

const truncate = "a whole number of at least 1";
const topTokens = `a whole number from 0 to ${MOST_TOP_TOKENS}`;
const finite = "a number";

/** By the names of Hugging Face's parameters, in which messages are told; OpenAI's own where there is none. */
const Parameters = z.object({
  ...STOP_PARAMETERS,
  ...GENERATION_PARAMETERS,
  ...BEAM_PARAMETERS,
  truncate: z.int(truncate).positive(truncate).nullish(),
  top_n_tokens: z.int(topTokens).min(0, topTokens).max(MOST_TOP_TOKENS, topTokens).nullish(),
  presence_penalty: z.number(finite).nullish(),
  frequency_penalty: z.number(finite).nullish(),
  n: z.int(truncate).positive(truncate).nullish(),
});

/** @throws `INVALID_INPUT` with one sentence, or `NOT_SUPPORTED`. */
export function readGeneration(
  { prompt, parameters: given, stream }: GenerationRequest,
  reader: RequestReader,
  { warn }: Pick<TaskContext, "warn">,
): TextOrder {
  const { generator, engine } = reader;
  const parameters = readParameters(given, warn);
  const ids = readPrompt(prompt, parameters.truncate ?? undefined, reader);
  const settings = settingsFor(ids, given, parameters, reader);
  const sequences = parameters.n ?? 1;
  const topTokens = parameters.top_n_tokens ?? 0;
  assertPossible({ given, settings, sequences, topTokens, stream }, engine);
  return {
    prompt: ids,
    settings: {
      ...settings,
      ...(parameters.presence_penalty && { presencePenalty: parameters.presence_penalty }),
      ...(parameters.frequency_penalty && { frequencyPenalty: parameters.frequency_penalty }),
      ...(given.logitBias && { logitBias: readBias(given.logitBias) }),
      ...(given.ignoreEos === true && { endIds: [] }),
    },
    sequences,
    topTokens,
    promptTokens: given.promptTokens ?? false,
    keepsStop: given.keepsStop ?? false,
    ...(given.format === "json" && { json: tokenBytesOf(generator.tokenizer) }),
    ...(given.echo === true && {
      echo: prompt.kind === "text" ? prompt.text : generator.decode(ids, false),
    }),
  };
}

interface Wanted {
  readonly given: GenerationParameters;
  readonly settings: GenerationSettings;
  readonly sequences: number;
  readonly topTokens: number;
  readonly stream: boolean;
}

/** @throws `INVALID_INPUT` where parameters exclude each other. */
function assertPossible(
  { given, settings: { beams }, sequences, topTokens, stream }: Wanted,
  { limits }: RequestReader["engine"],
): void {
  const { promptTokens = false, presencePenalty = 0, frequencyPenalty = 0 } = given;
  if (sequences > limits.maxSequences) {
    const most = `wanted at most ${limits.maxSequences}, as many as run together`;
    throw invalidInput(ACTION, `${sequences} sequences were asked for, ${most}`);
  }
  if (beams > 1) {
    const problem = stream
      ? "what they find is known at the end: wanted no stream"
      : sequences > 1
        ? `one sequence is found: wanted 1, found ${sequences}`
        : topTokens > 0 || promptTokens
          ? "likelihoods of single tokens are not kept: wanted no details of them"
          : presencePenalty !== 0 || frequencyPenalty !== 0
            ? `the penalties "presence_penalty" and "frequency_penalty" are not counted: wanted 0`
            : given.format !== undefined
              ? `no format is followed: wanted none, found "${given.format}"`
              : undefined;
    if (problem !== undefined)
      throw invalidInput(
        ACTION,
        `"num_beams" is ${beams}, and where beams are searched, ${problem}`,
      );
  }
}

type Read = z.output<typeof Parameters>;

/** The same parameters in Hugging Face's spelling, checked. */
function readParameters(given: GenerationParameters, warn: TaskContext["warn"]): Read {
  const spelled = {
    max_new_tokens: given.maxNewTokens,
    min_new_tokens: given.minNewTokens,
    do_sample: given.doSample,
    temperature: given.temperature,
    top_k: given.topK,
    top_p: given.topP,
    min_p: given.minP,
    typical_p: given.typicalP,
    repetition_penalty: given.repetitionPenalty,
    presence_penalty: given.presencePenalty,
    frequency_penalty: given.frequencyPenalty,
    no_repeat_ngram_size: given.noRepeatNgramSize,
    num_beams: given.numBeams,
    stop: given.stop,
    seed: given.seed,
    truncate: given.truncate,
    n: given.sequences,
    top_n_tokens: given.topTokens,
  };
  const said = Object.entries(spelled).filter(([, value]) => value !== undefined && value !== null);
  return readGenerationParameters(Parameters, Object.fromEntries(said), { action: ACTION, warn });
}

/** A prompt's tokens, the last of them where it is to be cut; at least one. */
function readPrompt(
  prompt: GenerationPrompt,
  truncate: number | undefined,
  { generator, template }: RequestReader,
): readonly number[] {
  const all = idsOf(prompt, truncate, generator, template);
  const ids = truncate === undefined ? all : all.slice(-truncate);
  const { maxTokens, tokenizer } = generator;
  if (ids.length >= maxTokens) {
    throw invalidInput(
      ACTION,
      `the prompt is ${ids.length} tokens long, wanted at most ${maxTokens - 1}, so that there is room for one more`,
    );
  }
  if (ids.length > 0) return ids;
  const beginning = tokenizer.bos_token_id;
  if (typeof beginning === "number") return [beginning];
  throw invalidInput(
    ACTION,
    "the prompt is empty, wanted a text, as the model has no token to begin with",
  );
}

function idsOf(
  prompt: GenerationPrompt,
  truncate: number | undefined,
  { encode, tokensOf, tokenizer }: RequestReader["generator"],
  template: ChatTemplate | undefined,
): readonly number[] {
  switch (prompt.kind) {
    case "text":
      return encode(prompt.text, {
        truncation: truncate === undefined ? "none" : "longest_first",
        maxTokens: truncate,
        side: "left",
        action: ACTION,
        name: "prompt",
      }).inputIds;
    case "tokens": {
      const size = sizeOf(tokenizer);
      const wrong = prompt.ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size);
      if (wrong === undefined) return prompt.ids;
      throw invalidInput(
        ACTION,
        `the prompt has the token ${wrong}, wanted ids from 0 to ${size - 1}`,
      );
    }
    case "chat":
      if (template === undefined) {
        throw new RuntimeError(
          "NOT_SUPPORTED",
          `Cannot ${ACTION}: this model has no chat template, wanted a prompt; a chat_template.jinja in its repository would do`,
        );
      }
      return tokensOf(template.render(prompt));
  }
}

const sizes = new WeakMap<object, number>();

/** One more than the largest id. */
function sizeOf(tokenizer: Generator["tokenizer"]): number {
  let size = sizes.get(tokenizer);
  if (size === undefined) {
    size = 0;
    for (const id of tokenizer.get_vocab().values()) size = Math.max(size, id + 1);
    sizes.set(tokenizer, size);
  }
  return size;
}

function settingsFor(
  ids: readonly number[],
  given: GenerationParameters,
  parameters: Read,
  { generator: { defaults, maxTokens }, engine: { limits }, pipeline }: RequestReader,
): GenerationSettings {
  const promptTokens = ids.length;
  const settings = toSettings({
    parameters,
    defaults,
    task: "text-generation",
    pipeline,
    promptTokens,
    stopTexts: stopTextsOf(parameters),
    impliesSampling: true,
  });
  const limited =
    given.maxNewTokens === null
      ? { ...settings, maxNewTokens: maxTokens - promptTokens }
      : limitNewTokens(settings, { maxTokens, promptTokens, parameters, action: ACTION });
  return limitTogether(
    limited,
    promptTokens,
    limits.maxTotalTokens,
    typeof given.maxNewTokens === "number",
  );
}

/**
 * No sequence may need more than all together, and no search: each of its beams is a sequence.
 *
 * @param isAsked Whether the client said how long: then it is refused, else cut.
 * @throws `INVALID_INPUT`
 */
export function limitTogether(
  settings: GenerationSettings,
  promptTokens: number,
  maxTotalTokens: number,
  isAsked: boolean,
): GenerationSettings {
  const { beams, maxNewTokens } = settings;
  const room = Math.floor(maxTotalTokens / beams) - promptTokens;
  if (maxNewTokens <= room) return settings;
  if (!isAsked && room > 0) return { ...settings, maxNewTokens: room };
  const times = beams > 1 ? `, for each of ${beams} beams,` : "";
  throw invalidInput(
    ACTION,
    `the prompt's ${promptTokens} tokens and ${maxNewTokens} new ones${times} are more than the ${maxTotalTokens} of --max-total-tokens; ask for fewer`,
  );
}

function readBias(bias: Readonly<Record<string, number>>): ReadonlyMap<number, number> {
  const entries = Object.entries(bias);
  if (entries.length > MOST_BIASES) {
    throw invalidInput(
      ACTION,
      `"logit_bias" has ${entries.length} tokens, wanted at most ${MOST_BIASES}`,
    );
  }
  return new Map(
    entries.map(([key, value]) => {
      const id = Number(key);
      if (!/^\d+$/.test(key) || !Number.isFinite(value)) {
        throw invalidInput(
          ACTION,
          `"logit_bias" has "${key.slice(0, 20)}", wanted ids of tokens with numbers`,
        );
      }
      return [id, value];
    }),
  );
}
