/**
 * The packets of an Ogg file (RFC 3533): of its first stream, and of those chained behind it.
 */

export interface OggPacket {
  readonly packet: Uint8Array;
  /** Whether it begins a stream. */
  readonly isFirst: boolean;
  /** Whether it is the second of a stream: for every codec of audio, its comments. */
  readonly isComment: boolean;
  /** Where the page ends, for the last packet that ends on a page. */
  readonly granule?: { readonly position: number; readonly isLast: boolean };
}

const CAPTURE = 0x4f676753; // "OggS"
const HEADER_BYTES = 27;
const CONTINUED = 1;
const FIRST = 2;
const LAST = 4;

/** Reads the packets in order; stops where the file is cut. */
export function* readOggPackets(bytes: Uint8Array): Generator<OggPacket> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let serial: number | undefined;
  let count = 0;
  let parts: Uint8Array[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    if (view.getUint32(at) !== CAPTURE) {
      at++; // damage: look for the next page
      continue;
    }
    const flags = view.getUint8(at + 5);
    const segments = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + view.getUint8(at + 26));
    const bodyAt = at + HEADER_BYTES + segments.length;
    const bodyBytes = segments.reduce((sum, size) => sum + size, 0);
    const pageSerial = view.getUint32(at + 14, true);
    const isChained = (flags & FIRST) !== 0 && serial === undefined;
    const position = Number(view.getBigInt64(at + 6, true)); // -1 where no packet ends
    at = bodyAt + bodyBytes;
    if (isChained) {
      serial = pageSerial;
      count = 0;
    }
    if (pageSerial !== serial) continue; // a picture beside the sound, say
    if ((flags & CONTINUED) === 0) parts = [];

    const packets: Uint8Array[] = [];
    let from = bodyAt;
    let to = bodyAt;
    for (const size of segments) {
      to += size;
      if (size === 255) continue; // the packet goes on
      parts.push(bytes.subarray(from, to));
      packets.push(parts.length === 1 ? bytes.subarray(from, to) : Buffer.concat(parts));
      parts = [];
      from = to;
    }
    if (to > from) parts.push(bytes.subarray(from, to));
    const isLast = (flags & LAST) !== 0;
    for (const [index, packet] of packets.entries()) {
      const isFirst = count === 0;
      const isComment = count === 1;
      count++;
      const endsPage = index === packets.length - 1 && position >= 0;
      yield { packet, isFirst, isComment, ...(endsPage && { granule: { position, isLast } }) };
    }
    if (isLast) serial = undefined;
  }
}
