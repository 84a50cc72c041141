/**
 * Automatic speech recognition: a sound to its text, with the times of its parts where they are wanted.
 *
 * Two kinds of models are served, each in a file of its own: those that name a token for every frame (`asr-ctc.ts`) and
 * Whisper (`asr-whisper.ts`). Numbers follow `AutomaticSpeechRecognitionPipeline` of Python's transformers (4.57 and 5.18).
 *
 * @example
 * ```jsonc
 * // tiny-wav2vec2-ctc in fp32, which has learned nothing; test/fixtures/models/_expected/audio/tones-0.wav as the
 * // body, or in base64:
 * {"inputs": "UklGRiR9AABXQVZFZm10IBAA…"}
 * // → {"text": "DE'OQFE'REOEQE'QOR'E'EREQE'QE'QRE'EOE'EO'"}
 * {"inputs": "UklGRiR9AABXQVZFZm10IBAA…", "parameters": {"return_timestamps": "word"}}
 * // → {"text": "DE'OQFE'REOEQE'QOR'E'EREQE'QE'QRE'EOE'EO'",
 * //    "chunks": [{"text": "DE'OQFE'REOEQE'QOR'E'EREQE'QE'QRE'EOE'EO'", "timestamp": [0, 0.98]}]}
 * ```
 */
import { AutoModelForCTC } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { BEAM_PARAMETERS } from "../model/generation-parameters.ts";
import { WHISPER_PARAMETERS } from "./asr-answer.ts";
import { CHUNK_PARAMETERS } from "./asr-chunks.ts";
import { openCtc } from "./asr-ctc.ts";
import { openWhisper } from "./asr-whisper.ts";
import { AudioInputs, EXAMPLE_SOUND } from "./audio-input.ts";
import type { Task } from "./task.ts";

export type { AsrAnswer as AutomaticSpeechRecognitionAnswer } from "./asr-answer.ts";

const wantedTimestamps = `true, false, "word" or "char"`;

/** What either kind of model understands; each refuses what is only for the other. */
export const AutomaticSpeechRecognitionParameters = z.object({
  /** `true` for Whisper's segments; `"word"` and `"char"` for models that name a token for every frame. */
  return_timestamps: z.union([z.boolean(), z.enum(["word", "char"])], wantedTimestamps).nullish(),
  ...CHUNK_PARAMETERS,
  ...WHISPER_PARAMETERS,
  ...BEAM_PARAMETERS,
});

const WHISPERS: ReadonlySet<string> = new Set(["whisper", "lite-whisper"]);

export const automaticSpeechRecognition: Task = {
  inputs: AudioInputs,
  parameters: AutomaticSpeechRecognitionParameters,
  example: { inputs: EXAMPLE_SOUND },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const { model_type, architectures } = model.folder.config;
    if (WHISPERS.has(model_type ?? "")) return openWhisper(model);
    const isCtc =
      architectures?.[0]?.endsWith("ForCTC") ?? AutoModelForCTC.supports(model_type ?? "");
    if (isCtc) return openCtc(model);
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve automatic-speech-recognition: the model type is "${model_type ?? "none"}", wanted whisper or a model with a CTC head (wav2vec2, hubert, wavlm, …)`,
    );
  },
};
