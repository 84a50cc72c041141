import assert from "node:assert/strict";
import { test } from "node:test";
import { createChunkStream } from "../../runtime/engine/stream.ts";
import { RuntimeError } from "../../runtime/errors.ts";

function open() {
  const taken: number[] = [];
  let abandoned = 0;
  const stream = createChunkStream({
    onTaken: (count) => taken.push(count),
    onAbandoned: () => void abandoned++,
  });
  return {
    stream,
    iterator: stream.chunks[Symbol.asyncIterator](),
    taken,
    abandoned: () => abandoned,
  };
}

test("a chunk stream hands chunks on in order and earns a credit for each", async () => {
  const { stream, iterator, taken } = open();
  stream.push("a");
  stream.push("b");
  stream.end();
  assert.deepEqual(await iterator.next(), { done: false, value: "a" });
  assert.deepEqual(await iterator.next(), { done: false, value: "b" });
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  assert.deepEqual(taken, [1, 1]);
});

test("a chunk stream wakes a reader that waits, null chunks too", async () => {
  const { stream, iterator } = open();
  const first = iterator.next();
  stream.push(null);
  assert.deepEqual(await first, { done: false, value: null });
  const end = iterator.next();
  stream.end();
  assert.deepEqual(await end, { done: true, value: undefined });
});

test("a chunk stream throws its error after the chunks that came before it", async () => {
  const { stream, iterator } = open();
  stream.push(1);
  stream.end(new RuntimeError("HANDLER_FAILED", "Handler failed: no more"));
  assert.deepEqual(await iterator.next(), { done: false, value: 1 });
  await assert.rejects(async () => iterator.next(), { code: "HANDLER_FAILED" });
});

test("a reader that stops early while it waits is let go at once, and the stream is told", async () => {
  const { stream, iterator, abandoned } = open();
  const waiting = iterator.next();
  await iterator.return?.();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  assert.equal(abandoned(), 1);
  stream.push("late");
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

test("a stream that has ended is not abandoned by a reader that leaves", async () => {
  const { stream, iterator, abandoned } = open();
  stream.end();
  await iterator.return?.();
  assert.equal(abandoned(), 0);
});
