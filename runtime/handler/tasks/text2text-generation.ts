/**
 * Text to text: whatever a model with an encoder and a decoder was taught to answer.
 *
 * Follows `Text2TextGenerationPipeline` of Python's transformers 4.57; how texts are written is in `seq2seq.ts`.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-t5, whose weights are random.
 * {"inputs": ["The little cat went to the park.", "Tom was very sad because the ball was lost."],
 *  "parameters": {"num_beams": 1, "max_new_tokens": 4}}
 * // → [{"generated_text": "Ruby flfrfr"}, {"generated_text": "Lily river Ruby so"}]
 * ```
 */
import { z } from "zod";

import { TextInputs } from "./inputs.ts";
import { openSeq2Seq, SEQ2SEQ_PARAMETERS } from "./seq2seq.ts";
import type { Task } from "./task.ts";

export const Text2TextGenerationParameters = z.object(SEQ2SEQ_PARAMETERS);
export type Text2TextGenerationParameters = z.infer<typeof Text2TextGenerationParameters>;

/** One text's answer. */
type GeneratedText = { readonly generated_text: string };
/** One per text. */
export type Text2TextGenerationAnswer = readonly GeneratedText[];

export const text2textGeneration: Task = {
  inputs: TextInputs,
  parameters: Text2TextGenerationParameters,
  example: { inputs: "Answer the question: what is the capital of France?" },
  answersListsByElement: true,
  measure: "characters",
  open: (model) =>
    openSeq2Seq(model, {
      action: "generate text",
      parameters: Text2TextGenerationParameters,
      toAnswer: (text): GeneratedText => ({ generated_text: text }),
      direct: () => ({ task: "text2text-generation" }),
    }),
};
