/**
 * The files in `test/fixtures/audio` hold half a second of known sines, written by ffmpeg 5.1:
 * `ffmpeg -f lavfi -i "aevalsrc=0.4*sin(2*PI*440*t)|0.3*sin(2*PI*1000*t):s=44100:d=0.5:c=stereo" -c:a …`; those called
 * mono hold the first channel alone. So what comes out is compared with the formula, not with another decoder.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decodeAudio, MOST_SECONDS } from "../../../runtime/handler/media/audio.ts";
import { encodeWav } from "../../../runtime/handler/media/audio-wav.ts";
import { assertNear } from "../../support/goldens.ts";

const RATE = 16_000;

function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../fixtures/audio/${name}`, import.meta.url)));
}

function decode(bytes: Uint8Array, sampleRate = RATE): Promise<Float32Array> {
  return decodeAudio({ bytes }, { action: "hear", name: "inputs", sampleRate });
}

const left = (t: number) => 0.4 * Math.sin(2 * Math.PI * 440 * t);
const right = (t: number) => 0.3 * Math.sin(2 * Math.PI * 1000 * t);
const both = (t: number) => (left(t) + right(t)) * Math.SQRT1_2;

/** LAME lowers what it encodes to 0.95 of its loudness. */
const lamed = (wanted: (t: number) => number) => (t: number) => 0.95 * wanted(t);

/** How far a sound lies from a formula, as decibels of signal over difference, away from both ends. */
function clarity(sound: Float32Array, wanted: (t: number) => number): number {
  let signal = 0;
  let difference = 0;
  for (let i = 800; i < sound.length - 800; i++) {
    const value = wanted(i / RATE);
    signal += value ** 2;
    difference += (value - (sound[i] ?? 0)) ** 2;
  }
  return 10 * Math.log10(signal / difference);
}

/** Lossless formats round to 16 bits; of the others the bounds lie some decibels below what these files reach. */
const FILES = [
  { file: "stereo.flac", wanted: both, decibels: 75 },
  { file: "stereo-flac.ogg", wanted: both, decibels: 75 },
  { file: "stereo.mp3", wanted: lamed(both), decibels: 40 },
  { file: "mono.mp3", wanted: lamed(left), decibels: 40 },
  { file: "stereo-vorbis.ogg", wanted: both, decibels: 25 },
  { file: "stereo-opus.ogg", wanted: both, decibels: 25 },
  { file: "stereo.webm", wanted: both, decibels: 25 },
  { file: "stereo-live.webm", wanted: both, decibels: 25 },
  { file: "mono-alaw.wav", wanted: left, decibels: 30 },
  { file: "mono-mulaw.wav", wanted: left, decibels: 30 },
];

for (const { file, wanted, decibels } of FILES) {
  test(`${file} sounds as it was written, half a second long`, async () => {
    const sound = await decode(fixture(file));
    assert.equal(sound.length, RATE / 2);
    const found = clarity(sound, wanted);
    assert.ok(found >= decibels, `${found} dB, wanted ${decibels}`);
  });
}

