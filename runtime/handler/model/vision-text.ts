/**
 * Models that compare images with texts: CLIP, SigLIP and their kin, OWL-ViT and its.
 *
 * The graph reads token ids and pixels in one pass. This file loads it with both its readers and knows how long a text
 * may be; what becomes of the outputs is the business of `similarity.ts` and of the tasks.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { TaskModel } from "../tasks/task.ts";
import { loadEncoder, type AutoModelClass, type Encoder } from "./encoder.ts";
import type { ModelConfig } from "./folder.ts";
import type { Encoding } from "./truncation.ts";
import { loadImageReader, type ImageReader } from "./vision.ts";

export interface VisionText {
  readonly encoder: Encoder;
  readonly images: ImageReader;
  /**
   * Tokenizes a text, cut to what the model reads.
   *
   * @param options As for `encoder.encode`.
   */
  encodeText(text: string, options: TextOptions): Encoding;
}

export interface TextOptions {
  readonly action: string;
  /** What the client calls this text: `candidate_labels[2]`. */
  readonly name: string;
  readonly warn?: ((text: string) => void) | undefined;
}

/**
 * Loads the tokenizer, the image processor and the graph that reads both.
 *
 * @param task The task's name, for messages.
 * @throws `MODEL_INVALID` when a file is missing or broken, or the graph does not read texts and images.
 */
export async function loadVisionText(
  model: TaskModel,
  autoModel: AutoModelClass,
  task: string,
): Promise<VisionText> {
  const components = Object.keys(model.weights.components);
  if (!components.includes("model") && components.length > 1) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve ${task}: found ${components.join(" and ")} apart, wanted one graph "model" that reads texts and images, as the scale of its scores is in no other file`,
    );
  }
  const images = await loadImageReader(model);
  const encoder = await loadEncoder(model, autoModel);
  const problem = whatIsWrongWith(encoder.inputs);
  if (problem !== undefined) {
    await encoder.dispose();
    const graph = model.weights.files[0] ?? "this graph";
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve ${task} with ${graph}: its inputs are ${[...encoder.inputs].join(", ")}, ${problem}`,
    );
  }
  const limit = textLimitOf(model.folder.config);
  const isPadded = isSiglip(model.folder.config);
  const padId = encoder.tokenizer.pad_token_id ?? 0;

  return {
    encoder,
    images,
    encodeText(text, options) {
      const encoding = encoder.encode(text, {
        ...options,
        truncation: "longest_first",
        maxTokens: limit,
      });
      if (!isPadded) return encoding;
      const padding = Array.from({ length: limit - encoding.inputIds.length }, () => padId);
      return { ...encoding, inputIds: [...encoding.inputIds, ...padding] };
    },
  };
}

/** What the graph must read, and what besides can be given. */
const NEEDED = ["input_ids", "pixel_values"];
const KNOWN: ReadonlySet<string> = new Set([
  ...NEEDED,
  "attention_mask",
  "token_type_ids",
  "pixel_mask",
]);

function whatIsWrongWith(inputs: ReadonlySet<string>): string | undefined {
  const missing = NEEDED.find((name) => !inputs.has(name));
  if (missing !== undefined) return `wanted "${missing}" among them`;
  const unknown = [...inputs].find((name) => !KNOWN.has(name));
  return unknown === undefined
    ? undefined
    : `and nothing is known that "${unknown}" could be given`;
}

/** SigLIP was trained on texts padded to their limit, and pools the last token whatever it is. */
export function isSiglip({ model_type }: ModelConfig): boolean {
  return model_type?.includes("siglip") === true;
}

/** Where `config.json` leaves it out: the defaults of Python's configurations. */
const DEFAULT_LIMITS: Readonly<Record<string, number>> = {
  align: 512,
  chinese_clip: 512,
  clip: 77,
  "grounding-dino": 256,
  owlv2: 16,
  owlvit: 16,
  siglip: 64,
};

const Limits = z.object({
  text_config: z.object({ max_position_embeddings: z.number().nullish() }).nullish(),
});

/** Tokens of a text, special tokens included. */
function textLimitOf(config: ModelConfig): number {
  const said = Limits.catch({}).parse(config).text_config?.max_position_embeddings;
  return said ?? DEFAULT_LIMITS[config.model_type ?? ""] ?? 77;
}
