/**
 * The loop that generates: one token for every row, again and again.
 *
 * Each row is written by settings of its own, and leaves the batch once it is done. Beams have a search of their own
 * (`beam-search.ts`). Letters: `B` rows, `V` tokens of the vocabulary.
 */
import { searchBeams } from "./beam-search.ts";
import type { Decoder } from "./decoder.ts";
import { rowOf } from "./encoder.ts";
import { createDraw, processScores, type Draw } from "./generation-choice.ts";
import type { GenerationSettings } from "./generation-settings.ts";

/** What was generated for one item. */
export interface Generated {
  /** Without the token that ended the sequence. */
  readonly ids: readonly number[];
}

/** What makes text of tokens: a tokenizer. */
interface TokenReader {
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
}

/** A sequence that is being written. */
interface Row {
  readonly settings: GenerationSettings;
  readonly draw: Draw;
  /** Prompt and what was generated. */
  readonly ids: number[];
  readonly generated: number[];
}

/**
 * Writes on after each prompt, by the settings of its item; nothing else of the items is read.
 *
 * @param prompts What each row of the decoder begins with; all of one length where it has an encoder, or beams are
 *   searched.
 * @throws The signal's reason within one token, once it is aborted.
 */
export async function run(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  items: readonly { readonly settings: GenerationSettings }[],
  { tokenizer }: { readonly tokenizer: TokenReader },
  signal: AbortSignal,
): Promise<Generated[]> {
  const settings = items.map((item) => item.settings);
  if (settings.some(({ beams }) => beams > 1)) {
    const found = await searchBeams(
      decoder,
      prompts,
      settings,
      (ids, own) => isStopped(ids, own, tokenizer),
      signal,
    );
    return found.map((ids) => ({ ids }));
  }
  const rows = settings.map((own, index): Row => {
    return {
      settings: own,
      draw: createDraw(own),
      ids: [...(prompts[index] ?? [])],
      generated: [],
    };
  });
  let live = rows;
  let feed = prompts;
  while (live.length > 0) {
    signal.throwIfAborted();
    const logits = await decoder.step(feed); // [B, V]
    const going: number[] = [];
    for (const [place, row] of live.entries()) {
      if (!writeToken(row, rowOf(logits, place), tokenizer)) going.push(place);
    }
    if (going.length < live.length) {
      live = going.flatMap((place) => live[place] ?? []);
      if (live.length > 0) decoder.select(going);
    }
    feed = live.map(({ ids }) => ids.slice(-1));
  }
  return rows.map(({ generated }) => ({ ids: generated }));
}

/** @returns Whether the sequence has ended. */
function writeToken(row: Row, scores: Float32Array, tokenizer: TokenReader): boolean {
  const { settings, ids, generated, draw } = row;
  processScores(scores, { ids, generated: generated.length }, settings);
  const id = draw(scores);
  if (settings.endIds.includes(id)) return true;
  ids.push(id);
  generated.push(id);
  if (generated.length >= settings.maxNewTokens) return true;
  return isStopped(generated, settings, tokenizer);
}

/**
 * Whether a text that ends the sequence is among its last tokens: as many as it can be made of, and a few for broken
 * characters. Special tokens are text here, as clients name them.
 */
function isStopped(
  ids: readonly number[],
  { stopTexts }: Pick<GenerationSettings, "stopTexts">,
  tokenizer: TokenReader,
): boolean {
  return stopTexts.some((stop) => {
    const bytes = Buffer.byteLength(stop); // no token is shorter than a byte
    const tail = tokenizer.decode(ids.slice(-bytes - 4), {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
    return tail.includes(stop);
  });
}
