/**
 * Zero-shot audio classification: a sound and labels of the client's own, to a score for each, the best first.
 *
 * Each label is put into a sentence, and the model says how well each sentence fits the sound. Numbers follow
 * `ZeroShotAudioClassificationPipeline` of Python's transformers (4.57 and 5.18). Letters: `B` sounds, `N` labels.
 *
 * A sound longer than the model hears is cut to its beginning: Python takes a stretch of it by chance.
 *
 * @example
 * ```jsonc
 * // tiny-clap in fp32; test/fixtures/models/_expected/audio/tones-0.wav in base64:
 * {"inputs": "UklGRiR9AABXQVZFZm10IBAA…", "parameters": {"candidate_labels": ["bell", "rain"]}}
 * // → [{"score": 0.5197112871312132, "label": "rain"}, {"score": 0.4802887128687868, "label": "bell"}]
 * ```
 */
import { AutoModel } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import {
  loadSoundReader,
  soundCost,
  stackFeatures,
  type SoundItem,
  type SoundReader,
} from "../model/audio.ts";
import { loadEncoder, rowOf, type Encoder } from "../model/encoder.ts";
import type { Encoding } from "../model/truncation.ts";
import { AudioInputs, createSoundInput, EXAMPLE_SOUND } from "./audio-input.ts";
import { CandidateLabels, gatherLabels } from "./candidate-labels.ts";
import { readParameters } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import { softmax, topIndices } from "./scores.ts";
import type { OpenTask, Task, TaskModel } from "./task.ts";

const ACTION = "classify the sound";
const wantedTemplate = `a sentence with {} where the label goes`;

export const ZeroShotAudioClassificationParameters = z.object({
  candidate_labels: CandidateLabels,
  /** The sentence that a label is put into, in place of `{}`. */
  hypothesis_template: z
    .string(wantedTemplate)
    .includes("{}", wantedTemplate)
    .default("This is a sound of {}."),
});
export type ZeroShotAudioClassificationParameters = z.infer<
  typeof ZeroShotAudioClassificationParameters
>;

export type ZeroShotAudioClassificationAnswer = {
  readonly label: string;
  readonly score: number;
}[];

export const zeroShotAudioClassification: Task = {
  inputs: AudioInputs,
  parameters: ZeroShotAudioClassificationParameters,
  example: {
    inputs: EXAMPLE_SOUND,
    parameters: { candidate_labels: ["a dog", "rain"] },
  },
  answersListsByElement: true,
  measure: "items",
  async open(model) {
    const reader = await loadSoundReader(model);
    const clap = readClapConfig(reader);
    const encoder = await loadEncoder(model, AutoModel);
    const output = "logits_per_audio";
    findOutput(encoder, model, "zero-shot-audio-classification", [output], 2);
    return openZeroShot(encoder, { reader, clap, output, model });
  },
};

const ClapConfig = z.looseObject({
  nb_max_samples: z.int().positive(),
  truncation: z.string(),
  padding: z.string(),
});
type ClapConfig = z.infer<typeof ClapConfig>;

/** @throws `MODEL_INVALID` for an extractor that joins several views of a sound, which transformers.js cannot make. */
function readClapConfig({ config }: SoundReader): ClapConfig {
  const result = ClapConfig.safeParse(config);
  if (result.success && result.data.truncation !== "fusion") return result.data;
  const found = result.success ? `the truncation "fusion"` : `a ${config.feature_extractor_type}`;
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot serve zero-shot-audio-classification: preprocessor_config.json asks for ${found}, wanted a ClapFeatureExtractor with the truncation "rand_trunc"`,
  );
}

interface ZeroShotItem extends SoundItem {
  /** The sentences, the same for every sound of its group. */
  readonly texts: readonly Encoding[];
}

interface State {
  readonly isList: boolean;
  readonly labels: readonly string[];
}

interface OpenOptions {
  readonly reader: SoundReader;
  readonly clap: ClapConfig;
  readonly output: string;
  readonly model: TaskModel;
}

function openZeroShot(
  encoder: Encoder,
  { reader, clap, output, model }: OpenOptions,
): OpenTask<ZeroShotItem, Float32Array, State> {
  const { sampleRate } = reader;
  const input = createSoundInput({ action: ACTION, sampleRate, urlHosts: model.urlHosts });
  return {
    notes: [],

    async preprocess(request, { warn, signal }) {
      const { parameters, elsewhere } = gatherLabels(request.data["parameters"], [request.data]);
      const { candidate_labels: labels, hypothesis_template } = readParameters(
        ZeroShotAudioClassificationParameters,
        parameters,
        { action: ACTION, warn, elsewhere },
      );
      const texts = labels.map((label, index) =>
        encoder.encode(
          hypothesis_template.replace("{}", () => label),
          {
            truncation: "longest_first",
            action: ACTION,
            name: `candidate_labels[${index}]`,
            warn,
          },
        ),
      );
      const sentences = texts.map(({ inputIds }) => inputIds.join()).join(";");
      const items: ZeroShotItem[] = [];
      const { isList } = await input.readEach(request, signal, async (sound) => {
        if (sound.length > clap.nb_max_samples) {
          warn(`A sound was cut to its first ${clap.nb_max_samples / sampleRate} seconds`);
        }
        const features = await reader.read(fit(sound, clap));
        const { tokens, group } = soundCost(features, clap.nb_max_samples / sampleRate);
        items.push({ tokens, group: `${group} ${sentences}`, features, texts });
      });
      return { items, state: { isList, labels } };
    },

    async inference(items) {
      const sounds = items.map(({ features }) => features);
      const [logits] = await encoder.run(items[0]?.texts ?? [], [output], {
        [sounds[0]?.name ?? "input_features"]: stackFeatures(sounds),
      }); // [B, N]
      return items.map((_, b) => rowOf(logits, b));
    },

    postprocess({ isList, labels }, results) {
      const answers = results.map((logits): ZeroShotAudioClassificationAnswer => {
        const scores = softmax(logits);
        return topIndices(scores, labels.length).map((index) => ({
          score: scores[index] ?? 0,
          label: labels[index] ?? "",
        }));
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}

/**
 * A sound of exactly the length that the model hears: repeated as often as it fits and filled with silence, as the
 * extractor's configuration asks. The library's own repeats once too few where the last repetition fits exactly.
 */
function fit(sound: Float32Array, { nb_max_samples, padding }: ClapConfig): Float32Array {
  if (sound.length >= nb_max_samples) return sound.subarray(0, nb_max_samples);
  const fitted = new Float32Array(nb_max_samples);
  const whole = Math.floor(nb_max_samples / sound.length);
  const times = padding === "repeat" ? whole + 1 : padding === "repeatpad" ? whole : 1;
  for (let time = 0; time < times; time++) {
    const at = time * sound.length;
    fitted.set(sound.subarray(0, nb_max_samples - at), at);
  }
  return fitted;
}
