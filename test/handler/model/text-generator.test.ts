import assert from "node:assert/strict";
import { test } from "node:test";

import { AutoModelForSeq2SeqLM } from "@huggingface/transformers";

import { searchBeams } from "../../../runtime/handler/model/beam-search.ts";
import {
  openSeq2SeqDecoder,
  padded,
  type Decoder,
} from "../../../runtime/handler/model/decoder.ts";
import { loadNetwork, type FloatTensor } from "../../../runtime/handler/model/encoder.ts";
import type { GenerationSettings } from "../../../runtime/handler/model/generation-settings.ts";
import {
  loadCausal,
  loadSeq2Seq,
  type GenerationItem,
  type Generator,
} from "../../../runtime/handler/model/text-generator.ts";
import {
  CausalGolden,
  fixtureModel,
  plainSettings,
  Seq2SeqGolden,
} from "../../support/generation.ts";
import { readGolden } from "../../support/goldens.ts";

const { signal } = new AbortController();

interface Case {
  readonly text: string;
  readonly inputIds: readonly number[];
  readonly newIds: readonly number[];
  readonly settings: GenerationSettings;
}

/** A model with its golden cases, the token that ends a sequence left out. */
async function withCases(name: string): Promise<{ generator: Generator; cases: Case[] }> {
  const model = await fixtureModel(name);
  if (name === "tiny-gpt2" || name === "tiny-llama") {
    const golden = readGolden(name, CausalGolden);
    const ends = new Set(golden.eos_token_ids);
    const cases = golden.cases.map(({ prompt, input_ids, max_new_tokens, new_ids }) => {
      const settings = plainSettings({ maxNewTokens: max_new_tokens, endIds: [...ends] });
      const newIds = new_ids.filter((id) => !ends.has(id));
      return { text: prompt, inputIds: input_ids, newIds, settings };
    });
    return { generator: await loadCausal(model), cases };
  }
  const golden = readGolden(name, Seq2SeqGolden);
  const generator = await loadSeq2Seq(model);
  const { eos_token_id, bad_words_ids } = generator.defaults.model;
  const cases = golden.cases.map(
    ({ input, input_ids, max_new_tokens, new_ids, tgt_lang }): Case => {
      const settings = plainSettings({
        maxNewTokens: max_new_tokens,
        endIds: eos_token_id ?? [],
        badWordsIds: bad_words_ids ?? [],
        ...(tgt_lang !== undefined && { forcedFirstId: new_ids[0] ?? -1 }),
      });
      return { text: input, inputIds: input_ids, newIds: new_ids, settings };
    },
  );
  return { generator, cases };
}

const MODELS = ["tiny-t5", "tiny-bart", "tiny-marian", "tiny-m2m100", "tiny-gpt2", "tiny-llama"];

for (const name of MODELS) {
  test(`${name} writes the tokens of PyTorch, alone and in a batch`, async () => {
    const { generator, cases } = await withCases(name);
    const options = { truncation: "none", action: "test", name: "inputs" } as const;
    const items: GenerationItem[] = [];
    for (const { text, inputIds, newIds, settings } of cases) {
      if (name !== "tiny-m2m100") {
        assert.deepEqual(generator.encode(text, options).inputIds, inputIds); // its language is a matter of the task
      }
      const item = { tokens: inputIds.length, inputIds, settings };
      items.push(item);
      const [alone] = await generator.generate([item], signal);
      assert.deepEqual(alone?.ids, newIds);
    }
    assert.ok(new Set(items.map(({ tokens }) => tokens)).size > 1, "rows are padded");
    const together = await generator.generate(items, signal);
    assert.deepEqual(
      together.map(({ ids }) => ids),
      cases.map(({ newIds }) => newIds),
    );
    await generator.dispose();
  });
}

test("rows of one batch keep settings of their own", async () => {
  const { generator, cases } = await withCases("tiny-gpt2");
  const changes: Partial<GenerationSettings>[] = [
    { repetitionPenalty: 1.5 },
    { noRepeatNgramSize: 2 },
    { minNewTokens: 12 },
    { stopTexts: ["castle"] },
    { maxNewTokens: 5 },
  ];
  const items = cases.map(({ inputIds, settings }, index): GenerationItem => {
    return { tokens: inputIds.length, inputIds, settings: { ...settings, ...changes[index] } };
  });
  const together = await generator.generate(items, signal);
  for (const [index, item] of items.entries()) {
    assert.deepEqual(await generator.generate([item], signal), [together[index]]);
    assert.notDeepEqual(together[index]?.ids, cases[index]?.newIds);
  }
  assert.ok(
    (together[2]?.ids.length ?? 0) >= 12,
    "nothing ends the third before its twelfth token",
  );
  assert.match(generator.decode(together[3]?.ids ?? [], false), /castle$/);
  assert.equal(together[4]?.ids.length, 5);
  await generator.dispose();
});

