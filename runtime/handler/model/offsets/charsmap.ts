/**
 * The map of characters that SentencePiece's tokenizers bring along (`Precompiled` in `tokenizer.json`): XLM-RoBERTa,
 * T5, ALBERT, DeBERTa-v2 and others.
 *
 * transformers.js does not read it and takes NFKC instead, which composes what the map leaves alone, and the other way
 * round. Follows `spm_precompiled` 0.1 and `normalizers/precompiled.rs` of Hugging Face's `tokenizers` 0.23, with their
 * oddities: a cluster of fewer than six bytes becomes what its beginning becomes, so `\r\n` is one space.
 */

/** What became of a text. */
export interface MappedText {
  readonly text: string;
  /** For each character of `text`: 0 if it replaces one, 1 if it was added, less if that many more are gone. */
  readonly changes: readonly number[];
}

export interface Charsmap {
  map(text: string): MappedText;
}

/** A cluster of at least so many bytes is taken character by character. */
const LONG_CLUSTER_BYTES = 6;

/** What no map changes, and no cluster goes on with. */
const PLAIN = /^[\x20-\x7e]*$/;

/** Parts that may hold clusters: all that is not plain, with its neighbours. */
const CLUSTERED = /[\x20-\x7e]?(?:[^\x20-\x7e]+[\x20-\x7e]?)+/gu;

/**
 * @param encoded What `precompiled_charsmap` says, in base64.
 * @returns Nothing where it says nothing.
 */
export function readCharsmap(encoded: string | null | undefined): Charsmap | undefined {
  if (!encoded) return undefined;
  const bytes = Buffer.from(encoded, "base64");
  const trieBytes = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (trieBytes === 0 || 4 + trieBytes > bytes.length)
    throw new Error(`precompiled_charsmap is cut off at ${bytes.length} bytes`);
  const units = new Uint32Array(trieBytes / 4);
  for (let index = 0; index < units.length; index++)
    units[index] = bytes.readUInt32LE(4 + index * 4);
  const written = bytes.subarray(4 + trieBytes);
  const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
  const known = new Map<string, string | undefined>();

  /** What the shortest beginning of `part` that is in the map becomes. */
  function find(part: string): string | undefined {
    if (known.has(part)) return known.get(part);
    const place = shortestMatch(units, Buffer.from(part));
    const end = place === undefined ? -1 : written.indexOf(0, place);
    const found =
      place === undefined
        ? undefined
        : written.toString("utf8", place, end === -1 ? written.length : end);
    if (known.size < MAX_KNOWN) known.set(part, found);
    return found;
  }

  function mapClusters(text: string, target: Target): void {
    for (const { segment } of segmenter.segment(text)) {
      const isShort = Buffer.byteLength(segment) < LONG_CLUSTER_BYTES;
      const whole = isShort ? find(segment) : undefined;
      if (whole !== undefined) replace(target, segment, whole);
      else for (const part of segment) replace(target, part, find(part) ?? part);
    }
  }

  return {
    map(text) {
      const target: Target = { text: "", changes: [] };
      let done = 0;
      for (const match of PLAIN.test(text) ? [] : text.matchAll(CLUSTERED)) {
        keep(target, text.slice(done, match.index));
        mapClusters(match[0], target);
        done = match.index + match[0].length;
      }
      keep(target, text.slice(done));
      return target;
    },
  };
}

/** Clusters that are remembered; texts use few, but those of a hostile client could be many. */
const MAX_KNOWN = 10_000;

interface Target {
  text: string;
  readonly changes: number[];
}

function keep(target: Target, plain: string): void {
  target.text += plain;
  for (let index = 0; index < plain.length; index++) target.changes.push(0);
}

function replace(target: Target, before: string, after: string): void {
  const { changes } = target;
  const [old, made] = [lengthOf(before), lengthOf(after)];
  target.text += after;
  for (let index = 0; index < made; index++) changes.push(index < old ? 0 : 1);
  const last = changes.length - 1;
  // What is removed before the first character is forgotten, as in Rust: all places after it are too early by that.
  if (made < old && last >= 0) changes[last] = (changes[last] ?? 0) + made - old;
}

function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length++;
  return length;
}

/** Walks a double-array trie (Darts-clone): the value of the shortest key that `bytes` begins with. */
function shortestMatch(units: Uint32Array, bytes: Uint8Array): number | undefined {
  const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
  let node = offsetOf(units[0] ?? 0);
  for (const byte of bytes) {
    if (byte === 0) return undefined;
    node ^= byte;
    const unit = units[node] ?? 0;
    if ((unit & 0x8000_00ff) !== byte) return undefined; // the label; a leaf has the highest bit set
    node ^= offsetOf(unit);
    if ((unit & 0x100) !== 0) return (units[node] ?? 0) & 0x7fff_ffff;
  }
  return undefined;
}
