/**
 * Reading the sounds of a request: the body itself, base64, data URLs, URLs of allowed hosts, or bare samples with
 * their rate.
 */
import { z } from "zod";

import { isMedia, type InferenceRequest } from "../../inference.ts";
import { BODY, decodeAudio, MOST_SECONDS } from "../media/audio.ts";
import { createResampler } from "../media/audio-resample.ts";
import { encodeWav } from "../media/audio-wav.ts";
import { bodyFile, readSource } from "../media/source.ts";
import { inputName, invalidInput, readInputs } from "./inputs.ts";

const wanted = "a sound in base64";

/** What Python's pipelines take besides files: samples that were decoded elsewhere. */
const Samples = z.object(
  {
    raw: z.array(z.number("a number"), "a list of samples").optional(),
    /** What the library `datasets` calls them. */
    array: z.array(z.number("a number"), "a list of samples").optional(),
    sampling_rate: z
      .int("a whole number from 1000 to 768000")
      .min(1000, "a whole number from 1000 to 768000")
      .max(768_000, "a whole number from 1000 to 768000"),
  },
  "an object",
);

const One = z.union([z.string(), Samples], `${wanted}, or {"raw", "sampling_rate"}`);

/** One sound, or a list of them. */
export const AudioInputs = z.union(
  [One, z.array(One)],
  `${wanted}, a list of them, or {"raw", "sampling_rate"}`,
);
export type AudioInputs = z.infer<typeof AudioInputs>;

/** A twentieth of a second of silence: enough for every model to have an answer, and short enough to print. */
export const EXAMPLE_SOUND = Buffer.from(encodeWav(new Float32Array(50), 1000)).toString("base64");

export interface SoundInputOptions {
  /** What is being done, for a refusal: `classify the sound`. */
  readonly action: string;
  /** The model's rate in samples per second. */
  readonly sampleRate: number;
  readonly urlHosts?: readonly string[] | undefined;
}

export interface SoundInput {
  /**
   * Reads and decodes the sounds of a request, one after the other.
   *
   * @param use What the task keeps of a sound: one channel at the model's rate, at least one sample. `name` is for
   *   refusals.
   * @returns Whether they came as a list.
   * @throws `INVALID_INPUT` with one sentence.
   */
  readEach(
    request: InferenceRequest,
    signal: AbortSignal,
    use: (sound: Float32Array, name: string) => Promise<void>,
  ): Promise<{ readonly isList: boolean }>;
}

/**
 * Sounds are decoded one at a time, whatever number of requests is being prepared: a few kilobytes can hold an hour of
 * silence, which takes 230 MB until the task has made of it what the model reads.
 */
export function createSoundInput(options: SoundInputOptions): SoundInput {
  const { action, sampleRate } = options;
  let last: Promise<void> = Promise.resolve();

  /** Runs when those before it are done, however they ended. */
  function inTurn(run: () => Promise<void>): Promise<void> {
    const turn = last.then(run);
    last = turn.catch(() => undefined); // whoever asked for it hears of it
    return turn;
  }

  return {
    async readEach(request, signal, use) {
      const body = bodyFile(request);
      if (body !== undefined) {
        await inTurn(async () => {
          signal.throwIfAborted();
          await use(await decodeAudio(body, { action, name: BODY, sampleRate }), BODY);
        });
        return { isList: false };
      }
      const { inputs } = request.data;
      // Files of a form are no JSON: `readSource` knows them, and says what is wrong with their neighbours.
      const hasFiles = (Array.isArray(inputs) ? inputs : [inputs]).some(isMedia);
      const values: unknown = hasFiles ? inputs : readInputs(AudioInputs, request, action);
      const isList = Array.isArray(values);
      const list: readonly unknown[] = isList ? values : [values];
      for (const [index, value] of list.entries()) {
        const name = inputName(request, index);
        const samples = Samples.safeParse(value);
        // Fetched before its turn comes: others need not wait for another server.
        const file = samples.success
          ? undefined
          : await readSource(value, { ...options, name, wanted: "a sound", signal });
        await inTurn(async () => {
          signal.throwIfAborted();
          const sound = file
            ? await decodeAudio(file, { action, name, sampleRate })
            : fromSamples(Samples.parse(value), { action, name, sampleRate });
          await use(sound, name);
        });
      }
      return { isList };
    },
  };
}

function fromSamples(
  { raw, array, sampling_rate }: z.infer<typeof Samples>,
  { action, name, sampleRate }: { action: string; name: string; sampleRate: number },
): Float32Array {
  const samples = raw ?? array;
  if (samples === undefined) {
    throw invalidInput(action, `"${name}.raw" is missing, wanted a list of samples`);
  }
  if (samples.length === 0) {
    throw invalidInput(action, `"${name}.raw" is an empty list, wanted a list of samples`);
  }
  if (samples.length > MOST_SECONDS * sampling_rate) {
    throw invalidInput(action, `"${name}" is longer than ${MOST_SECONDS} seconds`);
  }
  const resampler = createResampler(sampling_rate, sampleRate);
  const parts = [resampler.push(Float32Array.from(samples)), resampler.finish()];
  return Float32Array.from(parts.flatMap((part) => [...part]));
}