/** Runs every row from its beginning for every token: no cache, nothing to reorder. */
function forgetful(open: (rows: readonly number[]) => Promise<Decoder>, count: number): Decoder {
  let sources = Array.from({ length: count }, (_, index) => index);
  let rows: number[][] = sources.map(() => []);
  return {
    async step(tokens) {
      rows = tokens.map((unread, row) => [...(rows[row] ?? []), ...unread]);
      return (await open(sources)).step(rows);
    },
    select(chosen) {
      sources = chosen.map((row) => sources[row] ?? 0);
      rows = chosen.map((row) => rows[row] ?? []);
    },
  };
}

test("the cache follows the beams: a search without one finds the same", async () => {
  const { generator, cases } = await withCases("tiny-marian");
  const model = await fixtureModel("tiny-marian");
  const network = await loadNetwork(model, AutoModelForSeq2SeqLM);
  const settings = cases.map((one) => ({ ...one.settings, beams: 4, maxNewTokens: 12 }));
  const items = cases.map(({ inputIds }, index): GenerationItem => {
    return { tokens: 1, inputIds, settings: settings[index] ?? plainSettings() };
  });
  const padId = generator.tokenizer.pad_token_id ?? 0;
  const open = (rows: readonly number[]): Promise<Decoder> => {
    const { ids, mask } = padded(
      rows.map((row) => cases[row]?.inputIds ?? []),
      padId,
      "right",
    );
    return openSeq2SeqDecoder(network, { input_ids: ids, attention_mask: mask });
  };
  const startId = generator.defaults.model.decoder_start_token_id ?? 0;
  const starts = cases.map(() => [startId]);
  const expected = await searchBeams(
    forgetful(open, cases.length),
    starts,
    settings,
    () => false,
    signal,
  );
  const found = await generator.generate(items, signal);
  assert.deepEqual(
    found.map(({ ids }) => ids),
    expected,
  );
  const greedy = cases.map(({ newIds }) => newIds.slice(0, 12));
  assert.notDeepEqual(expected, greedy, "beams make a difference here");
  await generator.dispose();
  await network.dispose();
});

test("beams are at least as likely as the greedy answer", async () => {
  const { generator, cases } = await withCases("tiny-t5");
  const network = await loadNetwork(await fixtureModel("tiny-t5"), AutoModelForSeq2SeqLM);
  for (const { inputIds, newIds, settings } of cases) {
    const likelihoodOf = async (ids: readonly number[]): Promise<number> => {
      const { ids: input_ids, mask: attention_mask } = padded([inputIds], 0, "right");
      const decoder = await openSeq2SeqDecoder(network, { input_ids, attention_mask });
      let sum = 0;
      let fed = [0];
      for (const id of ids) {
        sum += logProbability(await decoder.step([fed]), id);
        fed = [id];
      }
      return sum;
    };
    const item = {
      tokens: 1,
      inputIds,
      settings: { ...settings, beams: 8, lengthPenalty: 0, endIds: [] },
    };
    const [found] = await generator.generate([item], signal);
    assert.equal(found?.ids.length, newIds.length);
    // float32 sums of 16 logarithms differ in the sixth digit
    assert.ok((await likelihoodOf(found.ids)) >= (await likelihoodOf(newIds)) - 1e-3);
  }
  await generator.dispose();
  await network.dispose();
});

function logProbability({ data }: FloatTensor, id: number): number {
  const largest = Math.max(...data);
  const total = data.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  return (data[id] ?? Number.NaN) - largest - Math.log(total);
}

test("an aborted generation throws the reason", async () => {
  const { generator, cases } = await withCases("tiny-llama");
  const [first] = cases;
  assert.ok(first);
  const controller = new AbortController();
  const item = {
    tokens: 4,
    inputIds: first.inputIds,
    settings: plainSettings({ maxNewTokens: 400, endIds: [] }),
  };
  const generation = generator.generate([item], controller.signal);
  setImmediate(() => controller.abort(new Error("the client left")));
  await assert.rejects(generation, { message: "the client left" });
  await generator.dispose();
});

test("a model that does not write is refused with its type", async () => {
  const model = await fixtureModel("tiny-bert-nli");
  await assert.rejects(loadSeq2Seq(model), {
    code: "MODEL_INVALID",
    message: `Cannot load the model: the model type "bert" is not known as an encoder and a decoder`,
  });
  await assert.rejects(loadCausal(await fixtureModel("tiny-t5")), {
    code: "MODEL_INVALID",
    message: `Cannot load the model: the model type "t5" is not known as a decoder that continues texts`,
  });
});
