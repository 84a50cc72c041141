/**
 * Hugging Face's own client against real servers, one for each task it has a method for.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { InferenceClient, type InferenceClientEndpoint } from "@huggingface/inference";
import { ROOT, startHubserve } from "../support/hubserve.ts";

const MODELS = join(ROOT, "test/fixtures/models");

async function withClient(
  args: readonly string[],
  run: (client: InferenceClientEndpoint, url: string) => Promise<void>,
): Promise<void> {
  await using server = await startHubserve({ args });
  await server.line(/Ready after/);
  await run(new InferenceClient("hf_anyToken").endpoint(server.url), server.url);
}

test("textClassification() gets the classes of a text, best first", async () => {
  await withClient([join(ROOT, "model")], async (client) => {
    const classes = await client.textClassification({ inputs: "I love you" });
    assert.equal(classes.length, 5);
    assert.equal(classes[0]?.label, "love");
    assert.ok((classes[0]?.score ?? 0) > 0.9);
    const two = await client.textClassification({ inputs: "I love you", parameters: { top_k: 2 } });
    assert.equal(two.length, 2);
  });
});

test("featureExtraction() gets vectors, one for each text", async () => {
  await withClient([join(MODELS, "minilm-embed")], async (client) => {
    const vectors = (await client.featureExtraction({
      inputs: ["The man buys a car", "A dog"],
      normalize: true,
    })) as number[][];
    assert.equal(vectors.length, 2);
    const length = Math.hypot(...(vectors[0] ?? []));
    assert.ok(Math.abs(length - 1) < 1e-5, String(length));
    const one = (await client.featureExtraction({ inputs: "The man buys a car" })) as number[][];
    assert.ok(Array.isArray(one));
  });
});

test("sentenceSimilarity() gets a bare list of numbers", async () => {
  await withClient(
    [join(MODELS, "minilm-embed"), "--task", "sentence-similarity"],
    async (client) => {
      const inputs = {
        source_sentence: "The man buys a car",
        sentences: ["The man buys a car", "A dog barks"],
      };
      const similarities = await client.sentenceSimilarity({ inputs });
      assert.equal(similarities.length, 2);
      assert.ok(Math.abs((similarities[0] ?? 0) - 1) < 0.01);
    },
  );
});

test("fillMask() gets five candidates", async () => {
  await withClient([join(MODELS, "tiny-bert-mlm")], async (client) => {
    const candidates = await client.fillMask({ inputs: "The little [MASK] went to the park." });
    assert.equal(candidates.length, 5);
    assert.deepEqual(Object.keys(candidates[0] ?? {}).sort(), [
      "score",
      "sequence",
      "token",
      "token_str",
    ]);
  });
});

test("the client shows the server's own sentence for a bad request", async () => {
  await withClient([join(MODELS, "tiny-bert-mlm")], async (client) => {
    await assert.rejects(client.fillMask({ inputs: "no mask here" }), /\[MASK\]/);
  });
});
