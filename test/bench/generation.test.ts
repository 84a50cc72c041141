/** The decoders that the bench writes: opened by onnxruntime, and by transformers.js. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from "@huggingface/transformers";

import { InferenceSession } from "onnxruntime-node";

import type { DecoderShape } from "../../bench/decoder-graph.ts";
import { createDecodingLoop } from "../../bench/generation-decoding.ts";
import { writeGenerator } from "../../bench/generation-models.ts";
import { makeOrders, PROMPT_TOKENS, WRITTEN_TOKENS } from "../../bench/generation-orders.ts";

env.allowRemoteModels = false;
const root = mkdtempSync(join(tmpdir(), "hubserve-bench-"));
after(() => rmSync(root, { recursive: true }));

const GPT2: DecoderShape = {
  kind: "gpt2",
  layers: 2,
  hidden: 32,
  heads: 4,
  keyHeads: 4,
  intermediate: 64,
  vocabulary: 300,
  positions: 64,
  deviation: 0.2,
};
const LLAMA: DecoderShape = { ...GPT2, kind: "llama", keyHeads: 2 };
const PROMPT = [40, 7, 191, 23, 5, 88];

const folders = new Map<DecoderShape, string>();
function folderOf(shape: DecoderShape): string {
  let folder = folders.get(shape);
  if (folder === undefined) {
    folder = join(root, shape.kind);
    writeGenerator(folder, shape, 11);
    folders.set(shape, folder);
  }
  return folder;
}

function open(shape: DecoderShape): Promise<InferenceSession> {
  return InferenceSession.create(join(folderOf(shape), "onnx/model.onnx"), {
    intraOpNumThreads: 1,
  });
}

for (const shape of [GPT2, LLAMA]) {
  test(`${shape.kind}: the likeliest tokens are the same with the cache and without`, async () => {
    const session = await open(shape);
    const loop = createDecodingLoop(session);
    const cached = await loop.write(PROMPT, 20);
    const alone: number[] = [];
    while (alone.length < 20) alone.push(...(await loop.write([...PROMPT, ...alone], 1)));
    assert.deepEqual(cached, alone);
    assert.ok(
      new Set(cached).size > 1,
      "weights that write one token for ever would hide mistakes",
    );
  });

  test(`${shape.kind}: transformers.js writes the same`, async () => {
    const network = await AutoModelForCausalLM.from_pretrained(folderOf(shape), { dtype: "fp32" });
    const ids = BigInt64Array.from(PROMPT, BigInt);
    const row = (data: BigInt64Array): Tensor => new Tensor("int64", data, [1, PROMPT.length]);
    const written = await network.generate({
      input_ids: row(ids),
      attention_mask: row(ids.map(() => 1n)),
      max_new_tokens: 20,
      min_new_tokens: 20,
      do_sample: false,
    });
    assert.ok(written instanceof Tensor);
    const theirs = Array.from(written.data as BigInt64Array, Number).slice(PROMPT.length);
    const own = await createDecodingLoop(await open(shape)).write(PROMPT, 20);
    assert.deepEqual(theirs, own);
    await network.dispose();
  });

  test(`${shape.kind}: padding on the left changes nothing`, async () => {
    const loop = createDecodingLoop(await open(shape));
    const alone = await loop.scores([PROMPT]);
    const beside = await loop.scores([PROMPT, [...PROMPT, ...PROMPT]]);
    for (const [id, score] of alone[0]!.entries())
      assert.ok(Math.abs(score - beside[0]![id]!) < 1e-5, "float32 sums in another order");
  });
}

test("a text of n letters is n tokens, and every token has a text", async () => {
  const tokenizer = await AutoTokenizer.from_pretrained(folderOf(GPT2));
  for (const { prompt, promptTokens } of makeOrders(20, 3)) {
    const { input_ids: ids } = tokenizer(prompt, { return_tensor: false }) as {
      input_ids: number[];
    };
    assert.equal(ids.length, promptTokens);
    assert.equal(tokenizer.decode(ids, { clean_up_tokenization_spaces: false }), prompt);
  }
  assert.equal(tokenizer.decode([299, 257]), " w299 w257");
});

test("makeOrders() draws the same for the same seed, within its bounds", () => {
  const orders = makeOrders(500, 1);
  assert.deepEqual(makeOrders(500, 1), orders);
  assert.notDeepEqual(makeOrders(500, 2), orders);
  for (const { prompt, promptTokens, newTokens } of orders) {
    assert.equal(prompt.length, promptTokens);
    assert.ok(promptTokens >= PROMPT_TOKENS.least && promptTokens <= PROMPT_TOKENS.most);
    assert.ok(newTokens >= WRITTEN_TOKENS.least && newTokens <= WRITTEN_TOKENS.most);
  }
  const lengths = orders.map(({ promptTokens }) => promptTokens).sort((a, b) => a - b);
  const median = lengths[250] ?? 0;
  assert.ok(Math.abs(median - PROMPT_TOKENS.median) < 10, `the median is ${median}`);
});
