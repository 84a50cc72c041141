import assert from "node:assert/strict";
import { test } from "node:test";

import { Tensor } from "@huggingface/transformers";

import { openCausalDecoder, padded, type Network } from "../../../runtime/handler/model/decoder.ts";

const numbers = (tensor: Tensor | undefined): number[][] => {
  const [B = 0, T = 0] = tensor?.dims ?? [];
  const all = Array.from(tensor?.data ?? [], Number);
  return Array.from({ length: B }, (_, b) => all.slice(b * T, (b + 1) * T));
};

/** A graph that remembers what it was fed, and whose logits say the last token and how many it saw. */
function fakeNetwork(inputNames: readonly string[], fed: Record<string, Tensor>[]): Network {
  return {
    sessions: { model: { inputNames } },
    forward: async (feeds: Record<string, Tensor>) => {
      fed.push(feeds);
      const rows = numbers(feeds["input_ids"]);
      const T = rows[0]?.length ?? 0;
      const logits = rows.flatMap((row) => row.flatMap((id) => [id, T]));
      return {
        logits: new Tensor("float32", Float32Array.from(logits), [rows.length, T, 2]),
        ...(inputNames.length > 2 && { "present.0.key": feeds["input_ids"] }),
      };
    },
  };
}

test("rows are padded on either side", () => {
  const left = padded([[1, 2, 3], [4]], 9, "left");
  assert.deepEqual(
    [numbers(left.ids), numbers(left.mask)],
    [
      [
        [1, 2, 3],
        [9, 9, 4],
      ],
      [
        [1, 1, 1],
        [0, 0, 1],
      ],
    ],
  );
  const right = padded([[1, 2, 3], [4]], 9, "right");
  assert.deepEqual(
    [numbers(right.ids), numbers(right.mask)],
    [
      [
        [1, 2, 3],
        [4, 9, 9],
      ],
      [
        [1, 1, 1],
        [1, 0, 0],
      ],
    ],
  );
});

test("a graph with a cache is fed new tokens alone, and the mask of all", async () => {
  const fed: Record<string, Tensor>[] = [];
  const names = ["input_ids", "attention_mask", "past_key_values.0.key"];
  const decoder = openCausalDecoder(fakeNetwork(names, fed), 9);
  const { data, dims } = await decoder.step([[1, 2, 3], [4]]);
  assert.deepEqual([dims, ...data], [[2, 2], 3, 3, 4, 3]);
  decoder.select([1, 1, 0]);
  await decoder.step([[5], [6], [7]]);
  assert.deepEqual(numbers(fed[1]?.["input_ids"]), [[5], [6], [7]]);
  assert.deepEqual(numbers(fed[1]?.["attention_mask"]), [
    [0, 0, 1, 1],
    [0, 0, 1, 1],
    [1, 1, 1, 1],
  ]);
  const cache = fed[1]?.["past_key_values"] as unknown as Record<string, Tensor>;
  assert.deepEqual(numbers(cache["past_key_values.0.key"]), [
    [9, 9, 4],
    [9, 9, 4],
    [1, 2, 3],
  ]);
});

test("a graph without a cache is fed the whole sequences again", async () => {
  const fed: Record<string, Tensor>[] = [];
  const decoder = openCausalDecoder(fakeNetwork(["input_ids", "attention_mask"], fed), 9);
  await decoder.step([[1, 2, 3], [4]]);
  decoder.select([1, 0]);
  const { data } = await decoder.step([[5], [6]]);
  assert.deepEqual(numbers(fed[1]?.["input_ids"]), [
    [9, 9, 4, 5],
    [1, 2, 3, 6],
  ]);
  assert.deepEqual(numbers(fed[1]?.["attention_mask"]), [
    [0, 0, 1, 1],
    [1, 1, 1, 1],
  ]);
  assert.deepEqual([...data], [5, 4, 6, 4]);
});
