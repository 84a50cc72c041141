/**
 * Opus, in Ogg files and in the WebM files that browsers record.
 *
 * libopus, compiled to WebAssembly, decodes packets; the containers are taken apart in `audio-ogg.ts` and
 * `audio-webm.ts`. What the head says of the sound (RFC 7845, section 5.1) is honoured here: the samples to skip, the
 * gain, the channels.
 */
import { OpusDecoder } from "opus-decoder";

import { BrokenSound, MOST_BROKEN, type Stretch } from "./audio-decoder.ts";
import { readOggPackets } from "./audio-ogg.ts";
import { readWebmPackets } from "./audio-webm.ts";

/** A packet, and what its container says about the end of the sound. */
export interface OpusPacket {
  readonly bytes: Uint8Array;
  /** A head: what follows is a sound of its own. */
  readonly isHead: boolean;
  /** Samples that may be kept since the head, those to skip at the beginning included; `undefined` for all. */
  readonly limit?: number | undefined;
}

/** The rate at which libopus decodes, and in which Ogg and WebM count. */
const RATE = 48_000;
/** Packets of one stretch: at 120 ms each 6 seconds. */
const STRETCH_PACKETS = 50;
/** As many as channel mapping family 1 names (RFC 7845, section 5.1.1.2). */
const MOST_CHANNELS = 8;

export function decodeOggOpus(bytes: Uint8Array): AsyncGenerator<Stretch> {
  return decodePackets(oggOpusPackets(bytes));
}

export function decodeWebm(bytes: Uint8Array): AsyncGenerator<Stretch> {
  return decodePackets(webmOpusPackets(bytes));
}

function* oggOpusPackets(bytes: Uint8Array): Generator<OpusPacket> {
  let duration = 0;
  let offset: number | undefined;
  for (const { packet, isFirst, isComment, granule } of readOggPackets(bytes)) {
    if (isFirst) {
      duration = 0;
      offset = undefined;
      yield { bytes: packet, isHead: true };
    }
    if (isFirst || isComment) continue;
    duration += samplesOf(packet);
    if (granule === undefined) yield { bytes: packet, isHead: false };
    else {
      // A recording of a running stream begins anywhere: its first page tells where.
      offset ??= granule.isLast ? 0 : Math.max(0, granule.position - duration);
      const limit = granule.isLast ? granule.position - offset : undefined;
      yield { bytes: packet, isHead: false, limit };
    }
  }
}

function* webmOpusPackets(bytes: Uint8Array): Generator<OpusPacket> {
  const { codec, codecPrivate, packets } = readWebmPackets(bytes);
  if (codec !== "A_OPUS" || codecPrivate === undefined) {
    throw new BrokenSound(
      `its codec is ${/^A_[\w/]{1,20}$/.test(codec) ? codec : "another"}, wanted Opus`,
    );
  }
  yield { bytes: codecPrivate, isHead: true };
  let duration = 0;
  for (const { bytes: packet, discardNs } of packets) {
    duration += samplesOf(packet);
    const limit = discardNs > 0 ? duration - Math.round((discardNs * RATE) / 1e9) : undefined;
    yield { bytes: packet, isHead: false, limit };
  }
}

async function* decodePackets(packets: Iterable<OpusPacket>): AsyncGenerator<Stretch> {
  let decoder: OpusDecoder<typeof RATE> | undefined;
  let gain = 1;
  let skip = 0;
  let decoded = 0;
  let waiting: Uint8Array[] = [];
  let broken = 0;

  function* decodeWaiting(limit = Infinity): Generator<Stretch> {
    if (decoder === undefined || waiting.length === 0) return;
    const { channelData, samplesDecoded, errors } = decoder.decodeFrames(waiting);
    waiting = [];
    broken += errors.length;
    if (broken > MOST_BROKEN) throw new BrokenSound("too much of it is damaged");
    if (samplesDecoded === 0 && errors[0] !== undefined) throw new Error(errors[0].message);
    const from = Math.max(0, Math.min(skip - decoded, samplesDecoded));
    const to = Math.max(from, Math.min(limit - decoded, samplesDecoded));
    decoded += samplesDecoded;
    if (to <= from) return;
    const channels = channelData.map((samples) => scale(samples.subarray(from, to), gain));
    yield { channels, sampleRate: RATE };
  }

  try {
    for (const { bytes, isHead, limit } of packets) {
      if (isHead) {
        yield* decodeWaiting();
        decoder?.free();
        const head = readHead(bytes);
        decoder = undefined; // a constructor that throws leaves nothing to free
        decoder = new OpusDecoder({ ...head.options, sampleRate: RATE });
        await decoder.ready;
        ({ gain, skip } = head);
        decoded = 0;
        continue;
      }
      if (bytes.length === 0) continue; // nothing was sent
      waiting.push(bytes);
      if (waiting.length >= STRETCH_PACKETS || limit !== undefined) yield* decodeWaiting(limit);
    }
    yield* decodeWaiting();
  } finally {
    decoder?.free();
  }
}

interface Head {
  readonly options: NonNullable<ConstructorParameters<typeof OpusDecoder<typeof RATE>>[0]>;
  readonly gain: number;
  /** Samples at the beginning that belong to the encoder. */
  readonly skip: number;
}

function readHead(bytes: Uint8Array): Head {
  if (bytes.length < 19) throw new BrokenSound("its head is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const channels = view.getUint8(9);
  const family = view.getUint8(18);
  if (channels < 1 || channels > MOST_CHANNELS || (family === 0 && channels > 2)) {
    throw new BrokenSound(`it has ${channels} channels`);
  }
  const gain = 10 ** (view.getInt16(16, true) / 256 / 20); // decibels in 1/256
  const skip = view.getUint16(10, true);
  if (family === 0) return { options: { channels }, gain, skip };
  if (bytes.length < 21 + channels) throw new BrokenSound("its channel mapping is cut short");
  const mapping = {
    streamCount: view.getUint8(19),
    coupledStreamCount: view.getUint8(20),
    channelMappingTable: Array.from(bytes.subarray(21, 21 + channels)),
  };
  return { options: { channels, ...mapping }, gain, skip };
}

/** How many samples a packet holds, told from its first two bytes (RFC 6716, section 3.1). */
function samplesOf(packet: Uint8Array): number {
  const [toc = 0, count = 0] = packet;
  const configuration = toc >> 3;
  const code = toc & 3;
  const frames = code === 0 ? 1 : code === 3 ? count & 63 : 2;
  const silk = [480, 960, 1920, 2880][configuration & 3] ?? 0;
  const hybrid = 480 << (configuration & 1);
  const celt = 120 << (configuration & 3);
  return frames * (configuration < 12 ? silk : configuration < 16 ? hybrid : celt);
}

function scale(samples: Float32Array, gain: number): Float32Array {
  return gain === 1 ? samples : samples.map((sample) => sample * gain);
}
