/**
 * A text that was made from another, and where each of its characters comes from.
 *
 * Every change keeps the rule of Hugging Face's `tokenizers` (`NormalizedString`, 0.22): a character that replaces another
 * stands for that one; a character that is added stands for what the one before it stands for; what is removed is
 * nobody's. So a mark that melts into its letter (`e` + U+0301 → `é`) is not covered by it, as in Python.
 */

/** Positions in the original are counted in code points, as Python counts. */
export interface AlignedText {
  readonly text: string;
  /** For each UTF-16 unit of `text`, the first code point of the original that it stands for, … */
  readonly starts: Int32Array;
  /** … and the one after the last. */
  readonly ends: Int32Array;
}

/** The original itself. */
export function alignedTo(original: string): AlignedText {
  const starts = new Int32Array(original.length);
  const ends = new Int32Array(original.length);
  let unit = 0;
  let position = 0;
  for (const char of original) {
    starts.fill(position, unit, unit + char.length);
    ends.fill(position + 1, unit, unit + char.length);
    unit += char.length;
    position++;
  }
  return { text: original, starts, ends };
}

/** The UTF-16 units from `from` to before `to`. */
export function sliceAligned(
  { text, starts, ends }: AlignedText,
  from: number,
  to: number,
): AlignedText {
  return {
    text: text.slice(from, to),
    starts: starts.subarray(from, to),
    ends: ends.subarray(from, to),
  };
}

/** The part of the original that the units from `from` to before `to` stand for; empty where there are none. */
export function originalSpan(
  { starts, ends }: AlignedText,
  from: number,
  to: number,
): { readonly start: number; readonly end: number } {
  const start = starts[from] ?? ends.at(-1) ?? 0;
  return { start, end: to > from ? (ends[to - 1] ?? start) : start };
}

/** Makes an aligned text piece by piece. */
export class AlignedTextBuilder {
  readonly #source: AlignedText;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #text = "";

  constructor(source: AlignedText) {
    this.#source = source;
  }

  /**
   * Appends `text`, all of which stands for what unit `unit` of the source stands for; -1 is nothing, at the source's
   * beginning.
   */
  push(text: string, unit: number): void {
    const start = this.#source.starts[Math.max(0, unit)] ?? 0;
    const end = unit < 0 ? start : (this.#source.ends[unit] ?? start);
    for (let i = 0; i < text.length; i++) {
      this.#starts.push(start);
      this.#ends.push(end);
    }
    this.#text += text;
  }

  /** Appends units of the source as they are. */
  copy(from: number, to: number): void {
    for (let unit = from; unit < to; unit++) {
      this.#starts.push(this.#source.starts[unit] ?? 0);
      this.#ends.push(this.#source.ends[unit] ?? 0);
    }
    this.#text += this.#source.text.slice(from, to);
  }

  build(): AlignedText {
    return {
      text: this.#text,
      starts: Int32Array.from(this.#starts),
      ends: Int32Array.from(this.#ends),
    };
  }
}

/** Every character (code point) on its own becomes `change(character)`, which may be empty. */
export function mapCharacters(
  source: AlignedText,
  change: (character: string) => string,
): AlignedText {
  const made = new Map<string, string>();
  const builder = new AlignedTextBuilder(source);
  let unit = 0;
  for (const character of source.text) {
    let result = made.get(character);
    if (result === undefined) made.set(character, (result = change(character)));
    builder.push(result, unit);
    unit += character.length;
  }
  return builder.build();
}

/** Every match of `pattern` (a global one) becomes `content`, which stands for the match's last character. */
export function replaceMatches(source: AlignedText, pattern: RegExp, content: string): AlignedText {
  const builder = new AlignedTextBuilder(source);
  let done = 0;
  for (const match of source.text.matchAll(pattern)) {
    const end = match.index + match[0].length;
    builder.copy(done, match.index);
    builder.push(content, end - 1);
    done = end;
  }
  builder.copy(done, source.text.length);
  return builder.build();
}

/** `prefix` in front; it stands for the first character. */
export function prepend(source: AlignedText, prefix: string): AlignedText {
  const builder = new AlignedTextBuilder(source);
  builder.push(prefix, 0);
  builder.copy(0, source.text.length);
  return builder.build();
}

/** The same places with other characters. */
export function withText(source: AlignedText, text: string): AlignedText {
  if (text.length !== source.text.length)
    throw new RangeError(`text of ${text.length} units, wanted ${source.text.length}`);
  return { ...source, text };
}

/**
 * Where nothing is known of how `text` was made of the source: what both begin and end with is the same, and every
 * character between stands for all that lies between.
 */
export function alignRoughly(source: AlignedText, text: string): AlignedText {
  const shorter = Math.min(source.text.length, text.length);
  let head = 0;
  while (head < shorter && source.text[head] === text[head]) head++;
  let tail = 0;
  while (tail < shorter - head && source.text.at(-1 - tail) === text.at(-1 - tail)) tail++;
  const { start, end } = originalSpan(source, head, source.text.length - tail);
  const length = text.length;
  const starts = new Int32Array(length).fill(start);
  const ends = new Int32Array(length).fill(end);
  starts.set(source.starts.subarray(0, head));
  ends.set(source.ends.subarray(0, head));
  starts.set(source.starts.subarray(source.text.length - tail), length - tail);
  ends.set(source.ends.subarray(source.text.length - tail), length - tail);
  return { text, starts, ends };
}
