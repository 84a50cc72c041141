/**
 * What a decoder of sounds is.
 */

/** A stretch of a decoded sound. */
export interface Stretch {
  /** One array per channel, all equally long; at least one. */
  readonly channels: readonly Float32Array[];
  /** Samples per second. */
  readonly sampleRate: number;
}

/** Decodes a file in stretches that are small beside what a sound may take. @throws When the file is broken. */
export type AudioDecoder = (bytes: Uint8Array) => Iterable<Stretch> | AsyncIterable<Stretch>;

/**
 * So many broken pieces are damage, more are no sound. The decoders print a line for each, so a file of nothing else would fill
 * the log.
 */
export const MOST_BROKEN = 100;

/** Says what is wrong with a file, in words for the client: `it has no data`. */
export class BrokenSound extends Error {}
