/**
 * Cutting a long sound into windows that overlap, as the Python pipelines do (`chunk_iter` in
 * `pipelines/automatic_speech_recognition.py`, transformers 4.57): what a model makes of a window's edges is thrown
 * away, as it has heard only half of them.
 */
import { z } from "zod";

import { invalidInput } from "./inputs.ts";

/** A window of a sound, in samples. */
export interface Window {
  readonly start: number;
  readonly length: number;
  /** What of its beginning and end belongs to its neighbours. */
  readonly left: number;
  readonly right: number;
}

const wantedLength = "a number of seconds, 0 for no windows";
const wantedStride = "a number of seconds, or two for the left and the right";
const Seconds = z.number(wantedStride).nonnegative(wantedStride);

/** For `z.object({ …, ...CHUNK_PARAMETERS })`. */
export const CHUNK_PARAMETERS = {
  /** How long a window is, in seconds; 0 for the whole sound at once. */
  chunk_length_s: z.number(wantedLength).nonnegative(wantedLength).nullish(),
  /** How much of it belongs to its neighbours on each side; a sixth unless said otherwise. */
  stride_length_s: z.union([Seconds, z.tuple([Seconds, Seconds])], wantedStride).nullish(),
};
const ChunkParameters = z.object(CHUNK_PARAMETERS);
export type ChunkParameters = z.infer<typeof ChunkParameters>;

/** How windows follow each other, in samples. */
export interface WindowSize {
  readonly length: number;
  readonly left: number;
  readonly right: number;
}

/** An hour in steps of a third of a second: shorter ones would only repeat what the others have said. */
const MOST_WINDOWS = 10_800;

/**
 * What the parameters ask for.
 *
 * @param alignTo Samples of one frame of the model; lengths are multiples of it.
 * @returns `undefined` where the sound is not to be cut.
 * @throws `INVALID_INPUT` when the overlaps leave nothing of a window.
 */
export function windowSizeOf(
  { chunk_length_s, stride_length_s }: ChunkParameters,
  { sampleRate, alignTo, action }: { sampleRate: number; alignTo: number; action: string },
): WindowSize | undefined {
  if (!chunk_length_s) return undefined;
  const [left, right] = [stride_length_s ?? chunk_length_s / 6].flat();
  const align = (seconds: number) => roundHalfEven((seconds * sampleRate) / alignTo) * alignTo;
  const size = {
    length: align(chunk_length_s),
    left: align(left ?? 0),
    right: align(right ?? left ?? 0),
  };
  if (size.length > size.left + size.right) return size;
  const overlap = (size.left + size.right) / sampleRate;
  throw invalidInput(
    action,
    `"chunk_length_s" is ${chunk_length_s}, wanted more than the ${overlap} seconds of "stride_length_s" on both sides`,
  );
}

/**
 * Cuts a sound of `length` samples.
 *
 * @throws `INVALID_INPUT` when that makes too many windows.
 */
export function cutWindows(length: number, size: WindowSize, action: string): Window[] {
  const step = size.length - size.left - size.right;
  if (length / step > MOST_WINDOWS) {
    throw invalidInput(
      action,
      `"chunk_length_s" and "stride_length_s" would make more than ${MOST_WINDOWS} windows of the sound`,
    );
  }
  const windows: Window[] = [];
  for (let start = 0; start < length; start += step) {
    const isLast = start + size.length >= length;
    const left = start === 0 ? 0 : size.left;
    const own = Math.min(size.length, length - start);
    if (own > left) windows.push({ start, length: own, left, right: isLast ? 0 : size.right });
    if (isLast) break;
  }
  return windows;
}

/** Python's `round`: halves to the even neighbour. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest === 0.5) return below % 2 === 0 ? below : below + 1;
  return Math.round(value);
}
