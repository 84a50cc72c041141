/**
 * Whisper, loaded with transformers.js from a local folder: what it is told before it writes, and how it listens on.
 *
 * It hears a window at a time. Where timestamps are wanted it listens on from the last of them, so nothing is cut in the
 * middle of a sentence (Python's long-form generation, `models/whisper/generation_whisper.py`, without its second tries
 * at a higher temperature). It is always told its task, to transcribe if nobody says otherwise; Python leaves that out
 * where neither client nor repository names a language or a task. Several sounds are heard together. Letters: `B` sounds, `M` mel bands, `F` frames.
 */
import {
  AutoModelForSpeechSeq2Seq,
  WhisperTokenizer,
  type Tensor,
} from "@huggingface/transformers";
import { z } from "zod";

import type { Item, TaskModel } from "../tasks/task.ts";
import { loadSoundReader, stackFeatures, type Features, type SoundReader } from "./audio.ts";
import { encode, openSeq2SeqDecoder } from "./decoder.ts";
import { loadNetwork, loadTokenizer, rowOf } from "./encoder.ts";
import { loadFailure } from "./load-failure.ts";
import { readJson } from "./folder.ts";
import { run } from "./generation.ts";
import {
  readGenerationDefaults,
  type GenerationDefaults,
  type GenerationSettings,
} from "./generation-settings.ts";
import { findLanguage } from "./whisper-languages.ts";
import { cutSegments, type Clock, type Segment } from "./whisper-timestamps.ts";

/** A sound to be heard. */
export interface WhisperItem extends Item {
  /** `[M, F]`: a window, or more where `isTimed`. */
  readonly features: Features;
  /** A code that the model knows; heard where absent. */
  readonly language?: string | undefined;
  readonly task: "transcribe" | "translate";
  readonly isTimed: boolean;
  readonly settings: GenerationSettings;
}

/** What is spoken, and what is to become of it. */
export type Spoken = Partial<Pick<WhisperItem, "language" | "task">>;

/** What was heard. */
export interface Transcript {
  /** What the model was told first. */
  readonly prompt: readonly number[];
  /** What it wrote; tokens of time count from the beginning of the sound. */
  readonly ids: readonly number[];
  /** With times in steps of the clock; empty where no times were wanted. */
  readonly segments: readonly Segment[];
  /** The code of what was spoken. */
  readonly language: string;
}

export interface Whisper {
  readonly reader: SoundReader;
  readonly tokenizer: WhisperTokenizer;
  readonly defaults: GenerationDefaults;
  readonly clock: Clock;
  /** The languages it knows, by their codes; none for a model that knows English alone. */
  readonly languages: readonly string[];
  /** What the repository says where the client does not. */
  readonly own: Spoken;
  /** The same where the client says neither: also what old models say in another way. */
  readonly unasked: Spoken;
  /** The most tokens that it writes for a window, the prompt included. */
  readonly maxTokens: number;
  /** Samples of a window. */
  readonly windowSamples: number;
  /** How many tokens it is told first. */
  promptLength(isTimed: boolean): number;
  /** @throws The signal's reason within one token, once it is aborted. */
  hear(items: readonly WhisperItem[], signal: AbortSignal): Promise<Transcript[]>;
  dispose(): Promise<void>;
}

/** Of old models: the tokens that follow the first one, by their places; `null` is to be found out. */
const ForcedIds = z.array(z.tuple([z.int(), z.int().nullable()])).nullish();

const WhisperConfig = z.looseObject({
  max_source_positions: z.int().positive().default(1500),
  max_target_positions: z.int().positive().default(448),
  vocab_size: z.int().positive(),
  forced_decoder_ids: ForcedIds,
});

const WhisperGeneration = z.looseObject({
  is_multilingual: z.boolean().nullish(),
  max_initial_timestamp_index: z.int().nullish(),
  /** What a model was trained for may stand here; a client's word counts more. */
  language: z.string().nullish(),
  task: z.string().nullish(),
  forced_decoder_ids: ForcedIds,
});

/** The vocabulary of the models that know English alone. */
const ENGLISH_VOCABULARY = 51_864;
/** Frames of a spectrogram that the encoder makes one of. */
const FRAMES_PER_STEP = 2;

