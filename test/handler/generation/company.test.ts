/**
 * What a sequence says does not depend on who is written beside it: real graphs, many requests, joining at random.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { GenerationLimits } from "../../../runtime/generation.ts";
import type { GenerationSettings } from "../../../runtime/handler/model/generation-settings.ts";
import { loadCausal, type CausalGenerator } from "../../../runtime/handler/model/text-generator.ts";
import { CausalGolden, fixtureModel, plainSettings } from "../../support/generation.ts";
import { readGolden } from "../../support/goldens.ts";

const signalOf = (): AbortSignal => new AbortController().signal;

async function load(name: string, generation: GenerationLimits = {}): Promise<CausalGenerator> {
  return loadCausal({ ...(await fixtureModel(name)), generation });
}

/** Numbers from 0 to 1, the same ones each time. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Asked {
  readonly prompt: readonly number[];
  readonly settings: GenerationSettings;
}

/** Prompts of 1 to 90 tokens, some of which begin alike, with settings of all kinds. */
function makeRequests(count: number, vocabulary: number, random: () => number): Asked[] {
  const id = (): number => 3 + Math.floor(random() * (vocabulary - 3));
  const shared = Array.from({ length: 40 }, id);
  return Array.from({ length: count }, (_, index): Asked => {
    const own = Array.from({ length: 1 + Math.floor(random() ** 2 * 50) }, id);
    const prompt = index % 3 === 0 ? [...shared, ...own] : own;
    const maxNewTokens = 1 + Math.floor(random() * 30);
    const sampling = {
      temperature: 0.8,
      topK: 20,
      topP: 0.95,
      minP: 0,
      typicalP: 1,
      epsilonCutoff: 0,
      etaCutoff: 0,
    };
    const more =
      index % 4 === 1
        ? { sampling, seed: index }
        : index % 4 === 2
          ? { repetitionPenalty: 1.3, endIds: [5, 6, 7] }
          : {};
    return { prompt, settings: plainSettings({ maxNewTokens, ...more }) };
  });
}

for (const [name, vocabulary] of [
  ["tiny-gpt2", 778],
  ["tiny-llama", 966],
] as const) {
  for (const [title, limits] of [
    ["with room for all", { maxSequences: 16 }],
    ["with room for few, who give their places up", { maxSequences: 6, maxTotalTokens: 260 }],
  ] as const) {
    test(`${name} writes the same alone and in company, ${title}`, async () => {
      const random = createRandom(7);
      const requests = makeRequests(50, vocabulary, random);
      const alone: (readonly number[])[] = [];
      const quiet = await load(name, { maxSequences: 1 });
      for (const { prompt, settings } of requests)
        alone.push((await quiet.engine.continue(prompt, settings, signalOf())).ids);
      await quiet.dispose();

      const busy = await load(name, limits);
      const together = await Promise.all(
        requests.map(async ({ prompt, settings }) => {
          // They come while others are written: each lets some runs pass first.
          for (let wait = Math.floor(random() * 120); wait > 0; wait--)
            await new Promise((resolve) => setImmediate(resolve));
          return (await busy.engine.continue(prompt, settings, signalOf())).ids;
        }),
      );
      // float32 sums differ in the last digits with the shape of a run. Where two tokens are as good as equal that could tell; with these
      // seeds it does not.
      assert.deepEqual(together, alone);
      const { gauges, reusedTokens = 0 } = busy.engine.takeStatistics() ?? {};
      assert.deepEqual([gauges?.running, gauges?.waiting, gauges?.cacheTokens], [0, 0, 0]);
      assert.ok(reusedTokens >= 40, `prompts that begin alike are read once: ${reusedTokens}`);
      await busy.dispose();
    });
  }

  test(`${name} writes PyTorch's tokens while others come and go`, async () => {
    const { cases, eos_token_ids: endIds } = readGolden(name, CausalGolden);
    const model = await load(name, { maxSequences: 8 });
    const random = createRandom(3);
    const others = makeRequests(20, vocabulary, random).map(async ({ prompt, settings }) =>
      model.engine.continue(prompt, settings, signalOf()),
    );
    const found = await Promise.all(
      cases.map(async ({ input_ids, max_new_tokens }) => {
        const settings = plainSettings({ maxNewTokens: max_new_tokens, endIds });
        return (await model.engine.continue(input_ids, settings, signalOf())).ids;
      }),
    );
    await Promise.all(others);
    assert.deepEqual(
      found,
      cases.map(({ new_ids }) => new_ids.filter((id) => !endIds.includes(id))),
    );
    await model.dispose();
  });
}
