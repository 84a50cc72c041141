/**
 * Sounds as models read them: one channel, at the model's rate, from the bytes of a file.
 *
 * The format is told from the bytes, never from what the client calls them. Decoding goes stretch by stretch and each
 * is brought to one channel and the wanted rate at once, so a sound takes the memory of its result. To add a format:
 * a decoder as below, and a line in `FORMATS`.
 */
import type { Media } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { decodeFlac, decodeMp3, decodeVorbis } from "./audio-codecs.ts";
import { BrokenSound, type AudioDecoder, type Stretch } from "./audio-decoder.ts";
import { decodeOggOpus, decodeWebm } from "./audio-opus.ts";
import { createResampler, type Resampler } from "./audio-resample.ts";
import { decodeWav } from "./audio-wav.ts";
import { codecsMissing } from "./no-codecs.ts";

export interface DecodeAudioOptions {
  /** What is being done, for a refusal: `classify the sound`. */
  readonly action: string;
  /** What the client calls this input: `inputs[2]`, or `BODY`. */
  readonly name: string;
  /** The model's rate in samples per second. */
  readonly sampleRate: number;
}

/** The name of a sound that is the whole body: not one that the client wrote, so it is not quoted. */
export const BODY = "the body";

/** The name of an input in a sentence. */
export function quoted(name: string): string {
  return name === BODY ? name : `"${name}"`;
}

/** The longest sound: an hour at 16 kHz is 230 MB of samples. */
export const MOST_SECONDS = 3600;
/** Rates that files have: from telephones to studios. What lies outside is a broken header. */
const RATES = { lowest: 1000, highest: 768_000 };

/**
 * Decodes a sound file: the mean of its channels, at `sampleRate`.
 *
 * @returns Samples from -1 to 1; at least one.
 * @throws `INVALID_INPUT` when the bytes are no sound, or one that is too long or holds nothing.
 */
export async function decodeAudio(
  { bytes }: Pick<Media, "bytes">,
  { action, name, sampleRate }: DecodeAudioOptions,
): Promise<Float32Array> {
  const format = FORMATS.find(({ matches }) => matches(bytes));
  if (format === undefined || format.decode === undefined) {
    const found = format === undefined ? "not a sound" : format.name;
    throw invalidInput(action, `${quoted(name)} is ${found}, wanted ${WANTED}`);
  }
  let sound: Float32Array | undefined;
  try {
    sound = await collect(format.decode(bytes), sampleRate);
  } catch (error) {
    const missing = codecsMissing(error);
    if (missing !== undefined) throw missing;
    const why = error instanceof BrokenSound ? `: ${error.message}` : "";
    throw invalidInput(
      action,
      `${quoted(name)} is ${format.name} that cannot be decoded${why}`,
      error,
    );
  }
  if (sound === undefined) {
    throw invalidInput(action, `${quoted(name)} is longer than ${MOST_SECONDS} seconds`);
  }
  if (sound.length > 0) return sound;
  throw invalidInput(action, `${quoted(name)} is ${format.name} without a single sample`);
}

interface Format {
  readonly name: string;
  readonly matches: (bytes: Uint8Array) => boolean;
  /** Absent where the format is known, but nothing here decodes it. */
  readonly decode?: AudioDecoder;
}

const WANTED = "WAV, MP3, FLAC, Ogg with Vorbis, Opus or FLAC, or WebM with Opus";

