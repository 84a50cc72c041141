/**
 * Text generation: a prompt, continued. Predictions are answered whole; what is streamed, and conversations, come in neutral
 * words (`generating`). All of them are written together (`../generation/`).
 *
 * Shapes follow `TextGenerationPipeline` of Python's transformers 4.57 and the toolkit, parameters also
 * text-generation-inference, whose names Hugging Face's clients send. Greedy unless the client or
 * `generation_config.json` asks otherwise, as there; at most 256 new tokens, as in the pipeline.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-gpt2.
 * {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 10}}
 * // → [{"generated_text": "Once upon a time, there was a happy fox named Jack. It"}]
 * {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 40, "stop": ["."], "return_full_text": false}}
 * // → [{"generated_text": ", there was a happy fox named Jack."}]
 * {"inputs": ["Once upon a time", "Tom was very sad"], "parameters": {"max_new_tokens": 4}}
 * // → [[{"generated_text": "Once upon a time, there was a"}], [{"generated_text": "Tom was very sad. Then Tim met"}]]
 * ```
 */
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import { explainTextGeneration } from "../explain/text-generation.ts";
import type { Generated } from "../model/generation.ts";
import { limitTogether, readGeneration } from "../generation/request.ts";
import { loadChatTemplate, type ChatTemplate } from "../model/chat-template.ts";
import { loadCausal, type CausalGenerator, type GenerationItem } from "../model/text-generator.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  readGenerationParameters,
  STOP_PARAMETERS,
  stopTextsOf,
} from "../model/generation-parameters.ts";
import { limitNewTokens, toSettings, warnOfIdle } from "../model/generation-settings.ts";
import { inputName, invalidInput, readInputs, TextInputs } from "./inputs.ts";
import type { GeneratingTask, OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "generate text";
/** What the pipeline says where nobody else does. */
const PIPELINE = { max_new_tokens: 256 };

const not = (what: string) => z.literal(false, `false, as ${what}`).nullish();
const wantedTruncate = "a whole number of at least 1";

export const TextGenerationParameters = z.object({
  /** Whether the answer begins with the prompt. */
  return_full_text: z.boolean("true or false").nullish(),
  /** The most tokens of the prompt that are read: its last ones. */
  truncate: z.int(wantedTruncate).positive(wantedTruncate).nullish(),
  /** Off by default: a prompt that is too long is refused. `true` cuts its beginning. */
  truncation: z.boolean("true or false").nullish(),
  clean_up_tokenization_spaces: z.boolean("true or false").nullish(),
  ...STOP_PARAMETERS,
  ...GENERATION_PARAMETERS,
  ...BEAM_PARAMETERS,
  details: not("details are not answered yet"),
  decoder_input_details: not("details are not answered yet"),
  watermark: not("texts are not watermarked"),
  best_of: z.literal(1, "1, as one sequence is answered").nullish(),
  top_n_tokens: z.literal(0, "0, as details are not answered yet").nullish(),
  /** Off the score of a token, once for each time that it was generated. */
  frequency_penalty: z.number("a number").nullish(),
  grammar: z.null("null, as grammars are not followed").optional(),
});
export type TextGenerationParameters = z.infer<typeof TextGenerationParameters>;

/** One sequence; for a list of prompts, a list of these. */
export type TextGenerationAnswer = readonly { readonly generated_text: string }[];

export const textGeneration: Task = {
  inputs: TextInputs,
  parameters: TextGenerationParameters,
  example: { inputs: "Once upon a time", parameters: { max_new_tokens: 20 } },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const generator = await loadCausal(model);
    const template = await loadChatTemplate(model.folder, {
      warn: (text) => model.note?.({ level: "warn", text }),
    });
    return {
      ...openTextGeneration(generator, model.settings),
      generating: openGenerating(generator, template),
      explaining: explainTextGeneration({
        generator,
        model,
        predicting: TextGenerationParameters,
        readPrompt(text, index, request, { truncate, truncation }, context) {
          const parameters = withUsualCut(
            { truncate, truncation, max_new_tokens: 1 },
            model.settings,
          );
          return readPrompt(text, index, request, parameters, generator, context);
        },
        nextTokens: (prompts, signal) => nextTokens(generator, prompts, signal),
      }),
    };
  },
};

/** Answers in neutral words. */
function openGenerating(
  generator: CausalGenerator,
  template: ChatTemplate | undefined,
): GeneratingTask {
  const { engine, maxTokens } = generator;
  const { limits } = engine;
  return {
    abilities: {
      chat: template !== undefined,
      tools: template?.knowsTools ?? false,
      maxTokens: Math.min(maxTokens, limits.maxTotalTokens),
    },
    concurrency: limits.maxSequences,
    async answer(request, { signal, warn }) {
      const reader = { generator, template, engine, pipeline: PIPELINE };
      const order = readGeneration(request, reader, { warn });
      return request.stream ? engine.stream(order, signal) : await engine.answer(order, signal);
    },
    takeStatistics: () => engine.takeStatistics(),
  };
}

interface State {
  readonly prompts: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly isList: boolean;
  readonly isFullText: boolean;
  readonly cleanUp: boolean;
}

