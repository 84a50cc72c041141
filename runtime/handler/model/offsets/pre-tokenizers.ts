/**
 * Pre-tokenizers, with the place of every character kept.
 *
 * The words are always those of the library; here it is found out where they lie. Most are cut out of the text as they are;
 * `ByteLevel`, `Metaspace` and `Replace` also change them.
 */
import {
  alignRoughly,
  AlignedTextBuilder,
  mapCharacters,
  prepend,
  replaceMatches,
  sliceAligned,
  type AlignedText,
} from "./aligned-text.ts";
import { partConfig, type PartConfig, type PreTokenizer, type SplitOptions } from "./library.ts";

/** The words that `preTokenizer` makes of the text, in order. */
export function splitAligned(
  source: AlignedText,
  preTokenizer: PreTokenizer,
  config: PartConfig,
  options: SplitOptions,
): AlignedText[] {
  if (preTokenizer.tokenizers !== undefined) {
    return preTokenizer.tokenizers.reduce<AlignedText[]>(
      (words, inner, index) => {
        if (inner === null) return words;
        const innerConfig = partConfig(config.pretokenizers?.[index]);
        return words.flatMap((word) => splitAligned(word, inner, innerConfig, options));
      },
      [source],
    );
  }
  const wanted = preTokenizer.pre_tokenize_text(source.text, options);
  const found = findWords(source, wanted, preTokenizer, config);
  const isRight =
    found.length === wanted.length && found.every(({ text }, index) => text === wanted[index]);
  return isRight ? found : wanted.map((word) => alignRoughly(source, word));
}

/** Where a word of SentencePiece begins, if the text is split into words there, as Rust does and the library does not. */
export function wordMarkOf(config: PartConfig): string | undefined {
  if (config.type === "Metaspace")
    return config.split === false ? undefined : (config.replacement ?? "▁");
  for (const inner of config.pretokenizers ?? []) {
    const mark = wordMarkOf(partConfig(inner));
    if (mark !== undefined) return mark;
  }
  return undefined;
}

function findWords(
  source: AlignedText,
  wanted: readonly string[],
  preTokenizer: PreTokenizer,
  config: PartConfig,
): AlignedText[] {
  switch (config.type ?? "") {
    case "ByteLevel":
      return findBytes(source, wanted, preTokenizer, config);
    case "Metaspace": {
      const mark = config.str_rep ?? config.replacement ?? "▁";
      const marked = mapCharacters(source, (character) => (character === " " ? mark : character));
      return [wanted[0] === marked.text ? marked : prepend(marked, mark)];
    }
    case "Replace": {
      const content = config.content ?? "";
      const { pattern } = preTokenizer;
      return [pattern ? replaceMatches(source, pattern, content) : source];
    }
    case "Split":
      return config.invert !== true && config.behavior?.toLowerCase() === "removed"
        ? findBetween(source, preTokenizer.pattern)
        : findInOrder(source, wanted);
    default:
      return findInOrder(source, wanted);
  }
}

/** Words that follow each other; what lies between them, white space, is in none. */
function findInOrder(source: AlignedText, wanted: readonly string[]): AlignedText[] {
  const words: AlignedText[] = [];
  let done = 0;
  for (const word of wanted) {
    const at = source.text.indexOf(word, done);
    if (at === -1) return [];
    done = at + word.length;
    words.push(sliceAligned(source, at, done));
  }
  return words;
}

/** What lies between the matches: a match may look like the beginning of a word, so it is not enough to find the words. */
function findBetween(source: AlignedText, pattern: RegExp | null | undefined): AlignedText[] {
  if (!pattern) return [];
  const words: AlignedText[] = [];
  let done = 0;
  for (const match of source.text.matchAll(pattern)) {
    words.push(sliceAligned(source, done, match.index));
    done = match.index + match[0].length;
  }
  words.push(sliceAligned(source, done, source.text.length));
  return words.filter(({ text }) => text !== "");
}

/** Words whose UTF-8 bytes are written as one character each; every byte stands for the whole character it is of. */
function findBytes(
  source: AlignedText,
  wanted: readonly string[],
  preTokenizer: PreTokenizer,
  config: PartConfig,
): AlignedText[] {
  const wantsSpace = config.add_prefix_space === true && !source.text.startsWith(" ");
  const text = wantsSpace ? prepend(source, " ") : source;
  const pattern = config.use_regex === false ? null : preTokenizer.pattern;
  const words = pattern
    ? [...text.text.matchAll(pattern)].map((match) =>
        sliceAligned(text, match.index, match.index + match[0].length),
      )
    : [text];
  return words.map((word, index) => {
    const builder = new AlignedTextBuilder(word);
    const bytes = wanted[index] ?? "";
    let unit = 0;
    let done = 0;
    for (const character of word.text) {
      const length = Buffer.byteLength(character); // a half of a surrogate pair counts as the three bytes of U+FFFD
      builder.push(bytes.slice(done, done + length), unit);
      done += length;
      unit += character.length;
    }
    return builder.build();
  });
}