/** A WAV file of 8 kHz with a header of its own making. */
function wav(
  { format, bits, channels, extensible = false, dataBytes }: WavOptions,
  data: Uint8Array,
): Uint8Array {
  const header = Buffer.alloc(extensible ? 68 : 44);
  const formatBytes = extensible ? 40 : 16;
  header.write("RIFF\0\0\0\0WAVEfmt ", "latin1");
  header.writeUInt32LE(formatBytes, 16);
  header.writeUInt16LE(extensible ? 0xfffe : format, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(8000, 24);
  header.writeUInt16LE((channels * bits) / 8, 32);
  header.writeUInt16LE(bits, 34);
  if (extensible) header.writeUInt16LE(format, 44);
  header.write("data", 20 + formatBytes, "latin1");
  header.writeUInt32LE(dataBytes ?? data.length, 24 + formatBytes);
  return new Uint8Array(Buffer.concat([header, data]));
}

interface WavOptions {
  readonly format: number;
  readonly bits: number;
  readonly channels: number;
  readonly extensible?: boolean;
  readonly dataBytes?: number;
}

const VALUES = [0, 0.5, -0.5, -1, 0.25];
const bytesOf = (array: ArrayBufferView) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const pcm24 = Buffer.concat(
  VALUES.map((v) => {
    const b = Buffer.alloc(3);
    b.writeIntLE(v * 2 ** 23, 0, 3);
    return b;
  }),
);

const WAVS = [
  { name: "8 bits", format: 1, bits: 8, data: Uint8Array.from(VALUES, (v) => 128 + v * 128) },
  { name: "16 bits", format: 1, bits: 16, data: Int16Array.from(VALUES, (v) => v * 2 ** 15) },
  { name: "24 bits", format: 1, bits: 24, data: pcm24 },
  { name: "32 bits", format: 1, bits: 32, data: Int32Array.from(VALUES, (v) => v * 2 ** 31) },
  { name: "floats of 32 bits", format: 3, bits: 32, data: Float32Array.from(VALUES) },
  { name: "floats of 64 bits", format: 3, bits: 64, data: Float64Array.from(VALUES) },
];

for (const { name, format, bits, data } of WAVS) {
  test(`WAV with ${name} is read exactly, with either header`, async () => {
    for (const extensible of [false, true]) {
      const bytes = wav({ format, bits, channels: 1, extensible }, bytesOf(data));
      assert.deepEqual([...(await decode(bytes, 8000))], VALUES);
    }
  });
}

test("two channels become one at √½ each, as ffmpeg mixes floats; more become their mean", async () => {
  const stereo = Float32Array.of(0.5, 0.25, -0.5, 0.5);
  const mixed = await decode(wav({ format: 3, bits: 32, channels: 2 }, bytesOf(stereo)), 8000);
  assertNear([...mixed], [0.75 * Math.SQRT1_2, 0], 1e-7);
  const three = Float32Array.of(0.3, 0.6, 0.9);
  const mean = await decode(wav({ format: 3, bits: 32, channels: 3 }, bytesOf(three)), 8000);
  assertNear([...mean], [0.6], 1e-7);
});

test("a WAV header that lies about its data's length is read to the end of the file", async () => {
  const data = bytesOf(Float32Array.from(VALUES));
  for (const dataBytes of [0, 0xffffffff, 1000]) {
    const bytes = wav({ format: 3, bits: 32, channels: 1, dataBytes }, data);
    assert.equal((await decode(bytes, 8000)).length, VALUES.length);
  }
});

test("samples that are no numbers become silence", async () => {
  const data = Float32Array.of(0.5, Number.NaN, Infinity, 0.25);
  const bytes = wav({ format: 3, bits: 32, channels: 1 }, bytesOf(data));
  assert.deepEqual([...(await decode(bytes, 8000))], [0.5, 0, 0, 0.25]);
});

test("encodeWav() writes what decodeAudio() reads, and clips what is too loud", async () => {
  const samples = Float32Array.of(0, 0.5, -0.25, 1.5, -2);
  const read = await decode(encodeWav(samples, RATE));
  assertNear([...read], [0, 0.5, -0.25, 32767 / 32768, -1], 0);
});

test("a file that was cut short is heard as far as it goes", async () => {
  for (const file of ["stereo.flac", "stereo.mp3", "stereo-opus.ogg", "stereo.webm"]) {
    const bytes = fixture(file);
    const sound = await decode(bytes.slice(0, bytes.length * 0.7));
    assert.ok(sound.length > 1000 && sound.length < RATE / 2, `${file}: ${sound.length}`);
  }
});

const WANTED = "wanted WAV, MP3, FLAC, Ogg with Vorbis, Opus or FLAC, or WebM with Opus";
const text = (content: string) => Uint8Array.from(Buffer.from(content, "latin1"));
const silence = wav({ format: 1, bits: 16, channels: 1 }, new Uint8Array());

const REFUSALS: readonly (readonly [bytes: Uint8Array, sentence: string])[] = [
  [text("hello"), `"inputs" is not a sound, ${WANTED}`],
  [new Uint8Array(), `"inputs" is not a sound, ${WANTED}`],
  [text("\0\0\0\x20ftypM4A "), `"inputs" is MP4 (AAC), ${WANTED}`],
  [text("\xff\xf1\x50\x80"), `"inputs" is AAC, ${WANTED}`],
  [silence, `"inputs" is WAV without a single sample`],
  [text("RIFF\0\0\0\0WAVE"), `"inputs" is WAV that cannot be decoded: it has no format`],
  [
    wav({ format: 2, bits: 4, channels: 1 }, new Uint8Array(8)),
    `"inputs" is WAV that cannot be decoded: it holds samples of 8 bits in the format 2`,
  ],
  [
    text("fLaC and then nothing of the kind"),
    `"inputs" is FLAC that cannot be decoded: nothing in it could be read`,
  ],
  [
    text("ID3\x04\0\0\0\0\0\0 no music"),
    `"inputs" is MP3 that cannot be decoded: nothing in it could be read`,
  ],
  [
    text("\x1a\x45\xdf\xa3 no film"),
    `"inputs" is WebM that cannot be decoded: it has no track of sound`,
  ],
];

for (const [bytes, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(decode(bytes), {
      code: "INVALID_INPUT",
      message: `Cannot hear: ${sentence}`,
    });
  });
}

test("a sound of more than an hour is refused", async () => {
  const bytes = wav(
    { format: 1, bits: 8, channels: 1 },
    new Uint8Array(8000 * MOST_SECONDS + 8001),
  );
  await assert.rejects(decode(bytes, 8000), {
    code: "INVALID_INPUT",
    message: `Cannot hear: "inputs" is longer than ${MOST_SECONDS} seconds`,
  });
});

test("a small file that holds hours of silence is refused as soon as it has been an hour", async () => {
  // Frames of silence are all but empty: `flac -8 --lax -b 65535`.
  const bytes = fixture("silence-70-minutes.flac");
  assert.ok(bytes.length < 20_000, `${bytes.length} bytes`);
  await assert.rejects(decode(bytes, 8000), {
    code: "INVALID_INPUT",
    message: `Cannot hear: "inputs" is longer than ${MOST_SECONDS} seconds`,
  });
});
