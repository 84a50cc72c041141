import assert from "node:assert/strict";
import { test } from "node:test";

import type { Decoder } from "../../../runtime/handler/model/decoder.ts";
import { run } from "../../../runtime/handler/model/generation.ts";
import { plainSettings } from "../../support/generation.ts";

const V = 10;
/** Writes a token as its number. */
const tokenizer = { decode: (ids: readonly unknown[]) => ids.join("") };

/** Counts: after a token comes the next one; notes which rows it was asked for. */
function counter(
  steps: (readonly number[])[][],
  onStep = (): void => undefined,
): Decoder & { selected: number[][] } {
  return {
    selected: [],
    async step(tokens) {
      onStep();
      steps.push([...tokens]);
      const data = new Float32Array(tokens.length * V);
      for (const [row, ids] of tokens.entries()) data[row * V + (((ids.at(-1) ?? 0) + 1) % V)] = 1;
      return { data, dims: [tokens.length, V] };
    },
    select(rows) {
      this.selected.push([...rows]);
    },
  };
}

const { signal } = new AbortController();

test("each row ends where its own settings say, and leaves the batch there", async () => {
  const steps: (readonly number[])[][] = [];
  const decoder = counter(steps);
  const items = [
    { settings: plainSettings({ maxNewTokens: 2 }) },
    { settings: plainSettings({ endIds: [5] }) },
    { settings: plainSettings({ maxNewTokens: 5 }) },
    { settings: plainSettings({ stopTexts: ["34"] }) },
  ];
  const found = await run(decoder, [[1], [1], [7, 8], [1]], items, { tokenizer }, signal);
  assert.deepEqual(
    found.map(({ ids }) => ids),
    [
      [2, 3],
      [2, 3, 4],
      [9, 0, 1, 2, 3],
      [2, 3, 4],
    ],
  );
  assert.deepEqual(steps, [
    [[1], [1], [7, 8], [1]],
    [[2], [2], [9], [2]],
    [[3], [0], [3]],
    [[4], [1]],
    [[2]],
  ]);
  assert.deepEqual(decoder.selected, [[1, 2, 3], [0, 1], [1]]);
});

test("an aborted generation makes no further step", async () => {
  const steps: (readonly number[])[][] = [];
  const controller = new AbortController();
  const decoder = counter(steps, () => {
    if (steps.length === 3) controller.abort(new Error("the client left"));
  });
  const items = [{ settings: plainSettings({ maxNewTokens: 100 }) }];
  await assert.rejects(run(decoder, [[1]], items, { tokenizer }, controller.signal), {
    message: "the client left",
  });
  assert.equal(steps.length, 4);
});
