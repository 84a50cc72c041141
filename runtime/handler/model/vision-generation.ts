/**
 * Models that read an image and write a text: an encoder of pixels before a decoder of words (ViT-GPT2, TrOCR, Donut).
 *
 * Captions begin with the decoder's start, answers with a prompt. Images of equal size whose prompts are of equal length
 * are written about together.
 */
import { AutoModelForVision2Seq, type PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { Item, TaskModel } from "../tasks/task.ts";
import { openSeq2SeqDecoder } from "./decoder.ts";
import { loadNetwork, loadTokenizer } from "./encoder.ts";
import { run, type Generated } from "./generation.ts";
import {
  readGenerationDefaults,
  type GenerationDefaults,
  type GenerationSettings,
} from "./generation-settings.ts";
import { maxTokensOf } from "./truncation.ts";
import {
  imageCost,
  loadImageReader,
  stackPixels,
  type ImageReader,
  type Pixels,
} from "./vision.ts";

/** An image to be written about. */
export interface WritingItem extends Item {
  readonly pixels: Pixels;
  /** What the decoder begins with; at least one token. */
  readonly prompt: readonly number[];
  readonly settings: GenerationSettings;
}

export interface VisionGenerator {
  readonly tokenizer: PreTrainedTokenizer;
  readonly images: ImageReader;
  readonly defaults: GenerationDefaults;
  /** What a caption begins with, where the model says. */
  readonly startId: number | undefined;
  /** The most tokens that the decoder holds, the prompt included; `Infinity` where nothing says. */
  readonly maxTokens: number;
  /** The kind of the encoder: `donut-swin`. */
  readonly encoderType: string;
  /** One generation over items of one group. @throws The signal's reason within one token, once it is aborted. */
  generate(items: readonly WritingItem[], signal: AbortSignal): Promise<Generated[]>;
  dispose(): Promise<void>;
}

const Ids = z.union([z.number(), z.array(z.number())]).nullish();
const number = z.number().nullish();

/** The two halves of the configuration. */
const Halves = z.looseObject({
  encoder: z.looseObject({ model_type: z.string().nullish() }).nullish(),
  decoder: z
    .looseObject({
      model_type: z.string().nullish(),
      max_position_embeddings: number,
      n_positions: number,
      bos_token_id: number,
      eos_token_id: Ids,
      pad_token_id: number,
      decoder_start_token_id: number,
    })
    .nullish(),
});
type Decoder = NonNullable<z.output<typeof Halves>["decoder"]>;

/**
 * Loads the tokenizer, the image processor and both graphs.
 *
 * @param task The task's name, for messages.
 * @throws `MODEL_INVALID` when a file is missing or broken, or the model is of another kind.
 */
export async function loadVisionGenerator(
  model: TaskModel,
  task: string,
): Promise<VisionGenerator> {
  const { config } = model.folder;
  if (!AutoModelForVision2Seq.supports(config.model_type ?? "")) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve ${task} with the model type "${config.model_type ?? "none"}": wanted "vision-encoder-decoder", an encoder of images before a decoder of words`,
    );
  }
  const images = await loadImageReader(model);
  const tokenizer = await loadTokenizer(model);
  const { encoder, decoder = {} } = Halves.catch({}).parse(config);
  const defaults = await readGenerationDefaults(withDecoderIds(model, decoder ?? {}));
  const network = await loadNetwork(model, AutoModelForVision2Seq);
  const positions = decoder?.max_position_embeddings ?? decoder?.n_positions;

  return {
    tokenizer,
    images,
    defaults,
    startId: defaults.model.decoder_start_token_id ?? defaults.model.bos_token_id ?? undefined,
    maxTokens: maxTokensOf({ ...decoder, max_position_embeddings: positions }, Infinity),
    encoderType: encoder?.model_type ?? "",

    async generate(items, signal) {
      const pixels = stackPixels(items.map((item) => item.pixels));
      const writer = await openSeq2SeqDecoder(network, { pixel_values: pixels });
      const prompts = items.map(({ prompt }) => prompt);
      return run(writer, prompts, items, { tokenizer }, signal);
    },

    async dispose() {
      await network.dispose();
    },
  };
}

/** Token ids that stand with the decoder alone, as `config.json` has them where no `generation_config.json` is. */
function withDecoderIds(model: TaskModel, decoder: Decoder): TaskModel {
  const { folder } = model;
  const { bos_token_id, eos_token_id, pad_token_id, decoder_start_token_id } = decoder;
  const ids = { bos_token_id, eos_token_id, pad_token_id, decoder_start_token_id };
  const own = Object.entries(folder.config).filter(([, value]) => value !== null);
  return { ...model, folder: { ...folder, config: { ...ids, ...Object.fromEntries(own) } } };
}

/** What an item of a generation costs, and whom it shares one with. */
export function writingItem(
  pixels: Pixels,
  prompt: readonly number[],
  settings: GenerationSettings,
): WritingItem {
  const { tokens, group } = imageCost(pixels);
  const { beams, maxNewTokens } = settings;
  // Rows leave as they are done, but a short answer should not wait for a long one, nor one beam for many.
  const shape = [group, prompt.length, beams, maxNewTokens].join(" ");
  return { tokens: tokens + prompt.length * beams, group: shape, pixels, prompt, settings };
}
