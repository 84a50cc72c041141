/**
 * Generations through a real worker: streams under way together, a reader who is slow, one who leaves, what is counted.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { createEngine } from "../../runtime/engine/engine.ts";
import { startWorkerProcess } from "../../runtime/engine/process.ts";
import type { GenerationParameters, GenerationStatistics } from "../../runtime/generation.ts";
import type { InferenceRequest, InferenceResult } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { modelPath } from "../support/goldens.ts";

const told: GenerationStatistics[] = [];
const metrics = createMetrics();
const counted = metrics.ofModel("m", "1.0");
let pid: number | undefined;
const engine = createEngine({
  workers: 1,
  jobQueueSize: 100,
  startWorker(onMessage) {
    const worker = startWorkerProcess({
      load: {
        repository: modelPath("tiny-llama"),
        dtype: "fp32",
        intraOpThreads: 1,
        generation: { maxSequences: 4, maxTotalTokens: 4000 },
      },
      startupTimeoutMs: 60_000,
      env: { ...process.env },
      onMessage,
      log: silentLog(),
    });
    ({ pid } = worker);
    return worker;
  },
  metrics: {
    ...counted,
    generated(statistics, worker) {
      told.push(statistics);
      counted.generated(statistics, worker);
    },
  },
  log: silentLog(),
});
await engine.start();
after(() => engine.close());

function submit(
  request: Pick<InferenceRequest, "kind" | "data"> & Partial<InferenceRequest>,
  signal = new AbortController().signal,
): Promise<InferenceResult> {
  return engine.submit({ id: "test", headers: {}, ...request }, { signal, deadlineAtMs: Infinity });
}

const generate = (
  text: string,
  parameters: GenerationParameters,
  stream: boolean,
  signal?: AbortSignal,
): Promise<InferenceResult> =>
  submit(
    {
      kind: "generate",
      data: {},
      generation: { prompt: { kind: "text", text }, parameters, stream },
    },
    signal,
  );

async function open(text: string, parameters: GenerationParameters, signal?: AbortSignal) {
  const { output } = await generate(text, parameters, true, signal);
  assert.ok(output.kind === "stream");
  return output.chunks[Symbol.asyncIterator]();
}

/** Until what was told in all fits; the worker tells four times a second. */
async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const last = (): GenerationStatistics["gauges"] | undefined => told.at(-1)?.gauges;

test("a reader who is slow holds nobody up, and one who leaves is forgotten", async () => {
  const slow = await open("Once upon a time", { maxNewTokens: 400, ignoreEos: true });
  await slow.next();
  const others = await Promise.all(
    ["Tom was", "The end", "Anna went"].map(async (prompt) => {
      const { output } = await generate(prompt, { maxNewTokens: 60, ignoreEos: true }, false);
      assert.ok(output.kind === "json");
      return output.value;
    }),
  );
  assert.equal(others.length, 3);
  await waitFor(() => last()?.running === 1); // the slow one, which sits out
  const written = told.reduce((sum, { tokens }) => sum + tokens, 0);
  assert.ok(written < 3 * 60 + 150, `${written} tokens, of which the slow reader took none`);
  await slow.return?.();
  await waitFor(() => last()?.running === 0);
  assert.equal(last()?.cacheTokens, 0);
  assert.equal(last()?.cacheLimit, 4000);
  assert.equal(told.flatMap(({ firstTokenMs }) => firstTokenMs).length, 4);
  assert.equal(engine.running, 0);
});

test("a deadline ends a stream with its error", async () => {
  const client = new AbortController();
  const stream = await open("Once upon a time", { maxNewTokens: 400 }, client.signal);
  await stream.next();
  client.abort(new DOMException("late", "TimeoutError"));
  await assert.rejects(
    async () => {
      for (let next = await stream.next(); next.done !== true; next = await stream.next());
    },
    { code: "DEADLINE_EXCEEDED" },
  );
  await waitFor(() => engine.running === 0);
});

test("a reader who has stopped reading gives its place up at its deadline", async () => {
  const client = new AbortController();
  const parameters = { maxNewTokens: 400, ignoreEos: true };
  const slow = await open("Once upon a time", parameters, client.signal);
  await slow.next();
  await waitFor(() => last()?.running === 1);
  client.abort(new DOMException("late", "TimeoutError"));
  await waitFor(() => last()?.running === 0);
  assert.equal(last()?.cacheTokens, 0);
  await assert.rejects(
    async () => {
      for (let next = await slow.next(); next.done !== true; next = await slow.next());
    },
    { code: "DEADLINE_EXCEEDED" },
  );
});

test("predictions join the same runs, and tell their warnings", async () => {
  const stream = await open("Once upon a time", { maxNewTokens: 100, ignoreEos: true });
  const parameters = { max_new_tokens: 5, top_p: 0.5, do_sample: false };
  const { output, warnings } = await submit({
    kind: "predict",
    data: { inputs: ["Once upon a time", "Tom was"], parameters },
  });
  assert.ok(output.kind === "json" && Array.isArray(output.value));
  assert.equal(output.value.length, 2);
  assert.deepEqual(warnings, ['The parameter "top_p" has no effect without "do_sample": true']);
  let tokens = 0;
  for (let next = await stream.next(); next.done !== true; next = await stream.next()) tokens++;
  assert.equal(tokens, 102);
});

test("what a worker that died was writing is not counted any more", async () => {
  const value = (name: string): number => {
    const line = metrics
      .render([])
      .split("\n")
      .find((one) => one.startsWith(`${name}{`) && !one.includes('state="waiting"'));
    return Number(line?.split(" ").at(-1));
  };
  const slow = await open("Once upon a time", { maxNewTokens: 400, ignoreEos: true });
  await slow.next();
  await waitFor(() => value("hubserve_generating_sequences") === 1);
  assert.ok(value("hubserve_cache_tokens") > 0);
  const tokens = value("hubserve_generated_tokens_total");
  assert.ok(pid !== undefined);
  process.kill(pid, "SIGKILL");
  await assert.rejects(
    async () => {
      for (let next = await slow.next(); next.done !== true; next = await slow.next());
    },
    { code: "WORKER_DIED" },
  );
  assert.equal(value("hubserve_generating_sequences"), 0);
  assert.equal(value("hubserve_cache_tokens"), 0);
  assert.equal(value("hubserve_generated_tokens_total"), tokens);
});
