/**
 * Summarization: a text to a shorter one.
 *
 * Follows `SummarizationPipeline` of Python's transformers 4.57; how texts are written is in `seq2seq.ts`.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-bart, whose weights are random.
 * {"inputs": "The little cat went to the park.", "parameters": {"max_new_tokens": 8}}
 * // → [{"summary_text": "Zoe schllowowowow"}]
 * ```
 */
import { z } from "zod";

import { TextInputs } from "./inputs.ts";
import { openSeq2Seq, SEQ2SEQ_PARAMETERS } from "./seq2seq.ts";
import type { Task } from "./task.ts";

export const SummarizationParameters = z.object(SEQ2SEQ_PARAMETERS);
export type SummarizationParameters = z.infer<typeof SummarizationParameters>;

/** One text's answer. */
type Summary = { readonly summary_text: string };
/** One per text. */
export type SummarizationAnswer = readonly Summary[];

export const summarization: Task = {
  inputs: TextInputs,
  parameters: SummarizationParameters,
  example: {
    inputs:
      "The tower is 324 metres tall, about the same height as an 81-storey building, and the tallest structure in Paris.",
  },
  answersListsByElement: true,
  measure: "characters",
  open: (model) =>
    openSeq2Seq(model, {
      action: "summarize the text",
      parameters: SummarizationParameters,
      toAnswer: (text): Summary => ({ summary_text: text }),
      direct: () => ({ task: "summarization" }),
    }),
};