function openTextGeneration(
  generator: CausalGenerator,
  handlerSettings: TaskModel["settings"],
): OpenTask<GenerationItem, Generated, State> {
  return {
    notes: [],

    preprocess(request, context) {
      const inputs = readInputs(TextInputs, request, ACTION);
      if (request.data["stream"] === true) {
        throw invalidInput(
          ACTION,
          `"stream" is true, wanted false, as this route answers a prompt, or a list of them, whole`,
        );
      }
      const given = request.data["parameters"];
      const sent = readGenerationParameters(TextGenerationParameters, given, {
        action: ACTION,
        warn: context.warn,
      });
      const parameters = withUsualCut(sent, handlerSettings);
      const items = [inputs].flat().map((text, index): GenerationItem => {
        const inputIds = readPrompt(text, index, request, parameters, generator, context);
        const settings = settingsFor(inputIds, parameters, generator);
        return { tokens: inputIds.length, inputIds, settings };
      });
      const [first] = items;
      if (first) warnOfIdle(parameters, first.settings, context.warn);
      const prompts = [inputs].flat().map((text, index) => {
        return { text, ids: items[index]?.inputIds ?? [] };
      });
      return {
        items,
        state: {
          prompts,
          isList: Array.isArray(inputs),
          isFullText: parameters.return_full_text ?? true,
          cleanUp: parameters.clean_up_tokenization_spaces ?? true, // as the pipeline, and unlike text to text
        },
      };
    },

    inference: (items, signal) => generator.generate(items, signal),

    postprocess({ prompts, isList, isFullText, cleanUp }, results) {
      const answers = prompts.map(({ text, ids }, index): TextGenerationAnswer => {
        // Decoded with the prompt, as a token's text may depend on the one before it.
        const whole = generator.decode([...ids, ...(results[index]?.ids ?? [])], cleanUp);
        const added = whole.slice(generator.decode(ids, cleanUp).length);
        return [{ generated_text: isFullText ? `${text}${added}` : added }];
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => generator.dispose(),
  };
}

/** Prompts are cut as the repository's `max_length` says where the client says nothing about it. */
function withUsualCut(
  parameters: TextGenerationParameters,
  settings: TaskModel["settings"],
): TextGenerationParameters {
  const maxLength = settings?.maxLength;
  const said = parameters.truncate ?? parameters.truncation ?? undefined;
  return maxLength === undefined || said !== undefined
    ? parameters
    : { ...parameters, truncate: maxLength, truncation: true };
}

/** A prompt's tokens, cut at its beginning where the client allows it; at least one of them. */
function readPrompt(
  text: string,
  index: number,
  request: InferenceRequest,
  { truncate, truncation, max_new_tokens }: TextGenerationParameters,
  { encode, maxTokens, tokenizer }: CausalGenerator,
  { warn }: TaskContext,
): readonly number[] {
  const name = inputName(request, index);
  // What the answer needs; where nobody says how much, it gets at most half.
  const reserved = max_new_tokens ?? Math.min(PIPELINE.max_new_tokens, Math.floor(maxTokens / 2));
  const limit = Math.min(
    truncate ?? Infinity,
    truncation === true ? maxTokens - reserved : Infinity,
  );
  const isCut = truncation !== false && limit < Infinity;
  const { inputIds } = encode(text, {
    truncation: isCut ? "longest_first" : "none",
    maxTokens: Math.max(1, limit),
    side: "left",
    action: ACTION,
    name,
    warn,
  });
  if (inputIds.length >= maxTokens) {
    throw invalidInput(
      ACTION,
      `"${name}" is ${inputIds.length} tokens long, wanted at most ${maxTokens - 1}, so that there is room for one more; "truncate" cuts it`,
    );
  }
  if (inputIds.length > 0) return inputIds;
  const beginning = tokenizer.bos_token_id;
  if (typeof beginning === "number") return [beginning];
  throw invalidInput(
    ACTION,
    `"${name}" is empty, wanted a text, as the model has no token to begin with`,
  );
}

/** The likeliest next token of each prompt; where a text ends there, the token that says so. */
async function nextTokens(
  generator: CausalGenerator,
  prompts: readonly (readonly number[])[],
  signal: AbortSignal,
): Promise<number[]> {
  const parameters = { max_new_tokens: 1, do_sample: false, num_beams: 1 };
  const items = prompts.map((inputIds): GenerationItem => {
    return {
      tokens: inputIds.length,
      inputIds,
      settings: settingsFor(inputIds, parameters, generator),
    };
  });
  const generated = await generator.generate(items, signal);
  return generated.map(({ ids }, index) => ids[0] ?? items[index]?.settings.endIds[0] ?? 0);
}

function settingsFor(
  inputIds: readonly number[],
  parameters: TextGenerationParameters,
  { defaults, maxTokens, engine: { limits } }: CausalGenerator,
): GenerationItem["settings"] {
  const promptTokens = inputIds.length;
  const settings = toSettings({
    parameters,
    defaults,
    task: "text-generation",
    pipeline: PIPELINE,
    promptTokens,
    stopTexts: stopTextsOf(parameters),
    impliesSampling: true,
  });
  const limited = limitNewTokens(settings, { maxTokens, promptTokens, parameters, action: ACTION });
  const isAsked = isNumber(parameters.max_new_tokens) || isNumber(parameters.max_length);
  const { frequency_penalty: frequencyPenalty } = parameters;
  return {
    ...limitTogether(limited, promptTokens, limits.maxTotalTokens, isAsked),
    ...(isNumber(frequencyPenalty) && { frequencyPenalty }),
  };
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}
