/**
 * Document question answering: the answer to a question about a page, read from its image without OCR.
 *
 * Serves Donut, as `DocumentQuestionAnsweringPipeline` of Python's transformers 4.57 does: the question becomes the
 * decoder's prompt, and what stands between `<s_answer>` and `</s_answer>` is the answer; `null` where the model never
 * closes it. LayoutLM, which wants the words of the page and their places beside its image, is not served: transformers.js
 * does not know it.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-donut in fp32, whose weights are random, and the example's image of 16 × 16 pixels.
 * {"inputs": {"image": "iVBORw0KGgoA…", "question": "What is the invoice number?"}}
 * // → [{"answer": "fox pony farm( fox fl pony farm( foxhe Sam ball</s_question></s_answer>( pony( fox fl pony farm( foxheie fox fl fox fl fox fl3"}]
 * ```
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { InferenceRequest } from "../../inference.ts";
import type { Generated } from "../model/generation.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  readGenerationParameters,
} from "../model/generation-parameters.ts";
import { limitNewTokens, toSettings, warnOfIdle } from "../model/generation-settings.ts";
import {
  loadVisionGenerator,
  writingItem,
  type VisionGenerator,
  type WritingItem,
} from "../model/vision-generation.ts";
import { createImageInput, EXAMPLE_IMAGE, IGNORED_IMAGE_PARAMETERS } from "./image-input.ts";
import { imageQuestions, ImageQuestionInputs, type ImageQuestion } from "./image-question.ts";
import { invalidInput } from "./inputs.ts";
import type { OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "answer the question about the document";
const TASK = "document-question-answering";

const wantedTopK = "a whole number of at least 1";
const { top_k: _sampled, ...GENERATION } = GENERATION_PARAMETERS;

export const DocumentQuestionAnsweringParameters = z.object({
  ...GENERATION,
  ...BEAM_PARAMETERS,
  /** How many answers at most. Donut gives one. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullish(),
});
type Parameters = z.output<typeof DocumentQuestionAnsweringParameters>;

/** What Python's pipeline does with them concerns LayoutLM and OCR alone. */
const IGNORED = [
  "doc_stride",
  "handle_impossible_answer",
  "lang",
  "max_answer_len",
  "max_question_len",
  "max_seq_len",
  "tesseract_config",
  "word_boxes",
  ...IGNORED_IMAGE_PARAMETERS,
];

export const documentQuestionAnswering: Task = {
  inputs: ImageQuestionInputs,
  parameters: DocumentQuestionAnsweringParameters,
  example: { inputs: { image: EXAMPLE_IMAGE, question: "What is the invoice number?" } },
  answersListsByElement: true,
  measure: "items",
  async open(model: TaskModel) {
    const generator = await loadVisionGenerator(model, TASK);
    if (generator.encoderType !== "donut-swin") {
      await generator.dispose();
      throw new RuntimeError(
        "MODEL_INVALID",
        `Cannot serve ${TASK}: the encoder is of the type "${generator.encoderType}", wanted "donut-swin", as only Donut was trained to answer questions`,
      );
    }
    return openDocumentQuestionAnswering(generator, model.urlHosts);
  },
};

/** One answer, in a list as in Python. */
export type DocumentQuestionAnsweringAnswer = readonly { readonly answer: string | null }[];

interface State {
  readonly isList: boolean;
  /** Per question, what the decoder began with. */
  readonly prompts: readonly (readonly number[])[];
}

function openDocumentQuestionAnswering(
  generator: VisionGenerator,
  urlHosts: TaskModel["urlHosts"],
): OpenTask<WritingItem, Generated, State> {
  const { tokenizer, images, defaults, maxTokens } = generator;
  const input = createImageInput(ACTION, urlHosts);

  function readRequest({ data }: InferenceRequest, { warn }: TaskContext): Parameters {
    return readGenerationParameters(DocumentQuestionAnsweringParameters, data["parameters"], {
      action: ACTION,
      warn,
      ignored: IGNORED,
    });
  }

  async function toItem(
    { image, imageName, question, questionName, hasWordBoxes }: ImageQuestion,
    { top_k: _answers, ...parameters }: Parameters,
    context: TaskContext,
  ): Promise<WritingItem> {
    if (hasWordBoxes) context.warn(`"word_boxes" has no effect: Donut reads the image alone`);
    const prompt = promptOf(question, tokenizer);
    const promptTokens = prompt.length;
    if (promptTokens >= maxTokens) {
      throw invalidInput(
        ACTION,
        `"${questionName}" makes a prompt of ${promptTokens} tokens, wanted fewer than ${maxTokens}`,
      );
    }
    const settings = toSettings({
      parameters,
      defaults,
      task: TASK,
      pipeline: { max_new_tokens: 256 },
      promptTokens,
    });
    warnOfIdle(parameters, settings, context.warn);
    const limit = { maxTokens, promptTokens, parameters, action: ACTION };
    const limited = limitNewTokens(settings, limit);
    const pixels = await input.read(image, imageName, context, (decoded) =>
      images.read(decoded, { action: ACTION, name: imageName }),
    );
    return writingItem(pixels, prompt, limited);
  }

  return {
    notes: [],

    async preprocess(request, context) {
      const parameters = readRequest(request, context);
      const { questions, isList } = imageQuestions(request, ACTION);
      const items = await Promise.all(
        questions.map((question) => toItem(question, parameters, context)),
      );
      return { items, state: { isList, prompts: items.map(({ prompt }) => prompt) } };
    },

    inference: (items, signal) => generator.generate(items, signal),

    postprocess({ isList, prompts }, results) {
      const answers = results.map(({ ids }, place): DocumentQuestionAnsweringAnswer => {
        const sequence = tokenizer.decode([...(prompts[place] ?? []), ...ids]);
        return [{ answer: answerOf(sequence, tokenizer) }];
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => generator.dispose(),
  };
}

/** The decoder's prompt, with the tags that Donut was trained with. */
export function promptOf(question: string, tokenizer: PreTrainedTokenizer): number[] {
  const text = `<s_docvqa><s_question>${question}</s_question><s_answer>`;
  return tokenizer(text, { add_special_tokens: false, return_tensor: false }).input_ids;
}

/**
 * What stands between the answer's tags.
 *
 * @param sequence The prompt and what was written, special tokens included.
 */
export function answerOf(
  sequence: string,
  { config, pad_token }: Pick<PreTrainedTokenizer, "config" | "pad_token">,
): string | null {
  const ends = [config.eos_token, pad_token].filter((token) => typeof token === "string");
  const bare = ends.reduce((text: string, token) => text.replaceAll(token, ""), sequence);
  const untagged = bare.replace(/<[^\n]*?>/, "").trim(); // the task's own tag
  return /<s_answer>([^\n]*)<\/s_answer>/.exec(untagged)?.[1]?.trim() ?? null;
}
