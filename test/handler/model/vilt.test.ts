import assert from "node:assert/strict";
import { test } from "node:test";

import { viltSize } from "../../../runtime/handler/model/vilt.ts";

/** Reckoned by hand from `get_resize_output_image_size` of `image_processing_vilt.py` with its defaults. */
const SIZES: readonly (readonly [from: [number, number], to: [number, number]])[] = [
  [
    [640, 480],
    [512, 384],
  ],
  [
    [480, 640],
    [384, 512],
  ],
  [
    [384, 384],
    [384, 384],
  ],
  [
    [100, 100],
    [384, 384],
  ],
  [
    [1000, 400],
    [608, 256],
  ], // 960 × 384 is too wide: 639 × 255.6, of which 639 is cut and 255.6 rounded
  [
    [5000, 10],
    [608, 0],
  ], // nothing is left: refused where it is resized
];

for (const [from, to] of SIZES) {
  test(`ViLT reads ${from.join(" × ")} as ${to.join(" × ")}`, () => {
    assert.deepEqual(viltSize(from, 384, 32), to);
  });
}
