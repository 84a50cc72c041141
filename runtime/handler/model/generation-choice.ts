/**
 * Which token comes next: what Python's logits processors and warpers make of one row's scores.
 *
 * Each function follows the class of the same purpose in transformers 4.57 (`generation/logits_process.py`), in the
 * order of `_get_logits_processor`. A row's tokens come without padding, so an answer does not depend on its batch:
 * Python penalizes the padding token of the shorter rows. Letters: `V` tokens of the vocabulary.
 */
import { random } from "@huggingface/transformers";

import { softmax, topIndices } from "../tasks/scores.ts";
import type { GenerationSettings, Sampling } from "./generation-settings.ts";

/** A row so far. */
export interface RowState {
  /** What the decoder has read and made, without padding. */
  readonly ids: readonly number[];
  /** How many of `ids` were generated. */
  readonly generated: number;
  /** How often each token was generated; for penalties that count. */
  readonly counts?: ReadonlyMap<number, number>;
}

/**
 * Changes scores `[V]` in place: penalties, and `-Infinity` for what may not come.
 *
 * @param scores Logits, or their log-softmax where beams are searched.
 */
export function processScores(scores: Float32Array, row: RowState, settings: GenerationSettings) {
  const { ids, generated } = row;
  // OpenAI's, before Python's: what those forbid stays forbidden.
  for (const [id, bias] of settings.logitBias ?? []) scores[id] = (scores[id] ?? 0) + bias;
  penalizeGenerated(scores, row, settings);
  penalizeRepetition(scores, ids, settings.repetitionPenalty);
  forbid(scores, repeatedEnds(ids, settings.noRepeatNgramSize));
  forbid(scores, endsOfBadWords(ids, settings));
  if (generated < settings.minNewTokens) forbid(scores, settings.endIds);
  if (settings.forcedFirstId !== undefined && generated === 0) {
    allowOnly(scores, [settings.forcedFirstId]);
  }
  if (settings.forcedLastIds !== undefined && generated === settings.maxNewTokens - 1) {
    allowOnly(scores, settings.forcedLastIds);
  }
  forbid(scores, settings.suppressTokens);
  const begin = settings.forcedFirstId === undefined || ids.length > generated + 1 ? 0 : 1;
  if (generated === begin) forbid(scores, settings.beginSuppressTokens);
  settings.rule?.(scores, row);
}

/** OpenAI's two penalties, of its API reference: `presence + count × frequency` off the score. */
function penalizeGenerated(
  scores: Float32Array,
  { counts }: RowState,
  { presencePenalty = 0, frequencyPenalty = 0 }: GenerationSettings,
): void {
  if (counts === undefined || (presencePenalty === 0 && frequencyPenalty === 0)) return;
  for (const [id, count] of counts)
    scores[id] = (scores[id] ?? 0) - presencePenalty - count * frequencyPenalty;
}

/** Draws one token of scores `[V]`. */
export type Draw = (scores: Float32Array) => number;

/** The likeliest token, or one drawn by chance. */
export function createDraw({ sampling, seed }: GenerationSettings): Draw {
  if (sampling === undefined) return indexOfLargest;
  const chance = createChance(seed);
  return (scores) => {
    warpScores(scores, sampling, 1);
    return drawByChance(scores, chance());
  };
}

/** Draws one token of scores `[V]` as they are. @param chance From 0 to 1, 1 excluded. */
export function drawByChance(scores: Float32Array, chance: number): number {
  const V = scores.length;
  const largest = scores[indexOfLargest(scores)] ?? 0;
  let sum = 0;
  for (let index = 0; index < V; index++) sum += Math.exp((scores[index] ?? 0) - largest);
  let left = chance * sum;
  let last = 0;
  for (let index = 0; index < V; index++) {
    const score = scores[index] ?? 0;
    if (score === -Infinity) continue;
    last = index;
    left -= Math.exp(score - largest);
    if (left < 0) return index;
  }
  return last; // the sum fell short by rounding
}

