/**
 * The engine with a graph that counts: who runs when, who leaves when, and what a request is told.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { GenerationEvent } from "../../../runtime/generation.ts";
import { createBatchedRunner } from "../../../runtime/handler/generation/batched-runner.ts";
import { openCausalGraph } from "../../../runtime/handler/generation/causal-graph.ts";
import type { EngineLimits } from "../../../runtime/handler/generation/limits.ts";
import {
  createTextEngine,
  type TextEngine,
  type TextOrder,
} from "../../../runtime/handler/generation/text-engine.ts";
import { expectedOf, fakeGraph, type FakeRun } from "../../support/fake-graph.ts";
import { plainSettings } from "../../support/generation.ts";

const V = 10;
/** Token 9 is special; all others are written as letters. */
const tokenizer = {
  all_special_ids: [9],
  decode: (ids: number[], { skip_special_tokens }: { skip_special_tokens: boolean }) =>
    ids
      .filter((id) => !(skip_special_tokens && id === 9))
      .map((id) => (id === 9 ? "<end>" : "abcdefghi"[id]))
      .join(""),
};

function open(
  limits: Partial<EngineLimits> = {},
  onRun: (run: FakeRun) => void = () => undefined,
): TextEngine {
  const graph = openCausalGraph(fakeGraph({ V, onRun }));
  assert.ok(graph);
  return createTextEngine({
    runner: createBatchedRunner({ graph, weightsBytes: 1e9, padId: 0 }),
    tokenizer,
    limits: { maxSequences: 8, maxTotalTokens: 4000, maxWaiting: 16, ...limits },
    search: () => Promise.reject(new Error("no beams here")),
  });
}

function orderOf(
  prompt: readonly number[],
  { settings, ...more }: Partial<TextOrder> = {},
): TextOrder {
  return {
    prompt,
    settings: settings ?? plainSettings({ maxNewTokens: 6 }),
    sequences: 1,
    topTokens: 0,
    promptTokens: false,
    keepsStop: false,
    ...more,
  };
}

const signalOf = (): AbortSignal => new AbortController().signal;

async function readAll(events: AsyncIterable<GenerationEvent>): Promise<GenerationEvent[]> {
  const all: GenerationEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** A prompt of so many tokens, none of them like another of these at its beginning. */
function longPrompt(length: number, first: number): number[] {
  return Array.from({ length }, (_, index) => (index * 7 + first) % V);
}

test("a stream says its start, its tokens and its end, and the whole answer says the same", async () => {
  const engine = open();
  const prompt = [1, 2, 3];
  const ids = expectedOf(prompt, 6);
  const text = tokenizer.decode(ids, { skip_special_tokens: true });
  const events = await readAll(engine.stream(orderOf(prompt), signalOf()));
  assert.deepEqual(events[0], { type: "start", promptTokens: 3 });
  const tokens = events.filter((event) => event.type === "token");
  assert.deepEqual(
    tokens.map(({ token }) => token.id),
    ids,
  );
  assert.equal(tokens.map((event) => event.text).join(""), text);
  const end = events.at(-1);
  assert.deepEqual(end, { type: "end", sequence: 0, text, tokens: 6, reason: "length" });
  const whole = await engine.answer(orderOf(prompt), signalOf());
  assert.equal(whole.sequences[0]?.text, text);
  assert.deepEqual(
    whole.sequences[0]?.details.map(({ token }) => token),
    tokens.map(({ token }) => token),
  );
  // One score of 8, nine of 0.
  const logprob = -Math.log(1 + 9 * Math.exp(-8));
  assert.ok(Math.abs((tokens[0]?.token.logprob ?? 0) - logprob) < 1e-6);
});

test("a client that leaves ends its sequence within one token and frees its room", async () => {
  let runs = 0;
  const engine = open({}, () => runs++);
  const controller = new AbortController();
  const order = orderOf([1, 2], { settings: plainSettings({ maxNewTokens: 1000 }) });
  const seen: GenerationEvent[] = [];
  await assert.rejects(
    async () => {
      for await (const event of engine.stream(order, controller.signal)) {
        seen.push(event);
        if (seen.length === 5) {
          controller.abort(new DOMException("The request's deadline has passed", "TimeoutError"));
          runs = 0;
        }
      }
    },
    { name: "TimeoutError" },
  );
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => void setImmediate(resolve));
  assert.ok(runs <= 1, `${runs} runs after it had left`);
  const { gauges } = engine.takeStatistics() ?? {};
  assert.deepEqual([gauges?.running, gauges?.cacheTokens], [0, 0]);
});

