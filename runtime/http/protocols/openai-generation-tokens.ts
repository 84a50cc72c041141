/**
 * Log probabilities as OpenAI tells them, for exactly the tokens whose text is shown.
 *
 * A text is shown later than its tokens come, where it may still turn out to begin a stop text; then its tokens wait as well,
 * and those of the stop text itself are never told. Special tokens have no text to stand beside.
 */
import type { GeneratedToken, PromptToken } from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";

/** A token and where its text begins. */
export interface PlacedToken {
  readonly token: GeneratedToken;
  readonly top: readonly GeneratedToken[];
  /** In UTF-16 units, from the beginning of the choice's text. */
  readonly offset: number;
}

export interface TokenGate {
  /** A token has come. */
  readonly add: (token: GeneratedToken, top?: readonly GeneratedToken[]) => void;
  /** So much more text is shown. @returns The tokens that are shown with it. */
  readonly show: (characters: number) => PlacedToken[];
}

/** @param start Where the first token's text begins. */
export function createTokenGate(start = 0): TokenGate {
  const waiting: PlacedToken[] = [];
  let written = start;
  let shown = start;
  return {
    add(token, top = []) {
      if (token.special) return;
      waiting.push({ token, top, offset: written });
      written += token.text.length;
    },
    show(characters) {
      shown += characters;
      const hidden = waiting.findIndex(({ offset }) => offset >= shown);
      return waiting.splice(0, hidden < 0 ? waiting.length : hidden);
    },
  };
}

/** A prompt's tokens with their places in its text; a token that was added to the text has none of its own. */
export function placePrompt(
  prompt: readonly PromptToken[],
  text: string,
): { placed: PlacedToken[]; end: number } {
  let at = 0;
  const placed = prompt.map((token): PlacedToken => {
    const offset = at;
    if (text.startsWith(token.text, at)) at += token.text.length;
    return { token, top: token.top ?? [], offset };
  });
  return { placed, end: text.length };
}

export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  /** For each token the likeliest at its place and itself; `null` for a prompt's first, which follows nothing. */
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  readonly text_offset: readonly number[];
}

/** As `completions` tells them. */
export function toCompletionLogprobs(placed: readonly PlacedToken[]): CompletionLogprobs {
  return {
    tokens: placed.map(({ token }) => token.text),
    token_logprobs: placed.map(({ token }) => token.logprob),
    top_logprobs: placed.map(({ token, top }) =>
      token.logprob === null
        ? null
        : Object.fromEntries(
            [...top, token].map(({ text, logprob }) => [text, logprob ?? 0] as const),
          ),
    ),
    text_offset: placed.map(({ offset }) => offset),
  };
}

/** As `chat/completions` tells them. */
export function toChatLogprobs(placed: readonly PlacedToken[]): JsonValue {
  return {
    content: placed.map(({ token, top }) => ({
      ...toChatToken(token),
      top_logprobs: top.map(toChatToken),
    })),
    refusal: null,
  };
}

function toChatToken({ text, logprob }: GeneratedToken): Readonly<Record<string, JsonValue>> {
  return { token: text, logprob: logprob ?? 0, bytes: [...new TextEncoder().encode(text)] };
}
