/**
 * Speech recognition with Whisper, which writes what it hears in windows of 30 seconds.
 *
 * A sound that is longer, or whose timestamps are wanted, is heard from one timestamp to the next; with `chunk_length_s`
 * in windows that overlap, whose texts are joined where they agree (`_decode_asr` of the library's tokenizer). The
 * language is heard first where neither client nor repository names it: transformers.js would take English. As in Python's pipeline five beams
 * are searched unless a client says otherwise. Python refuses a sound longer than a window without timestamps; here
 * they are heard, and left out of the answer. Times of words are not told: they need cross attentions, which few graphs
 * give.
 */
import { z } from "zod";

import { BEAM_PARAMETERS, readGenerationParameters } from "../model/generation-parameters.ts";
import {
  limitNewTokens,
  toSettings,
  type GenerationSettings,
} from "../model/generation-settings.ts";
import { loadWhisper, type Transcript, type Whisper, type WhisperItem } from "../model/whisper.ts";
import { findLanguage, languageName } from "../model/whisper-languages.ts";
import { createTimestampRule } from "../model/whisper-timestamps.ts";
import { ASR_ACTION, WHISPER_PARAMETERS, type AsrAnswer, type AsrChunk } from "./asr-answer.ts";
import { CHUNK_PARAMETERS, cutWindows, windowSizeOf, type Window } from "./asr-chunks.ts";
import { createSoundInput } from "./audio-input.ts";
import { invalidInput } from "./inputs.ts";
import type { OpenTask, TaskModel } from "./task.ts";

const wantedTimestamps = "true or false, as this model says the times of sentences alone";

const WhisperParameters = z.object({
  return_timestamps: z.boolean(wantedTimestamps).nullish(),
  ...CHUNK_PARAMETERS,
  ...WHISPER_PARAMETERS,
  ...BEAM_PARAMETERS,
});
type WhisperParameters = z.output<typeof WhisperParameters>;

/** What Python's long-form generation tries a second time with, and other means of its own. */
const IGNORED = [
  "condition_on_prev_tokens",
  "compression_ratio_threshold",
  "logprob_threshold",
  "no_speech_threshold",
  "is_multilingual",
  "num_frames",
];

/** What a window costs: little for the encoder to share, much for the decoder, so that a few go together. */
const WINDOW_TOKENS = 128;

/** How the sounds of a request are put together. */
interface State {
  readonly isList: boolean;
  readonly isTimed: boolean;
  readonly withLanguage: boolean;
  /** The windows of each sound; `undefined` for one that was heard as a whole. */
  readonly cuts: readonly (readonly Window[] | undefined)[];
}

/** @throws `MODEL_INVALID` when the files cannot be loaded. */
export async function openWhisper(
  model: TaskModel,
): Promise<OpenTask<WhisperItem, Transcript, State>> {
  const whisper = await loadWhisper(model);
  const { reader, windowSamples } = whisper;
  const { sampleRate } = reader;
  const input = createSoundInput({ action: ASR_ACTION, sampleRate, urlHosts: model.urlHosts });

  return {
    notes: [],

    async preprocess(request, context) {
      const parameters = readGenerationParameters(WhisperParameters, request.data["parameters"], {
        action: ASR_ACTION,
        warn: context.warn,
        ignored: IGNORED,
      });
      const spoken = readLanguage(parameters, whisper);
      const isTimed = parameters.return_timestamps ?? false;
      const size = windowSizeOf(parameters, { sampleRate, alignTo: 1, action: ASR_ACTION });
      if (size !== undefined && size.length > windowSamples) {
        const most = windowSamples / sampleRate;
        throw invalidInput(
          ASR_ACTION,
          `"chunk_length_s" is ${parameters.chunk_length_s}, wanted at most ${most}, which is what the model hears at once`,
        );
      }
      const items: WhisperItem[] = [];
      const cuts: State["cuts"][number][] = [];
      const { isList } = await input.readEach(request, context.signal, async (sound) => {
        const windows = size && cutWindows(sound.length, size, ASR_ACTION);
        cuts.push(windows);
        // As Python wants it: beyond a window only times tell where to listen on.
        const needsTimes = isTimed || (windows === undefined && sound.length > windowSamples);
        const settings = settingsFor(parameters, whisper, needsTimes);
        for (const { start, length } of windows ?? [{ start: 0, length: sound.length }]) {
          context.signal.throwIfAborted();
          const features = await reader.read(
            sound.slice(start, start + length),
            length > windowSamples,
          );
          items.push({
            tokens: WINDOW_TOKENS * settings.beams * Math.ceil(length / windowSamples),
            group: `${needsTimes} ${settings.beams} ${settings.maxNewTokens}`,
            features,
            ...spoken,
            isTimed: needsTimes,
            settings,
          });
        }
      });
      const withLanguage = parameters.return_language ?? false;
      return { items, state: { isList, isTimed, withLanguage, cuts } };
    },

    inference: (items, signal) => whisper.hear(items, signal),

    postprocess(state, results) {
      let next = 0;
      const answers = state.cuts.map((windows) => {
        const heard = results.slice(next, (next += windows?.length ?? 1));
        return toAnswer(heard, windows, whisper, state);
      });
      return state.isList ? answers : (answers[0] ?? null);
    },

    dispose: () => whisper.dispose(),
  };
}

