/**
 * The packets of the first audio track of a WebM or Matroska file (RFC 8794, RFC 9559), as browsers record them:
 * clusters of unknown length included.
 */
import { BrokenSound } from "./audio-decoder.ts";

export interface WebmTrack {
  /** Matroska's name of the codec: `A_OPUS`. */
  readonly codec: string;
  readonly codecPrivate?: Uint8Array;
  readonly packets: Iterable<WebmPacket>;
}

export interface WebmPacket {
  readonly bytes: Uint8Array;
  /** What of its end is no part of the sound, in nanoseconds. */
  readonly discardNs: number;
}

const SEGMENT = 0x18538067;
const TRACKS = 0x1654ae6b;
const TRACK_ENTRY = 0xae;
const TRACK_NUMBER = 0xd7;
const TRACK_TYPE = 0x83;
const CODEC_ID = 0x86;
const CODEC_PRIVATE = 0x63a2;
const CLUSTER = 0x1f43b675;
const SIMPLE_BLOCK = 0xa3;
const BLOCK_GROUP = 0xa0;
const BLOCK = 0xa1;
const DISCARD_PADDING = 0x75a2;
const AUDIO = 2;

/** Elements that hold elements; all else is skipped or read. */
const OPENED: ReadonlySet<number> = new Set([SEGMENT, TRACKS, CLUSTER, BLOCK_GROUP]);

interface Element {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** @throws When the file has no audio track, or one that packs several frames into a block. */
export function readWebmPackets(bytes: Uint8Array): WebmTrack {
  for (const { id, bytes: body } of readElements(bytes)) {
    if (id !== TRACK_ENTRY) continue;
    const entry = new Map([...readElements(body)].map((element) => [element.id, element.bytes]));
    if (toNumber(entry.get(TRACK_TYPE)) !== AUDIO) continue;
    const codecPrivate = entry.get(CODEC_PRIVATE);
    return {
      codec: Buffer.from(entry.get(CODEC_ID) ?? []).toString("latin1"),
      ...(codecPrivate !== undefined && { codecPrivate }),
      packets: readBlocks(bytes, toNumber(entry.get(TRACK_NUMBER))),
    };
  }
  throw new BrokenSound("it has no track of sound");
}

function* readBlocks(bytes: Uint8Array, track: number): Generator<WebmPacket> {
  let block: Uint8Array | undefined;
  for (const element of readElements(bytes)) {
    if (element.id === DISCARD_PADDING && block !== undefined) {
      yield { bytes: block, discardNs: Math.max(0, toNumber(element.bytes)) };
      block = undefined;
    }
    if (element.id !== SIMPLE_BLOCK && element.id !== BLOCK) continue;
    if (block !== undefined) yield { bytes: block, discardNs: 0 };
    block = undefined;
    const number = readVariable(element.bytes, 0);
    if (number === undefined || number.value !== track) continue;
    // After the track's number: a time of 2 bytes, flags of 1.
    const flags = element.bytes[number.next + 2] ?? 0;
    if ((flags & 0x06) !== 0) throw new BrokenSound("it packs several frames into a block");
    block = element.bytes.subarray(number.next + 3);
  }
  if (block !== undefined) yield { bytes: block, discardNs: 0 };
}

/** All elements from the outside in, until the file ends or is no longer understood. */
function* readElements(bytes: Uint8Array): Generator<Element> {
  for (let at = 0; at < bytes.length;) {
    const id = readVariable(bytes, at, true);
    const size = id && readVariable(bytes, id.next);
    if (id === undefined || size === undefined) return;
    if (OPENED.has(id.value)) {
      at = size.next; // what it holds follows, and its own end needs no notice
      continue;
    }
    const end = Math.min(size.next + size.value, bytes.length);
    yield { id: id.value, bytes: bytes.subarray(size.next, end) };
    at = end;
  }
}

/** A number whose leading zero bits tell its length; `withMarker` keeps the bit that ends them, as ids are written. */
function readVariable(
  bytes: Uint8Array,
  at: number,
  withMarker = false,
): { value: number; next: number } | undefined {
  const first = bytes[at] ?? 0;
  const length = Math.clz32(first) - 23;
  if (length > 8 || at + length > bytes.length) return undefined;
  let value = withMarker ? first : first & (0xff >> length);
  for (let i = 1; i < length; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return { value, next: at + length };
}

function toNumber(bytes: Uint8Array | undefined): number {
  return Array.from(bytes ?? []).reduce((value, byte) => value * 256 + byte, 0);
}
