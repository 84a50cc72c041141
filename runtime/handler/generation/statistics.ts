/**
 * What the generations of one process have done since somebody last asked.
 */
import type { GenerationStatistics } from "../../generation.ts";

export interface Statistics {
  /** A prompt's tokens were read, or copied from another that begins alike. */
  prompt(tokens: { readonly read: number; readonly reused: number }): void;
  token(): void;
  /** The first token of a request, so long after it came. */
  firstToken(ms: number): void;
  /** A sequence has ended, whose tokens after the first took so long each. */
  perToken(ms: number): void;
  /** What there was since the last time; `undefined` where nothing has changed. */
  take(gauges: GenerationStatistics["gauges"]): GenerationStatistics | undefined;
}

/** More samples than this between two looks are thrown away: the newest are as good. */
const MOST_SAMPLES = 1000;

export function createStatistics(): Statistics {
  let counts = { promptTokens: 0, reusedTokens: 0, tokens: 0 };
  let firstTokenMs: number[] = [];
  let perTokenMs: number[] = [];
  let before = "";

  return {
    prompt({ read, reused }) {
      counts.promptTokens += read + reused;
      counts.reusedTokens += reused;
    },
    token: () => void counts.tokens++,
    firstToken(ms) {
      if (firstTokenMs.length < MOST_SAMPLES) firstTokenMs.push(ms);
    },
    perToken(ms) {
      if (perTokenMs.length < MOST_SAMPLES) perTokenMs.push(ms);
    },
    take(gauges) {
      const now = JSON.stringify(gauges);
      const isQuiet =
        counts.tokens + counts.promptTokens + firstTokenMs.length + perTokenMs.length === 0;
      if (isQuiet && now === before) return undefined;
      before = now;
      const taken = { ...counts, firstTokenMs, perTokenMs, gauges };
      counts = { promptTokens: 0, reusedTokens: 0, tokens: 0 };
      firstTokenMs = [];
      perTokenMs = [];
      return taken;
    },
  };
}
