/**
 * Generations for tests: settings of which a test names only what it is about, and what the goldens hold.
 */
import { z } from "zod";

import type { GenerationSettings } from "../../runtime/handler/model/generation-settings.ts";
import { readModelFolder } from "../../runtime/handler/model/folder.ts";
import { chooseModelWeights } from "../../runtime/handler/model/weights.ts";
import type { TaskModel } from "../../runtime/handler/tasks/task.ts";
import { modelPath } from "./goldens.ts";

/** Greedy, with nothing forced or forbidden. */
export function plainSettings(changes: Partial<GenerationSettings> = {}): GenerationSettings {
  return {
    maxNewTokens: 16,
    minNewTokens: 0,
    beams: 1,
    lengthPenalty: 1,
    earlyStopping: false,
    repetitionPenalty: 1,
    noRepeatNgramSize: 0,
    badWordsIds: [],
    suppressTokens: [],
    beginSuppressTokens: [],
    endIds: [],
    stopTexts: [],
    ...changes,
  };
}

/** PyTorch's greedy answers of a model with an encoder and a decoder. */
export const Seq2SeqGolden = z.object({
  cases: z.array(
    z.object({
      input: z.string(),
      /** What the encoder reads, any prefix included. */
      input_ids: z.array(z.number()),
      max_new_tokens: z.number(),
      new_ids: z.array(z.number()),
      text: z.string(),
      src_lang: z.string().optional(),
      tgt_lang: z.string().optional(),
    }),
  ),
});

/** PyTorch's greedy answers of a decoder alone. */
export const CausalGolden = z.object({
  eos_token_ids: z.array(z.number()),
  cases: z.array(
    z.object({
      prompt: z.string(),
      input_ids: z.array(z.number()),
      max_new_tokens: z.number(),
      /** With the token that ends the sequence, where one came. */
      new_ids: z.array(z.number()),
      new_text: z.string(),
    }),
  ),
});

/** A model of the fixtures as a task opens it. */
export async function fixtureModel(name: string): Promise<TaskModel> {
  const folder = await readModelFolder(modelPath(name));
  return { folder, weights: chooseModelWeights(folder, "fp32") };
}
