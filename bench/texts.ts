/**
 * What the bench sends: texts of known length, made of whole words of the model's vocabulary.
 *
 * Each word is one word piece, so a text of `n` words is `n + 2` tokens with `[CLS]` and `[SEP]`.
 * To add a mix of lengths: a row in `MIXES`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { createRandom, drawNormal, type Random } from "./random.ts";

export interface Text {
  readonly text: string;
  /** With special tokens. */
  readonly tokens: number;
}

/** `[CLS]` and `[SEP]`. */
const SPECIAL_TOKENS = 2;
/** Longer texts are cut, as sentence encoders are trained to 128 tokens. */
const MOST_TOKENS = 128;

/**
 * Lengths in tokens, special ones included, before they are cut.
 *
 * `mixed` is what users send, as far as one distribution can tell: median 24. A deviation of 0.95 of the logarithm
 * gives a mean of 35 once cut at 128 tokens, the mean of the measurements in the project's notes.
 */
export const MIXES = {
  mixed: (random) => Math.exp(Math.log(24) + 0.95 * drawNormal(random)),
  short: () => 8,
  medium: () => 32,
  long: () => 128,
  bimodal: (random) => (random() < 0.8 ? 8 : 120),
} as const satisfies Record<string, (random: Random) => number>;

export type MixName = keyof typeof MIXES;

/** Seeded texts of a mix; the same arguments give the same texts. */
export function makeTexts(
  mix: MixName,
  count: number,
  words: readonly string[],
  { seed = 1, maxTokens = MOST_TOKENS } = {},
): Text[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => {
    const drawn = Math.round(MIXES[mix](random));
    const tokens = Math.min(Math.max(drawn, SPECIAL_TOKENS + 1), maxTokens);
    const text = Array.from(
      { length: tokens - SPECIAL_TOKENS },
      () => words[Math.floor(random() * words.length)],
    );
    return { text: text.join(" "), tokens };
  });
}

/**
 * Words that the model's tokenizer keeps whole.
 *
 * @throws When the tokenizer is no WordPiece one: then a text's length could not be told from its words.
 */
export function readWords(modelFolder: string): string[] {
  const file = join(modelFolder, "tokenizer.json");
  const tokenizer = JSON.parse(readFileSync(file, "utf8")) as {
    model?: { type?: string; vocab?: Readonly<Record<string, number>> };
  };
  const { type, vocab } = tokenizer.model ?? {};
  if (type !== "WordPiece" || vocab === undefined)
    throw new Error(
      `Cannot make texts: "${file}" is a ${type ?? "missing"} tokenizer, wanted WordPiece`,
    );
  return Object.keys(vocab).filter((word) => /^[a-z]{2,}$/.test(word));
}