const FORMATS: readonly Format[] = [
  { name: "WAV", matches: (b) => has(b, 0, "RIFF") && has(b, 8, "WAVE"), decode: decodeWav },
  { name: "FLAC", matches: (b) => has(b, 0, "fLaC"), decode: decodeFlac },
  // The first packet of an Ogg stream begins after a page header of 28 bytes and names the codec.
  { name: "Ogg Opus", matches: (b) => isOgg(b, "OpusHead"), decode: decodeOggOpus },
  { name: "Ogg Vorbis", matches: (b) => isOgg(b, "\x01vorbis"), decode: decodeVorbis },
  { name: "Ogg FLAC", matches: (b) => isOgg(b, "\x7fFLAC"), decode: decodeFlac },
  { name: "Ogg with another codec", matches: (b) => has(b, 0, "OggS") },
  { name: "WebM", matches: (b) => has(b, 0, "\x1a\x45\xdf\xa3"), decode: decodeWebm },
  { name: "MP3", matches: (b) => has(b, 0, "ID3") || isMpegAudio(b), decode: decodeMp3 },
  { name: "MP4 (AAC)", matches: (b) => has(b, 4, "ftyp") },
  { name: "AAC", matches: (b) => b[0] === 0xff && ((b[1] ?? 0) & 0xf6) === 0xf0 },
  { name: "AMR", matches: (b) => has(b, 0, "#!AMR") },
];

function has(bytes: Uint8Array, offset: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (bytes[offset + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}

function isOgg(bytes: Uint8Array, codec: string): boolean {
  return has(bytes, 0, "OggS") && has(bytes, 27 + (bytes[26] ?? 0), codec);
}

/** A frame header of MPEG audio, layers I to III (ISO/IEC 11172-3, 2.4.1.3); AAC has the layer 0. */
function isMpegAudio(bytes: Uint8Array): boolean {
  const [first = 0, second = 0, third = 0] = bytes;
  const isSync = first === 0xff && (second & 0xe0) === 0xe0;
  const version = (second >> 3) & 3;
  const layer = (second >> 1) & 3;
  return isSync && version !== 1 && layer !== 0 && third >> 4 !== 15 && ((third >> 2) & 3) !== 3;
}

/** @returns `undefined` when the sound is too long. */
async function collect(
  stretches: Iterable<Stretch> | AsyncIterable<Stretch>,
  sampleRate: number,
): Promise<Float32Array | undefined> {
  const parts: Float32Array[] = [];
  let length = 0;
  let sourceRate = 0;
  let resampler: Resampler | undefined;
  const keep = (part: Float32Array): void => {
    length += part.length;
    if (part.length > 0) parts.push(part);
  };
  for await (const stretch of stretches) {
    if (stretch.sampleRate !== sourceRate) {
      if (resampler !== undefined) keep(resampler.finish());
      sourceRate = stretch.sampleRate;
      if (!(sourceRate >= RATES.lowest && sourceRate <= RATES.highest)) {
        throw new BrokenSound(`its rate is ${sourceRate} Hz`);
      }
      resampler = createResampler(sourceRate, sampleRate);
    }
    keep(resampler?.push(toMono(stretch)) ?? new Float32Array());
    if (length > MOST_SECONDS * sampleRate) return undefined;
  }
  if (resampler !== undefined) keep(resampler.finish());
  return join(parts, length);
}

/**
 * One channel of many: their mean, but two at √½ each. That is what ffmpeg makes of stereo where it answers floats,
 * and so what the Python pipelines hear.
 */
function toMono({ channels }: Stretch): Float32Array {
  const [first = new Float32Array(), ...others] = channels;
  if (others.length === 0) return first;
  const weight = others.length === 1 ? Math.SQRT1_2 : 1 / channels.length;
  const mono = Float32Array.from(first);
  for (const other of others) {
    for (let i = 0; i < mono.length; i++) mono[i] = (mono[i] ?? 0) + (other[i] ?? 0);
  }
  for (let i = 0; i < mono.length; i++) mono[i] = (mono[i] ?? 0) * weight;
  return mono;
}

/** A decoder may feed samples that are no numbers; no model is the better for them. */
function join(parts: readonly Float32Array[], length: number): Float32Array {
  const whole = new Float32Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  for (let i = 0; i < length; i++) {
    if (!Number.isFinite(whole[i])) whole[i] = 0;
  }
  return whole;
}
