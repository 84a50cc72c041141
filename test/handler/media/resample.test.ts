import assert from "node:assert/strict";
import { test } from "node:test";

import { FILTERS, resample, type Filter } from "../../../runtime/handler/media/resample.ts";
import { largestDifference, PILLOW } from "../../support/pillow.ts";

const source = PILLOW.decoded["source.png"];
assert.ok(source);
const image = { data: source.rgb, width: source.width, height: source.height, channels: 3 };

for (const expected of PILLOW.resized) {
  const { width, height, rgb } = expected;
  test(`resample() to ${width} × ${height} with ${expected.filter} gives Pillow's pixels`, () => {
    const filter = FILTERS.find((name) => name === expected.filter);
    assert.ok(filter);
    const { data, ...size } = resample(image, width, height, filter);
    assert.deepEqual(size, { width, height, channels: 3 });
    assert.equal(largestDifference(data, rgb), 0);
  });
}

test("resample() treats each channel alike, however many there are", () => {
  const grey = { ...image, data: source.rgb.filter((_, i) => i % 3 === 1), channels: 1 };
  for (const filter of FILTERS satisfies readonly Filter[]) {
    const { data } = resample(grey, 13, 11, filter);
    const { data: rgb } = resample(image, 13, 11, filter);
    assert.deepEqual(
      data,
      rgb.filter((_, i) => i % 3 === 1),
    );
  }
});

test("resample() with nearest rounds as Pillow does where a pixel's middle falls on an edge", () => {
  const row = { data: Uint8ClampedArray.of(0, 1, 2, 3), width: 4, height: 1, channels: 1 };
  // `Image.resize((6, 1), NEAREST)` of Pillow 12.3
  assert.deepEqual([...resample(row, 6, 1, "nearest").data], [0, 1, 1, 2, 2, 3]);
});
