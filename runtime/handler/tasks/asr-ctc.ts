/**
 * Speech recognition with models that name a token for every frame (CTC): wav2vec 2.0, HuBERT, MMS and their kin.
 *
 * The likeliest token of each frame counts; no language model helps. A sound that is long is cut into windows that
 * overlap: attention over minutes would take gigabytes. Letters: `B` windows, `T` frames, `V` tokens of the vocabulary.
 */
import { AutoModelForCTC } from "@huggingface/transformers";
import { z } from "zod";

import { quoted } from "../media/audio.ts";
import {
  assertLongEnough,
  leastSamples,
  loadSoundNetwork,
  soundCost,
  type SoundItem,
} from "../model/audio.ts";
import { loadTokenizer, rowOf } from "../model/encoder.ts";
import type { ModelConfig } from "../model/folder.ts";
import { indexOfLargest } from "../model/generation-choice.ts";
import { readGenerationParameters } from "../model/generation-parameters.ts";
import { ASR_ACTION, WHISPER_PARAMETERS, type AsrAnswer } from "./asr-answer.ts";
import {
  CHUNK_PARAMETERS,
  cutWindows,
  roundHalfEven,
  windowSizeOf,
  type Window,
} from "./asr-chunks.ts";
import { createSoundInput } from "./audio-input.ts";
import { decodeCtc, type CtcVocabulary } from "./ctc-text.ts";
import { invalidInput } from "./inputs.ts";
import { findOutput } from "./outputs.ts";
import type { OpenTask, TaskModel } from "./task.ts";

const wantedTimestamps = `"char", "word" or false, as this model hears no sentences`;

const CtcParameters = z.object({
  return_timestamps: z
    .union([z.literal(false), z.enum(["char", "word"])], wantedTimestamps)
    .nullish(),
  ...CHUNK_PARAMETERS,
});

/** Longer sounds are cut though nobody asked: attention over a minute takes half a gigabyte in a large model. */
const MOST_SECONDS_AT_ONCE = 60;
const OWN_WINDOWS = { chunk_length_s: 30, stride_length_s: 5 };

interface CtcItem extends SoundItem {
  readonly window: Window;
}

interface State {
  readonly isList: boolean;
  readonly timestamps: "char" | "word" | undefined;
  /** How many windows each sound was cut into. */
  readonly counts: readonly number[];
}

