/**
 * Mutations of protobuf messages that know the wire format: fields are dropped, doubled, moved, given other numbers, types and lengths,
 * on every level.
 */
import { mutateBytes } from "./bytes.ts";
import { pick, spread, type Step } from "./recipe.ts";

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Without key and length. */
  readonly content: Uint8Array;
  /** What the key or the length says instead of the truth. */
  readonly lie?: { readonly wire?: number; readonly length?: number };
}

/** Where integers go wrong, as varints: also one of eleven bytes. */
const VARINTS: readonly Uint8Array[] = [
  0n,
  1n,
  2n,
  7n,
  127n,
  128n,
  255n,
  65536n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
].map((value) => varint(value));
const ENDLESS = new Uint8Array(11).fill(0xff);

const LENGTHS = [0, 1, 0x7f, 0x7fffffff, 0xffffffff];

/** A copy of a message with one step done to one of its fields, however deep. */
export function mutateMessage(
  bytes: Uint8Array,
  step: Step,
  others: readonly Uint8Array[] = [],
): Uint8Array {
  const [kind, place, value] = step;
  const fields = readFields(bytes);
  // Every eighth step knows nothing of the format.
  if (kind % 8 === 7 || fields === undefined || fields.length === 0)
    return mutateBytes(bytes, [spread(kind, 1), place, value], { others });
  const index = place % fields.length;
  const field = fields[index];
  if (field === undefined) return bytes;
  const isMessage = field.wire === 2 && (readFields(field.content)?.length ?? 0) > 0;
  if (isMessage && spread(place, 2) % 4 !== 0) {
    const content = mutateMessage(field.content, [kind, spread(place, 1), value], others);
    return writeFields(fields.with(index, { ...field, content }));
  }
  switch (kind % 8) {
    case 0:
      return writeFields(fields.toSpliced(index, 1));
    case 1: {
      const times = pick([1, 2, 50, 2000], value);
      if (times * field.content.length > 100_000) return writeFields([...fields, field]);
      return writeFields(fields.toSpliced(index, 0, ...Array<Field>(times).fill(field)));
    }
    case 2: {
      const moved = fields.toSpliced(index, 1);
      return writeFields(moved.toSpliced(value % (moved.length + 1), 0, field));
    }
    case 3:
      return writeFields(fields.with(index, { ...field, number: 1 + (value % 30) }));
    case 4:
      return writeFields(fields.with(index, { ...field, lie: { wire: value % 8 } }));
    case 5: {
      if (field.wire === 2)
        return writeFields(fields.with(index, { ...field, lie: { length: pick(LENGTHS, value) } }));
      return writeFields(fields.with(index, { ...field, content: spoiled(field, value) }));
    }
    default:
      return writeFields(fields.with(index, { ...field, content: spoiled(field, value) }));
  }
}

function spoiled({ wire, content }: Field, value: number): Uint8Array {
  if (wire === 0) return value % 16 === 0 ? ENDLESS : pick(VARINTS, value);
  if (wire === 2)
    return mutateBytes(content, [spread(value, 1), spread(value, 2), spread(value, 3)]);
  return content.map((byte, index) => byte ^ spread(value, index));
}

/** The fields of a message, or `undefined` where the bytes are none. */
function readFields(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const readVarint = (): number | undefined => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) return undefined;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const key = readVarint();
    if (key === undefined || key > 2 ** 32) return undefined;
    const [number, wire] = [Math.floor(key / 8), key % 8];
    const start = at;
    let content: Uint8Array | undefined;
    if (wire === 0) content = readVarint() === undefined ? undefined : bytes.subarray(start, at);
    else if (wire === 1 || wire === 5) content = bytes.subarray(at, (at += wire === 1 ? 8 : 4));
    else if (wire === 2) {
      const length = readVarint();
      if (length !== undefined) content = bytes.subarray(at, (at += length));
    }
    if (content === undefined || at > bytes.length || number === 0) return undefined;
    fields.push({ number, wire, content });
  }
  return fields;
}

function writeFields(fields: readonly Field[]): Uint8Array {
  return Buffer.concat(
    fields.flatMap(({ number, wire, content, lie }) => [
      varint(BigInt(number * 8 + (lie?.wire ?? wire))),
      ...(wire === 2 ? [varint(BigInt(lie?.length ?? content.length))] : []),
      content,
    ]),
  );
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (let left = value; ; left >>= 7n) {
    if (left < 128n) return Uint8Array.from([...bytes, Number(left)]);
    bytes.push(Number(left & 127n) | 128);
  }
}
