/**
 * Beam search: several sequences are kept in view, and the best finished one is the answer.
 *
 * Follows `_beam_search` of Python's transformers 4.57 (`generation/utils.py`). Several inputs are searched at once; each has its own beams, and
 * leaves when it is done. Letters: `B` rows (beams of all inputs), `V` tokens of the vocabulary.
 */
import { topIndices } from "../tasks/scores.ts";
import type { Decoder } from "./decoder.ts";
import { rowOf, type FloatTensor } from "./encoder.ts";
import { createChance, processScores, warpScores } from "./generation-choice.ts";
import type { GenerationSettings } from "./generation-settings.ts";

/** A sequence that is searched on. */
interface Beam {
  /** With the prompt. */
  readonly ids: readonly number[];
  /** The sum of its tokens' log-probabilities. */
  readonly score: number;
}

/** Whether the text of generated tokens ends the sequence. */
export type IsStopped = (generated: readonly number[], settings: GenerationSettings) => boolean;

/** One input's search. */
interface Search {
  readonly settings: GenerationSettings;
  readonly promptTokens: number;
  readonly chance: () => number;
  readonly isStopped: IsStopped;
  beams: readonly Beam[];
  /** Finished sequences with their score by length, the best first; at most as many as there are beams. */
  finished: Beam[];
}

/**
 * Searches for the likeliest sequences.
 *
 * @param prompts What each decoder row begins with, all of one length.
 * @returns The tokens generated for each prompt; the one that ends the sequence is left out.
 * @throws The signal's reason once it is aborted.
 */
export async function searchBeams(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  settings: readonly GenerationSettings[],
  isStopped: IsStopped,
  signal: AbortSignal,
): Promise<number[][]> {
  const searches = prompts.map((ids, index): Search => {
    const own = settings[index];
    if (own === undefined) throw new TypeError(`prompt ${index} has no settings`);
    const beams = [{ ids, score: 0 }];
    const chance = createChance(own.seed);
    return { settings: own, promptTokens: ids.length, chance, isStopped, beams, finished: [] };
  });

  let live = searches;
  let feed = prompts;
  while (live.length > 0) {
    signal.throwIfAborted();
    const logits = await decoder.step(feed);
    const rows: number[] = [];
    const going: Search[] = [];
    let firstRow = 0;
    for (const search of live) {
      const count = search.beams.length;
      const origins = advance(search, logits, firstRow);
      if (origins.length > 0) going.push(search);
      rows.push(...origins.map((beam) => firstRow + beam));
      firstRow += count;
    }
    live = going;
    if (live.length > 0) decoder.select(rows);
    feed = live.flatMap(({ beams }) => beams.map(({ ids }) => ids.slice(-1)));
  }
  return searches.map(({ finished, promptTokens, settings: { endIds } }) => {
    const ids = finished[0]?.ids.slice(promptTokens) ?? [];
    return endIds.includes(ids.at(-1) ?? -1) ? ids.slice(0, -1) : ids;
  });
}

/**
 * One more token for every beam of a search.
 *
 * @param firstRow The row of its first beam in `logits`.
 * @returns Which beam each of the new beams continues; none when the search is done.
 */
function advance(search: Search, logits: FloatTensor, firstRow: number): number[] {
  const { settings, beams, promptTokens } = search;
  const { beams: width, endIds, maxNewTokens } = settings;
  const scores = beams.map((beam, index) =>
    scoresOf(search, beam, rowOf(logits, firstRow + index)),
  );
  const V = scores[0]?.length ?? 0;
  const wanted = Math.max(2, 1 + endIds.length) * width;
  const candidates = bestOf(search, scores, wanted);

  const next: Beam[] = [];
  const origins: number[] = [];
  for (const [rank, { index, score }] of candidates.entries()) {
    const origin = Math.floor(index / V);
    const id = index % V;
    const beam = { ids: [...(beams[origin]?.ids ?? []), id], score };
    if (endIds.includes(id) || search.isStopped(beam.ids.slice(promptTokens), settings)) {
      if (rank < width) finish(search, beam);
    } else if (next.length < width) {
      next.push(beam);
      origins.push(origin);
    }
  }
  search.beams = next;
  const generated = (beams[0]?.ids.length ?? 0) + 1 - promptTokens;
  if (isDone(search, next[0]?.score ?? -Infinity, generated)) return [];
  if (next.length > 0 && generated < maxNewTokens) return origins;
  for (const beam of next) finish(search, beam);
  return [];
}

/** The beam's score plus the log-probability of every token that may follow. */
function scoresOf({ settings, promptTokens }: Search, beam: Beam, logits: Float32Array) {
  const scores = logSoftmax(logits);
  const generated = beam.ids.length - promptTokens;
  processScores(scores, { ids: beam.ids, generated }, settings);
  // One token more than those that end the sequence must stay, or a beam could not go on.
  if (settings.sampling) warpScores(scores, settings.sampling, settings.endIds.length + 1);
  return scores.map((score) => score + beam.score);
}

interface Candidate {
  /** Beam × `V` + token. */
  readonly index: number;
  readonly score: number;
}

/**
 * The best continuations, or, where tokens are drawn, as many drawn without replacement: noise of the Gumbel
 * distribution makes the largest of the sums such a draw.
 */
function bestOf({ settings, chance }: Search, scores: readonly Float32Array[], wanted: number) {
  const all = new Float64Array(scores.reduce((sum, row) => sum + row.length, 0));
  let offset = 0;
  for (const row of scores) {
    all.set(row, offset);
    offset += row.length;
  }
  const ranked = settings.sampling
    ? all.map((score) => (score === -Infinity ? score : score - Math.log(-Math.log(chance()))))
    : all;
  return topIndices(ranked, wanted)
    .map((index): Candidate => ({ index, score: all[index] ?? -Infinity }))
    .filter(({ score }) => score > -Infinity)
    .sort((a, b) => b.score - a.score);
}

/** Keeps a finished sequence, if it is among the best. */
function finish({ finished, settings, promptTokens }: Search, { ids, score }: Beam): void {
  const byLength = score / (ids.length - promptTokens) ** settings.lengthPenalty;
  const place = finished.findIndex((other) => other.score < byLength);
  finished.splice(place === -1 ? finished.length : place, 0, { ids, score: byLength });
  finished.length = Math.min(finished.length, settings.beams);
}

/** Whether no beam can still become better than the worst finished sequence. */
function isDone({ finished, settings }: Search, best: number, generated: number): boolean {
  const { beams, earlyStopping, lengthPenalty, maxNewTokens } = settings;
  const worst = finished[beams - 1];
  if (worst === undefined) return false;
  if (earlyStopping === true) return true;
  const isPatient = earlyStopping === "never" && lengthPenalty > 0;
  return worst.score >= best / (isPatient ? maxNewTokens : generated) ** lengthPenalty;
}

function logSoftmax(logits: Float32Array): Float32Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const shift = largest + Math.log(sum);
  return logits.map((logit) => logit - shift);
}
