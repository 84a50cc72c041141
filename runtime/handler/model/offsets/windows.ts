/**
 * Cutting a text that is too long for the model into windows that overlap.
 *
 * The rule is that of Hugging Face's `tokenizers` 0.22 (`Encoding::truncate`): windows of equal length, the last one shorter;
 * special tokens and the other text are in each. The first window alone is what Python's truncation keeps.
 */
import type { TracedEncoding } from "../token-offsets.ts";
import type { TruncationSide } from "../truncation.ts";

export interface WindowOptions {
  /** Which text is cut: 0 or 1. */
  readonly text: 0 | 1;
  /** The most tokens of a window, special tokens and the other text included. */
  readonly maxTokens: number;
  /** How many tokens two neighbours share. */
  readonly stride: number;
  /** The end that the first window leaves out. */
  readonly side: TruncationSide;
}

/** How many tokens of `text` a window of `maxTokens` has room for; negative when the rest is too long already. */
export function roomFor({ texts }: TracedEncoding, text: 0 | 1, maxTokens: number): number {
  let others = 0;
  for (const owner of texts) if (owner !== text) others++;
  return maxTokens - others;
}

/**
 * @returns At least one window, from the beginning of the text on, or from its end where `side` is `"left"`.
 * @throws RangeError when there is no room for a token, or none for a new one beside `stride` old ones.
 */
export function cutWindows(
  encoding: TracedEncoding,
  { text, maxTokens, stride, side }: WindowOptions,
): TracedEncoding[] {
  if (encoding.inputIds.length <= maxTokens) return [encoding];
  const room = roomFor(encoding, text, maxTokens);
  if (room < 1 || stride >= room)
    throw new RangeError(`room for ${room} tokens with a stride of ${stride}`);
  const from = encoding.texts.indexOf(text);
  const to = encoding.texts.lastIndexOf(text) + 1;
  const count = to - from;
  const windows: TracedEncoding[] = [];
  for (let shift = 0; ; shift += room - stride) {
    const start = side === "right" ? shift : Math.max(0, count - shift - room);
    const end = side === "right" ? Math.min(count, shift + room) : count - shift;
    windows.push(without(encoding, from, from + start, from + end, to));
    if (side === "right" ? end === count : start === 0) return windows;
  }
}

/** The tokens before `a`, from `b` to before `c`, and from `d` on. */
function without(
  encoding: TracedEncoding,
  a: number,
  b: number,
  c: number,
  d: number,
): TracedEncoding {
  const { inputIds, tokenTypeIds, texts, starts, ends, words } = encoding;
  const cut = (list: readonly number[]): number[] => [
    ...list.slice(0, a),
    ...list.slice(b, c),
    ...list.slice(d),
  ];
  const length = a + (c - b) + (inputIds.length - d);
  const cutInto = <L extends Int8Array | Int32Array>(list: L, made: L): L => {
    made.set(list.subarray(0, a));
    made.set(list.subarray(b, c), a);
    made.set(list.subarray(d), a + c - b);
    return made;
  };
  return {
    inputIds: cut(inputIds),
    ...(tokenTypeIds && { tokenTypeIds: cut(tokenTypeIds) }),
    texts: cutInto(texts, new Int8Array(length)),
    starts: cutInto(starts, new Int32Array(length)),
    ends: cutInto(ends, new Int32Array(length)),
    words: cutInto(words, new Int32Array(length)),
  };
}
