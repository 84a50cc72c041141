/**
 * Image classification: an image to labels with scores.
 *
 * Numbers and shapes follow `ImageClassificationPipeline` of Python's transformers (4.57 and 5.18). Letters: `B` images,
 * `L` labels.
 *
 * @example
 * ```jsonc
 * // tiny-vit in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…", "parameters": {"top_k": 2}}
 * // → [{"label": "square", "score": 0.3569663686510721}, {"label": "star", "score": 0.24893463646986075}]
 * ```
 */
import { z } from "zod";

import type { ModelConfig } from "../model/folder.ts";
import { rowOf } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Vision } from "../model/vision.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, softmax, topIndices } from "./scores.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "classify the image";
/** Python's default. */
const TOP_K = 5;

const wantedTopK = "a whole number of at least 1, or null for five labels";
const wantedFunction = `"sigmoid", "softmax", "none" or "default"`;

export const ImageClassificationParameters = z.object({
  /** How many labels, best first; five by default. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullish(),
  /** What makes scores of logits; by default what the model's configuration asks for. */
  function_to_apply: z.enum(["sigmoid", "softmax", "none", "default"], wantedFunction).nullish(),
});
export type ImageClassificationParameters = z.infer<typeof ImageClassificationParameters>;

/** One label. */
export type ImageLabel = { readonly label: string; readonly score: number };
/** The best labels, best first; of a list of images a list of such. */
export type ImageClassificationAnswer = readonly ImageLabel[] | readonly (readonly ImageLabel[])[];

export const imageClassification: Task = {
  inputs: ImageInputs,
  parameters: ImageClassificationParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    const logits = findOutput(vision, model, "image-classification", ["logits"], 2);
    return openImageClassification(vision, logits, model);
  },
};

/** What makes scores of logits. */
const ACTIVATIONS = { sigmoid, softmax, none: (logits: Float32Array) => Float64Array.from(logits) };
type Activation = keyof typeof ACTIVATIONS;

interface State {
  readonly isList: boolean;
  readonly topK: number;
  readonly activation: Activation | undefined;
}

function openImageClassification(
  vision: Vision,
  output: string,
  { folder: { config }, urlHosts }: TaskModel,
): OpenTask<ImageItem, Float32Array, State> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],

    async preprocess(request, context) {
      const { top_k, function_to_apply } = readParameters(
        ImageClassificationParameters,
        request.data["parameters"],
        { action: ACTION, warn: context.warn, ignored: IGNORED_IMAGE_PARAMETERS },
      );
      const { items, isList } = await input.readAll(request, context, (image, name) =>
        vision.read(image, { action: ACTION, name }),
      );
      const activation = function_to_apply === "default" ? undefined : function_to_apply;
      return {
        items,
        state: { isList, topK: top_k ?? TOP_K, activation: activation ?? undefined },
      };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [logits] = await vision.forward(images, [output]); // [B, L]
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess({ isList, topK, activation }, results): ImageClassificationAnswer {
      const answers = results.map((logits) => {
        const scores = ACTIVATIONS[activation ?? defaultActivation(config, logits.length)](logits);
        return topIndices(scores, topK).map((index): ImageLabel => ({
          label: String(config.id2label?.[index] ?? `LABEL_${index}`),
          score: scores[index] ?? 0,
        }));
      });
      return isList ? answers : answers.flat();
    },

    dispose: () => vision.dispose(),
  };
}

/** As Python decides it: several labels may hold at once, or there is only one. */
function defaultActivation({ problem_type, id2label }: ModelConfig, L: number): Activation {
  const labels = id2label ? Object.keys(id2label).length : L;
  return problem_type === "multi_label_classification" || labels === 1 ? "sigmoid" : "softmax";
}