/** @throws `MODEL_INVALID` when the files cannot be loaded, or the graph answers something else. */
export async function openCtc(
  model: TaskModel,
): Promise<OpenTask<CtcItem, readonly number[], State>> {
  const { config } = model.folder;
  const network = await loadSoundNetwork(model, AutoModelForCTC);
  const output = findOutput(network, model, "automatic-speech-recognition", ["logits"], 3);
  const vocabulary = toVocabulary(await loadTokenizer(model));
  const { reader } = network;
  const { sampleRate } = reader;
  const ratio = frameSamplesOf(config);
  const input = createSoundInput({ action: ASR_ACTION, sampleRate, urlHosts: model.urlHosts });

  return {
    notes: [],

    async preprocess(request, { warn, signal }) {
      const parameters = readGenerationParameters(CtcParameters, request.data["parameters"], {
        action: ASR_ACTION,
        warn,
        ignored: Object.keys(WHISPER_PARAMETERS),
      });
      const { return_timestamps } = parameters;
      if ((return_timestamps || parameters.chunk_length_s) && ratio === undefined) {
        const name = return_timestamps ? "return_timestamps" : "chunk_length_s";
        throw invalidInput(
          ASR_ACTION,
          `"${name}" cannot be followed, as the model's config.json does not tell how long a frame is`,
        );
      }
      const sizeOptions = { sampleRate, alignTo: ratio ?? 1, action: ASR_ACTION };
      const asked = windowSizeOf(parameters, sizeOptions);
      const own = ratio === undefined ? undefined : windowSizeOf(OWN_WINDOWS, sizeOptions);
      const items: CtcItem[] = [];
      const counts: number[] = [];
      const { isList } = await input.readEach(request, signal, async (sound, name) => {
        assertLongEnough(sound, config, { action: ASR_ACTION, name });
        const isLong = sound.length > MOST_SECONDS_AT_ONCE * sampleRate;
        if (isLong && asked === undefined && own !== undefined) {
          warn(`${quoted(name)} was heard in windows of ${OWN_WINDOWS.chunk_length_s} seconds`);
        }
        const size = asked ?? (isLong ? own : undefined);
        const windows = size
          ? cutWindows(sound.length, size, ASR_ACTION)
          : [{ start: 0, length: sound.length, left: 0, right: 0 }];
        // A last window shorter than a frame says nothing.
        const heard = windows.filter(({ length }) => length >= leastSamples(config));
        counts.push(heard.length);
        for (const window of heard) {
          signal.throwIfAborted();
          const { start, length } = window;
          const features = await reader.read(sound.slice(start, start + length));
          items.push({ ...soundCost(features, length / sampleRate), features, window });
        }
      });
      return { items, state: { isList, timestamps: return_timestamps || undefined, counts } };
    },

    async inference(items) {
      const logits = await network.forward(
        items.map(({ features }) => features),
        output,
      ); // [B, T, V]
      const V = logits.dims[2] ?? 1;
      return items.map(({ window }, b) => {
        const row = rowOf(logits, b);
        const ids = Array.from({ length: row.length / V }, (_, t) =>
          indexOfLargest(row.subarray(t * V, (t + 1) * V)),
        );
        return ownFrames(ids, window, ratio);
      });
    },

    postprocess({ isList, timestamps, counts }, results) {
      let next = 0;
      const answers = counts.map((count): AsrAnswer => {
        const ids = results.slice(next, (next += count)).flat();
        const decoded = decodeCtc(ids, vocabulary);
        if (timestamps === undefined || ratio === undefined) return { text: decoded.text };
        const spans = timestamps === "char" ? decoded.chars : decoded.words;
        const toSeconds = (frame: number) => (frame * ratio) / sampleRate;
        const chunks = spans.map(({ text, start, end }) => ({
          text,
          timestamp: [toSeconds(start), toSeconds(end)] as const,
        }));
        return { text: decoded.text, chunks };
      });
      return isList ? answers : (answers[0] ?? null);
    },

    dispose: () => network.dispose(),
  };
}

/** The frames that belong to a window alone, by the rounding of Python's `rescale_stride`. */
function ownFrames(
  ids: readonly number[],
  { length, left, right }: Window,
  ratio: number | undefined,
): readonly number[] {
  if ((left === 0 && right === 0) || ratio === undefined) return ids;
  const frames = roundHalfEven(length / ratio);
  const scale = (samples: number) => roundHalfEven((samples / length) * frames);
  return ids.slice(scale(left), frames - scale(right));
}

const FrameConfig = z.looseObject({
  inputs_to_logits_ratio: z.number().nullish(),
  conv_stride: z.array(z.number()).nullish(),
  feature_projection_input_dim: z.number().nullish(),
});

/** How many samples a frame stands for; `undefined` where nothing tells. */
function frameSamplesOf(config: ModelConfig): number | undefined {
  const { inputs_to_logits_ratio, conv_stride, feature_projection_input_dim } = FrameConfig.catch(
    {},
  ).parse(config);
  if (inputs_to_logits_ratio) return inputs_to_logits_ratio;
  if (conv_stride) return conv_stride.reduce((product, stride) => product * stride, 1);
  // w2v-BERT reads spectrograms; Python's configuration counts so.
  return feature_projection_input_dim ? feature_projection_input_dim * 2 : undefined;
}

const CtcTokenizerConfig = z.looseObject({
  word_delimiter_token: z.string().nullish(),
  do_lower_case: z.boolean().nullish(),
});

function toVocabulary(tokenizer: Awaited<ReturnType<typeof loadTokenizer>>): CtcVocabulary {
  const tokens = new Map([...tokenizer.get_vocab()].map(([token, id]) => [id, token]));
  const config = CtcTokenizerConfig.catch({}).parse(tokenizer.config);
  return {
    tokenOf: (id) => tokens.get(id) ?? "",
    padToken: tokenizer.pad_token ?? "<pad>",
    wordDelimiter: config.word_delimiter_token ?? "|",
    isLowerCase: config.do_lower_case ?? false,
  };
}
