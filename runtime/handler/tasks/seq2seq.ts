/**
 * What summarization, translation and text2text-generation share: a text is read by an encoder, a decoder writes
 * another one.
 *
 * Defaults are those of `Text2TextGenerationPipeline` of Python's transformers 4.57: four beams, at most 256 new
 * tokens, unless the model's files say otherwise. Each task brings its parameters, and the name of its answer.
 */
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import type { Generated } from "../model/generation.ts";
import { loadSeq2Seq, type GenerationItem } from "../model/text-generator.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  readGenerationParameters,
  STOP_PARAMETERS,
  stopTextsOf,
} from "../model/generation-parameters.ts";
import { limitNewTokens, toSettings, warnOfIdle } from "../model/generation-settings.ts";
import { inputName, readInputs, TextInputs, TruncationParameter } from "./inputs.ts";
import type { OpenTask, TaskContext, TaskModel } from "./task.ts";
import { languagesOf, type Languages } from "./languages.ts";

/** For `z.object({ …, ...SEQ2SEQ_PARAMETERS })`. */
export const SEQ2SEQ_PARAMETERS = {
  /** On by default: a text is cut to what the model reads. */
  truncation: TruncationParameter,
  /** Takes out the spaces before punctuation that some tokenizers leave. */
  clean_up_tokenization_spaces: z.boolean("true or false").nullish(),
  ...STOP_PARAMETERS,
  ...GENERATION_PARAMETERS,
  ...BEAM_PARAMETERS,
};
type Seq2SeqParameters = z.output<z.ZodObject<typeof SEQ2SEQ_PARAMETERS>>;

/** What a task adds to one request. */
export interface Direction {
  /** Python's name of the task in `task_specific_params`. */
  readonly task: string;
  /** The language of the text, where the model wants to know. */
  readonly source?: string;
  /** The token that the answer begins with. */
  readonly forcedFirstId?: number;
}

/** What one of the three tasks is. */
export interface Seq2SeqTask<P extends Seq2SeqParameters> {
  /** What is done: `summarize the text`. */
  readonly action: string;
  readonly parameters: z.ZodObject<z.ZodRawShape> & { readonly _output: P };
  /** One text's answer, under the task's own name for it. */
  toAnswer(text: string): Readonly<Record<string, string>>;
  /** @throws `INVALID_INPUT` when the parameters name what the model does not know. */
  direct(parameters: P, model: DirectedModel, context: TaskContext): Direction;
}

/** What is known of the model where a request is directed. */
export interface DirectedModel {
  /** Absent where it translates one pair, or does not translate. */
  readonly languages?: Languages | undefined;
  /** The tasks that its configuration names. */
  readonly tasks: readonly string[];
}

interface State {
  readonly cleanUp: boolean | undefined;
}

/** Tokens that the decoder begins with: its start. */
const PROMPT_TOKENS = 1;

/** @throws `MODEL_INVALID` when the files cannot be loaded, or are of a model without an encoder and a decoder. */
export async function openSeq2Seq<P extends Seq2SeqParameters>(
  model: TaskModel,
  kind: Seq2SeqTask<P>,
): Promise<OpenTask<GenerationItem, Generated, State> & { readonly languages?: Languages }> {
  const generator = await loadSeq2Seq(model);
  const languages = languagesOf(generator.tokenizer);
  const directed: DirectedModel = { languages, tasks: Object.keys(generator.defaults.tasks) };

  function readRequest(request: InferenceRequest, context: TaskContext) {
    const { action, parameters: schema } = kind;
    const given = request.data["parameters"];
    const parameters = readGenerationParameters(schema, given, {
      action,
      warn: context.warn,
    }) as P; // the schema's own output
    const direction = kind.direct(parameters, directed, context);
    const settings = toSettings({
      parameters,
      defaults: generator.defaults,
      task: direction.task,
      pipeline: { max_new_tokens: 256, num_beams: 4 },
      promptTokens: PROMPT_TOKENS,
      forcedFirstId: direction.forcedFirstId,
      stopTexts: stopTextsOf(parameters),
    });
    const limited = limitNewTokens(settings, {
      maxTokens: generator.maxDecoderTokens,
      promptTokens: PROMPT_TOKENS,
      parameters,
      action,
    });
    warnOfIdle(parameters, limited, context.warn);
    return { parameters, direction, settings: limited };
  }

  return {
    notes: [],
    ...(languages && { languages }),

    preprocess(request, context) {
      const inputs = readInputs(TextInputs, request, kind.action);
      const { parameters, direction, settings } = readRequest(request, context);
      const prefix = generator.defaults.tasks[direction.task]?.prefix ?? generator.defaults.prefix;
      const items = [inputs].flat().map((text, index): GenerationItem => {
        const { inputIds } = generator.encode(`${prefix}${text}`, {
          truncation: parameters.truncation ?? "longest_first",
          action: kind.action,
          name: inputName(request, index),
          warn: context.warn,
        });
        const { source } = direction;
        const ids =
          source !== undefined && languages ? languages.withSource(inputIds, source) : inputIds;
        return {
          tokens: ids.length * settings.beams,
          group: groupOf(settings),
          inputIds: ids,
          settings,
        };
      });
      return { items, state: { cleanUp: parameters.clean_up_tokenization_spaces ?? undefined } };
    },

    inference: (items, signal) => generator.generate(items, signal),

    postprocess({ cleanUp }, results) {
      return results.map(({ ids }) => kind.toAnswer(generator.decode(ids, cleanUp)));
    },

    dispose: () => generator.dispose(),
  };
}

/** Rows are independent, but a short answer should not wait for a long one, nor one beam for many. */
export function groupOf({ beams, maxNewTokens }: GenerationItem["settings"]): string {
  return `${beams} × ${maxNewTokens}`;
}