/** Numbers from 0 to 1, 1 excluded; the same ones for the same seed. */
export function createChance(seed: number | undefined): () => number {
  const generator = new random.Random(seed);
  return () => generator.random();
}

/**
 * Divides by the temperature and leaves the tokens that may be drawn; the others become `-Infinity`.
 *
 * @param atLeast Tokens that stay in any case.
 */
export function warpScores(scores: Float32Array, sampling: Sampling, atLeast: number): void {
  const { temperature, topK, topP, minP, typicalP, epsilonCutoff, etaCutoff } = sampling;
  if (temperature !== 1) {
    for (let index = 0; index < scores.length; index++) {
      scores[index] = (scores[index] ?? 0) / temperature;
    }
  }
  const narrowest = Math.min(scores.length, atLeast);
  const width = topK === 0 ? scores.length : Math.min(scores.length, Math.max(topK, narrowest));
  const isNarrowed = topP < 1 || minP > 0 || typicalP < 1 || epsilonCutoff > 0 || etaCutoff > 0;
  if (width === scores.length && !isNarrowed) return;
  // A whole vocabulary is not sorted for its likeliest part.
  const likely = width < scores.length || topP === 1 ? undefined : nucleus(scores, topP, narrowest);
  let kept = likely ?? topWithEquals(scores, width);
  /** Keeps the places that `rule` wants; after each rule the rest makes up the whole again. */
  const narrow = (rule: (probabilities: Float64Array) => readonly number[]): void => {
    const places = rule(softmax(kept.map((index) => scores[index] ?? -Infinity)));
    const wanted = places.length < narrowest ? [...kept.keys()].slice(0, narrowest) : places;
    kept = wanted.map((place) => kept[place] ?? 0);
  };
  if (topP < 1 && likely === undefined) narrow((probabilities) => leadingUpTo(probabilities, topP));
  if (minP > 0) narrow((probabilities) => atOrAbove(probabilities, minP * (probabilities[0] ?? 0)));
  if (typicalP < 1) narrow((probabilities) => mostTypical(probabilities, typicalP, narrowest));
  // These two cut nothing that is as likely as the last of those that stay in any case.
  const cut = (probabilities: Float64Array, limit: number): readonly number[] =>
    atOrAbove(probabilities, Math.min(limit, probabilities[narrowest - 1] ?? 0));
  if (epsilonCutoff > 0) narrow((probabilities) => cut(probabilities, epsilonCutoff));
  if (etaCutoff > 0) {
    narrow((probabilities) => {
      const limit = Math.sqrt(etaCutoff) * Math.exp(-entropyOf(probabilities));
      return cut(probabilities, Math.min(etaCutoff, limit));
    });
  }
  const survivors = kept.map((index) => [index, scores[index] ?? -Infinity] as const);
  scores.fill(-Infinity);
  for (const [index, score] of survivors) scores[index] = score;
}

/**
 * The likeliest tokens whose probabilities make up `mass`, best first. Only those are sorted that can be among them: the others,
 * less likely than `(1 − mass) / V`, make up less than `1 − mass` all together.
 *
 * @returns `undefined` where they would be fewer than `atLeast`.
 */
function nucleus(scores: Float32Array, mass: number, atLeast: number): number[] | undefined {
  const V = scores.length;
  const largest = scores[indexOfLargest(scores)] ?? 0;
  let total = 0;
  for (let index = 0; index < V; index++) total += Math.exp((scores[index] ?? 0) - largest);
  const least = largest + Math.log(((1 - mass) / V) * total);
  const candidates: number[] = [];
  for (let index = 0; index < V; index++) {
    if ((scores[index] ?? -Infinity) >= least) candidates.push(index);
  }
  candidates.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  let sum = 0;
  const isEnough = candidates.findIndex((index) => {
    if (sum >= mass * total) return true;
    sum += Math.exp((scores[index] ?? 0) - largest);
    return false;
  });
  const found = isEnough < 0 ? candidates : candidates.slice(0, isEnough);
  return found.length >= atLeast ? found : undefined;
}