test("a reader who stops reading a stream ends it", async () => {
  let runs = 0;
  const engine = open({}, () => runs++);
  const order = orderOf([1, 2], { settings: plainSettings({ maxNewTokens: 1000 }) });
  for await (const event of engine.stream(order, signalOf())) if (event.type === "token") break;
  runs = 0;
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => void setImmediate(resolve));
  assert.ok(runs <= 1, `${runs} runs after it had left`);
});

test("a slow reader sits out, and holds nobody up", async () => {
  const widths: number[] = [];
  const engine = open({}, ({ rows, fed }) => fed === 1 && widths.push(rows));
  const stream = engine.stream(
    orderOf([4], { settings: plainSettings({ maxNewTokens: 200 }) }),
    signalOf(),
  );
  const slow = stream[Symbol.asyncIterator]();
  await slow.next();
  const prompt = [1, 2, 3];
  const settings = plainSettings({ maxNewTokens: 100 });
  const quick = await engine.continue(prompt, settings, signalOf());
  assert.deepEqual(quick.ids, expectedOf(prompt, 100));
  assert.ok(widths.includes(2), "they were written together at first");
  assert.equal(widths.at(-1), 1, "then the quick one alone");
  const before = widths.length;
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => void setImmediate(resolve));
  assert.equal(widths.length, before, "nothing is written that nobody reads");
  const ids: number[] = [];
  for (let next = await slow.next(); next.done !== true; next = await slow.next())
    if (next.value.type === "token") ids.push(next.value.token.id);
  assert.deepEqual(ids, expectedOf([4], 200));
});

test("a long prompt is read in parts, between which others are written", async () => {
  const runs: FakeRun[] = [];
  const engine = open({}, (run) => runs.push(run));
  const settings = plainSettings({ maxNewTokens: 40 });
  const writing = engine.stream(orderOf([1], { settings }), signalOf());
  const iterator = writing[Symbol.asyncIterator]();
  await iterator.next();
  await iterator.next(); // its first token: it writes now
  runs.length = 0;
  const long = longPrompt(300, 3);
  const [, { ids }] = await Promise.all([
    readAll({ [Symbol.asyncIterator]: () => iterator }),
    engine.continue(long, plainSettings({ maxNewTokens: 4 }), signalOf()),
  ]);
  assert.deepEqual(ids, expectedOf(long, 4));
  const fed = runs.map((run) => run.fed);
  assert.ok(Math.max(...fed) <= 64, `parts of ${Math.max(...fed)} tokens`);
  const parts = fed.flatMap((count, index) => (count > 20 ? [index] : []));
  assert.equal(parts.length, 5);
  for (const [place, index] of parts.entries())
    if (place > 0) assert.ok(index - (parts[place - 1] ?? 0) >= 2, "a step lies between two parts");
});

test("prompts that begin alike are read once", async () => {
  const fed: number[] = [];
  const engine = open({}, (run) => fed.push(run.fed * run.rows));
  const system = longPrompt(50, 2);
  const ask = async (...own: number[]) => {
    const prompt = [...system, ...own];
    const { ids } = await engine.continue(prompt, plainSettings({ maxNewTokens: 2 }), signalOf());
    assert.deepEqual(ids, expectedOf(prompt, 2));
  };
  await ask(1, 2, 3);
  fed.length = 0;
  await ask(4, 5);
  assert.ok(Math.max(...fed) <= 2, `read again: ${fed.join()}`);
  fed.length = 0;
  const other = longPrompt(50, 5);
  await Promise.all(
    [1, 2, 3].map((own) => engine.continue([...other, own], plainSettings(), signalOf())),
  );
  assert.equal(fed.filter((count) => count >= 50).length, 1, `at once too: ${fed.join()}`);
  assert.ok((engine.takeStatistics()?.reusedTokens ?? 0) >= 150);
});

test("the sequences of one request read their prompt once, and draw by seeds of their own", async () => {
  const fed: number[] = [];
  const engine = open({}, (run) => fed.push(run.fed * run.rows));
  const sampling = {
    temperature: 30,
    topK: 0,
    topP: 1,
    minP: 0,
    typicalP: 1,
    epsilonCutoff: 0,
    etaCutoff: 0,
  };
  const settings = plainSettings({ maxNewTokens: 12, sampling, seed: 5 });
  const order = orderOf(longPrompt(40, 1), { settings, sequences: 4 });
  const { sequences } = await engine.answer(order, signalOf());
  assert.equal(fed.filter((count) => count >= 40).length, 1);
  assert.equal(new Set(sequences.map(({ text }) => text)).size, 4);
  assert.equal(new Set(sequences.map(({ seed }) => seed)).size, 4);
  // Any of them alone, with the seed that it was told, and beside others.
  const again = await Promise.all(
    sequences.map(({ seed = 0 }) =>
      engine.answer(orderOf(order.prompt, { settings: { ...settings, seed } }), signalOf()),
    ),
  );
  assert.deepEqual(
    again.map((one) => one.sequences[0]?.text),
    sequences.map(({ text }) => text),
  );
});

