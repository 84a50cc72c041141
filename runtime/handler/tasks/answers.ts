/**
 * From what the model says of a context's windows to answers: the postprocessing of Python's
 * `QuestionAnsweringPipeline` (transformers 4.57). Letter: `T` tokens of a window.
 */
import type { TracedEncoding } from "../model/token-offsets.ts";
import { bestSpans } from "./answer-spans.ts";
import { softmax } from "./scores.ts";

/** A part of the context. */
export type Answer = {
  readonly score: number;
  /** Code points of the context. */
  readonly start: number;
  readonly end: number;
  readonly answer: string;
};

/** A window of the context, and what the model says of it. */
export interface Window {
  readonly encoding: TracedEncoding;
  /** How much each token may be the answer's first: `[T]`, … */
  readonly starts: Float32Array;
  /** … and how much its last. */
  readonly ends: Float32Array;
  /** Which of the two texts is the context. */
  readonly contextText: 0 | 1;
  /** The token whose scores say that there is no answer. */
  readonly beginningId: number | undefined;
}

export interface AnswerOptions {
  readonly count: number;
  /** The most tokens of an answer. */
  readonly maxLength: number;
  /** Whether no answer is an answer. */
  readonly mayBeImpossible: boolean;
  readonly alignsToWords: boolean;
}

/**
 * The best answers of all windows, best first; none where the context has no tokens.
 *
 * Spans of one window that come to be the same words are added up, as in Python. Of several windows the best counts: Python
 * (since 4.53) adds those up too, so that a word that is only often there may beat the answer, with a score above 1.
 */
export function bestAnswers(
  context: string,
  windows: readonly Window[],
  { count, maxLength, mayBeImpossible, alignsToWords }: AnswerOptions,
): Answer[] {
  const characters = Array.from(context);
  // Several spans may come to be the same once they are aligned to words: Python's margin.
  const spansPerWindow = alignsToWords ? count * 2 + 10 : count;
  const answers = new Map<string, Answer>();
  let impossible = Infinity;
  for (const window of windows) {
    const { encoding, contextText } = window;
    const { starts, ends, impossibleScore } = toProbabilities(window);
    impossible = Math.min(impossible, impossibleScore);
    const from = encoding.texts.indexOf(contextText);
    const to = encoding.texts.lastIndexOf(contextText) + 1;
    if (from === -1) continue;
    const own = new Map<string, Answer>();
    for (const span of bestSpans(starts, ends, { from, to, maxLength, count: spansPerWindow })) {
      const { start, end } = placeOf(encoding, span.first, span.last, alignsToWords);
      const answer = characters.slice(start, end).join("");
      const key = answer.toLowerCase();
      const same = own.get(key) ?? { score: 0, start, end, answer };
      own.set(key, { ...same, score: same.score + span.score });
    }
    for (const [key, answer] of own) {
      if (answer.score > (answers.get(key)?.score ?? -1)) answers.set(key, answer);
    }
  }
  const all = [...answers.values()];
  if (mayBeImpossible) all.push({ score: impossible, start: 0, end: 0, answer: "" });
  return all.toSorted((a, b) => b.score - a.score).slice(0, count);
}

/** Probabilities among the tokens of the context and those that stand for no answer; 0 elsewhere. */
function toProbabilities({ encoding, starts, ends, contextText, beginningId }: Window): {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly impossibleScore: number;
} {
  const { inputIds, texts } = encoding;
  const counts = inputIds.map((id, t) => texts[t] === contextText || id === beginningId);
  const mask = (logits: Float32Array): Float64Array =>
    softmax(Float64Array.from(logits, (logit, t) => (counts[t] === true ? logit : -Infinity)));
  const [first, last] = [mask(starts), mask(ends)];
  const beginning = beginningId === undefined ? -1 : inputIds.indexOf(beginningId);
  return {
    starts: first,
    ends: last,
    impossibleScore: (first[beginning] ?? 0) * (last[beginning] ?? 0),
  };
}

/** Where an answer lies in the context; an answer in the middle of a word becomes the word. */
function placeOf(
  { texts, starts, ends, words }: TracedEncoding,
  first: number,
  last: number,
  alignsToWords: boolean,
): { readonly start: number; readonly end: number } {
  let [from, to] = [first, last];
  if (alignsToWords && words[first] !== -1 && words[last] !== -1) {
    const isSame = (a: number, b: number): boolean =>
      texts[a] === texts[b] && words[a] === words[b];
    while (from > 0 && isSame(from - 1, first)) from--;
    while (to < words.length - 1 && isSame(to + 1, last)) to++;
  }
  return { start: starts[from] ?? 0, end: ends[to] ?? 0 };
}

/** A span of tokens that may be an answer, and the window that it is in. */
export interface TokenSpan {
  /** The window's place in the list. */
  readonly window: number;
  readonly first: number;
  readonly last: number;
}

/** The likeliest answer as tokens; `undefined` where the context has none. */
export function bestTokens(windows: readonly Window[], maxLength: number): TokenSpan | undefined {
  let best: (TokenSpan & { readonly score: number }) | undefined;
  for (const [index, window] of windows.entries()) {
    const { encoding, contextText } = window;
    const { starts, ends } = toProbabilities(window);
    const from = encoding.texts.indexOf(contextText);
    const to = encoding.texts.lastIndexOf(contextText) + 1;
    if (from === -1) continue;
    const [span] = bestSpans(starts, ends, { from, to, maxLength, count: 1 });
    if (span !== undefined && span.score > (best?.score ?? -1)) best = { ...span, window: index };
  }
  return best;
}
