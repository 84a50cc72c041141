/**
 * `hubserve call` and the harness: a handler, one payload, no server.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const HARNESS = join(ROOT, "runtime/harness.ts");
const ODD_JOBS = "test/fixtures/repositories/odd-jobs";

test("the harness prints the answer on stdout and the times on stderr", async () => {
  const payload = '{"inputs":"I am quite excited how this will turn out","date":"2022-08-08"}';
  const { code, stdout, stderr } = await runHubserve({ entry: HARNESS, args: [".", payload] });
  assert.equal(code, 0, stderr);
  const [{ label, score }] = JSON.parse(stdout) as [{ label: string; score: number }];
  assert.equal(label, "joy");
  assert.ok(Math.abs(score - 0.9738) < 0.02);
  assert.match(stderr, /Loaded in \d+ ms, called in \d+\.\d ms/);
});

test("`hubserve call` is the harness, and answers on a holiday as the tutorial does", async () => {
  const { stdout } = await runHubserve({
    args: ["call", ".", '{"inputs":"Today is a tough day","date":"2022-07-04"}'],
  });
  assert.deepEqual(JSON.parse(stdout), [{ label: "happy", score: 1 }]);
});

test("a stream is printed chunk by chunk", async () => {
  const { stdout } = await runHubserve({ args: ["call", ODD_JOBS, '{"inputs":{"do":"stream"}}'] });
  assert.equal(stdout, "1\n2\n3\n");
});

test("a payload may come from a file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-call-"));
  writeFileSync(join(folder, "payload.json"), '{"inputs":{"do":"numbers"}}');
  const { stdout } = await runHubserve({
    args: ["call", ODD_JOBS, `@${join(folder, "payload.json")}`],
  });
  assert.deepEqual(JSON.parse(stdout), { floats: [1, null], big: "1152921504606846976", small: 7 });
  rmSync(folder, { recursive: true });
});

test("a missing or broken payload is refused with one sentence and exit code 2", async () => {
  const missing = await runHubserve({ args: ["call", "."] });
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /no payload was given/);
  const broken = await runHubserve({ args: ["call", ".", '{"inputs"'] });
  assert.equal(broken.code, 2);
  assert.match(broken.stderr, /Cannot read the payload as JSON/);
});

test("a handler that throws ends the call with its message and exit code 1", async () => {
  const { code, stderr } = await runHubserve({
    args: ["call", ODD_JOBS, '{"inputs":{"do":"throw"}}'],
  });
  assert.equal(code, 1);
  assert.match(stderr, /Handler failed: exploded/);
});

test("--watch runs again on each save, and survives a handler that does not compile", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-watch-"));
  const write = (answer: string): void =>
    writeFileSync(
      join(folder, "handler.ts"),
      `import { part } from "./part.ts";\nexport class EndpointHandler { call() { return ${answer}; } }\n`,
    );
  writeFileSync(join(folder, "part.ts"), 'export const part = "part one";\n');
  write("part");
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), HARNESS, folder, '{"inputs":1}', "--watch"],
    { cwd: ROOT },
  );
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      wake();
    });
  }
  const next = async (pattern: RegExp): Promise<void> => {
    for (;;) {
      const index = lines.findIndex((line) => pattern.test(line));
      // Only that line: stdout and stderr arrive in an order of their own.
      if (index !== -1) return void lines.splice(index, 1);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  try {
    await next(/^"part one"$/);
    await next(/Waiting for the handler to be saved/);
    writeFileSync(join(folder, "part.ts"), 'export const part = "part two";\n');
    await next(/^"part two"$/);
    await next(/Waiting/);
    write("}");
    await next(/handler\.ts:2/);
    await next(/Waiting/);
    write('"mended"');
    await next(/^"mended"$/);
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
});
