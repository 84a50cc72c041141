import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog, redact, type LogOptions } from "../../runtime/observe/log.ts";

function record(options: LogOptions = {}): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    log: createLog({ write: (line) => lines.push(line), now: () => new Date(0), ...options }),
  };
}

test("a text log is plain words with details behind them", () => {
  const { log, lines } = record();
  log.info("Ready");
  log.warn("Slow", { ms: 12, model: "a b" });
  assert.deepEqual(lines, ["00:00:00 Ready", "00:00:00 WARN Slow  (ms=12, model=a b)"]);
});

test("a JSON log is one object a line", () => {
  const { log, lines } = record({ format: "json" });
  log.child({ requestId: "r1" }).error("Broken", { count: 2 });
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: "1970-01-01T00:00:00.000Z",
    level: "error",
    message: "Broken",
    requestId: "r1",
    count: 2,
  });
});

test("lines below the level are not written", () => {
  const { log, lines } = record({ level: "warn" });
  log.debug("a");
  log.info("b");
  log.warn("c");
  assert.equal(lines.length, 1);
});

test("an error is written with its stack and its cause", () => {
  const { log, lines } = record();
  log.error("Broken", { error: new Error("outer", { cause: new Error("inner") }) });
  assert.match(lines[0]!, /Broken\nError: outer\n[\s\S]*caused by Error: inner/);
});

test("tokens, bearer headers and named secrets never reach a line", () => {
  const { log, lines } = record({ secrets: ["s3cret"] });
  log.info("token hf_AbCdEfGhIj and s3cret", { header: "Bearer abc.def-123" });
  assert.equal(lines[0], "00:00:00 token [redacted] and [redacted]  (header=Bearer [redacted])");
});

test("redact() leaves ordinary text alone", () => {
  const text = "hf_hub/1.33.0 loads half_precision from hf://owner/name, bearer of news";
  assert.equal(redact(text), text);
});
