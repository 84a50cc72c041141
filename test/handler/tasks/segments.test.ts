import assert from "node:assert/strict";
import { test } from "node:test";

import { interpolate, type Plane } from "../../../runtime/handler/tasks/interpolate.ts";
import { toPanoptic, toSemantic } from "../../../runtime/handler/tasks/segments.ts";

/** Larger than the rows that are worked out together. */
const SIZE = { width: 20, height: 150 };

/** Five maps of 6 × 4 numbers that change over the map. */
const PLANES = Array.from({ length: 5 }, (_, index): Plane => ({
  data: Float32Array.from({ length: 24 }, (_, i) => 3 * Math.sin(index * 7 + i * (index + 1))),
  width: 6,
  height: 4,
}));

/** The same maps at full size, all at once. */
function stretched(change: (value: number) => number = (value) => value): Float32Array[] {
  return PLANES.map((plane) => {
    const changed = { ...plane, data: plane.data.map(change) };
    return interpolate(changed, SIZE.width, SIZE.height, "bilinear").data;
  });
}

/** Which map is largest at each pixel. */
function largest(maps: readonly Float32Array[]): number[] {
  return Array.from({ length: SIZE.width * SIZE.height }, (_, i) =>
    maps.reduce((best, map, index) => ((map[i] ?? 0) > (maps[best]?.[i] ?? 0) ? index : best), 0),
  );
}

const masks = (owners: readonly number[], owner: number) =>
  owners.map((one) => (one === owner ? 255 : 0));

test("toSemantic() gives each pixel of a tall image to the largest stretched map", () => {
  const owners = largest(stretched());
  const segments = toSemantic(PLANES, SIZE);
  assert.deepEqual(
    segments.map(({ label }) => label),
    [...new Set(owners)].sort((a, b) => a - b),
  );
  for (const { label, score, paint } of segments) {
    assert.equal(score, null);
    assert.deepEqual([...paint()], masks(owners, label));
  }
});

test("toPanoptic() counts what a query claims and keeps over the whole image", () => {
  const scores = [0.95, 0.8, 0.99, 0.7, 0.9];
  const classes = scores.map((score, query) =>
    Float64Array.from([0, 1, 2], (label) => (label === query % 2 ? score : (1 - score) / 2)),
  );
  const weighted = stretched((value) => 1 / (1 + Math.exp(-value))).map((map, query) =>
    map.map((value) => value * Math.fround(scores[query] ?? 0)),
  );
  const owners = largest(weighted);
  for (const overlap of [0, 0.3, 0.5, 0.7]) {
    const kept = scores.flatMap((_, query) => {
      const won = owners.filter((owner) => owner === query).length;
      const claimed = (weighted[query] ?? []).filter((value) => value >= 0.5).length;
      return won > 0 && won / claimed > overlap ? [query] : [];
    });
    const options = { threshold: 0.5, maskThreshold: 0.5, overlap };
    const segments = toPanoptic({ classes, masks: PLANES }, SIZE, options);
    assert.deepEqual(
      segments.map(({ score }) => score),
      kept.map((query) => scores[query]),
    );
    for (const [place, query] of kept.entries()) {
      assert.deepEqual([...(segments[place]?.paint() ?? [])], masks(owners, query));
    }
  }
});
