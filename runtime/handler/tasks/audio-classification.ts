/**
 * Audio classification: a sound to labels with scores, the best five unless told otherwise.
 *
 * Numbers follow `AudioClassificationPipeline` of Python's transformers (4.57 and 5.18), which makes scores with softmax
 * whatever the model's configuration says. Letters: `B` sounds, `L` labels.
 *
 * @example
 * ```jsonc
 * // tiny-wav2vec2 in fp32; test/fixtures/models/_expected/audio/tones-0.wav as the body, or in base64:
 * {"inputs": "UklGRiR9AABXQVZFZm10IBAA…", "parameters": {"top_k": 2}}
 * // → [{"score": 0.21367106869714858, "label": "speech"}, {"score": 0.208347056851546, "label": "silence"}]
 * ```
 */
import { AutoModelForAudioClassification } from "@huggingface/transformers";
import { z } from "zod";

import {
  assertLongEnough,
  loadSoundNetwork,
  soundCost,
  type SoundItem,
  type SoundNetwork,
} from "../model/audio.ts";
import { rowOf } from "../model/encoder.ts";
import { AudioInputs, createSoundInput, EXAMPLE_SOUND } from "./audio-input.ts";
import { readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, softmax, topIndices } from "./scores.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "classify the sound";

const wantedTopK = "a whole number of at least 1, or null for all labels";

export const AudioClassificationParameters = z.object({
  /** How many labels, best first; `null` for all. */
  top_k: z.int(wantedTopK).positive(wantedTopK).nullable().default(5),
  /** What makes scores of logits; softmax by default. */
  function_to_apply: z
    .enum(["sigmoid", "softmax", "none"], `"sigmoid", "softmax" or "none"`)
    .nullish(),
});
export type AudioClassificationParameters = z.infer<typeof AudioClassificationParameters>;

export type AudioClassificationAnswer = { readonly label: string; readonly score: number }[];

export const audioClassification: Task = {
  inputs: AudioInputs,
  parameters: AudioClassificationParameters,
  example: { inputs: EXAMPLE_SOUND },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const network = await loadSoundNetwork(model, AutoModelForAudioClassification);
    const logits = findOutput(network, model, "audio-classification", ["logits"], 2);
    return openAudioClassification(network, logits, model);
  },
};

const ACTIVATIONS = { sigmoid, softmax, none: (logits: Float32Array) => Float64Array.from(logits) };

interface State {
  readonly isList: boolean;
  readonly topK: number;
  readonly activation: keyof typeof ACTIVATIONS;
}

function openAudioClassification(
  network: SoundNetwork,
  output: string,
  { folder: { config }, urlHosts }: TaskModel,
): OpenTask<SoundItem, Float32Array, State> {
  const { reader } = network;
  const { sampleRate } = reader;
  const input = createSoundInput({ action: ACTION, sampleRate, urlHosts });
  return {
    notes: [],

    async preprocess(request, { warn, signal }) {
      const { top_k, function_to_apply } = readParameters(
        AudioClassificationParameters,
        request.data["parameters"],
        { action: ACTION, warn },
      );
      const items: SoundItem[] = [];
      const { isList } = await input.readEach(request, signal, async (sound, name) => {
        assertLongEnough(sound, config, { action: ACTION, name });
        const features = await reader.read(sound);
        items.push({ ...soundCost(features, sound.length / sampleRate), features });
      });
      const activation = function_to_apply ?? "softmax";
      return { items, state: { isList, topK: top_k ?? Infinity, activation } };
    },

    async inference(items) {
      const logits = await network.forward(
        items.map(({ features }) => features),
        output,
      ); // [B, L]
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess({ isList, topK, activation }, results) {
      const answers = results.map((logits): AudioClassificationAnswer => {
        const scores = ACTIVATIONS[activation](logits);
        return topIndices(scores, topK).map((index) => ({
          score: scores[index] ?? 0,
          label: String(config.id2label?.[index] ?? `LABEL_${index}`),
        }));
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => network.dispose(),
  };
}
