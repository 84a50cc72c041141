import assert from "node:assert/strict";
import { test } from "node:test";

import { searchBeams } from "../../../runtime/handler/model/beam-search.ts";
import type { Decoder } from "../../../runtime/handler/model/decoder.ts";
import type { GenerationSettings } from "../../../runtime/handler/model/generation-settings.ts";
import { plainSettings } from "../../support/generation.ts";

const END = 0;
/** Tokens of the vocabulary, the end included. */
const V = 4;

/** A language model of one rule: what follows depends on all that was there. */
function logitsAfter(ids: readonly number[]): number[] {
  const state = ids.reduce((sum, id) => (sum * 31 + id + 7) % 1009, 1);
  // The end gets likelier as the sequence grows, so that sequences end at different lengths.
  return Array.from({ length: V }, (_, id) => {
    const noise = ((state * (id + 3) * 7919) % 997) / 250;
    return id === END ? noise + ids.length / 2 - 2 : noise;
  });
}

/** A decoder without a cache, which counts its steps. */
function ruleDecoder(prompts: readonly (readonly number[])[]): Decoder & { steps: number } {
  let rows: number[][] = prompts.map(() => []);
  return {
    steps: 0,
    async step(tokens) {
      this.steps++;
      rows = tokens.map((unread, row) => [...(rows[row] ?? []), ...unread]);
      const data = Float32Array.from(rows.flatMap((ids) => logitsAfter(ids)));
      return { data, dims: [rows.length, V] };
    },
    select(chosen) {
      rows = chosen.map((row) => [...(rows[row] ?? [])]);
    },
  };
}

/** Every sequence there is, with the sum of its tokens' log-probabilities. */
function allSequences(prompt: readonly number[], limit: number): { ids: number[]; sum: number }[] {
  const found: { ids: number[]; sum: number }[] = [];
  const extend = (ids: readonly number[], sum: number): void => {
    const logits = logitsAfter([...prompt, ...ids]);
    const total = Math.log(logits.reduce((all, logit) => all + Math.exp(logit), 0));
    for (const [id, logit] of logits.entries()) {
      const next = { ids: [...ids, id], sum: sum + logit - total };
      if (id === END || next.ids.length === limit) found.push(next);
      else extend(next.ids, next.sum);
    }
  };
  extend([], 0);
  return found;
}

function bestSequence(
  prompt: readonly number[],
  { maxNewTokens, lengthPenalty }: GenerationSettings,
) {
  const scored = allSequences(prompt, maxNewTokens).map(({ ids, sum }) => {
    return { ids, score: sum / ids.length ** lengthPenalty };
  });
  const best = scored.reduce((a, b) => (b.score > a.score ? b : a));
  return best.ids.filter((id) => id !== END);
}

const PROMPTS = [[1], [2], [3], [1, 2], [3, 3], [2, 1]];

for (const lengthPenalty of [1, 0, 2, -1]) {
  test(`beams wide enough find the best of all sequences, length penalty ${lengthPenalty}`, async () => {
    for (const prompt of PROMPTS) {
      // "never" keeps searching while any beam could still win; 3 × 3 × 3 beams hold every sequence of four tokens.
      const settings = plainSettings({
        beams: 27,
        maxNewTokens: 4,
        lengthPenalty,
        earlyStopping: "never",
        endIds: [END],
      });
      const found = await searchBeams(
        ruleDecoder([prompt]),
        [prompt],
        [settings],
        () => false,
        new AbortController().signal,
      );
      assert.deepEqual(found, [bestSequence(prompt, settings)]);
    }
  });
}

test("searches of several inputs do not touch each other", async () => {
  const settings = [
    plainSettings({ beams: 3, maxNewTokens: 6, endIds: [END] }),
    plainSettings({ beams: 2, maxNewTokens: 3, endIds: [END] }),
    plainSettings({ beams: 5, maxNewTokens: 9, endIds: [END], earlyStopping: true }),
  ];
  const prompts = [[1], [2], [3]];
  const { signal } = new AbortController();
  const together = await searchBeams(ruleDecoder(prompts), prompts, settings, () => false, signal);
  for (const [index, prompt] of prompts.entries()) {
    const alone = await searchBeams(
      ruleDecoder([prompt]),
      [prompt],
      settings.slice(index, index + 1),
      () => false,
      signal,
    );
    assert.deepEqual(alone, [together[index]]);
  }
});

test("a narrow search is no better than a wide one, and one beam is greedy", async () => {
  const { signal } = new AbortController();
  for (const prompt of PROMPTS) {
    const scoreOf = (ids: readonly number[], limit: number): number => {
      const key = JSON.stringify(ids.length < limit ? [...ids, END] : ids);
      const all = allSequences(prompt, limit);
      const found = all.find((sequence) => JSON.stringify(sequence.ids) === key);
      assert.ok(found);
      return found.sum / found.ids.length;
    };
    const search = async (beams: number) => {
      const settings = plainSettings({
        beams,
        maxNewTokens: 4,
        endIds: [END],
        earlyStopping: "never",
      });
      const [ids = []] = await searchBeams(
        ruleDecoder([prompt]),
        [prompt],
        [settings],
        () => false,
        signal,
      );
      return ids;
    };
    const greedy: number[] = [];
    while (greedy.length < 4) {
      const logits = logitsAfter([...prompt, ...greedy]);
      const id = logits.indexOf(Math.max(...logits));
      if (id === END) break;
      greedy.push(id);
    }
    const one = await search(1);
    // With one beam Python looks at two candidates: where the end is the second, the beam goes on.
    assert.deepEqual(one.slice(0, greedy.length), greedy);
    assert.ok(scoreOf(await search(27), 4) >= scoreOf(one, 4) - 1e-6);
  }
});

test("early stopping ends the search with as many sequences as there are beams", async () => {
  const stepsWith = async (earlyStopping: GenerationSettings["earlyStopping"]) => {
    const decoder = ruleDecoder([[1]]);
    const settings = plainSettings({
      beams: 2,
      maxNewTokens: 40,
      lengthPenalty: 2,
      endIds: [END],
      earlyStopping,
    });
    await searchBeams(decoder, [[1]], [settings], () => false, new AbortController().signal);
    return decoder.steps;
  };
  const eager = await stepsWith(true);
  const patient = await stepsWith("never");
  assert.ok(eager < patient, `${eager} steps, and ${patient} without`);
});

test("drawn beams are the same for the same seed", async () => {
  const sampling = {
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    typicalP: 1,
    epsilonCutoff: 0,
    etaCutoff: 0,
  };
  const draw = async (seed: number) => {
    const settings = plainSettings({ beams: 3, maxNewTokens: 8, endIds: [END], sampling, seed });
    const { signal } = new AbortController();
    return JSON.stringify(
      await searchBeams(ruleDecoder([[1]]), [[1]], [settings], () => false, signal),
    );
  };
  assert.equal(await draw(7), await draw(7));
  const distinct = new Set(await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(draw)));
  assert.ok(distinct.size > 1);
});

test("an aborted search stops before its next step", async () => {
  const controller = new AbortController();
  const inner = ruleDecoder([[1]]);
  const decoder: Decoder = {
    async step(tokens) {
      if (inner.steps === 2) controller.abort(new Error("the client left"));
      return inner.step(tokens);
    },
    select: (rows) => inner.select(rows),
  };
  const settings = plainSettings({ beams: 2, maxNewTokens: 40, endIds: [] });
  await assert.rejects(
    searchBeams(decoder, [[1]], [settings], () => false, controller.signal),
    {
      message: "the client left",
    },
  );
  assert.equal(inner.steps, 3);
});
