/**
 * Sentence similarity: how near each of some sentences is to a source sentence, as the cosine of their vectors.
 *
 * The answer is the toolkit's `{"similarities": […]}`, in the order of the sentences; clients that want the bare list
 * get it where HTTP is spoken. Texts are pooled as the repository says, else by the mean, the default of
 * sentence-transformers.
 *
 * Most embedding models on the Hub carry this task's name. So texts that come with the parameter `pooling` are answered with
 * their vectors, by feature extraction: it is how `POST /v1/embeddings` asks.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/minilm-embed in fp32.
 * {"inputs": {"source_sentence": "The man buys a car in the city",
 *             "sentences": ["A guy is purchasing an automobile downtown", "The woman is reading a book"]}}
 * // → {"similarities": [0.981330079009239, -0.1816856124160459]}
 * ```
 */
import { z } from "zod";

import type { InferenceRequest } from "../../inference.ts";
import { openEmbedder, type Embedder, type EmbedderItem } from "./embedder.ts";
import { openFeatureExtraction, type FeatureExtractionState } from "./feature-extraction.ts";
import { MaxLengthParameter, readInputs, readParameters, TruncationParameter } from "./inputs.ts";
import { cosine } from "./pooling.ts";
import type { OpenTask, Task } from "./task.ts";

const ACTION = "compare the sentences";

export const SentenceSimilarityInputs = z.object(
  {
    source_sentence: z.string("a string"),
    sentences: z.array(z.string("a string"), "a list of strings"),
  },
  `an object with "source_sentence" and "sentences"`,
);
export type SentenceSimilarityInputs = z.infer<typeof SentenceSimilarityInputs>;

export const SentenceSimilarityParameters = z.object({
  /** On by default: a sentence is cut to the model's limit. */
  truncation: TruncationParameter,
  max_length: MaxLengthParameter,
});
export type SentenceSimilarityParameters = z.infer<typeof SentenceSimilarityParameters>;

/** One number per sentence, in their order. */
export type SentenceSimilarityAnswer = { readonly similarities: readonly number[] };

export const sentenceSimilarity: Task = {
  inputs: SentenceSimilarityInputs,
  parameters: SentenceSimilarityParameters,
  example: {
    inputs: { source_sentence: "I am happy", sentences: ["I am glad", "It rains"] },
  },
  answersListsByElement: false,
  measure: "characters",
  async open(model) {
    return openSentenceSimilarity(await openEmbedder(model, "sentence-similarity"));
  },
};

/** Whether the texts' vectors are wanted, and no comparison. */
function asksForVectors({ data }: InferenceRequest): boolean {
  const { inputs, parameters } = data;
  const isText = typeof inputs === "string" || Array.isArray(inputs);
  return isText && typeof parameters === "object" && parameters !== null && "pooling" in parameters;
}

function openSentenceSimilarity(
  embedder: Embedder,
): OpenTask<EmbedderItem, readonly number[][], FeatureExtractionState | undefined> {
  const features = openFeatureExtraction(embedder);
  return {
    notes: embedder.notes,

    /** The source sentence is the first item. */
    preprocess(request, context) {
      if (asksForVectors(request)) return features.preprocess(request, context);
      const { warn } = context;
      const inputs = readInputs(SentenceSimilarityInputs, request, ACTION);
      const { truncation, max_length } = readParameters(
        SentenceSimilarityParameters,
        request.data["parameters"],
        { action: ACTION, warn },
      );
      const prompt = embedder.own?.defaultPrompt ?? "";
      const toItem = (text: string, name: string) =>
        embedder.toItem(`${prompt}${text}`, embedder.pooled, {
          truncation: truncation ?? "longest_first",
          maxTokens: max_length,
          action: ACTION,
          name: `inputs.${name}`,
          warn,
        });
      const source = toItem(inputs.source_sentence, "source_sentence");
      const others = inputs.sentences.map((text, index) => toItem(text, `sentences[${index}]`));
      return { items: [source, ...others], state: undefined };
    },

    inference: (items) => embedder.inference(items),

    postprocess(state, results) {
      if (state !== undefined) return features.postprocess(state, results);
      const [source, ...others] = results;
      const vector = source?.[0] ?? [];
      const similarities = others.map((rows) => cosine(vector, rows[0] ?? []));
      return { similarities } satisfies SentenceSimilarityAnswer;
    },

    dispose: () => embedder.dispose(),
  };
}
