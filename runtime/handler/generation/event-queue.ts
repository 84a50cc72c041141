/**
 * What a generation says, between the loop that writes and a reader that takes its time.
 *
 * The loop looks at `isFull` and lets the sequence sit out; it never waits.
 */
import type { GenerationEvent } from "../../generation.ts";

export interface EventQueue {
  readonly events: AsyncIterable<GenerationEvent>;
  /** Whether the reader is so far behind that nothing more should be written for now. */
  readonly isFull: boolean;
  push(event: GenerationEvent): void;
  /** The last word. */
  end(error?: unknown): void;
}

export interface EventQueueOptions {
  /** The reader has caught up after the queue was full. */
  readonly onRoom: () => void;
  /** The reader has left before the end. */
  readonly onAbandoned: () => void;
}

/** Events that may wait. */
const MOST_WAITING = 16;
/** So few are left when a full queue has room again: a sequence that sits out and joins again is copied twice. */
const FEW_WAITING = 4;

export function createEventQueue({ onRoom, onAbandoned }: EventQueueOptions): EventQueue {
  const waiting: GenerationEvent[] = [];
  let last: { readonly error?: unknown } | undefined;
  let isFull = false;
  let isAbandoned = false;
  let wake: (() => void) | undefined;

  // Not a generator: its return() would wait for the event that next() is waiting for.
  const iterator: AsyncIterator<GenerationEvent, undefined> = {
    async next() {
      while (waiting.length === 0 && last === undefined && !isAbandoned)
        await new Promise<void>((resolve) => (wake = resolve));
      const value = waiting.shift();
      if (isFull && waiting.length <= FEW_WAITING) {
        isFull = false;
        onRoom();
      }
      if (value !== undefined) return { done: false, value };
      if (last !== undefined && "error" in last && !isAbandoned) throw last.error;
      return { done: true, value: undefined };
    },
    async return() {
      if (!isAbandoned && last === undefined) onAbandoned();
      isAbandoned = true;
      waiting.length = 0;
      wake?.();
      return { done: true, value: undefined };
    },
  };

  return {
    events: { [Symbol.asyncIterator]: () => iterator },
    get isFull() {
      return isFull;
    },
    push(event) {
      if (last !== undefined || isAbandoned) return;
      waiting.push(event);
      if (waiting.length >= MOST_WAITING) isFull = true;
      wake?.();
    },
    end(error) {
      last ??= error === undefined ? {} : { error };
      if (error !== undefined) waiting.length = 0; // nobody waits for what comes before an error
      wake?.();
    },
  };
}
