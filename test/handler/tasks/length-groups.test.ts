import assert from "node:assert/strict";
import { test } from "node:test";

import { groupByLength } from "../../../runtime/handler/tasks/length-groups.ts";

test("groupByLength() puts near lengths together, the shortest first", () => {
  const cases: readonly (readonly [lengths: number[], groups: number[][]])[] = [
    [[], []],
    [[7], [[0]]],
    [[10, 10, 10], [[0, 1, 2]]],
    [
      [100, 10, 100, 10],
      [
        [1, 3],
        [0, 2],
      ],
    ], // a short text never waits for a long one's padding
    [
      [300, 300],
      [[0], [1]],
    ], // 600 padded tokens are too many
    [
      [2000, 5],
      [[1], [0]],
    ], // one that is too long for any company goes alone
    [[0, 0, 1], [[0, 1, 2]]], // an empty sequence costs a row
  ];
  for (const [lengths, groups] of cases) {
    assert.deepEqual(groupByLength(lengths), groups, lengths.join(", "));
  }
});

test("groupByLength() keeps every group within its bounds and loses nobody", () => {
  const lengths = Array.from({ length: 500 }, (_, i) => 3 + ((i * 7919) % 200));
  const groups = groupByLength(lengths, 512, 0.15);
  assert.deepEqual(
    groups.flat().sort((a, b) => a - b),
    [...lengths.keys()],
  );
  for (const group of groups) {
    const own = group.map((index) => lengths[index] ?? 0);
    const padded = Math.max(...own) * own.length;
    const padding = 1 - own.reduce((sum, length) => sum + length, 0) / padded;
    assert.ok(padded <= 512, `${padded} padded tokens`);
    assert.ok(padding <= 0.15, `${padding} of padding`);
  }
});
