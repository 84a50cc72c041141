import assert from "node:assert/strict";
import { test } from "node:test";

import { interpolate_4d, Tensor } from "@huggingface/transformers";

import { interpolate } from "../../../runtime/handler/tasks/interpolate.ts";
import { assertNear } from "../../support/goldens.ts";

const SQUARE = { data: Float32Array.of(1, 2, 3, 4), width: 2, height: 2 };

test("interpolate() gives the numbers of PyTorch's documentation", () => {
  // `torch.nn.Upsample(scale_factor=2, mode=…)` of [[1, 2], [3, 4]].
  const nearest = [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4];
  assert.deepEqual([...interpolate(SQUARE, 4, 4, "nearest").data], nearest);
  const bilinear = [1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4];
  assert.deepEqual([...interpolate(SQUARE, 4, 4, "bilinear").data], bilinear);
});

test("interpolate() to the same size changes nothing", () => {
  for (const mode of ["nearest", "bilinear", "bicubic"] as const) {
    assert.deepEqual(interpolate(SQUARE, 2, 2, mode), SQUARE);
  }
});

for (const mode of ["bilinear", "bicubic"] as const) {
  for (const [width, height] of [
    [23, 17],
    [5, 4],
    [13, 3],
    [4, 31],
    [1, 1],
    [20, 200],
  ] as const) {
    test(`interpolate() to ${width} × ${height} with ${mode} agrees with onnxruntime's Resize`, async () => {
      const data = Float32Array.from({ length: 11 * 9 }, (_, i) => Math.sin(i * i) * 10);
      const tensor = new Tensor("float32", data, [1, 1, 9, 11]);
      const expected = await interpolate_4d(tensor, { size: [height, width], mode });
      const actual = interpolate({ data, width: 11, height: 9 }, width, height, mode);
      assert.deepEqual([actual.width, actual.height], [width, height]);
      assertNear([...actual.data], [...(expected.data as Float32Array)], 1e-4);
    });
  }
}
