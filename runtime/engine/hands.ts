/**
 * The work in one worker's hands: what it has begun, and what was sent ahead.
 *
 * A piece of work is a batch, or one request for a handler that takes them one by one. The worker begins pieces in the
 * order in which they were sent, so many at a time; what lies behind those has not been touched. A little is sent ahead, so
 * that the worker need not wait for the next message: the next batch shortly before the one under way is expected to
 * be done, and single requests worth no more than two milliseconds. No more, as work that was sent can no
 * longer go to another worker or into another batch.
 */
import type { Batching } from "../inference.ts";
import type { Job } from "./job.ts";
import type { ChunkStream } from "./stream.ts";

export interface HeldJob {
  readonly job: Job;
  readonly piece: Piece;
  stream?: ChunkStream;
  hangTimer?: NodeJS.Timeout;
  /** Its deadline has passed, or its client has left. */
  isCancelled?: boolean;
}

interface Piece {
  readonly jobs: Set<HeldJob>;
  /** Whether nothing else may be in these hands meanwhile. */
  readonly isAlone: boolean;
  /** What it is expected to take; `undefined` while nothing is known. */
  readonly expectedMs: number | undefined;
  /** When the worker began it, as far as can be told from here. */
  begunAtMs: number | undefined;
}

export interface Hands {
  /** Jobs, begun or not. */
  readonly count: number;
  /** Whether the worker could begin a piece at once. */
  readonly isFree: boolean;
  /** Whether a piece may be given: the worker is free, or one more may be sent ahead. */
  readonly hasRoom: boolean;
  /** How this worker takes work, once it has said so. */
  setBatching(batching: Batching): void;
  /**
   * @param expectedMs What the piece is expected to take; `undefined` while nothing is known.
   * @param isAlone Whether nothing else is given until it is done: it may cost the worker its life.
   */
  give(jobs: readonly Job[], expectedMs: number | undefined, isAlone?: boolean): void;
  find(jobId: number): HeldJob | undefined;
  /** When the worker began this job; `undefined` while it has not. */
  begunAtMs(held: HeldJob): number | undefined;
  /** Its answer, or its stream's end, has come. */
  release(held: HeldJob): void;
  /** The worker is gone: takes everything out. */
  empty(): { readonly begun: readonly HeldJob[]; readonly untouched: readonly HeldJob[] };
}

export interface HandsOptions {
  /** There is room that was not there before, without anything having been released. */
  readonly onRoom: () => void;
  /** The worker has begun this job. */
  readonly onBegun: (held: HeldJob) => void;
  readonly now: () => number;
}

/** The next batch is sent so long before the one under way should be done: a message takes less, a timer may be late. */
const LEAD_MS = 3;
/** Single requests are sent ahead only while they are worth no more than this together. */
const AHEAD_MS = 2;
/** And never more than so many. */
const MOST_AHEAD = 8;
/** Pieces before the mean of their times is believed. */
const FEWEST_PIECES = 20;
/** The newest piece's weight in the running mean. */
const MEAN_WEIGHT = 0.1;

export function createHands({ onRoom, onBegun, now }: HandsOptions): Hands {
  const held = new Map<number, HeldJob>();
  let pieces: Piece[] = [];
  let kind: Batching["kind"] = "single";
  let atOnce = 1;
  let done = 0;
  let meanMs = 0;
  let isNearlyDone = false;
  let nearlyDoneTimer: NodeJS.Timeout | undefined;

  function begin(): void {
    for (const piece of pieces.slice(0, atOnce)) {
      if (piece.begunAtMs !== undefined) continue;
      piece.begunAtMs = now();
      for (const job of piece.jobs) onBegun(job);
      if (kind === "batch") watch(piece.expectedMs);
    }
  }

  function watch(expectedMs: number | undefined): void {
    clearTimeout(nearlyDoneTimer);
    isNearlyDone = false;
    if (expectedMs === undefined) return;
    const waitMs = expectedMs - LEAD_MS;
    if (waitMs <= 0) {
      isNearlyDone = true;
      return;
    }
    nearlyDoneTimer = setTimeout(() => {
      isNearlyDone = true;
      onRoom();
    }, waitMs);
  }

  function mayAhead(): number {
    if (kind === "batch") return isNearlyDone ? 1 : 0;
    if (done < FEWEST_PIECES) return 0;
    return Math.min(MOST_AHEAD, Math.floor(AHEAD_MS / Math.max(meanMs, 1e-3)));
  }

  function holdsLoner(): boolean {
    return pieces.some(({ isAlone }) => isAlone);
  }

  return {
    get count() {
      return held.size;
    },
    get isFree() {
      return !holdsLoner() && pieces.length < atOnce;
    },
    get hasRoom() {
      return !holdsLoner() && pieces.length < atOnce + mayAhead();
    },
    setBatching(batching) {
      kind = batching.kind;
      atOnce = kind === "batch" ? 1 : batching.concurrency;
    },
    give(jobs, expectedMs, isAlone = false) {
      const piece: Piece = { jobs: new Set(), isAlone, expectedMs, begunAtMs: undefined };
      for (const job of jobs) {
        const entry: HeldJob = { job, piece };
        piece.jobs.add(entry);
        held.set(job.id, entry);
      }
      pieces.push(piece);
      begin();
    },
    find: (jobId) => held.get(jobId),
    begunAtMs: ({ piece }) => piece.begunAtMs,
    release(entry) {
      held.delete(entry.job.id);
      const { piece } = entry;
      piece.jobs.delete(entry);
      if (piece.jobs.size > 0) return;
      pieces = pieces.filter((other) => other !== piece);
      const tookMs = now() - (piece.begunAtMs ?? now());
      meanMs = done++ === 0 ? tookMs : meanMs + MEAN_WEIGHT * (tookMs - meanMs);
      begin();
    },
    empty() {
      clearTimeout(nearlyDoneTimer);
      const all = [...held.values()];
      held.clear();
      pieces = [];
      return {
        begun: all.filter(({ piece }) => piece.begunAtMs !== undefined),
        untouched: all.filter(({ piece }) => piece.begunAtMs === undefined),
      };
    },
  };
}
