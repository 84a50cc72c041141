/**
 * Tokens as they come, made text that may be shown: never half a character, and special tokens apart.
 *
 * A token's text depends on those before it (a space at the beginning, a character of several bytes), so a few of
 * them are decoded with it, and the difference is its own. All pieces together are the text.
 */

/** What makes text of tokens: a tokenizer. */
export interface TokenReader {
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
}

export interface TextStream {
  /** @returns What the token adds; empty while a character is incomplete. */
  push(id: number): string;
  /** What is left when no token follows: characters that never became whole. */
  end(): string;
}

/** Tokens of the prompt that the first one is decoded with. */
const CONTEXT = 6;
/** With so many tokens decoded at once, the first ones are left out from then on. */
const WIDEST = 16;
/** No character has more bytes, and no token less than one: what is broken for longer stays so. */
const MOST_BYTES = 4;
/** What a tokenizer writes in place of a character that is not whole. */
const BROKEN = "\uFFFD";

/** @param prompt What comes before: nothing of it is told again. */
export function createTextStream(tokenizer: TokenReader, prompt: readonly number[]): TextStream {
  /** Tokens that are decoded together, and how much of their text has been told. */
  let window = prompt.slice(-CONTEXT);
  let text = decode(window);
  let told = text.length;

  function decode(ids: readonly number[]): string {
    if (ids.length === 0) return "";
    return tokenizer.decode([...ids], {
      skip_special_tokens: true,
      clean_up_tokenization_spaces: false,
    });
  }

  function tell(until: number): string {
    const piece = text.slice(told, Math.max(told, until));
    told += piece.length;
    return piece;
  }

  return {
    push(id) {
      window.push(id);
      text = decode(window);
      const piece = tell(text.length - brokenEnd(text));
      if (window.length >= WIDEST && told === text.length) {
        window = window.slice(-CONTEXT);
        text = decode(window);
        told = text.length;
      } else if (window.length >= 4 * WIDEST) {
        // Bytes that make no character, one after the other: what was told of them stays told.
        const last = window.slice(-MOST_BYTES);
        const rest = text.length - told;
        window = last;
        text = decode(last);
        told = Math.max(0, text.length - rest);
      }
      return piece;
    },
    end: () => tell(text.length),
  };
}

/** How many characters at the end may become others with the next token. */
function brokenEnd(text: string): number {
  let count = 0;
  while (count < MOST_BYTES && text[text.length - 1 - count] === BROKEN) count++;
  return count;
}