test("no more run than there is room for, and those who wait come in order", async () => {
  let most = 0;
  const engine = open({ maxSequences: 3 }, ({ rows }) => (most = Math.max(most, rows)));
  const finished: number[] = [];
  await Promise.all(
    [0, 1, 2, 3, 4, 5, 6].map(async (index) => {
      await engine.continue([index], plainSettings({ maxNewTokens: 5 }), signalOf());
      finished.push(index);
    }),
  );
  assert.ok(most <= 3, `${most} ran together`);
  assert.deepEqual(finished, [0, 1, 2, 3, 4, 5, 6]);
});

test("who needs more memory than there is waits, and who came last gives its place up", async () => {
  const engine = open({ maxTotalTokens: 500 });
  let cacheTokens = 0;
  const requests = [1, 2, 3, 4].map(async (first) => {
    const { ids } = await engine.continue(
      [first],
      plainSettings({ maxNewTokens: 300 }),
      signalOf(),
    );
    const { gauges } = engine.takeStatistics() ?? {};
    cacheTokens = Math.max(cacheTokens, gauges?.cacheTokens ?? 0);
    assert.deepEqual(ids, expectedOf([first], 300));
  });
  await Promise.all(requests);
  assert.ok(cacheTokens <= 500);
});

test("too many that wait are refused", async () => {
  const engine = open({ maxSequences: 1, maxWaiting: 2 });
  const settings = plainSettings({ maxNewTokens: 50 });
  const controller = new AbortController();
  const asked = [0, 1].map((first) => engine.continue([first], settings, controller.signal));
  await assert.rejects(engine.continue([2], settings, controller.signal), {
    code: "QUEUE_FULL",
    message: "Cannot generate: 2 sequences wait, wanted at most 2; try again later",
  });
  controller.abort(new Error("enough"));
  for (const one of asked) await assert.rejects(one, { message: "enough" });
});

test("a graph that fails for one fails nobody else", async () => {
  const engine = open({}, ({ feeds, fed }) => {
    const ids = [...(feeds["input_ids"]?.data ?? [])].map(Number);
    if (fed === 1 && ids.includes(9)) throw new Error("token 9 is broken");
  });
  const settings = plainSettings({ maxNewTokens: 3, suppressTokens: [9] });
  const [good, bad] = await Promise.allSettled([
    engine.continue([1, 2], settings, signalOf()),
    // The prompt's last token is read with the others' next ones.
    engine.continue([1, 9], plainSettings({ maxNewTokens: 3, forcedFirstId: 9 }), signalOf()),
  ]);
  assert.equal(good.status, "fulfilled");
  assert.equal(bad.status, "rejected");
  assert.match(
    String(bad.status === "rejected" && bad.reason),
    /Cannot run the model: token 9 is broken/,
  );
});

test("a prompt's own tokens are told with their likelihoods, in parts too", async () => {
  const engine = open();
  const prompt = longPrompt(600, 1);
  const order = orderOf(prompt, {
    promptTokens: true,
    settings: plainSettings({ maxNewTokens: 2 }),
  });
  const { prompt: told = [], sequences } = await engine.answer(order, signalOf());
  assert.deepEqual(
    told.map(({ id }) => id),
    prompt,
  );
  assert.equal(told[0]?.logprob, null);
  const likely = -Math.log(1 + 9 * Math.exp(-8));
  for (const [place, { logprob }] of told.entries()) {
    if (place === 0) continue;
    const isExpected = expectedOf(prompt.slice(0, place), 1)[0] === prompt[place];
    assert.ok(Math.abs((logprob ?? 0) - (isExpected ? likely : likely - 8)) < 1e-5, `${place}`);
  }
  assert.deepEqual(
    sequences[0]?.details.map(({ token }) => token.id),
    expectedOf(prompt, 2),
  );
});

test("a model that is unloaded fails what it has not finished", async () => {
  const engine = open();
  const asked = engine.continue([1], plainSettings({ maxNewTokens: 1000 }), signalOf());
  const outcome = assert.rejects(asked, { code: "NOT_READY" });
  await new Promise((resolve) => void setImmediate(resolve));
  await engine.close();
  await outcome;
  await assert.rejects(async () => engine.continue([1], plainSettings(), signalOf()), {
    code: "NOT_READY",
  });
});
