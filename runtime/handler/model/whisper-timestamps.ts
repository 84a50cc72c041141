/**
 * Whisper's timestamps: when the model may say one, and what they tell once they are said.
 *
 * Whisper writes tokens of time between those of text: a segment's start, its text, its end. Follows Python's
 * transformers 4.57: `WhisperTimeStampLogitsProcessor` (`generation/logits_process.py`), of which transformers.js lacks
 * two rules, and `_retrieve_segment` (`models/whisper/generation_whisper.py`).
 */

/** What is known of the model's tokens of time. */
export interface Clock {
  /** The token of 0.00 seconds; the ones after it go on in steps of `stepSeconds`. */
  readonly beginId: number;
  readonly stepSeconds: number;
  readonly endId: number;
  /** The latest first timestamp, in steps; `undefined` for any. */
  readonly maxInitial: number | undefined;
}

/** Changes the scores `[V]` of a row in place, so that timestamps come in pairs and in order. */
export function createTimestampRule({ beginId, endId, maxInitial }: Clock) {
  return (
    scores: Float32Array,
    { ids, generated }: { readonly ids: readonly number[]; readonly generated: number },
  ): void => {
    const own = ids.slice(ids.length - generated);
    const isTime = (id: number | undefined) => id !== undefined && id >= beginId;
    scores[beginId - 1] = -Infinity; // the token for "no timestamps"
    const lastIsTime = isTime(own.at(-1));
    const isOpen = lastIsTime && (own.length < 2 || isTime(own.at(-2)));
    if (isOpen) scores.fill(-Infinity, beginId); // a segment has begun: text must follow
    else if (lastIsTime) scores.fill(-Infinity, 0, endId); // one has ended: the next begins, or all ends
    const last = own.findLast(isTime);
    if (last !== undefined) {
      const earliest = lastIsTime && !isOpen ? last : last + 1;
      scores.fill(-Infinity, beginId, earliest);
    }
    if (generated === 0) {
      scores.fill(-Infinity, 0, beginId);
      if (maxInitial !== undefined) scores.fill(-Infinity, beginId + maxInitial + 1);
    }
    // All times together may be likelier than any text.
    const text = scores.subarray(0, beginId).reduce((a, b) => Math.max(a, b), -Infinity);
    if (logSumExp(scores.subarray(beginId)) > text) scores.fill(-Infinity, 0, beginId);
  };
}

function logSumExp(values: Float32Array): number {
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (largest === -Infinity) return -Infinity;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}

/** A stretch of speech; times in steps from the beginning of what was heard. */
export interface Segment {
  readonly start: number;
  /** `undefined` where the model did not say, and nothing comes after. */
  readonly end: number | undefined;
  /** Without tokens of time. */
  readonly ids: readonly number[];
}

/** What a window of sound told. */
export interface Heard {
  readonly segments: readonly Segment[];
  /** Where to listen on, in steps from the beginning of the window; the rest was cut in the middle. */
  readonly next: number;
}

/**
 * Cuts what was generated for a window at its timestamps.
 *
 * @param ids Without the token that ends all.
 * @param length How long the window is, in steps.
 */
export function cutSegments(ids: readonly number[], length: number, { beginId }: Clock): Heard {
  const isTime = ids.map((id) => id >= beginId);
  const textOf = (part: readonly number[]) => part.filter((id) => id < beginId);
  const stepOf = (id: number | undefined) => (id ?? beginId) - beginId;
  /** Places of the second of two timestamps in a row: a segment has ended and another begins. */
  const seams = [...ids.keys()].filter((place) => isTime[place - 1] && isTime[place]);
  if (seams.length === 0) {
    const text = textOf(ids);
    const start = isTime[0] === true ? stepOf(ids[0]) : 0;
    const end = isTime.at(-1) === true ? stepOf(ids.at(-1)) : undefined;
    return { segments: text.length > 0 ? [{ start, end, ids: text }] : [], next: length };
  }
  const endsInTime = isTime.at(-1) === true && isTime.at(-2) === false;
  const cuts = endsInTime ? [...seams, ids.length] : seams;
  const segments = cuts.map((cut, index): Segment => {
    const part = ids.slice(cuts[index - 1] ?? 0, cut);
    return { start: stepOf(part[0]), end: stepOf(part.at(-1)), ids: textOf(part) };
  });
  const lastSeam = seams.at(-1) ?? 0;
  const next = endsInTime ? length : stepOf(ids[lastSeam - 1]);
  return { segments, next: next > 0 ? next : length };
}
