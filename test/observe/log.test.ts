import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog, redact, type LogOptions } from "../../runtime/observe/log.ts";
import { toLogLevel } from "../../runtime/option-values.ts";

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
  assert.match(lines[0]!, /Broken\n    Error: outer\n[\s\S]*caused by Error: inner/);
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

test("auto is text where a terminal reads it, and JSON where none does", () => {
  for (const [isTerminal, pattern] of [
    [true, /^00:00:00 Ready$/],
    [false, /^\{"time":"1970-01-01T00:00:00\.000Z","level":"info","message":"Ready"\}$/],
  ] as const) {
    const { log, lines } = record({ format: "auto", isTerminal });
    log.info("Ready");
    assert.match(lines[0]!, pattern);
  }
});

const FORGED = "a\n00:00:01 ERROR b\r\n\u2028c\u001b[2Jd";

test("what a client sent cannot look like a line of its own, nor move a terminal's cursor", () => {
  const text = record();
  text.log.info(FORGED, { value: FORGED, list: [FORGED], [FORGED]: 1 });
  const [line = ""] = text.lines;
  for (const part of line.split(/\r\n|[\n\r\u0085\u2028\u2029]/).slice(1))
    assert.match(part, /^ {4}/, JSON.stringify(line));
  assert.doesNotMatch(line, /[^\P{Cc}\n]|[\u2028\u2029]/u);
  const json = record({ format: "json" });
  json.log.info(FORGED, { value: FORGED });
  assert.doesNotMatch(json.lines[0]!, /[\n\r]/);
  assert.equal((JSON.parse(json.lines[0]!) as { value: string }).value, FORGED);
});

test("a field cannot take the place of a line's own time, level and message", () => {
  const { log, lines } = record({ format: "json" });
  log.info("Mine", { level: "error", message: "Theirs", time: 0, other: 1 });
  assert.deepEqual(JSON.parse(lines[0]!), {
    time: "1970-01-01T00:00:00.000Z",
    level: "info",
    message: "Mine",
    _level: "error",
    _message: "Theirs",
    _time: 0,
    other: 1,
  });
});

test("a field that cannot be printed loses neither the line nor the fields beside it", () => {
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  for (const format of ["json", "text"] as const) {
    const { log, lines } = record({ format });
    log.info("Here", { cycle, big: 2n ** 70n, requestId: "r1", nothing: () => 1 });
    assert.match(lines[0]!, /Here/);
    assert.match(lines[0]!, /r1/);
    assert.match(lines[0]!, /1180591620717411303424/);
  }
});

test("a value without end is cut, and a secret at the edge goes as a whole", () => {
  const { log, lines } = record({ format: "json", secrets: ["s3cret-word"] });
  log.info(`${"x".repeat(16 * 1024 - 4)}s3cret-word${"y".repeat(100_000)}`);
  const [line = ""] = lines;
  assert.ok(line.length < 17_000, String(line.length));
  assert.match(line, /more characters/);
  assert.doesNotMatch(line, /s3cr/);
});

const SECRETS: readonly (readonly [text: string, clean: string])[] = [
  ["Basic dXNlcjpwYXNzd29yZA==", "Basic [redacted]"],
  ["https://me:pass@host/x", "https://[redacted]@host/x"],
  ["redis://default:pass@cache:6379", "redis://[redacted]@cache:6379"],
  [
    "https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Credential=A%2FB&X-Amz-Signature=abc123&x=2",
    "https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]&x=2",
  ],
  [
    "https://s.blob.core.windows.net/c?sv=1&sig=a%2Bb%3D",
    "https://s.blob.core.windows.net/c?sv=1&sig=[redacted]",
  ],
  [
    "https://cdn/x?Policy=e30_&Signature=ab~c&Key-Pair-Id=K1",
    "https://cdn/x?Policy=[redacted]&Signature=[redacted]&Key-Pair-Id=[redacted]",
  ],
  ["/download?token=abc&file=1", "/download?token=[redacted]&file=1"],
  ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig-nature", "[redacted]"],
];
for (const [text, expected] of SECRETS) {
  test(`redact() takes the secret out of ${text}`, () => assert.equal(redact(text), expected));
}

for (const text of [
  "Listening on http://localhost:8080, not ready yet",
  "hf://owner/name@main and owner/name@1.0",
  "64 tokens=5, max_tokens=7 in the basic configuration",
  "mail me@example.com or see https://example.com/a@b?page=2&keys=3",
]) {
  test(`redact() leaves "${text}" alone`, () => assert.equal(redact(text), text));
}

test("fields that go by a secret's name are not shown, however deep they lie", () => {
  for (const format of ["json", "text"] as const) {
    const { log, lines } = record({ format });
    log.info("Sent", {
      authorization: "Digest abc",
      headers: { "x-api-key": "abc", cookie: ["abc"], host: "h" },
      tokens: 12,
    });
    assert.doesNotMatch(lines[0]!, /abc/);
    assert.match(lines[0]!, /\bh\b/);
    assert.match(lines[0]!, /12/);
  }
});

test("LOG_LEVEL is understood in the words of other programs", () => {
  const read = ["DEBUG", "warning", "Warn", "fatal", "trace", "info"].map(toLogLevel);
  assert.deepEqual(read, ["debug", "warn", "warn", "error", "debug", "info"]);
  assert.throws(() => toLogLevel("loud"), /one of debug, info, warn, error/);
});
