/**
 * Visual question answering: a question about an image, answered with one of the model's own answers.
 *
 * Follows `VisualQuestionAnsweringPipeline` of Python's transformers 4.57 for models that classify (ViLT): one graph reads
 * the question's tokens and the image's pixels, and every answer has a score of its own. transformers.js has no class for
 * such models; their graph is run as it is, and `../model/vilt.ts` prepares the image. Letters: `L` answers.
 *
 * @example
 * ```jsonc
 * // The graph that this task's test writes, and an image of 64 × 64 pixels.
 * {"inputs": {"image": "iVBORw0KGgoA…", "question": "Who is the cat?"}, "parameters": {"top_k": 2}}
 * // → [{"score": 0.9617221280754292, "answer": "2"}, {"score": 0.9518737041561046, "answer": "hat"}]
 * ```
 */
import { PreTrainedModel } from "@huggingface/transformers";
import { z } from "zod";

import { rowOf, type AutoModelClass } from "../model/encoder.ts";
import type { ModelConfig } from "../model/folder.ts";
import type { Encoding } from "../model/truncation.ts";
import { readAsVilt } from "../model/vilt.ts";
import { loadVisionText, type VisionText } from "../model/vision-text.ts";
import { imageCost, stackPixels, type ImageItem } from "../model/vision.ts";
import { createImageInput, EXAMPLE_IMAGE, IGNORED_IMAGE_PARAMETERS } from "./image-input.ts";
import { imageQuestions, ImageQuestionInputs, type ImageQuestion } from "./image-question.ts";
import { readParameters, TruncationParameter } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, topIndices } from "./scores.ts";
import type { OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "answer the question about the image";
const TASK = "visual-question-answering";
/** Python's default. */
const TOP_K = 5;

const wantedTopK = "a whole number of at least 1";

export const VisualQuestionAnsweringParameters = z.object({
  /** How many answers, the best first; five by default. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullish(),
  /** On by default: a question is cut to the model's limit, where Python's fails. */
  truncation: TruncationParameter,
});
type Parameters = z.output<typeof VisualQuestionAnsweringParameters>;

export const visualQuestionAnswering: Task = {
  inputs: ImageQuestionInputs,
  parameters: VisualQuestionAnsweringParameters,
  example: { inputs: { image: EXAMPLE_IMAGE, question: "What is in the picture?" } },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const visionText = await loadVisionText(model, ONE_GRAPH, TASK);
    const output = findOutput(visionText.encoder, model, TASK, ["logits"], 2);
    if (model.folder.config.model_type === "vilt") readAsVilt(visionText.images);
    return openVisualQuestionAnswering(visionText, output, model);
  },
};

const ONE_GRAPH: AutoModelClass = {
  supports: () => false,
  from_pretrained: PreTrainedModel.from_pretrained.bind(PreTrainedModel),
};

interface AskedItem extends ImageItem {
  readonly encoding: Encoding;
}

interface State {
  readonly isList: boolean;
  readonly topK: number;
}

type ScoredAnswer = { readonly score: number; readonly answer: string };
/** The best first. */
export type VisualQuestionAnsweringAnswer = readonly ScoredAnswer[];

function openVisualQuestionAnswering(
  { encoder, images }: VisionText,
  output: string,
  { folder: { config }, urlHosts }: TaskModel,
): OpenTask<AskedItem, Float32Array, State> {
  const input = createImageInput(ACTION, urlHosts);

  async function toItem(
    { image, imageName, question, questionName }: ImageQuestion,
    { truncation }: Parameters,
    context: TaskContext,
  ): Promise<AskedItem> {
    const encoding = encoder.encode(question, {
      truncation: truncation ?? "longest_first",
      action: ACTION,
      name: questionName,
      warn: context.warn,
    });
    const pixels = await input.read(image, imageName, context, (decoded) =>
      images.read(decoded, { action: ACTION, name: imageName }),
    );
    const { tokens, group } = imageCost(pixels);
    return { tokens: tokens + encoding.inputIds.length, group, pixels, encoding };
  }

  return {
    notes: [],

    async preprocess(request, context) {
      const parameters = readParameters(
        VisualQuestionAnsweringParameters,
        request.data["parameters"],
        { action: ACTION, warn: context.warn, ignored: IGNORED_IMAGE_PARAMETERS },
      );
      const { questions, isList } = imageQuestions(request, ACTION);
      const items = await Promise.all(
        questions.map((question) => toItem(question, parameters, context)),
      );
      return { items, state: { isList, topK: parameters.top_k ?? TOP_K } };
    },

    async inference(items) {
      const encodings = items.map(({ encoding }) => encoding);
      const [logits] = await encoder.run(encodings, [output], {
        pixel_values: stackPixels(items.map(({ pixels }) => pixels)),
      }); // [B, L]; the library adds the mask of the pixels, all ones
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess({ isList, topK }, results) {
      const answers = results.map((logits): VisualQuestionAnsweringAnswer => {
        const scores = sigmoid(logits);
        return topIndices(scores, topK).map((index) => ({
          score: scores[index] ?? 0,
          answer: labelOf(config, index),
        }));
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}

function labelOf({ id2label }: ModelConfig, index: number): string {
  return String(id2label?.[index] ?? `LABEL_${index}`);
}
