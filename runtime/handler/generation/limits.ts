/**
 * How much one worker writes at once.
 */
import { availableMemory } from "node:process";

import type { GenerationLimits } from "../../generation.ts";

export interface EngineLimits {
  /** The most sequences that are read or written at once. */
  readonly maxSequences: number;
  /** The most tokens of them together: prompts and what is written. */
  readonly maxTotalTokens: number;
  /** The most sequences that wait in this process to be let in. */
  readonly maxWaiting: number;
}

export interface ModelSize {
  /** What one token takes in the cache. */
  readonly bytesPerToken: number;
  /** The most tokens of one sequence. */
  readonly maxTokens: number;
  /** Memory that is free for this process, in bytes. */
  readonly freeBytes?: number;
}

/** A step with more rows takes longer for each of them by then, on any CPU that was tried. */
export const USUAL_SEQUENCES = 32;
/** Sequences that may wait, for each that may run. */
const WAITING_PER_RUNNING = 4;
/** The share of free memory that caches may take: each has two buffers, and beginnings of prompts are kept besides. */
const MEMORY_SHARE = 0.4;
const BUFFERS = 2.5;
/** For models that do not say how much they read. */
const UNBOUNDED_TOKENS = 32_768;

export function chooseLimits(
  given: GenerationLimits | undefined,
  { bytesPerToken, maxTokens, freeBytes = availableMemory() }: ModelSize,
): EngineLimits {
  const maxSequences = given?.maxSequences ?? USUAL_SEQUENCES;
  const longest = Math.min(maxTokens, UNBOUNDED_TOKENS);
  const share = (MEMORY_SHARE * freeBytes) / (given?.workers ?? 1);
  const held = Math.floor(share / (BUFFERS * bytesPerToken));
  // Never less than one sequence of a size that people ask for: better slow than refused.
  const least = Math.min(longest, 512);
  const usual = Math.max(least, Math.min(held, maxSequences * longest));
  return {
    maxSequences,
    maxTotalTokens: given?.maxTotalTokens ?? usual,
    maxWaiting: WAITING_PER_RUNNING * maxSequences,
  };
}
