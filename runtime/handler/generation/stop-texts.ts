/**
 * Finds the texts that end a sequence, wherever tokens begin and end, and holds back what may yet begin one.
 *
 * Special tokens are text here, as clients name them, but are not shown.
 */

export interface StopMatcher {
  /**
   * @param isHidden Whether it is looked through and not shown.
   * @returns What may be shown now, and the text that ended the sequence. Nothing may be pushed after that.
   */
  push(piece: string, isHidden?: boolean): { readonly shown: string; readonly stop?: string };
  /** What was held back, once nothing follows. */
  end(): string;
}

/** @param keeps Whether the text that ends the sequence is shown too, with what its last token adds behind it. */
export function createStopMatcher(stops: readonly string[], keeps: boolean): StopMatcher {
  /** What is held back, and which of its characters are hidden. */
  let held = "";
  let hidden: boolean[] = [];

  function release(count: number): string {
    let shown = "";
    for (let index = 0; index < count; index++) if (hidden[index] !== true) shown += held[index];
    held = held.slice(count);
    hidden = hidden.slice(count);
    return shown;
  }

  return {
    push(piece, isHidden = false) {
      if (stops.length === 0) return { shown: isHidden ? "" : piece };
      held += piece;
      for (let index = 0; index < piece.length; index++) hidden.push(isHidden);
      const found = firstOf(stops, held);
      if (found !== undefined) {
        const shown = release(keeps ? held.length : found.at);
        return { shown, stop: found.stop };
      }
      return { shown: release(held.length - longestBeginning(stops, held)) };
    },
    end: () => release(held.length),
  };
}

/** The stop text that is complete first; of several, the longest. */
function firstOf(stops: readonly string[], text: string) {
  let first: { readonly at: number; readonly stop: string } | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at < 0) continue;
    const end = at + stop.length;
    const firstEnd = first === undefined ? Infinity : first.at + first.stop.length;
    if (end < firstEnd || (end === firstEnd && at < (first?.at ?? 0))) first = { at, stop };
  }
  return first;
}

/** How many of the last characters a stop text begins with, at most. */
function longestBeginning(stops: readonly string[], text: string): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
