/**
 * A streamed answer on the parent's side: chunks come in as messages and go out as an async iterable.
 *
 * The worker may send `STREAM_WINDOW` chunks ahead; each chunk that the reader takes earns it one more, so a slow
 * client slows the handler down instead of filling this process's memory.
 */
import type { RuntimeError } from "../errors.ts";
import type { JsonValue } from "../inference.ts";

export interface ChunkStream {
  readonly chunks: AsyncIterable<JsonValue>;
  push(value: JsonValue): void;
  /** The last word: no more chunks, because all were sent or because of `error`. */
  end(error?: RuntimeError): void;
}

export interface ChunkStreamOptions {
  /** The reader took this many chunks. */
  readonly onTaken: (count: number) => void;
  /** The reader stopped before the end. */
  readonly onAbandoned: () => void;
}

export function createChunkStream({ onTaken, onAbandoned }: ChunkStreamOptions): ChunkStream {
  const waiting: JsonValue[] = [];
  let last: { readonly error?: RuntimeError } | undefined;
  let isAbandoned = false;
  let wake: (() => void) | undefined;

  // Not a generator: its return() would wait for the chunk that next() is waiting for.
  const iterator: AsyncIterator<JsonValue, undefined> = {
    async next() {
      while (waiting.length === 0 && last === undefined && !isAbandoned) {
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const value = waiting.shift();
      if (value !== undefined) {
        onTaken(1);
        return { done: false, value };
      }
      if (last?.error !== undefined && !isAbandoned) throw last.error;
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
    chunks: { [Symbol.asyncIterator]: () => iterator },
    push(value) {
      if (last !== undefined || isAbandoned) return;
      waiting.push(value);
      wake?.();
    },
    end(error) {
      last ??= error === undefined ? {} : { error };
      wake?.();
    },
  };
}
