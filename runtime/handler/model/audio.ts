/**
 * A network that reads sounds and its feature extractor, loaded with transformers.js from a local folder and from
 * nowhere else.
 *
 * The extractor makes features of one sound at a time, so that sounds whose features are equally large, whoever sent
 * them, can share a forward pass. Nothing is padded to the length of another sound: most of these models were trained
 * without a mask, and padding would change what they hear. Letters: `B` sounds of a batch.
 */
import { AutoFeatureExtractor, Tensor, type FeatureExtractor } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { quoted } from "../media/audio.ts";
import { invalidInput } from "../tasks/inputs.ts";
import type { Item, TaskModel } from "../tasks/task.ts";
import {
  confineLibrary,
  loadNetwork,
  toFloats,
  type AutoModelClass,
  type FloatTensor,
  type Session,
} from "./encoder.ts";
import { loadFailure } from "./load-failure.ts";
import { assertHasFile, type ModelConfig } from "./folder.ts";

/** A sound as a network reads it. */
export interface Features {
  /** The name of the input: `input_values` for samples, `input_features` for spectrograms. */
  readonly name: string;
  /** Row-major, without the batch's dimension. */
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** A sound of a forward pass: `{ ...soundCost(features), features }`. */
export interface SoundItem extends Item {
  readonly features: Features;
}

/** The keys of `preprocessor_config.json` that are read here. */
const ExtractorConfig = z.looseObject({
  feature_extractor_type: z.string("a string"),
  sampling_rate: z.int("a whole number").positive("a whole number above 0"),
});
export type ExtractorConfig = z.infer<typeof ExtractorConfig>;

export interface SoundReader {
  readonly config: ExtractorConfig;
  /** The rate that the model was trained with, in samples per second. */
  readonly sampleRate: number;
  /**
   * @param samples One channel at `sampleRate`, at least one sample.
   * @param isWhole Hears all of a sound that is longer than the model's window (Whisper's 30 seconds), too.
   */
  read(samples: Float32Array, isWhole?: boolean): Promise<Features>;
}

const CONFIG_FILE = "preprocessor_config.json";

/** Inputs that are the sound, as against masks. */
const FEATURE_NAMES = ["input_features", "input_values"];

/**
 * Loads the feature extractor.
 *
 * @throws `MODEL_INVALID` when its file is missing or broken.
 */
export async function loadSoundReader({ folder }: TaskModel): Promise<SoundReader> {
  confineLibrary();
  assertHasFile(folder, CONFIG_FILE, "the feature extractor", "AutoFeatureExtractor");
  let extractor: FeatureExtractor;
  let config: ExtractorConfig;
  try {
    const options = { local_files_only: true };
    extractor = await AutoFeatureExtractor.from_pretrained(folder.path, options);
    config = ExtractorConfig.parse(extractor.config);
    // Whisper's stops there otherwise, however long it is told to listen.
    if (config["nb_max_frames"] !== undefined) extractor.config.nb_max_frames = Infinity;
  } catch (error) {
    throw loadFailure("the feature extractor", folder.path, error);
  }
  return {
    config,
    sampleRate: config.sampling_rate,
    async read(samples, isWhole = false) {
      const options = isWhole ? { max_length: samples.length } : {};
      const outputs: Record<string, Tensor> = await extractor(samples, options);
      const name = FEATURE_NAMES.find((candidate) => outputs[candidate] !== undefined);
      const tensor = name && outputs[name];
      if (name === undefined || !tensor) {
        throw new Error(`the feature extractor gave ${Object.keys(outputs).join(", ")}`);
      }
      const { data, dims } = toFloats(tensor);
      return { name, data, dims: dims.slice(1) };
    },
  };
}

/** Samples of a sound that cost about as much as a token: 20 ms, the step of most speech models. */
const TOKENS_PER_SECOND = 50;

/**
 * What a sound costs and whom it can share a forward pass with: those of exactly its size.
 *
 * @param seconds How long the model hears: of a spectrogram of fixed length, all of it.
 */
export function soundCost({ dims }: Features, seconds: number): { tokens: number; group: string } {
  return { tokens: Math.ceil(seconds * TOKENS_PER_SECOND), group: dims.join("x") };
}

/** Where models that read samples say how their convolutions shorten them. */
const Convolutions = z.looseObject({
  conv_kernel: z.array(z.number()),
  conv_stride: z.array(z.number()),
});

/**
 * How many samples a model needs to hear anything: as many as make one frame.
 *
 * @returns 1 for a model that reads spectrograms, or says nothing.
 */
export function leastSamples(config: ModelConfig): number {
  const { conv_kernel, conv_stride } = Convolutions.catch({
    conv_kernel: [],
    conv_stride: [],
  }).parse(config);
  return conv_kernel.reduceRight(
    (samples, kernel, layer) => (samples - 1) * (conv_stride[layer] ?? 1) + kernel,
    1,
  );
}

/** @throws `INVALID_INPUT` when the sound is shorter than one frame. */
export function assertLongEnough(
  samples: Float32Array,
  config: ModelConfig,
  { action, name }: { readonly action: string; readonly name: string },
): void {
  const least = leastSamples(config);
  if (samples.length >= least) return;
  throw invalidInput(
    action,
    `${quoted(name)} is ${samples.length} samples long at the model's rate, wanted at least ${least}`,
  );
}

/** Sounds of equal size as one tensor `[B, …]`. */
export function stackFeatures(features: readonly Features[]): Tensor {
  const [first] = features;
  if (first === undefined) throw new RangeError("no sounds to stack");
  const data = new Float32Array(first.data.length * features.length);
  for (const [b, sound] of features.entries()) data.set(sound.data, b * first.data.length);
  return new Tensor("float32", data, [features.length, ...first.dims]);
}

export interface SoundNetwork {
  readonly reader: SoundReader;
  /** The graph's outputs with their number of dimensions. */
  readonly outputs: ReadonlyMap<string, number>;
  /**
   * Runs the graph once over sounds of equal size.
   *
   * @returns The output named `output`; `rowOf(output, b)` of `encoder.ts` is that of `sounds[b]`.
   */
  forward(sounds: readonly Features[], output: string): Promise<FloatTensor>;
  dispose(): Promise<void>;
}

/**
 * Loads the feature extractor and a network of one graph.
 *
 * @throws `MODEL_INVALID` when a file is missing or broken.
 */
export async function loadSoundNetwork(
  model: TaskModel,
  autoModel: AutoModelClass,
): Promise<SoundNetwork> {
  const reader = await loadSoundReader(model);
  const network = await loadNetwork(model, autoModel);
  const session: Session = network.sessions["model"];
  const sound = session.inputNames.find((name) => name !== "attention_mask");
  if (sound === undefined) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot load ${model.weights.files[0] ?? "the graph"}: its inputs are ${session.inputNames.join(", ")}, wanted a sound`,
    );
  }
  const wantsMask = session.inputNames.includes("attention_mask");
  return {
    reader,
    outputs: new Map(session.outputMetadata.map(({ name, shape }) => [name, shape?.length ?? 0])),
    async forward(sounds, output) {
      const input = stackFeatures(sounds);
      const outputs: Record<string, Tensor> = await network({
        [sound]: input,
        ...(wantsMask && { attention_mask: fullMask(input) }),
      });
      const tensor = outputs[output];
      if (tensor === undefined) throw new Error(`the graph gave no output "${output}"`);
      return toFloats(tensor);
    },
    async dispose() {
      await network.dispose();
    },
  };
}

/** All ones `[B, T]`, as no sound is padded; `T` samples, or frames of a spectrogram `[B, T, …]`. */
function fullMask({ dims: [B = 0, T = 0] }: Tensor): Tensor {
  return new Tensor("int64", new BigInt64Array(B * T).fill(1n), [B, T]);
}
