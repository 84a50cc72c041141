/**
 * Normalizers, with the place of every character kept.
 *
 * The text is always what the library makes of it; here it is found out which character became which. Most normalizers
 * treat every character alone, so each is asked about each character; what composes (`NFC`, `NFKC`) is taken apart and put
 * together again by code points; SentencePiece's map says itself what it changed.
 */
import {
  alignRoughly,
  AlignedTextBuilder,
  mapCharacters,
  prepend,
  replaceMatches,
  sliceAligned,
  withText,
  type AlignedText,
} from "./aligned-text.ts";
import { charsmapOf } from "../mend-tokenizer.ts";
import { partConfig, type Normalizer, type PartConfig } from "./library.ts";
import { strippedSpan } from "./strip.ts";

/** Runs `normalizer` over the text. */
export function normalizeAligned(
  source: AlignedText,
  normalizer: Normalizer,
  config: PartConfig,
): AlignedText {
  if (normalizer.normalizers !== undefined) {
    return normalizer.normalizers.reduce<AlignedText>(
      (text, inner, index) =>
        inner === null
          ? text
          : normalizeAligned(text, inner, partConfig(config.normalizers?.[index])),
      source,
    );
  }
  return followChange(source, normalizer.normalize(source.text), () =>
    align(source, normalizer, config),
  );
}

/**
 * Aligns `wanted`, which was made of `source`.
 *
 * @param align What is believed to have happened; where it gives another text, only the rough places are known.
 */
export function followChange(
  source: AlignedText,
  wanted: string,
  align: () => AlignedText | undefined,
): AlignedText {
  if (wanted === source.text) return source;
  const aligned = align();
  return aligned?.text === wanted ? aligned : alignRoughly(source, wanted);
}

function align(
  source: AlignedText,
  normalizer: Normalizer,
  config: PartConfig,
): AlignedText | undefined {
  switch (config.type ?? "") {
    case "Replace": {
      const content = config.content ?? "";
      return normalizer.pattern ? replaceMatches(source, normalizer.pattern, content) : source;
    }
    case "Prepend":
      return prepend(source, config.prepend ?? "");
    case "Strip": {
      const { start, end } = strippedSpan(source.text, config);
      return sliceAligned(source, start, end);
    }
    case "Precompiled": {
      const mapped = charsmapOf(normalizer)?.map(source.text);
      if (mapped !== undefined) return applyChanges(source, mapped.text, mapped.changes, 0);
      return alignCharacters(source, (text) => normalizer.normalize(text));
    }
    default:
      return alignCharacters(source, (text) => normalizer.normalize(text));
  }
}

/** Aligns what `change` makes of the text, if it treats every character alone or composes canonically. */
export function alignCharacters(
  source: AlignedText,
  change: (text: string) => string,
): AlignedText | undefined {
  const wanted = change(source.text);
  const single = mapCharacters(source, change);
  if (single.text === wanted) return single;
  // Alone, a capital sigma does not know that it ends a word.
  if (single.text.replaceAll("σ", "ς") === wanted.replaceAll("σ", "ς"))
    return withText(single, wanted);
  return alignComposed(source, wanted, change);
}

/** A character of a text that was taken apart. */
interface Part {
  /**
   * As in Rust: above 0, it was added after the one before it; else it replaces a character of the source, and that many
   * more are gone.
   */
  readonly change: number;
}

/**
 * Aligns `wanted` if it is the source with every character changed alone, decomposed, put in canonical order and composed.
 *
 * Normalization keeps equal characters in their order, so each part of `wanted` is the first of its kind that is left.
 */
function alignComposed(
  source: AlignedText,
  wanted: string,
  change: (text: string) => string,
): AlignedText | undefined {
  const { parts, skipped } = takeApart(source.text, (character) =>
    change(character).normalize("NFD"),
  );
  const changes: number[] = [];
  for (const character of wanted) {
    const pieces = Array.from(character.normalize("NFD"));
    let sum = 1 - pieces.length;
    for (const piece of pieces) {
      const part = parts.get(piece)?.next().value;
      if (part === undefined) return undefined;
      sum += part.change;
    }
    changes.push(sum);
  }
  return applyChanges(source, wanted, changes, skipped);
}

/** The parts by character, each kind in its order, and how many characters were lost before the first. */
function takeApart(
  text: string,
  decompose: (character: string) => string,
): { parts: Map<string, Iterator<Part, undefined>>; skipped: number } {
  const lists = new Map<string, { change: number }[]>();
  let last: { change: number } | undefined;
  let skipped = 0;
  for (const character of text) {
    const pieces = Array.from(decompose(character));
    if (pieces.length === 0) {
      if (last === undefined) skipped++;
      else last.change--;
    }
    for (const [index, piece] of pieces.entries()) {
      last = { change: index === 0 ? 0 : 1 };
      const list = lists.get(piece);
      if (list === undefined) lists.set(piece, [last]);
      else list.push(last);
    }
  }
  const parts = new Map([...lists].map(([piece, list]) => [piece, list.values()] as const));
  return { parts, skipped };
}

/** Gives every character of `text` the place that its change says. */
function applyChanges(
  source: AlignedText,
  text: string,
  changes: readonly number[],
  skipped: number,
): AlignedText {
  const builder = new AlignedTextBuilder(source);
  let unit = 0;
  const skip = (count: number): void => {
    for (let i = 0; i < count && unit < source.text.length; i++)
      unit += (source.text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
  };
  skip(skipped);
  for (const [index, character] of Array.from(text).entries()) {
    const change = changes[index] ?? 0;
    builder.push(character, change > 0 ? unit - 1 : unit);
    if (change <= 0) skip(1 - change);
  }
  return builder.build();
}
