/**
 * From the likeliest token of each frame to text: repeated tokens are one, blanks separate.
 *
 * Follows `Wav2Vec2CTCTokenizer` of Python's transformers (4.57, `convert_tokens_to_string`, `_compute_offsets`,
 * `_get_word_offsets`), special tokens included, as its pipeline asks for them.
 */

/** What is read of a tokenizer. */
export interface CtcVocabulary {
  readonly tokenOf: (id: number) => string;
  /** The blank. */
  readonly padToken: string;
  /** What stands between words in the vocabulary. */
  readonly wordDelimiter: string;
  readonly isLowerCase: boolean;
}

/** A piece of the text with the frames it was heard in: from `start`, up to `end`. */
export interface Span {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

export interface CtcText {
  readonly text: string;
  /** Every character, the spaces between words included. */
  readonly chars: readonly Span[];
  readonly words: readonly Span[];
}

export function decodeCtc(ids: readonly number[], vocabulary: CtcVocabulary): CtcText {
  const { tokenOf, padToken, wordDelimiter, isLowerCase } = vocabulary;
  const chars: Span[] = [];
  for (let start = 0; start < ids.length;) {
    let end = start + 1;
    while (ids[end] === ids[start]) end++;
    const token = tokenOf(ids[start] ?? 0);
    const text = token === wordDelimiter ? " " : token;
    if (token !== padToken) chars.push({ text, start, end });
    start = end;
  }
  const text = chars
    .map((char) => char.text)
    .join("")
    .trim();
  return { text: isLowerCase ? text.toLowerCase() : text, chars, words: joinWords(chars) };
}

function joinWords(chars: readonly Span[]): Span[] {
  const words: Span[] = [];
  let isInWord = false;
  for (const { text, start, end } of chars) {
    const last = words.at(-1);
    if (text === " ") isInWord = false;
    else if (isInWord && last !== undefined) {
      words[words.length - 1] = { text: last.text + text, start: last.start, end };
    } else {
      words.push({ text, start, end });
      isInWord = true;
    }
  }
  return words;
}
