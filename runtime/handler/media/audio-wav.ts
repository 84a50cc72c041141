/**
 * WAV files, read and written: RIFF with PCM of 8, 16, 24 or 32 bits, floats of 32 or 64, A-law or µ-law.
 *
 * Headers lie: recorders that stream write a data length of 0 or 2³² − 1, and files are cut short. The data then goes as
 * far as the file does. (Multimedia Programming Interface and Data Specifications 1.0, 1991; ITU-T G.711.)
 */
import { BrokenSound, type Stretch } from "./audio-decoder.ts";

/** Frames of one stretch. */
const STRETCH_FRAMES = 1 << 16;
const MOST_CHANNELS = 64;

const PCM = 1;
const FLOAT = 3;
const ALAW = 6;
const MULAW = 7;
/** The format is the beginning of a GUID instead. */
const EXTENSIBLE = 0xfffe;

interface WavFormat {
  readonly format: number;
  readonly channels: number;
  readonly sampleRate: number;
  /** Of one sample of one channel. */
  readonly sampleBytes: number;
}

/** Decodes a WAV file. @throws When there is no format, no data, or a format that is not known. */
export function* decodeWav(bytes: Uint8Array): Generator<Stretch> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { format, data } = readChunks(view);
  const { channels, sampleRate, sampleBytes } = format;
  const read = readerOf(format, data);
  const frameBytes = channels * sampleBytes;
  const frames = Math.floor(data.byteLength / frameBytes);
  for (let start = 0; start < frames; start += STRETCH_FRAMES) {
    const count = Math.min(STRETCH_FRAMES, frames - start);
    yield {
      sampleRate,
      channels: Array.from({ length: channels }, (_, channel) =>
        Float32Array.from({ length: count }, (_unused, i) =>
          read((start + i) * frameBytes + channel * sampleBytes),
        ),
      ),
    };
  }
}

function readChunks(view: DataView): { format: WavFormat; data: DataView } {
  let format: WavFormat | undefined;
  for (let at = 12; at + 8 <= view.byteLength;) {
    const id = view.getUint32(at);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    const rest = view.byteLength - start;
    if (id === 0x666d7420 /* "fmt " */) format = readFormat(view, start, Math.min(size, rest));
    if (id === 0x64617461 /* "data" */) {
      if (format === undefined) throw new BrokenSound("its data comes before its format");
      const length = size === 0 || size > rest ? rest : size;
      return { format, data: new DataView(view.buffer, view.byteOffset + start, length) };
    }
    at = start + size + (size % 2);
  }
  throw new BrokenSound(`it has no ${format === undefined ? "format" : "data"}`);
}

function readFormat(view: DataView, at: number, size: number): WavFormat {
  if (size < 16) throw new BrokenSound("its format is cut short");
  const tag = view.getUint16(at, true);
  const format = tag === EXTENSIBLE && size >= 26 ? view.getUint16(at + 24, true) : tag;
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  if (channels < 1 || channels > MOST_CHANNELS)
    throw new BrokenSound(`it has ${channels} channels`);
  // 12 or 20 bits lie in the upper part of the next whole byte.
  return {
    format,
    channels,
    sampleRate,
    sampleBytes: Math.ceil(view.getUint16(at + 14, true) / 8),
  };
}

/** From an offset to a sample of -1 to 1. */
function readerOf({ format, sampleBytes }: WavFormat, data: DataView): (offset: number) => number {
  switch (`${format}:${sampleBytes}`) {
    case `${PCM}:1`:
      return (offset) => (data.getUint8(offset) - 128) / 128;
    case `${PCM}:2`:
      return (offset) => data.getInt16(offset, true) / 0x8000;
    case `${PCM}:3`:
      return (offset) =>
        ((data.getInt8(offset + 2) << 16) | data.getUint16(offset, true)) / 0x800000;
    case `${PCM}:4`:
      return (offset) => data.getInt32(offset, true) / 0x80000000;
    case `${FLOAT}:4`:
      return (offset) => data.getFloat32(offset, true);
    case `${FLOAT}:8`:
      return (offset) => data.getFloat64(offset, true);
    case `${ALAW}:1`:
      return (offset) => fromALaw(data.getUint8(offset)) / 0x8000;
    case `${MULAW}:1`:
      return (offset) => fromMuLaw(data.getUint8(offset)) / 0x8000;
    default:
      throw new BrokenSound(`it holds samples of ${sampleBytes * 8} bits in the format ${format}`);
  }
}

/** ITU-T G.711, table 1: 8 bits to a signed value of 16. */
function fromALaw(code: number): number {
  const bits = code ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = ((bits & 15) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return (bits & 0x80) === 0 ? -magnitude : magnitude;
}

/** ITU-T G.711, table 2. */
function fromMuLaw(code: number): number {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return (bits & 0x80) === 0 ? magnitude : -magnitude;
}

/**
 * Writes a sound as a WAV file of 16 bits, which everything plays.
 *
 * @param samples One channel, from -1 to 1; what lies beyond is clipped.
 */
export function encodeWav(samples: Float32Array, sampleRate: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(44 + samples.length * 2);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x52494646); // "RIFF"
  view.setUint32(4, bytes.length - 8, true);
  view.setUint32(8, 0x57415645); // "WAVE"
  view.setUint32(12, 0x666d7420); // "fmt "
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, 1, true); // one channel
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * 2, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  view.setUint32(36, 0x64617461); // "data"
  view.setUint32(40, samples.length * 2, true);
  for (const [i, sample] of samples.entries()) {
    view.setInt16(
      44 + i * 2,
      Math.max(-0x8000, Math.min(0x7fff, Math.round(sample * 0x8000))),
      true,
    );
  }
  return bytes;
}
