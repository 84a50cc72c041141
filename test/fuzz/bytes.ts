/**
 * Mutations of bytes that know nothing of what the bytes mean.
 */
import { pick, spread, type Step } from "./recipe.ts";

export interface ByteOptions {
  /** Words of the format, which chance would never write. */
  readonly words?: readonly (string | Uint8Array)[];
  /** Other inputs, to take pieces from. */
  readonly others?: readonly Uint8Array[];
}

/** Inputs do not grow beyond: what is larger is refused by its size, which tests of their own show. */
const MOST_BYTES = 300_000;

/** Where counters and lengths go wrong. */
const INTEGERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

const MUTATORS: readonly ((
  bytes: Buffer,
  place: number,
  value: number,
  options: ByteOptions,
) => Uint8Array)[] = [
  function flipBit(bytes, place, value) {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[place % copy.length]! ^= 1 << (value % 8);
    return copy;
  },
  function setByte(bytes, place, value) {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[place % copy.length] = value % 256;
    return copy;
  },
  function remove(bytes, place, value) {
    const [from, length] = rangeOf(bytes, place, value);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
  },
  function repeat(bytes, place, value) {
    const [from, length] = rangeOf(bytes, place, value);
    const range = bytes.subarray(from, from + length);
    const times = 1 + (spread(value, 1) % 4);
    const copies = Array.from({ length: times }, () => range);
    return Buffer.concat([bytes.subarray(0, from), ...copies, bytes.subarray(from)]);
  },
  function truncate(bytes, place) {
    return bytes.subarray(0, bytes.length === 0 ? 0 : place % bytes.length);
  },
  function setInteger(bytes, place, value) {
    const copy = Buffer.from(bytes);
    const number = pick(INTEGERS, value);
    const size = pick([1, 2, 4], spread(value, 1));
    if (copy.length < 4) return copy;
    const at = place % (copy.length - 3);
    if (spread(value, 2) % 2 === 0) copy.writeUIntLE(number % 256 ** size, at, size);
    else copy.writeUIntBE(number % 256 ** size, at, size);
    return copy;
  },
  function insertWord(bytes, place, value, { words = [] }) {
    const word = words.length === 0 ? Uint8Array.of(value % 256) : Buffer.from(pick(words, value));
    return insert(bytes, place, word);
  },
  function insertWordOften(bytes, place, value, { words = [] }) {
    const word = words.length === 0 ? Buffer.from("[") : Buffer.from(pick(words, value));
    const times = pick([3, 70, 300, 5000, 20_000], spread(value, 1));
    const most = Math.max(1, Math.floor(MOST_BYTES / Math.max(1, word.length)));
    return insert(bytes, place, Buffer.concat(Array(Math.min(times, most)).fill(word)));
  },
  function insertNoise(bytes, place, value) {
    const noise = Uint8Array.from({ length: 1 + (value % 16) }, (_, i) => spread(value, i) % 256);
    return insert(bytes, place, noise);
  },
  function splice(bytes, place, value, { others = [] }) {
    if (others.length === 0) return bytes;
    const other = pick(others, value);
    const cut = bytes.length === 0 ? 0 : place % bytes.length;
    const from = other.length === 0 ? 0 : spread(value, 1) % other.length;
    return Buffer.concat([bytes.subarray(0, cut), other.subarray(from)]);
  },
  function exchange(bytes, place, value) {
    const [from, length] = rangeOf(bytes, place, value);
    const rest = Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
    return insert(rest, spread(place, 1), bytes.subarray(from, from + length));
  },
];

/** A copy with one step done to it. */
export function mutateBytes(
  bytes: Uint8Array,
  [kind, place, value]: Step,
  options: ByteOptions = {},
): Uint8Array {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mutate = pick(MUTATORS, kind);
  return mutate(buffer, place, value, options).subarray(0, MOST_BYTES);
}

/** Mostly short, seldom half of it. */
function rangeOf(bytes: Uint8Array, place: number, value: number): [from: number, length: number] {
  if (bytes.length === 0) return [0, 0];
  const from = place % bytes.length;
  const most = value % 8 === 0 ? Math.ceil(bytes.length / 2) : 32;
  return [from, Math.min(bytes.length - from, 1 + (spread(value, 3) % most))];
}

function insert(bytes: Buffer, place: number, word: Uint8Array): Uint8Array {
  const at = place % (bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at)]);
}
