/**
 * Image-to-text: a caption, or the text that an image shows.
 *
 * Follows `ImageToTextPipeline` of Python's transformers 4.57 (version 5 has none): at most 256 new tokens unless the
 * model's files say otherwise, the text as the tokenizer makes it, spaces at its end included.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-vit-gpt2 in fp32, whose weights are random, and an image of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgoA…", "parameters": {"max_new_tokens": 5}}
 * // → [{"generated_text": "�� water water water"}]
 * ```
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { InferenceRequest } from "../../inference.ts";
import type { Generated } from "../model/generation.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  readGenerationParameters,
} from "../model/generation-parameters.ts";
import {
  limitNewTokens,
  toSettings,
  warnOfIdle,
  type GenerationSettings,
} from "../model/generation-settings.ts";
import {
  loadVisionGenerator,
  writingItem,
  type VisionGenerator,
  type WritingItem,
} from "../model/vision-generation.ts";
import {
  createImageInput,
  ImageInputs,
  EXAMPLE_IMAGE,
  IGNORED_IMAGE_PARAMETERS,
} from "./image-input.ts";
import type { OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "describe the image";

export const ImageToTextParameters = z.object({
  ...GENERATION_PARAMETERS,
  ...BEAM_PARAMETERS,
  /** Python's pipeline takes one for kinds of models that transformers.js does not know, and refuses it for these. */
  prompt: z.null("none, as this model writes without a prompt").optional(),
});
export type ImageToTextParameters = z.output<typeof ImageToTextParameters>;

export const imageToText: Task = {
  inputs: ImageInputs,
  parameters: ImageToTextParameters,
  example: { inputs: EXAMPLE_IMAGE },
  answersListsByElement: true,
  measure: "items",
  async open(model: TaskModel) {
    const generator = await loadVisionGenerator(model, "image-to-text");
    const { startId } = generator;
    if (startId !== undefined) return openImageToText(generator, startId, model.urlHosts);
    await generator.dispose();
    throw new RuntimeError(
      "MODEL_INVALID",
      "Cannot serve image-to-text: neither generation_config.json nor config.json names the token that a text begins with, wanted decoder_start_token_id",
    );
  },
};

/** One text, in a list as in Python. */
export type ImageToTextAnswer = readonly { readonly generated_text: string }[];

interface State {
  readonly isList: boolean;
}

function openImageToText(
  generator: VisionGenerator,
  startId: number,
  urlHosts: TaskModel["urlHosts"],
): OpenTask<WritingItem, Generated, State> {
  const { tokenizer, images, defaults, maxTokens } = generator;
  const input = createImageInput(ACTION, urlHosts);
  const prompt = [startId];

  function settingsOf({ data }: InferenceRequest, { warn }: TaskContext): GenerationSettings {
    const parameters = readGenerationParameters(ImageToTextParameters, data["parameters"], {
      action: ACTION,
      warn,
      ignored: IGNORED_IMAGE_PARAMETERS,
    });
    const promptTokens = prompt.length;
    const settings = toSettings({
      parameters,
      defaults,
      task: "image-to-text",
      pipeline: { max_new_tokens: 256 },
      promptTokens,
    });
    warnOfIdle(parameters, settings, warn);
    return limitNewTokens(settings, { maxTokens, promptTokens, parameters, action: ACTION });
  }

  return {
    notes: [],

    async preprocess(request, context) {
      const settings = settingsOf(request, context);
      const { items, isList } = await input.readAll(request, context, async (image, name) => {
        const pixels = await images.read(image, { action: ACTION, name });
        return writingItem(pixels, prompt, settings);
      });
      return { items, state: { isList } };
    },

    inference: (items, signal) => generator.generate(items, signal),

    postprocess({ isList }, results) {
      const answers = results.map(({ ids }): ImageToTextAnswer => {
        const text =
          ids.length === 0 ? "" : tokenizer.decode([...ids], { skip_special_tokens: true });
        return [{ generated_text: text }];
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => generator.dispose(),
  };
}
