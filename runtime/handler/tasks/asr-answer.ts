/**
 * What all speech recognition has in common: its parameters, and what it answers.
 */
import { z } from "zod";

import { GENERATION_PARAMETERS } from "../model/generation-parameters.ts";

/** What is being done, for refusals. */
export const ASR_ACTION = "recognize the speech";

/** One sound's transcript. */
export type AsrAnswer = {
  readonly text: string;
  readonly chunks?: readonly AsrChunk[];
};

export type AsrChunk = {
  readonly text: string;
  /** In seconds; the end is `null` where the model did not say it. Absent where only the language was asked for. */
  readonly timestamp?: readonly [start: number, end: number | null];
  /** In English; where it was asked for. */
  readonly language?: string | null;
};

/** Parameters that only models which write text understand. */
export const WHISPER_PARAMETERS = {
  /** `"de"`, `"german"` or `"<|de|>"`; heard where nobody says. */
  language: z.string("a language").nullish(),
  task: z.enum(["transcribe", "translate"], `"transcribe" or "translate"`).nullish(),
  return_language: z.boolean("true or false").nullish(),
  ...GENERATION_PARAMETERS,
};
