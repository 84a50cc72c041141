/**
 * Graphs whose caches cannot be put together, one sequence after the other.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Tensor } from "@huggingface/transformers";

import type { GenerationResult } from "../../../runtime/generation.ts";
import { createSingleRunner } from "../../../runtime/handler/generation/single-runner.ts";
import { createTextEngine } from "../../../runtime/handler/generation/text-engine.ts";
import type { Network } from "../../../runtime/handler/model/decoder.ts";
import { expectedOf } from "../../support/fake-graph.ts";
import { plainSettings } from "../../support/generation.ts";

const V = 10;

interface Step {
  readonly fed: readonly number[];
  readonly held: readonly number[];
}

/**
 * What `fakeGraph` computes, with the cache in an order that nobody knows: `[T, B]`. Without a cache it has no inputs for one.
 */
function fakeNetwork(isCached: boolean, steps: Step[] = []): Network {
  const inputNames = ["input_ids", ...(isCached ? ["past_state"] : [])];
  return {
    sessions: { model: { inputNames } },
    async forward({ input_ids, past_key_values }: Record<string, Tensor & Record<string, Tensor>>) {
      const fed = Array.from(input_ids?.data ?? [], Number);
      const held = Array.from(past_key_values?.["past_state"]?.data ?? [], Number);
      steps.push({ fed, held });
      const all = [...held, ...fed];
      const scores = new Float32Array(fed.length * V);
      for (const column of fed.keys()) {
        const [next = 0] = expectedOf(all.slice(0, held.length + column + 1), 1);
        scores[column * V + next] = 8;
      }
      const state = new Tensor("float32", Float32Array.from(all), [all.length, 1]);
      return {
        logits: new Tensor("float32", scores, [1, fed.length, V]),
        ...(isCached && { present_state: state }),
      };
    },
  };
}

const tokenizer = {
  all_special_ids: [],
  decode: (ids: number[]) => ids.map((id) => "abcdefghij"[id]).join(""),
};

function open(network: Network, maxSequences = 8) {
  return createTextEngine({
    runner: createSingleRunner(network, 0),
    tokenizer,
    limits: { maxSequences, maxTotalTokens: 100, maxWaiting: 16 },
    search: () => Promise.reject(new Error("no beams here")),
  });
}

const order = (prompt: readonly number[], more: object = {}) => ({
  prompt,
  settings: plainSettings({ maxNewTokens: 6 }),
  sequences: 1,
  topTokens: 0,
  promptTokens: false,
  keepsStop: false,
  ...more,
});

const PROMPTS = [[1], [2, 3, 4], [5, 6], [7, 8, 9, 1, 2], [3, 3]];

for (const [title, isCached] of [
  ["with states of its own", true],
  ["without a cache", false],
] as const) {
  test(`a graph ${title} writes many sequences side by side, each as alone`, async () => {
    const engine = open(fakeNetwork(isCached));
    const found = await Promise.all(
      PROMPTS.map((prompt, index) =>
        engine.continue(
          prompt,
          plainSettings({ maxNewTokens: 4 + index }),
          new AbortController().signal,
        ),
      ),
    );
    assert.deepEqual(
      found.map(({ ids }) => ids),
      PROMPTS.map((prompt, index) => expectedOf(prompt, 4 + index)),
    );
  });

  test(`a graph ${title} tells how likely a prompt's tokens were`, async () => {
    const engine = open(fakeNetwork(isCached));
    const prompt = [2, 3, 8, 4];
    const asked = order(prompt, { promptTokens: true, topTokens: 1, sequences: 2 });
    const answer: GenerationResult = await engine.answer(asked, new AbortController().signal);
    const likely = -Math.log(1 + 9 * Math.exp(-8));
    for (const [place, { id, logprob, top }] of (answer.prompt ?? []).entries()) {
      assert.equal(id, prompt[place]);
      if (place === 0) {
        assert.deepEqual([logprob, top], [null, undefined]);
        continue;
      }
      const [best] = expectedOf(prompt.slice(0, place), 1);
      assert.equal(top?.[0]?.id, best);
      assert.ok(Math.abs((logprob ?? 0) - (best === id ? likely : likely - 8)) < 1e-5);
    }
    assert.equal(answer.prompt?.length, 4);
    for (const { details } of answer.sequences)
      assert.deepEqual(
        details.map(({ token }) => token.id),
        expectedOf(prompt, 6),
      );
  });
}

test("a state is fed what was not read, and a graph without one everything", async () => {
  for (const isCached of [true, false]) {
    const steps: Step[] = [];
    const engine = open(fakeNetwork(isCached, steps));
    await engine.continue(
      [1, 2, 3],
      plainSettings({ maxNewTokens: 3 }),
      new AbortController().signal,
    );
    assert.deepEqual(
      steps.map(({ fed, held }) => [fed.length, held.length]),
      isCached
        ? [
            [3, 0],
            [1, 3],
            [1, 4],
          ]
        : [
            [3, 0],
            [4, 0],
            [5, 0],
          ],
    );
  }
});

test("who gives its place up begins anew, and writes the same", async () => {
  const engine = open(fakeNetwork(true));
  const settings = plainSettings({ maxNewTokens: 60 });
  const found = await Promise.all(
    [1, 2, 3].map((first) => engine.continue([first], settings, new AbortController().signal)),
  );
  assert.deepEqual(
    found.map(({ ids }) => ids),
    [1, 2, 3].map((first) => expectedOf([first], 60)),
  );
});

test("a client that leaves ends its own sequence and no other", async () => {
  const engine = open(fakeNetwork(true));
  const leaving = new AbortController();
  const settings = plainSettings({ maxNewTokens: 40 });
  const [left, stayed] = await Promise.allSettled([
    (async () => {
      let told = 0;
      for await (const event of engine.stream(order([1], { settings }), leaving.signal))
        if (event.type === "token" && ++told === 3) leaving.abort(new Error("it has left"));
    })(),
    engine.continue([2], settings, new AbortController().signal),
  ]);
  assert.equal(left.status === "rejected" && String(left.reason), "Error: it has left");
  assert.deepEqual(stayed.status === "fulfilled" && stayed.value.ids, expectedOf([2], 40));
});
