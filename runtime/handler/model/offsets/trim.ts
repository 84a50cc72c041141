/**
 * Leaving out the space that a token of byte-level encoding begins or ends with, where the post-processor asks for it
 * (RoBERTa's does, GPT-2's own does not).
 *
 * Follows `process_offsets` of Hugging Face's `tokenizers` 0.22 (`pre_tokenizers/byte_level.rs`).
 */
import { partConfig, type PartConfig } from "./library.ts";
import type { PlacedToken } from "./words.ts";

/** How the encoding writes a space. */
const SPACE = "Ġ";

/** @param config The post-processor's; one that does not trim gives the tokens back as they are. */
export function trimSpaces(
  tokens: readonly PlacedToken[],
  config: PartConfig,
): readonly PlacedToken[] {
  if (config.type === "Sequence") {
    return (config.processors ?? []).reduce<readonly PlacedToken[]>(
      (trimmed, inner) => trimSpaces(trimmed, partConfig(inner)),
      tokens,
    );
  }
  const trims = config.type === "ByteLevel" || config.type === "RobertaProcessing";
  if (!trims || config.trim_offsets === false) return tokens;
  const addsSpace = config.add_prefix_space !== false;
  return tokens.map((token, index) => trim(token, index, addsSpace));
}

function trim(placed: PlacedToken, index: number, addsSpace: boolean): PlacedToken {
  const token = placed.written ?? placed.token;
  let leading = countSpaces(token);
  const trailing = countSpaces(Array.from(token).toReversed());
  if (leading === 0 && trailing === 0) return placed;
  let { start, end } = placed;
  // A single space at the beginning was put there by the tokenizer: it is not in the text.
  if (leading === 1 && addsSpace && (index === 0 || start === 0)) leading = 0;
  start = Math.min(start + leading, end);
  if (end >= trailing) end = Math.max(end - trailing, start);
  return { ...placed, start, end };
}

function countSpaces(characters: Iterable<string>): number {
  let count = 0;
  for (const character of characters) {
    if (character !== SPACE && !/^\s$/u.test(character)) break;
    count++;
  }
  return count;
}