/** @throws `MODEL_INVALID` when a file is missing or broken. */
export async function loadWhisper(model: TaskModel): Promise<Whisper> {
  const { folder } = model;
  const reader = await loadSoundReader(model);
  await loadTokenizer(model); // says what is wrong with its files
  const [tokenizer, config, generation] = await readFiles(model);
  const network = await loadNetwork(model, AutoModelForSpeechSeq2Seq);
  const vocabulary: ReadonlyMap<string, number> = tokenizer.get_vocab();
  const idOf = (token: string): number => {
    const id = vocabulary.get(token);
    if (id === undefined) throw loadFailure("the tokenizer", folder.path, `it has no ${token}`);
    return id;
  };
  const isMultilingual = generation.is_multilingual ?? config.vocab_size !== ENGLISH_VOCABULARY;
  const languages = isMultilingual
    ? tokenizer.all_special_tokens.flatMap((token) => /^<\|([a-z]{2,3})\|>$/.exec(token)?.[1] ?? [])
    : [];
  const languageIds = languages.map((code) => idOf(`<|${code}|>`));
  const startId = idOf("<|startoftranscript|>");
  const noTimesId = idOf("<|notimestamps|>");
  const windowFrames = config.max_source_positions * FRAMES_PER_STEP;
  const hopSamples = Number(reader.config["hop_length"] ?? 160);
  const clock: Clock = {
    beginId: noTimesId + 1,
    stepSeconds: (FRAMES_PER_STEP * hopSamples) / reader.sampleRate,
    endId: idOf("<|endoftext|>"),
    maxInitial: generation.max_initial_timestamp_index ?? undefined,
  };

  const { language: named } = generation;
  const ownCode = named ? findLanguage(named, languages) : undefined;
  const own: Spoken = {
    ...(ownCode !== undefined && { language: ownCode }),
    ...readTask(generation.task),
  };
  const forcedTokens = (generation.forced_decoder_ids ?? config.forced_decoder_ids ?? []).map(
    ([, id]) => id ?? -1,
  );
  const forcedCode = languages[languageIds.findIndex((id) => forcedTokens.includes(id))];
  const forced: Spoken = {
    ...(forcedCode !== undefined && { language: forcedCode }),
    ...readTask(TASKS.find((name) => forcedTokens.includes(vocabulary.get(`<|${name}|>`) ?? -2))),
  };

  function promptOf({ task, isTimed }: WhisperItem, languageId: number | undefined): number[] {
    const told = languageId === undefined ? [] : [languageId, idOf(`<|${task}|>`)];
    return [startId, ...told, ...(isTimed ? [] : [noTimesId])];
  }

  /** The likeliest language of each sound. */
  async function hearLanguages(hidden: Tensor): Promise<number[]> {
    const B = hidden.dims[0] ?? 0;
    const decoder = await openSeq2SeqDecoder(network, { encoder_outputs: hidden });
    const logits = await decoder.step(Array.from({ length: B }, () => [startId])); // [B, V]
    return Array.from({ length: B }, (_, b) => {
      const row = rowOf(logits, b);
      const scoreOf = (id: number) => row[id] ?? -Infinity;
      return languageIds.reduce((best, id) => (scoreOf(id) > scoreOf(best) ? id : best));
    });
  }

  return {
    reader,
    tokenizer,
    defaults: await readGenerationDefaults(model),
    clock,
    languages,
    own,
    unasked: own.language || own.task ? own : forced,
    maxTokens: config.max_target_positions,
    windowSamples: windowFrames * hopSamples,
    promptLength: (isTimed) => 1 + (isMultilingual ? 2 : 0) + (isTimed ? 0 : 1),

    async hear(items, signal) {
      const tracks = items.map((item): Track => ({
        item,
        languageId: item.language === undefined ? undefined : idOf(`<|${item.language}|>`),
        frame: 0,
        prompt: [],
        ids: [],
        segments: [],
      }));
      let live = tracks;
      while (live.length > 0) {
        signal.throwIfAborted();
        const windows = live.map(({ item, frame }) => windowOf(item.features, frame, windowFrames));
        const hidden = await encode(network, { input_features: stackFeatures(windows) });
        if (isMultilingual && live.some(({ languageId }) => languageId === undefined)) {
          const heard = await hearLanguages(hidden);
          for (const [b, track] of live.entries()) track.languageId ??= heard[b];
        }
        const prompts = live.map(({ item, languageId }) => promptOf(item, languageId));
        const decoder = await openSeq2SeqDecoder(network, { encoder_outputs: hidden });
        const rows = live.map(({ item }) => item);
        const written = await run(decoder, prompts, rows, { tokenizer }, signal);
        for (const [b, track] of live.entries()) {
          track.prompt = prompts[b] ?? [];
          listenOn(track, written[b]?.ids ?? [], windowFrames, clock);
        }
        live = live.filter(({ item, frame }) => frame < framesOf(item.features));
      }
      return tracks.map(({ prompt, ids, segments, languageId }) => {
        const language = languages[languageIds.indexOf(languageId ?? -1)] ?? "en";
        return { prompt, ids, segments, language };
      });
    },

    async dispose() {
      await network.dispose();
    },
  };
}

