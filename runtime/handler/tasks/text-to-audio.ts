/**
 * Text to speech: a text to a sound, a WAV file of 16 bits and one channel.
 *
 * Serves models that make samples of text in one graph: VITS, which includes the thousand languages of MMS. Their
 * graphs draw noise, so that two answers to one text differ a little, as in Python. A client that accepts JSON alone, or
 * sends a list of texts, gets `{"audio": [samples], "sampling_rate"}`, the shape of `TextToAudioPipeline`
 * (transformers 5.18). Letters: `S` samples.
 *
 * @example
 * ```jsonc
 * // tiny-vits in fp32.
 * {"inputs": "hello world"}
 * // → a WAV file of 12460 bytes: 6208 samples at 16 kHz
 * {"inputs": ["hello world"]}
 * // → [{"audio": [-0.08112803101539612, 0.1150844544172287, …6206 more], "sampling_rate": 16000}]
 * ```
 */
import { AutoModelForTextToWaveform } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { encodeWav } from "../media/audio-wav.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { Encoding } from "../model/truncation.ts";
import { GENERATION_PARAMETERS, readGenerationParameters } from "../model/generation-parameters.ts";
import { inputName, invalidInput, readInputs, TextInputs } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import type { Item, OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "speak the text";

/** Two thousand letters, with the blanks between them: some two minutes, for which attention takes 130 MB. */
const MOST_TOKENS = 4096;

/** What the graph does is fixed in it: nothing is left to choose. */
export const TextToAudioParameters = z.object({});
export type TextToAudioParameters = z.infer<typeof TextToAudioParameters>;

export type TextToAudioAnswer = {
  /** From -1 to 1. */
  readonly audio: number[];
  readonly sampling_rate: number;
};

export const textToAudio: Task = {
  inputs: TextInputs,
  parameters: TextToAudioParameters,
  example: { inputs: "Hello, how are you today?" },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const sampleRate = sampleRateOf(model);
    const encoder = await loadEncoder(model, AutoModelForTextToWaveform);
    const waveform = findOutput(encoder, model, "text-to-audio", ["waveform"], 2);
    return openTextToAudio(encoder, waveform, sampleRate);
  },
};

const VitsConfig = z.looseObject({ sampling_rate: z.int().positive() });

/** @throws `MODEL_INVALID` for the kinds that need more than a text: a vocoder, a voice. */
function sampleRateOf({ folder: { config } }: TaskModel): number {
  const vits = VitsConfig.safeParse(config);
  if (config.model_type === "vits" && vits.success) return vits.data.sampling_rate;
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve text-to-audio: the model type is "${config.model_type ?? "none"}", wanted "vits" with a sampling_rate; write a handler.ts for models that also need a voice or a vocoder`,
  );
}

interface TextItem extends Item {
  readonly encoding: Encoding;
}

interface State {
  readonly isList: boolean;
  readonly isJson: boolean;
}

function openTextToAudio(
  encoder: Encoder,
  output: string,
  sampleRate: number,
): OpenTask<TextItem, Float32Array, State> {
  return {
    notes: [],

    preprocess(request, { warn }) {
      const inputs = readInputs(TextInputs, request, ACTION);
      readGenerationParameters(TextToAudioParameters, request.data["parameters"], {
        action: ACTION,
        warn,
        ignored: Object.keys(GENERATION_PARAMETERS),
      });
      const isList = Array.isArray(inputs);
      const items = [inputs].flat().map((text, index): TextItem => {
        const name = inputName(request, index);
        const encoding = encoder.encode(text, { truncation: "none", action: ACTION, name });
        // The blanks between letters are tokens too: one alone is a text without letters.
        if (encoding.inputIds.length <= 1) {
          throw invalidInput(ACTION, `"${name}" has no letter that the model knows`);
        }
        if (encoding.inputIds.length > MOST_TOKENS) {
          const found = `${encoding.inputIds.length} tokens long`;
          throw invalidInput(ACTION, `"${name}" is ${found}, wanted at most ${MOST_TOKENS}`);
        }
        // Nothing tells where the sound of a shorter text ends: only texts of one length share a pass.
        const tokens = encoding.inputIds.length;
        return { tokens, group: Symbol("alone"), encoding };
      });
      return { items, state: { isList, isJson: isList || wantsJson(request.headers["accept"]) } };
    },

    async inference(items) {
      const results: Float32Array[] = [];
      for (const { encoding } of items) {
        results.push(rowOf(await encoder.forward([encoding], output), 0).slice()); // [1, S]
      }
      return results;
    },

    postprocess({ isList, isJson }, results) {
      const answers = results.map((samples): TextToAudioAnswer => {
        return { audio: Array.from(samples), sampling_rate: sampleRate };
      });
      if (isList) return answers;
      const [samples = new Float32Array()] = results;
      if (isJson) return answers[0] ?? null;
      return new Blob([encodeWav(samples, sampleRate)], { type: "audio/wav" });
    },

    dispose: () => encoder.dispose(),
  };
}

/** Whether a client accepts JSON and nothing else. */
function wantsJson(accept: string | undefined): boolean {
  return accept !== undefined && /^\s*application\/json\s*(;[^,]*)?$/i.test(accept);
}
