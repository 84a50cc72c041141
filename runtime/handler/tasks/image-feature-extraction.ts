/**
 * Image feature extraction: an image to the network's hidden states, or to one pooled vector.
 *
 * Numbers and shapes follow `ImageFeatureExtractionPipeline` of Python's transformers (4.57 and 5.18): the first output
 * as it is, with its axis of images, `[1][T][H]` for a transformer and `[1][C][H][W]` for a convolutional network; with
 * `pool` the pooler's `[1][H]`.
 *
 * @example
 * ```jsonc
 * // tiny-vit-features in fp32, of the tests, and a file of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgo…"}
 * // → [[[0.20297569036483765, 0.4330746531486511, …], …]]: 17 rows of 32 numbers
 * {"inputs": "iVBORw0KGgo…", "parameters": {"pool": true}}
 * // → [[0.6008637547492981, 0.017440805211663246, …]]: 32 numbers
 * ```
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import { rowOf, type FloatTensor } from "../model/encoder.ts";
import { loadVision, type ImageItem, type Vision } from "../model/vision.ts";
import { fromTensor } from "../output/tensor.ts";
import {
  createImageInput,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
  ImageInputs,
} from "./image-input.ts";
import { invalidInput, readParameters } from "./inputs.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "extract the features of the image";

export const ImageFeatureExtractionParameters = z.object({
  /** The pooled vector in place of the hidden states. */
  pool: z.boolean("true or false").nullish(),
});
export type ImageFeatureExtractionParameters = z.infer<typeof ImageFeatureExtractionParameters>;

/** Nested numbers, `[1][T][H]` or `[1][H]`; of a list of images a list of such. */
export type ImageFeatureExtractionAnswer = readonly JsonValue[];

export const imageFeatureExtraction: Task = {
  inputs: ImageInputs,
  parameters: ImageFeatureExtractionParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const vision = await loadVision(model);
    return openImageFeatureExtraction(vision, findOutputs(vision, model), model);
  },
};

interface Outputs {
  readonly hidden: string;
  readonly pooled: string | undefined;
}

/** What the network calls its hidden states; an encoder of a larger model may give embeddings alone. */
const HIDDEN = ["last_hidden_state", "image_embeds", "logits"];

function findOutputs({ outputs }: Vision, { weights }: TaskModel): Outputs {
  const names = [...outputs.keys()];
  const hidden = HIDDEN.find((name) => outputs.has(name)) ?? names[0];
  if (hidden === undefined) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve image-feature-extraction with ${weights.files[0] ?? "this graph"}: it has no output`,
    );
  }
  return { hidden, pooled: names.find((name) => name === "pooler_output") };
}

interface FeatureItem extends ImageItem {
  readonly isPooled: boolean;
}

function openImageFeatureExtraction(
  vision: Vision,
  { hidden, pooled }: Outputs,
  { urlHosts }: TaskModel,
): OpenTask<FeatureItem, JsonValue, { readonly isList: boolean }> {
  const input = createImageInput(ACTION, urlHosts);
  return {
    notes: [],

    async preprocess(request, context) {
      const { pool } = readParameters(
        ImageFeatureExtractionParameters,
        request.data["parameters"],
        {
          action: ACTION,
          warn: context.warn,
          ignored: [...IGNORED_IMAGE_PARAMETERS, "image_processor_kwargs"],
        },
      );
      if (pool === true && pooled === undefined) {
        throw invalidInput(ACTION, `"pool" is true, but the model has no pooled output`);
      }
      const isPooled = pool === true;
      const { items, isList } = await input.readAll(request, context, async (image, name) => ({
        ...(await vision.read(image, { action: ACTION, name })),
        isPooled,
      }));
      return { items, state: { isList } };
    },

    async inference(items) {
      const images = items.map(({ pixels }) => pixels);
      const [states, pools] = await vision.forward(images, [hidden, pooled ?? hidden]);
      return items.map(({ isPooled }, b) => toNested(isPooled ? pools : states, b));
    },

    postprocess({ isList }, results): ImageFeatureExtractionAnswer {
      return isList ? results : (results[0] as ImageFeatureExtractionAnswer); // one image: a list over its one
    },

    dispose: () => vision.dispose(),
  };
}

/** One image of a batch, with an axis of one image, as Python's tensors have it. */
function toNested(tensor: FloatTensor, b: number): JsonValue {
  return fromTensor({ data: rowOf(tensor, b), dims: [1, ...tensor.dims.slice(1)] });
}
