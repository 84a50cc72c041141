/**
 * What the bench of text generation asks: prompts of mixed lengths, and how much is to be written to each.
 *
 * The tokenizers of `generation-models.ts` make one token of each letter.
 */
import { createRandom, drawNormal } from "./random.ts";

export interface Order {
  readonly prompt: string;
  readonly promptTokens: number;
  /** Neither more nor fewer: ends of texts are passed over. */
  readonly newTokens: number;
}

/** Lognormal: most prompts are short, a few are long. */
export const PROMPT_TOKENS = { median: 64, deviation: 0.8, least: 16, most: 256 } as const;
/** Each length as often as any other. */
export const WRITTEN_TOKENS = { least: 16, most: 128 } as const;

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
/** Letters of a word, the space after it included. */
const WORD = 6;

/** Seeded; the same arguments give the same orders. */
export function makeOrders(count: number, seed: number): Order[] {
  const random = createRandom(seed);
  const { median, deviation, least, most } = PROMPT_TOKENS;
  return Array.from({ length: count }, () => {
    const drawn = Math.round(Math.exp(Math.log(median) + deviation * drawNormal(random)));
    const promptTokens = Math.min(Math.max(drawn, least), most);
    const letter = (_: unknown, place: number): string =>
      place % WORD === WORD - 1 ? " " : (LETTERS[Math.floor(random() * LETTERS.length)] ?? "");
    const span = WRITTEN_TOKENS.most - WRITTEN_TOKENS.least + 1;
    return {
      prompt: Array.from({ length: promptTokens }, letter).join(""),
      promptTokens,
      newTokens: WRITTEN_TOKENS.least + Math.floor(random() * span),
    };
  });
}

/**
 * The orders as clients find them who have been at it for long: each one's first text is somewhere on its way, not at its beginning.
 * Else all prompts would be read at first, and the texts would end together.
 */
export function asUnderWay(orders: readonly Order[], clients: number, seed: number): Order[] {
  const random = createRandom(seed);
  return orders.map((order, index) => {
    if (index >= clients) return order;
    return { ...order, newTokens: 1 + Math.floor(random() * order.newTokens) };
  });
}