/** @throws `INVALID_INPUT` for a language that the model does not know, or any where it knows English alone. */
function readLanguage(
  { language, task }: WhisperParameters,
  { languages, own, unasked }: Whisper,
): Pick<WhisperItem, "language" | "task"> {
  if (languages.length === 0) {
    const given = language ? "language" : task ? "task" : undefined;
    if (given === undefined) return { task: "transcribe" };
    throw invalidInput(ASR_ACTION, `"${given}" is given, and this model knows English alone`);
  }
  if (!language) {
    const said = task ? own : unasked;
    return { ...said, task: task ?? said.task ?? "transcribe" };
  }
  const code = findLanguage(language, languages);
  if (code !== undefined) return { language: code, task: task ?? own.task ?? "transcribe" };
  const found = language.length <= 40 ? JSON.stringify(language) : "a long text";
  throw invalidInput(
    ASR_ACTION,
    `"language" is ${found}, wanted one of ${languages.join(", ")}, or its English name`,
  );
}

function settingsFor(
  parameters: WhisperParameters,
  whisper: Whisper,
  isTimed: boolean,
): GenerationSettings {
  const promptTokens = whisper.promptLength(isTimed);
  const settings = toSettings({
    parameters,
    defaults: whisper.defaults,
    pipeline: { max_new_tokens: 256, num_beams: 5 },
    promptTokens,
  });
  const limited = limitNewTokens(settings, {
    maxTokens: whisper.maxTokens,
    promptTokens,
    parameters,
    action: ASR_ACTION,
  });
  return isTimed ? { ...limited, rule: createTimestampRule(whisper.clock) } : limited;
}

/** Joins what was heard of one sound. */
function toAnswer(
  heard: readonly Transcript[],
  windows: readonly Window[] | undefined,
  { tokenizer, clock, reader }: Whisper,
  { isTimed, withLanguage }: State,
): AsrAnswer {
  const [only] = heard;
  if (windows === undefined && only !== undefined) {
    const parts =
      only.segments.length > 0 ? only.segments : [{ start: 0, end: undefined, ids: only.ids }];
    const chunks = parts.map(({ start, end, ids }): AsrChunk => {
      const until = end === undefined ? null : toSeconds(end, clock);
      return {
        ...(withLanguage && { language: languageName(only.language) }),
        ...(isTimed && { timestamp: [toSeconds(start, clock), until] }),
        text: tokenizer.decode([...ids], { skip_special_tokens: true }),
      };
    });
    const text = chunks.map((chunk) => chunk.text).join("");
    return isTimed || withLanguage ? { text, chunks } : { text };
  }
  const sequences = heard.map(({ prompt, ids }, index) => {
    const { length = 0, left = 0, right = 0 } = windows?.[index] ?? {};
    return {
      tokens: [...prompt, ...ids].map(BigInt),
      stride: [length, left, right].map((samples) => samples / reader.sampleRate),
    };
  });
  const [text, more] = tokenizer._decode_asr(sequences, {
    return_timestamps: isTimed,
    return_language: withLanguage,
    time_precision: clock.stepSeconds,
    force_full_sequences: false,
  });
  if (typeof text !== "string") throw new TypeError("the library joined no text");
  return { text, ...(more as Pick<AsrAnswer, "chunks">) }; // the pair's second place
}

/** As Python writes them: to a hundredth. */
function toSeconds(step: number, { stepSeconds }: Whisper["clock"]): number {
  return Math.round(step * stepSeconds * 100) / 100;
}
