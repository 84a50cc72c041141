/**
 * The answer of a beam search, in neutral words. A search keeps no likelihoods of single tokens, and its end token is not among
 * what it found.
 */
import type { GenerationResult } from "../../generation.ts";
import type { Generated } from "../model/generation.ts";
import type { TextOrder } from "./text-engine.ts";
import type { Vocabulary } from "./writer.ts";

export function toSearchedAnswer(
  { prompt, settings, echo = "", keepsStop }: TextOrder,
  tokenizer: Vocabulary,
  { ids }: Generated,
): GenerationResult {
  const decode = (some: readonly number[]): string =>
    some.length === 0
      ? ""
      : tokenizer.decode([...some], {
          skip_special_tokens: true,
          clean_up_tokenization_spaces: false,
        });
  const written = decode([...prompt, ...ids]).slice(decode(prompt).length);
  const stopText = settings.stopTexts.find((stop) => written.includes(stop));
  const isFull = ids.length >= settings.maxNewTokens;
  const special = new Set(tokenizer.all_special_ids);
  const shown =
    stopText === undefined || keepsStop ? written : written.slice(0, written.indexOf(stopText));
  const details = ids.map((id) => {
    const text = tokenizer.decode([id], {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
    return { token: { id, text, logprob: null, special: special.has(id) } };
  });
  return {
    promptTokens: prompt.length,
    sequences: [
      {
        sequence: 0,
        text: echo + shown,
        tokens: ids.length,
        reason: stopText !== undefined ? "stop_sequence" : isFull ? "length" : "eos_token",
        ...(stopText !== undefined && { stopText }),
        ...(settings.seed !== undefined && { seed: settings.seed }),
        details,
      },
    ],
  };
}