const TASKS = ["transcribe", "translate"] as const;

function readTask(given: string | null | undefined): Pick<Spoken, "task"> {
  const task = TASKS.find((name) => name === given);
  return task === undefined ? {} : { task };
}

async function readFiles({ folder }: TaskModel) {
  const config = WhisperConfig.safeParse(folder.config);
  if (!config.success) throw loadFailure("config.json", folder.path, config.error.message);
  const file = `${folder.prefix}generation_config.json`;
  const generation = folder.files.includes(file)
    ? await readJson(folder.repository, file, WhisperGeneration)
    : {};
  // By its own class, whatever the file calls itself: transformers 5 writes "TokenizersBackend".
  const tokenizer = await WhisperTokenizer.from_pretrained(folder.path, { local_files_only: true });
  if (!(tokenizer instanceof WhisperTokenizer)) throw new TypeError("not a Whisper tokenizer");
  // No tokens are no text, as in Python; the library throws, in the middle of joining windows too.
  const decode = tokenizer.decode.bind(tokenizer);
  tokenizer.decode = (ids, options) =>
    Array.isArray(ids) && ids.length === 0 ? "" : decode(ids, options);
  return [tokenizer, config.data, generation] as const;
}

/** A sound that is being heard. */
interface Track {
  readonly item: WhisperItem;
  languageId: number | undefined;
  /** Where to listen on. */
  frame: number;
  prompt: readonly number[];
  readonly ids: number[];
  readonly segments: Segment[];
}

/** Takes down what was written for the window at `track.frame`, and goes on behind it. */
function listenOn(track: Track, ids: readonly number[], windowFrames: number, clock: Clock): void {
  const left = framesOf(track.item.features) - track.frame;
  if (!track.item.isTimed) {
    track.ids.push(...ids.filter((id) => id < clock.beginId)); // a time that nobody asked for is no text
    track.frame += left;
    return;
  }
  const frames = Math.min(left, windowFrames);
  const steps = Math.floor(frames / FRAMES_PER_STEP);
  const { segments, next } = cutSegments(ids, steps, clock);
  const offset = track.frame / FRAMES_PER_STEP;
  track.frame += next >= steps ? frames : next * FRAMES_PER_STEP;
  const isLast = track.frame >= framesOf(track.item.features);
  for (const { start, end, ids: text } of segments) {
    const open = isLast ? undefined : steps;
    const until = end ?? open;
    const segment = {
      start: offset + start,
      end: until === undefined ? undefined : offset + until,
      ids: text,
    };
    track.segments.push(segment);
    const idOfStep = (step: number) => clock.beginId + Math.round(step);
    const closing = segment.end === undefined ? [] : [idOfStep(segment.end)];
    track.ids.push(idOfStep(segment.start), ...text, ...closing);
  }
}

function framesOf({ dims }: Features): number {
  return dims[1] ?? 0;
}

/** `F` frames from `start` on, filled with zeros behind the end as Python does. */
function windowOf({ name, data, dims }: Features, start: number, F: number): Features {
  const [M = 0, total = 0] = dims;
  const window = new Float32Array(M * F);
  for (let band = 0; band < M; band++) {
    const row = data.subarray(band * total + start, band * total + Math.min(start + F, total));
    window.set(row, band * F);
  }
  return { name, data: window, dims: [M, F] };
}
