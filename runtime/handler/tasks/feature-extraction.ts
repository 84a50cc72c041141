/**
 * Feature extraction: texts to vectors.
 *
 * Two shapes live under this name. The Python pipeline, and so Hugging Face's toolkit, answers with a vector per token:
 * `[1][T][H]` for a text, a list of those for a list. Embedding servers and Hugging Face's clients mean a vector per
 * text: `[B][H]`, for a single text too. A text is pooled to one vector when the repository says how (the layout of
 * sentence-transformers), or the request does (`pooling`, `normalize`, `dimensions`); else the tokens' vectors are the
 * answer. Options are read from `parameters` and, as the clients send them, from the body's root.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/minilm-embed in fp32: 96 dimensions, mean pooling, normalized.
 * {"inputs": "The man buys a car in the city", "dimensions": 3}
 * // → [[0.43245460626810367, 0.5367696288669696, -0.7244731734464122]]
 * ```
 */
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import { openEmbedder, type Embedder, type EmbedderItem, type Reduction } from "./embedder.ts";
import {
  inputName,
  invalidInput,
  MaxLengthParameter,
  readInputs,
  readParameters,
  TextInputs,
  TruncationParameter,
} from "./inputs.ts";
import { normalize } from "./pooling.ts";
import type { OpenTask, Task } from "./task.ts";

const ACTION = "extract features";

const wantedPooling = `"mean", "cls", "max", "last_token", "none" or "auto"`;
const wantedDimensions = "a whole number of at least 1";

export const FeatureExtractionParameters = z.object({
  /**
   * How a text's vectors become one; `"none"` keeps them all. `"auto"`: as the repository says, and where it says nothing,
   * their mean, of length 1.
   */
  pooling: z.enum(["mean", "cls", "max", "last_token", "none", "auto"], wantedPooling).nullish(),
  /** Whether vectors have length 1; by default as the repository says. */
  normalize: z.boolean("true or false").nullish(),
  /** Keep only so many leading dimensions, for models trained to allow it (Matryoshka). */
  dimensions: z.int(wantedDimensions).positive(wantedDimensions).nullish(),
  /** Which of the repository's prompts goes before each text. */
  prompt_name: z.string("a string").nullish(),
  /** Whether a text may be cut to the model's limit; on by default. */
  truncate: z.boolean("true or false").nullish(),
  /** The end that is cut. */
  truncation_direction: z
    .enum(["left", "right", "Left", "Right"], `"left" or "right"`)
    .nullish()
    .transform((side) => (side?.toLowerCase() === "left" ? "left" : side && "right") ?? undefined),
  /** Only numbers: the answer is JSON. */
  encoding_format: z.literal("float", `"float"`).nullish(),
  /** Where the Python pipeline takes the same as `truncate`. */
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
});
export type FeatureExtractionParameters = z.infer<typeof FeatureExtractionParameters>;

/** Read from the body's root too. `truncation` and `max_length` are not sent there by any client. */
const ROOT_OPTIONS = [
  "normalize",
  "dimensions",
  "prompt_name",
  "truncate",
  "truncation_direction",
  "encoding_format",
] as const satisfies readonly (keyof FeatureExtractionParameters)[];

export const featureExtraction: Task = {
  inputs: TextInputs,
  parameters: FeatureExtractionParameters,
  example: { inputs: "I am quite excited how this will turn out" },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    return openFeatureExtraction(await openEmbedder(model, "feature-extraction"));
  },
};

/** One vector per text. */
export type FeatureExtractionAnswer = readonly (readonly number[])[];

/** The vectors of every token, `[B][1][T][H]` for a list of texts and `[1][T][H]` for one. */
export type TokenFeaturesAnswer =
  | readonly FeatureExtractionAnswer[]
  | readonly (readonly FeatureExtractionAnswer[])[];

export interface FeatureExtractionState {
  readonly isList: boolean;
  readonly isPooled: boolean;
  readonly normalize: boolean;
  /** How many to keep. */
  readonly dimensions: number | undefined;
}

/** Also for tasks that answer with vectors besides what they are for. */
export function openFeatureExtraction(
  embedder: Embedder,
): OpenTask<EmbedderItem, readonly number[][], FeatureExtractionState> {
  const { own } = embedder;

  function reductionFor(parameters: FeatureExtractionParameters): Reduction {
    const { pooling, normalize, dimensions } = parameters;
    if (pooling === "none") return "tokens";
    if (pooling === "auto") return embedder.pooled;
    if (pooling) return [pooling];
    const wantsVector = [normalize, dimensions].some(
      (option) => (option ?? undefined) !== undefined,
    );
    return own !== undefined || wantsVector ? embedder.pooled : "tokens";
  }

  function promptFor(name: string | null | undefined): string {
    if (name === undefined || name === null) return own?.defaultPrompt ?? "";
    const prompt = own?.prompts.get(name);
    if (prompt !== undefined) return prompt;
    const known = [...(own?.prompts.keys() ?? [])].join(", ");
    const wanted = known === "" ? "none, as this model has no prompts" : `one of ${known}`;
    throw invalidInput(ACTION, `"prompt_name" is ${JSON.stringify(name)}, wanted ${wanted}`);
  }

  return {
    notes: embedder.notes,

    preprocess(request, { warn }) {
      const inputs = readInputs(TextInputs, request, ACTION);
      const parameters = readOptions(request, warn);
      const prompt = promptFor(parameters.prompt_name);
      const reduction = reductionFor(parameters);
      const isList = Array.isArray(inputs);
      const items = (isList ? inputs : [inputs]).map((text, index) =>
        embedder.toItem(`${prompt}${text}`, reduction, {
          truncation:
            parameters.truncate === false ? "none" : (parameters.truncation ?? "longest_first"),
          maxTokens: parameters.max_length,
          side: parameters.truncation_direction,
          action: ACTION,
          name: inputName(request, index),
          warn,
        }),
      );
      const isPooled = reduction !== "tokens";
      const state = {
        isList,
        isPooled,
        normalize:
          parameters.normalize ?? (isPooled && (own?.normalize ?? parameters.pooling === "auto")),
        dimensions: parameters.dimensions ?? undefined,
      };
      return { items, state };
    },

    inference: (items) => embedder.inference(items),

    postprocess(
      { isList, isPooled, normalize, dimensions },
      results,
    ): FeatureExtractionAnswer | TokenFeaturesAnswer {
      const texts = results.map((rows) => rows.map((row) => finish(row, normalize, dimensions)));
      if (isPooled) return texts.flat(); // [B][H]
      return isList ? texts.map((rows) => [rows]) : texts; // [B][1][T][H] or [1][T][H]
    },

    dispose: () => embedder.dispose(),
  };
}

function readOptions(
  { data }: InferenceRequest,
  warn: (text: string) => void,
): FeatureExtractionParameters {
  const keys = ROOT_OPTIONS.filter((key) => Object.hasOwn(data, key));
  const atRoot = Object.fromEntries(keys.map((key) => [key, data[key]]));
  return readParameters(FeatureExtractionParameters, data["parameters"], {
    action: ACTION,
    warn,
    elsewhere: atRoot,
  });
}

function finish(row: readonly number[], toLength1: boolean, dimensions = row.length): number[] {
  if (dimensions > row.length) {
    throw invalidInput(ACTION, `"dimensions" is ${dimensions}, wanted at most ${row.length}`);
  }
  const kept = row.slice(0, dimensions);
  return toLength1 ? normalize(kept) : kept;
}
