import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";

import { waitFor, type CallWaiting } from "../../runtime/grpc/waiting.ts";

/** A call at time 0 of the engine's clock, which a test turns by hand. */
class FakeCall extends EventEmitter {
  cancelled = false;
  readonly deadlineInMs: number;

  constructor(deadlineInMs = Infinity) {
    super();
    this.deadlineInMs = deadlineInMs;
  }

  getDeadline(): number {
    return Date.now() + this.deadlineInMs;
  }

  cancel(): void {
    this.cancelled = true;
    this.emit("cancelled", "cancelled");
  }

  wait(timeoutMs: number, now: () => number): CallWaiting {
    return waitFor(this, { timeoutMs, startedAtMs: 0, now });
  }
}

function nameOf({ signal }: CallWaiting): string {
  assert.ok(signal.reason instanceof DOMException);
  return signal.reason.name;
}

test("waitFor() keeps to the sooner of the model's limit and the client's deadline", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const now = (): number => Date.now();
  assert.equal(new FakeCall().wait(500, now).deadlineAtMs, 500);
  assert.equal(new FakeCall(100).wait(500, now).deadlineAtMs, 100);
  assert.equal(new FakeCall(900).wait(500, now).deadlineAtMs, 500);
});

test("waitFor() counts the model's limit from the call's arrival", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { deadlineAtMs } = waitFor(new FakeCall(), {
    timeoutMs: 500,
    startedAtMs: 100,
    now: () => 300,
  });
  assert.equal(deadlineAtMs, 600);
});

test("waitFor() fires as a timeout at the deadline", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const waiting = new FakeCall(100).wait(500, () => Date.now());
  t.mock.timers.tick(99);
  assert.equal(waiting.signal.aborted, false);
  t.mock.timers.tick(1);
  assert.equal(nameOf(waiting), "TimeoutError");
});

test("waitFor() fires as a client that left when the call is cancelled, also before", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const call = new FakeCall(100);
  const waiting = call.wait(500, () => Date.now());
  call.cancel();
  assert.equal(nameOf(waiting), "AbortError");
  assert.equal(nameOf(call.wait(500, () => Date.now())), "AbortError");
});

test("waitFor() tells a cancellation by the library at the deadline from a client that left", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const call = new FakeCall(100);
  let nowMs = 0;
  const waiting = call.wait(500, () => nowMs);
  nowMs = 99.5; // the library's clock is ahead by half a millisecond
  call.cancel();
  assert.equal(nameOf(waiting), "TimeoutError");
});

test("waitFor() neither fires nor listens once it was stopped", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const call = new FakeCall(100);
  const waiting = call.wait(500, () => Date.now());
  waiting.stop();
  t.mock.timers.tick(1000);
  call.cancel();
  assert.equal(waiting.signal.aborted, false);
  assert.equal(call.listenerCount("cancelled"), 0);
});