/** The first places whose probabilities make up `mass`; probabilities descend. */
function leadingUpTo(probabilities: Float64Array, mass: number): number[] {
  const places: number[] = [];
  let sum = 0;
  for (const [place, probability] of probabilities.entries()) {
    if (sum >= mass) break;
    places.push(place);
    sum += probability;
  }
  return places;
}

function atOrAbove(probabilities: Float64Array, limit: number): number[] {
  return [...probabilities.keys()].filter((place) => (probabilities[place] ?? 0) >= limit);
}

/** The `count` largest, best first, and those that equal the last of them. */
function topWithEquals(scores: Float32Array, count: number): number[] {
  const top = topIndices(scores, count);
  const least = scores[top.at(-1) ?? 0] ?? -Infinity;
  if (top.length === scores.length || least === -Infinity) return top;
  const isTop = new Set(top);
  for (const [index, score] of scores.entries())
    if (score === least && !isTop.has(index)) top.push(index);
  return top;
}

/**
 * The places whose surprise is nearest to the expected one, up to `mass` (arXiv 2202.00666), likeliest first.
 *
 * @param atLeast So many stay: the most typical, not the likeliest.
 */
function mostTypical(probabilities: Float64Array, mass: number, atLeast: number): number[] {
  const entropy = entropyOf(probabilities);
  const distance = (place: number) => Math.abs(-Math.log(probabilities[place] ?? 0) - entropy);
  const order = [...probabilities.keys()].sort((a, b) => distance(a) - distance(b));
  const sorted = Float64Array.from(order, (place) => probabilities[place] ?? 0);
  const farthest = distance(order[leadingUpTo(sorted, mass).length - 1] ?? 0);
  return order
    .filter((place, rank) => rank < atLeast || distance(place) <= farthest)
    .sort((a, b) => a - b);
}

function entropyOf(probabilities: Float64Array): number {
  return probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
}

/** Of equal scores the first, as in Python. */
export function indexOfLargest(scores: ArrayLike<number>): number {
  let best = 0;
  let largest = scores[0] ?? -Infinity;
  for (let index = 1; index < scores.length; index++) {
    const score = scores[index] ?? -Infinity;
    if (score > largest) {
      largest = score;
      best = index;
    }
  }
  return best;
}

function penalizeRepetition(scores: Float32Array, ids: readonly number[], penalty: number): void {
  if (penalty === 1) return;
  for (const id of new Set(ids)) {
    const score = scores[id] ?? 0;
    scores[id] = score < 0 ? score * penalty : score / penalty;
  }
}

/** Tokens that would complete a run of `size` tokens that is there already. */
function repeatedEnds(ids: readonly number[], size: number): number[] {
  if (size === 0 || ids.length + 1 < size) return [];
  const tail = ids.slice(ids.length + 1 - size);
  const ends: number[] = [];
  for (let start = 0; start + size <= ids.length; start++) {
    const end = ids[start + size - 1];
    if (end !== undefined && tail.every((id, offset) => ids[start + offset] === id)) ends.push(end);
  }
  return ends;
}

/** Last tokens of forbidden sequences whose beginning is there; one that only ends the text is no word. */
function endsOfBadWords(ids: readonly number[], { badWordsIds, endIds }: GenerationSettings) {
  const ends: number[] = [];
  for (const word of badWordsIds) {
    const end = word.at(-1);
    if (end === undefined || (word.length === 1 && endIds.includes(end))) continue;
    const beginning = word.slice(0, -1);
    const tail = ids.slice(ids.length - beginning.length);
    const isThere = beginning.length <= ids.length && beginning.every((id, i) => tail[i] === id);
    if (isThere) ends.push(end);
  }
  return ends;
}

function forbid(scores: Float32Array, ids: readonly number[]): void {
  for (const id of ids) if (id < scores.length) scores[id] = -Infinity;
}

function allowOnly(scores: Float32Array, ids: readonly number[]): void {
  scores.fill(-Infinity);
  for (const id of ids) scores[id] = 0;
}
