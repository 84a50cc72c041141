/**
 * MP3, FLAC and Ogg Vorbis, decoded by C libraries compiled to WebAssembly (mpg123, libFLAC, libvorbis).
 *
 * The decoders are handed the file bit by bit: a kilobyte of FLAC or Vorbis can hold minutes of silence, and whoever
 * reads the stretches stops when it has been enough. A decoder is made for each file and freed with it: it holds the
 * file's state and costs a millisecond or two, as the library keeps the compiled module. What is broken they also print
 * to the console, in words of their own.
 */
import { FLACDecoder } from "@wasm-audio-decoders/flac";
import { OggVorbisDecoder } from "@wasm-audio-decoders/ogg-vorbis";
import { MPEGDecoder } from "mpg123-decoder";

import { BrokenSound, MOST_BROKEN, type Stretch } from "./audio-decoder.ts";

/** What each of the decoders answers. */
interface Decoded {
  readonly channelData: readonly Float32Array[];
  readonly samplesDecoded: number;
  readonly sampleRate: number;
  readonly errors: readonly { readonly message: string }[];
}

/** A decoder of a stream. */
interface StreamDecoder {
  readonly ready: Promise<void>;
  decode(bytes: Uint8Array): Decoded | Promise<Decoded>;
  flush?(): Promise<Decoded>;
  free(): void;
}

/** A frame of MP3 is at least 24 bytes long: 64 KiB are no more than 13 MB of samples. */
const MP3_BYTES = 1 << 16;
/** A frame of FLAC can hold 65535 samples of silence in 14 bytes: 1 KiB is up to 19 MB for each channel. */
const FLAC_BYTES = 1 << 10;
/** A packet of Vorbis can hold 4096 samples in 2 bytes. */
const VORBIS_BYTES = 1 << 10;

/** Decodes MPEG audio, layers I to III; the encoder's padding is left out where the file tells it. */
export async function* decodeMp3(bytes: Uint8Array): AsyncGenerator<Stretch> {
  const isMono = isMonoMp3(bytes);
  for await (const { channels, sampleRate } of decodeStream(new MPEGDecoder(), bytes, MP3_BYTES)) {
    yield { channels: isMono ? channels.slice(0, 1) : channels, sampleRate };
  }
}

/** The decoder makes two equal channels of one: only the first frame's header tells (ISO/IEC 11172-3, 2.4.2.3). */
function isMonoMp3(bytes: Uint8Array): boolean {
  let at = 0;
  if (bytes[0] === 0x49 && bytes[1] === 0x44 && bytes[2] === 0x33) {
    // An ID3v2 tag: its length is written in four times 7 bits.
    at = 10 + bytes.subarray(6, 10).reduce((size, byte) => size * 128 + (byte & 0x7f), 0);
  }
  while (at + 3 < bytes.length && !(bytes[at] === 0xff && ((bytes[at + 1] ?? 0) & 0xe0) === 0xe0))
    at++;
  return (bytes[at + 3] ?? 0) >> 6 === 3;
}

/** Decodes FLAC, alone or in Ogg. */
export function decodeFlac(bytes: Uint8Array): AsyncGenerator<Stretch> {
  return decodeStream(new FLACDecoder(), bytes, FLAC_BYTES);
}

export function decodeVorbis(bytes: Uint8Array): AsyncGenerator<Stretch> {
  return decodeStream(new OggVorbisDecoder(), bytes, VORBIS_BYTES);
}

/** @throws When nothing at all could be decoded; damage in the middle costs what was damaged, as with ffmpeg. */
async function* decodeStream(
  decoder: StreamDecoder,
  bytes: Uint8Array,
  pieceBytes: number,
): AsyncGenerator<Stretch> {
  await decoder.ready;
  let problem: string | undefined;
  let isEmpty = true;
  let broken = 0;
  try {
    for (let at = 0; at <= bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      const isLast = piece.length < pieceBytes;
      const answers = [piece.length > 0 ? await decoder.decode(piece) : undefined];
      if (isLast) answers.push(await decoder.flush?.());
      for (const answer of answers) {
        if (answer === undefined) continue;
        problem ??= answer.errors[0]?.message;
        broken += answer.errors.length;
        if (broken > MOST_BROKEN) throw new BrokenSound("too much of it is damaged");
        if (answer.samplesDecoded === 0) continue;
        isEmpty = false;
        yield { channels: answer.channelData, sampleRate: answer.sampleRate };
      }
    }
  } finally {
    decoder.free();
  }
  if (isEmpty)
    throw problem === undefined
      ? new BrokenSound("nothing in it could be read")
      : new Error(problem);
}
